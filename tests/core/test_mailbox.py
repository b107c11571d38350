"""Mailbox: letters from other threads, until the owner of the outbox takes them."""

import sys
import threading

import pytest

from zmqstream._core import Callback, Delivery, Mailbox, Outbox

UNLIMITED = sys.maxsize
WAIT, RAISE, DROP_NEWEST, DROP_OLDEST = range(4)  # Policy
ACCEPTED, FIRST, REFUSED_FULL, REFUSED_SHUT = range(4)  # Posting
THREADS = 8


@pytest.fixture
def outbox():
    return Outbox()


@pytest.fixture
def mailbox():
    return Mailbox()


def letter(frames, size=1, delivery=None):
    return frames, size, 0, delivery


def heard(frames, size=1):
    """A letter whose drop must be reported."""
    return letter(frames, size, Delivery(Callback("a callback", print)))


def names(letters):
    return [frames for frames, *_ in letters]


def test_order(outbox, mailbox):
    letters = [letter(b"1", 5), letter(b"2", 7), letter(b"3", 0)]
    for each in letters:
        mailbox.put(outbox, each, True)
    assert (mailbox.count, mailbox.size) == (3, 12)
    taken, dropped, unreported = mailbox.take()
    assert (list(taken), dropped, unreported) == (letters, 0, [])
    assert (mailbox.count, mailbox.size) == (0, 0)
    assert list(mailbox.take()[0]) == []


def test_the_first_letter_is_told_of(outbox, mailbox):
    assert not mailbox.has_mail
    assert mailbox.put(outbox, letter(b"1"), True) == FIRST
    assert mailbox.has_mail
    assert mailbox.put(outbox, letter(b"2"), True) == ACCEPTED
    mailbox.take()
    assert not mailbox.has_mail
    assert mailbox.put(outbox, letter(b"3"), True) == FIRST


def test_shut(outbox, mailbox):
    """What was accepted before can still be taken."""
    mailbox.put(outbox, letter(b"1"), True)
    mailbox.shut()
    assert mailbox.put(outbox, letter(b"2"), True) == REFUSED_SHUT
    assert mailbox.put(outbox, heard(b"3"), False) == REFUSED_SHUT
    assert mailbox.count == 1
    assert names(mailbox.take()[0]) == [b"1"]
    assert mailbox.put(outbox, letter(b"4"), True) == REFUSED_SHUT
    assert not mailbox.has_mail


# -- limits, which are the outbox's ----------------------------------------------------------------


def limit(outbox, policy, messages=UNLIMITED, size=UNLIMITED):
    outbox.set_limits(messages, 0, size, 0, policy)


def test_policy_wait_accepts_all(outbox, mailbox):
    limit(outbox, WAIT, 1)
    for number in range(10):
        assert mailbox.put(outbox, letter(b"%d" % number), True) != REFUSED_FULL
    assert mailbox.count == 10
    assert mailbox.take()[1] == 0


@pytest.mark.parametrize("quiet", [True, False])
def test_policy_raise(outbox, mailbox, quiet):
    """What is in the outbox counts, too."""
    limit(outbox, RAISE, 3)
    outbox.put(b"0", 1, 0, None)
    assert mailbox.put(outbox, letter(b"1"), quiet) == FIRST
    assert mailbox.put(outbox, letter(b"2"), quiet) == ACCEPTED
    assert mailbox.put(outbox, letter(b"3"), quiet) == REFUSED_FULL
    assert names(mailbox.take()[0]) == [b"1", b"2"]


@pytest.mark.parametrize("quiet", [True, False])
def test_policy_raise_with_a_limit_of_bytes(outbox, mailbox, quiet):
    limit(outbox, RAISE, size=10)
    outbox.put(b"0", 3, 0, None)
    assert mailbox.put(outbox, letter(b"1", 4), quiet) == FIRST
    assert mailbox.put(outbox, letter(b"2", 4), quiet) == REFUSED_FULL
    assert mailbox.put(outbox, letter(b"3", 3), quiet) == ACCEPTED


