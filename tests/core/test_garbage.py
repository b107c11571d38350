"""User code in the middle of an operation of the outbox: that of garbage that is collected there.

Up to Python 3.11 an allocation may run the garbage collector, and a destructor may do anything to
the outbox. No message may be lost or doubled by it. Later Pythons collect between two bytecodes, so
the destructor runs before or after the operation.
"""

import collections
import functools
import gc

import pytest

from zmqstream._core import Delivery, Outbox

ALLOCATIONS = 8  # an operation has fewer


def call_all(*calls):
    """Call these with no bytecode between two of them, as the core does."""
    collections.deque(map(functools.partial.__call__, calls), maxlen=0)


class Garbage:
    """Runs `action` when it is collected, which needs the garbage collector."""

    def __init__(self, action):
        self.action = action
        self.me = self

    def __del__(self):
        self.action()


@pytest.fixture(params=range(ALLOCATIONS))
def meanwhile(request):
    """meanwhile(action, call): `call()`, and `action()` at one of the allocations in it.

    It is run at the latest when the call has returned.
    """

    def run(action, call):
        gc.collect()
        thresholds = gc.get_threshold()
        gc.disable()
        Garbage(action)
        gc.set_threshold(gc.get_count()[0] + request.param, 1000, 1000)
        gc.enable()
        try:
            call()
        finally:
            gc.set_threshold(*thresholds)
            gc.collect()

    return run


class Messages:
    """An outbox, and what has been put there and taken again."""

    def __init__(self):
        self.outbox = Outbox()
        self.sent, self.taken, self.deliveries = [], [], []

    def put(self, deadline=None):
        delivery = None if deadline is None else Delivery(None, None, deadline)
        if delivery:
            self.deliveries.append(delivery)
        frames = b"%d" % len(self.sent)
        self.sent.append(frames)
        put = functools.partial(self.outbox.put, frames, 1, 0, delivery)
        if deadline:
            call_all(functools.partial(self.outbox.add_deadline, delivery), put)
        else:
            put()

    def take(self):
        if self.outbox.queued:
            ring = self.outbox.ring if self.outbox.ring.count else self.outbox.oldest_ring()
            ring.take_delivery()
            self.taken.append(self.outbox.take(ring))

    def take_all(self):
        while self.outbox.queued:
            self.take()

    def cancel(self, delivery):
        if delivery.ring is not None:
            self.taken.append(self.outbox.cancel(delivery))

    def clear(self):
        self.outbox.clear()
        self.taken[:] = self.sent

    def park(self):
        if self.outbox.ring.count:
            self.outbox.park(b"A")

    def check(self):
        """Each message is still there, or was taken, once; and each deadline is known."""
        outbox = self.outbox
        assert outbox.queued == len(self.sent) - len(self.taken)
        waiting = {each for each in self.deliveries if each.deadline and each.ring is not None}
        assert set(iter(functools.partial(outbox.take_overdue, 1000), None)) == waiting
        self.take_all()
        assert sorted(self.taken) == sorted(self.sent)
        assert (outbox.queued, outbox.queued_bytes, outbox.parked_count) == (0, 0, 0)
        assert outbox.ring.count == 0
        assert not outbox.parked


@pytest.fixture
def messages():
    return Messages()


def test_put(messages, meanwhile):
    """The first message with a Delivery makes the ring a deque for them."""
    put = functools.partial(messages.outbox.put, b"0", 1, 0, Delivery())
    messages.sent.append(b"0")
    meanwhile(functools.partial(messages.put, 0), put)
    messages.check()


@pytest.mark.parametrize("parked", [False, True])
@pytest.mark.parametrize("action", ["take", "take_all", "put", "clear"])
def test_park(messages, meanwhile, action, parked):
    """A flush takes the message that is being parked, or a message is sent."""
    if parked:
        messages.put()
        messages.park()
    messages.put(0)
    messages.put(0)
    meanwhile(getattr(messages, action), messages.park)
    messages.check()


def test_oldest_ring(messages, meanwhile):
    """All parked messages are sent before one of them is dropped."""
    messages.put()
    messages.park()
    meanwhile(messages.take_all, messages.outbox.oldest_ring)
    messages.check()


@pytest.mark.parametrize("action", ["take_all", "clear"])
def test_parked_peers(messages, meanwhile, action):
    messages.put()
    messages.park()
    meanwhile(getattr(messages, action), messages.outbox.parked_peers)
    messages.check()


@pytest.mark.parametrize("count", [0, 64])
def test_deadline(messages, meanwhile, count):
    """Another message with a deadline is sent. The heap may have to be rid of old ones first."""
    for _ in range(count):
        messages.put(1000)
    put = functools.partial(messages.put, 20)
    meanwhile(functools.partial(messages.put, 10), put)
    assert messages.outbox.next_deadline() == 10
    messages.check()


def test_deadline_when_none_was_left(messages, meanwhile):
    """The heap is given up in the middle: all messages are sent."""
    messages.put(10)
    put = functools.partial(messages.put, 20)

    def flush():
        messages.take_all()
        assert messages.outbox.next_deadline() == 0

    meanwhile(flush, put)
    messages.check()


def compacted(messages):
    """Where the next to be cancelled is the last before a compaction."""
    for _ in range(200):
        messages.put(0)
    for delivery in messages.deliveries[1:101]:
        messages.cancel(delivery)
    return functools.partial(messages.cancel, messages.deliveries[101])


@pytest.mark.parametrize("action", ["take", "take_all", "put"])
def test_compaction(messages, meanwhile, action):
    meanwhile(getattr(messages, action), compacted(messages))
    for delivery in messages.deliveries[::2]:
        messages.cancel(delivery)
    messages.check()


def test_compaction_in_a_compaction(messages, meanwhile):
    """...after which the ring has as many entries as before."""
    cancel = compacted(messages)

    def cancel_and_put():
        messages.cancel(messages.deliveries[102])
        while messages.outbox.ring.count < 200:
            messages.put(0)

    meanwhile(cancel_and_put, cancel)
    for delivery in messages.deliveries[::2]:
        messages.cancel(delivery)
    messages.check()