def test_refusal_is_no_mail(outbox, mailbox):
    limit(outbox, RAISE, 1)
    outbox.put(b"0", 1, 0, None)
    assert mailbox.put(outbox, letter(b"1"), True) == REFUSED_FULL
    assert not mailbox.has_mail


@pytest.mark.parametrize("policy", [RAISE, DROP_NEWEST])
def test_a_message_of_any_size_fits_into_what_is_empty(outbox, mailbox, policy):
    limit(outbox, policy, size=10)
    assert mailbox.put(outbox, letter(b"1", 100), True) == FIRST
    assert mailbox.count == 1


def test_drop_newest(outbox, mailbox):
    limit(outbox, DROP_NEWEST, 2)
    for number in b"123":
        mailbox.put(outbox, letter(number), True)
    letters, dropped, unreported = mailbox.take()
    assert (names(letters), dropped, unreported) == ([*b"12"], 1, [])
    assert mailbox.take()[1] == 0


def test_drop_is_told_of(outbox, mailbox):
    """Where nothing but a drop has happened, it must be counted and logged all the same."""
    limit(outbox, DROP_NEWEST, 1)
    outbox.put(b"0", 1, 0, None)
    assert mailbox.put(outbox, letter(b"1"), True) == FIRST
    assert mailbox.has_mail
    assert mailbox.put(outbox, letter(b"2"), True) == ACCEPTED
    assert mailbox.count == 0
    assert mailbox.take()[1] == 2
    assert not mailbox.has_mail


def test_drop_oldest(outbox, mailbox):
    limit(outbox, DROP_OLDEST, 2)
    assert mailbox.put(outbox, letter(1, 5), True) == FIRST
    for number in (2, 3, 4):
        assert mailbox.put(outbox, letter(number, number), True) == ACCEPTED
    assert (mailbox.count, mailbox.size) == (2, 7)
    letters, dropped, unreported = mailbox.take()
    assert (names(letters), dropped, unreported) == ([3, 4], 2, [])


def test_drop_oldest_with_a_limit_of_bytes(outbox, mailbox):
    limit(outbox, DROP_OLDEST, size=10)
    for number in (1, 2, 3):
        mailbox.put(outbox, letter(number, 3), True)
    mailbox.put(outbox, letter(4, 6), True)
    assert (mailbox.count, mailbox.size) == (2, 9)
    mailbox.put(outbox, letter(5, 100), True)
    letters, dropped, _ = mailbox.take()
    assert (names(letters), dropped) == ([5], 4)


@pytest.mark.parametrize("policy", [DROP_NEWEST, DROP_OLDEST])
def test_what_must_be_reported_is_accepted(outbox, mailbox, policy):
    """It is dropped when it is moved into the outbox."""
    limit(outbox, policy, 1)
    for number in (1, 2, 3):
        mailbox.put(outbox, heard(number), False)
    assert mailbox.count == 3
    letters, dropped, unreported = mailbox.take()
    assert (names(letters), dropped, unreported) == ([1, 2, 3], 0, [])


def test_what_must_be_reported_is_not_dropped_in_silence(outbox, mailbox):
    """...for a letter of which nobody would hear."""
    limit(outbox, DROP_OLDEST, 1)
    first = heard(1, 5)
    assert mailbox.put(outbox, first, False) == FIRST
    assert mailbox.put(outbox, letter(2, 2), True) == ACCEPTED
    assert mailbox.put(outbox, letter(3, 3), True) == ACCEPTED
    assert (mailbox.count, mailbox.size) == (1, 3)
    letters, dropped, unreported = mailbox.take()
    assert (names(letters), dropped, unreported) == ([3], 1, [first])
    assert mailbox.take()[1:] == (0, [])


def test_dropped_letters_may_put_letters_when_they_are_destroyed(outbox, mailbox):
    """No destructor runs under the lock, where it would wait for itself."""
    limit(outbox, DROP_OLDEST, 1)

    class Frames:
        def __del__(self):
            mailbox.put(outbox, letter(b"last words"), False)

    mailbox.put(outbox, letter(Frames()), True)
    mailbox.put(outbox, letter(b"2"), True)
    assert names(mailbox.take()[0]) == [b"2", b"last words"]


def test_a_letter_that_is_none_is_refused_before_the_lock(outbox, mailbox):
    with pytest.raises((TypeError, ValueError)):
        mailbox.put(outbox, (b"x", "not a size", 0, None), True)
    assert mailbox.put(outbox, letter(b"1"), True) == FIRST


# -- threads ---------------------------------------------------------------------------------------


@pytest.fixture
def threads_take_turns():
    """Between any two bytecodes."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


class Senders:
    """Threads that put letters, and set an event when a letter is the first."""

    def __init__(self, outbox, mailbox, count, quiet=True):
        self.outbox, self.mailbox, self.count, self.quiet = outbox, mailbox, count, quiet
        self.told = threading.Semaphore(0)  # released for each FIRST
        self.results = [[] for _ in range(THREADS)]
        self.wrong = []
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(THREADS)]

    def run(self, which):
        try:
            for number in range(self.count):
                result = self.mailbox.put(self.outbox, letter((which, number)), self.quiet)
                self.results[which].append(result)
                if result == FIRST:
                    self.told.release()
                if result == REFUSED_SHUT:
                    break
        except BaseException as error:
            self.wrong.append(error)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        for thread in self.threads:
            thread.join(20)
            assert not thread.is_alive()
        assert self.wrong == []

    @property
    def postings(self):
        return [posting for results in self.results for posting in results]


def by_thread(taken):
    numbers = [[] for _ in range(THREADS)]
    for which, number in taken:
        numbers[which].append(number)
    return numbers


@pytest.mark.usefixtures("threads_take_turns")
def test_threads(outbox, mailbox):
    """Nothing is lost or doubled, the order of each thread holds, and the sleeper is woken.

    The taker takes only when somebody told it that there is mail, and would wait for ever for mail
    that nobody had told of.
    """
    count, taken, takes = 2000, [], 0
    with Senders(outbox, mailbox, count) as senders:
        while len(taken) < THREADS * count:
            assert senders.told.acquire(timeout=20), "there is mail, and nobody told"
            letters, dropped, unreported = mailbox.take()
            assert (dropped, unreported) == (0, [])
            taken += names(letters)
            takes += 1
    assert by_thread(taken) == [list(range(count))] * THREADS
    assert senders.postings.count(FIRST) == takes  # told exactly as often as there was mail
    assert senders.postings.count(ACCEPTED) == THREADS * count - takes
    assert not senders.told.acquire(blocking=False)
    assert not mailbox.has_mail


@pytest.mark.usefixtures("threads_take_turns")
@pytest.mark.parametrize("policy", [DROP_NEWEST, DROP_OLDEST])
def test_threads_beyond_the_limit(outbox, mailbox, policy):
    """Each letter is taken or counted as dropped; those of a thread in order."""
    limit(outbox, policy, 10)
    count, taken, dropped = 2000, [], 0
    with Senders(outbox, mailbox, count) as senders:
        while len(taken) + dropped < THREADS * count:
            assert senders.told.acquire(timeout=20), "there is mail, and nobody told"
            letters, more, _ = mailbox.take()
            assert len(letters) <= 10
            taken += names(letters)
            dropped += more
    assert len(taken) + dropped == THREADS * count
    assert by_thread(taken) == [sorted(set(numbers)) for numbers in by_thread(taken)]


@pytest.mark.usefixtures("threads_take_turns")
def test_threads_while_it_is_shut(outbox, mailbox):
    """What was accepted is there; what comes later is refused."""
    with Senders(outbox, mailbox, 1_000_000) as senders:
        assert senders.told.acquire(timeout=20)
        while mailbox.count < 1000:
            pass
        mailbox.shut()
        taken = names(mailbox.take()[0])
    accepted = [sum(p != REFUSED_SHUT for p in results) for results in senders.results]
    assert by_thread(taken) == [list(range(n)) for n in accepted]
    assert [results[-1] for results in senders.results] == [REFUSED_SHUT] * THREADS
    assert not mailbox.has_mail
