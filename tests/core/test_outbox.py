"""Outbox: what waits to be sent, beside a plain list."""

import sys

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from zmqstream._core import Delivery, Outbox

UNLIMITED = sys.maxsize
WAIT = 0
STALE_DEADLINES = 64


class Message:
    """A message, and what the model knows of it."""

    def __init__(self, number, size, deadline):
        self.frames = (b"%d" % number, b"x")  # an object of its own, whose references are counted
        self.size = size
        self.delivery = None if deadline is None else Delivery(None, None, deadline)
        self.deadline = deadline or 0


class Plain:
    """What an outbox holds, as plain lists."""

    def __init__(self):
        self.ring, self.parked, self.peak = [], {}, 0
        self.limits = (UNLIMITED, UNLIMITED, UNLIMITED, UNLIMITED)
        self.above_high = False

    @property
    def waiting(self):
        return [message for ring in (self.ring, *self.parked.values()) for message in ring]

    @property
    def size(self):
        return sum(message.size for message in self.waiting)

    def check_high(self):
        high, _, high_bytes, _ = self.limits
        if len(self.waiting) > high or self.size > high_bytes:
            self.above_high = True

    def put(self, message):
        self.ring.append(message)
        self.peak = max(self.peak, len(self.waiting))

    def remove(self, message):
        if message in self.ring:
            self.ring.remove(message)
            return
        for peer, ring in list(self.parked.items()):
            if message in ring:
                ring.remove(message)
                if not ring:
                    del self.parked[peer]

    def is_full(self, size):
        high, _, high_bytes, _ = self.limits
        count = len(self.waiting)
        return count > 0 and (count + 1 > high or self.size + size > high_bytes)

    def fell_to_low(self):
        _, low, _, low_bytes = self.limits
        fell = self.above_high and len(self.waiting) <= low and self.size <= low_bytes
        if fell:
            self.above_high = False
        return fell

    def first_deadline(self):
        """0: there is none."""
        return min((m.deadline for m in self.waiting if m.deadline), default=0)


PEERS = st.sampled_from([b"", b"A", b"B", b"C"])
LIMITS = st.one_of(st.just(UNLIMITED), st.integers(0, 400))


class Outboxes(RuleBasedStateMachine):
    """Anything that may be done to an outbox, in any order."""

    def __init__(self):
        super().__init__()
        self.outbox, self.plain = Outbox(), Plain()
        self.messages = []  # all that ever were
        self.now = 1

    # -- in ------------------------------------------------------------------------------------

    @rule(
        count=st.integers(1, 200),
        size=st.integers(0, 10),
        kinds=st.lists(
            st.one_of(st.none(), st.just(0), st.integers(1, 50)), min_size=1, max_size=8
        ),
        checked=st.booleans(),
    )
    def put(self, count, size, kinds, checked):
        """`kinds`, in turn: no delivery; one without a deadline; so much time."""
        for i in range(count):
            kind = kinds[i % len(kinds)]
            message = Message(len(self.messages), size + i % 3, kind and self.now + kind)
            self.messages.append(message)
            if message.deadline:
                self.outbox.add_deadline(message.delivery)
            self.outbox.put(message.frames, message.size, 0, message.delivery)
            self.plain.put(message)
            if checked:
                self.outbox.check_high()
                self.plain.check_high()

    # -- out -----------------------------------------------------------------------------------

    def take_from(self, ring, messages, discard=False):
        message = messages[0]
        assert ring.first_delivery() is message.delivery
        assert ring.take_delivery() is message.delivery
        if discard:
            self.outbox.discard(ring)
        else:
            assert self.outbox.take(ring) is message.frames
        assert message.delivery is None or message.delivery.ring is None
        self.plain.remove(message)

    @rule(count=st.integers(1, 300), discard=st.booleans())
    def take(self, count, discard=False):
        for _ in range(min(count, len(self.plain.ring))):
            self.take_from(self.outbox.ring, self.plain.ring, discard)

    @precondition(lambda self: self.plain.parked)
    @rule(data=st.data(), count=st.integers(1, 100), discard=st.booleans())
    def take_parked(self, data, count, discard):
        peer = data.draw(st.sampled_from(list(self.plain.parked)))
        ring, messages = self.outbox.parked[peer], self.plain.parked[peer]
        for _ in range(min(count, len(messages))):
            self.take_from(ring, messages, discard)

    @precondition(lambda self: self.plain.waiting)
    @rule(count=st.integers(1, 20))
    def drop_oldest(self, count):
        for _ in range(min(count, len(self.plain.waiting))):
            ring = self.outbox.oldest_ring()
            parked = next(iter(self.plain.parked), None)
            assert ring.peer == parked
            self.take_from(ring, self.plain.ring if parked is None else self.plain.parked[parked])

    def cancel_one(self, message):
        assert self.outbox.cancel(message.delivery) is message.frames
        assert message.delivery.ring is None
        self.plain.remove(message)

    @rule(start=st.integers(0, 300), step=st.integers(1, 5), most=st.integers(1, 200))
    def cancel(self, start, step, most):
        """Anywhere."""
        for message in self.plain.waiting[start::step][:most]:
            if message.delivery is not None:
                self.cancel_one(message)

    @rule()
    def clear(self):
        self.outbox.clear()
        for message in self.plain.waiting:
            assert message.delivery is None or message.delivery.ring is None
        self.plain.ring, self.plain.parked = [], {}

    # -- parking -------------------------------------------------------------------------------

    @precondition(lambda self: self.plain.ring)
    @rule(peers=st.lists(PEERS, min_size=1, max_size=8), count=st.integers(1, 100))
    def park(self, peers, count):
        for i in range(min(count, len(self.plain.ring))):
            peer = peers[i % len(peers)]
            self.outbox.park(peer)
            self.plain.parked.setdefault(peer, []).append(self.plain.ring.pop(0))

    @precondition(lambda self: self.plain.parked)
    @rule(peer=st.one_of(st.none(), PEERS))
    def parked_peers(self, peer):
        """All of them, in the order in which they were parked, but `peer` comes first."""
        peers = list(self.plain.parked)
        first = peers.index(peer) if peer in peers else 0
        self.outbox.next_parked = peer
        assert self.outbox.parked_peers() == peers[first:] + peers[:first]

    # -- limits --------------------------------------------------------------------------------

    @rule(high=LIMITS, low=LIMITS, high_bytes=LIMITS, low_bytes=LIMITS)
    def set_limits(self, high, low, high_bytes, low_bytes):
        limits = high, min(low, high), high_bytes, min(low_bytes, high_bytes)
        self.outbox.set_limits(*limits, WAIT)
        self.plain.limits = limits
        self.plain.check_high()
        assert self.outbox.has_limits() == (high != UNLIMITED or high_bytes != UNLIMITED)

    @rule()
    def fell_to_low(self):
        assert self.outbox.fell_to_low() == self.plain.fell_to_low()

    @rule(size=st.integers(0, 500))
    def is_full(self, size):
        assert self.outbox.is_full(size) == self.plain.is_full(size)

    # -- deadlines -----------------------------------------------------------------------------

    @rule(passed=st.integers(0, 30))
    def time_passes(self, passed):
        """What is overdue is cancelled, the earliest first."""
        self.now += passed
        while (delivery := self.outbox.take_overdue(self.now)) is not None:
            due = self.plain.first_deadline()
            assert delivery.deadline == due <= self.now
            (message,) = [m for m in self.plain.waiting if m.delivery is delivery]
            self.cancel_one(message)
        assert not 0 < self.plain.first_deadline() <= self.now

    @rule()
    def next_deadline(self):
        assert self.outbox.next_deadline() == self.plain.first_deadline()

    # -- what always holds ---------------------------------------------------------------------

    @invariant()
    def counts(self):
        outbox, plain = self.outbox, self.plain
        assert outbox.queued == len(plain.waiting)
        assert outbox.queued_bytes == plain.size
        assert outbox.peak_queued == plain.peak
        assert outbox.above_high == plain.above_high
        assert outbox.parked_count == sum(map(len, plain.parked.values()))

    @invariant()
    def rings(self):
        parked = self.outbox.parked or {}
        assert list(parked) == list(self.plain.parked)
        assert [ring.peer for ring in parked.values()] == list(parked)
        pairs = [(self.outbox.ring, self.plain.ring)]
        pairs += [(parked[peer], messages) for peer, messages in self.plain.parked.items()]
        for ring, messages in pairs:
            assert ring.count - ring.tombstones == len(messages)
            for message in messages:
                assert message.delivery is None or message.delivery.ring is ring

    @invariant()
    def heap(self):
        """Messages that have left do not pile up there."""
        assert len(self.outbox.deadlines or ()) <= max(STALE_DEADLINES, 2 * self.plain.peak)

    def teardown(self):
        for peer, messages in list(self.plain.parked.items()):
            ring = self.outbox.parked[peer]
            for _ in range(len(messages)):
                self.take_from(ring, messages)
        self.take(len(self.plain.ring) or 1)
        self.counts()
        self.rings()
        assert self.outbox.next_deadline() == 0
        assert self.outbox.deadlines is None
        nobodys = Message(0, 0, None)
        for message in self.messages:
            assert sys.getrefcount(message.frames) == sys.getrefcount(nobodys.frames)


def test_anything(seeded):
    settings = hypothesis.settings(
        max_examples=100, stateful_step_count=40, deadline=None, database=None
    )
    run_state_machine_as_test(seeded(Outboxes), settings=settings)


# -- by example ------------------------------------------------------------------------------------


@pytest.fixture
def outbox():
    return Outbox()


def put(outbox, *frames, size=1, delivery=None):
    for each in frames:
        outbox.put(each, size, 0, delivery)
        outbox.check_high()


def put_with_deadline(outbox, deadline, frames=b"x"):
    delivery = Delivery(None, None, deadline)
    outbox.add_deadline(delivery)
    put(outbox, frames, delivery=delivery)
    return delivery


def take(outbox, ring=None):
    ring = outbox.ring if ring is None else ring
    ring.take_delivery()
    return outbox.take(ring)


def test_order(outbox):
    put(outbox, b"1", b"2", b"3")
    assert [take(outbox) for _ in range(3)] == [b"1", b"2", b"3"]


def test_counts(outbox):
    put(outbox, b"1", size=5)
    put(outbox, b"2", size=7)
    assert (outbox.queued, outbox.queued_bytes, outbox.peak_queued) == (2, 12, 2)
    take(outbox)
    assert (outbox.queued, outbox.queued_bytes, outbox.peak_queued) == (1, 7, 2)


def test_order_of_each_peer(outbox):
    put(outbox, b"A1", b"B1", b"A2")
    for peer in (b"A", b"B", b"A"):
        outbox.park(peer)
    assert outbox.ring.count == 0
    assert (outbox.queued, outbox.parked_count) == (3, 3)
    ring = outbox.parked[b"A"]
    assert [take(outbox, ring), take(outbox, ring)] == [b"A1", b"A2"]
    assert list(outbox.parked) == [b"B"]  # what has no messages is not kept
    assert outbox.parked_count == 1


def test_cancel_of_a_parked_message(outbox):
    delivery = Delivery()
    put(outbox, b"A", delivery=delivery)
    outbox.park(b"A")
    assert delivery.ring is outbox.parked[b"A"]
    assert outbox.cancel(delivery) == b"A"
    assert outbox.parked == {}
    assert (outbox.queued, outbox.parked_count, outbox.queued_bytes) == (0, 0, 0)


def test_peers_take_turns(outbox):
    put(outbox, b"A", b"B", b"C")
    for peer in (b"A", b"B", b"C"):
        outbox.park(peer)
    assert outbox.parked_peers() == [b"A", b"B", b"C"]
    outbox.next_parked = b"B"
    assert outbox.parked_peers() == [b"B", b"C", b"A"]
    take(outbox, outbox.parked[b"B"])
    assert outbox.parked_peers() == [b"A", b"C"]  # B has gone: from the first


def test_oldest_is_what_has_been_parked_longest(outbox):
    put(outbox, b"A", b"B", b"C")
    assert outbox.oldest_ring() is outbox.ring
    outbox.park(b"A")
    outbox.park(b"B")
    assert outbox.oldest_ring() is outbox.parked[b"A"]
    take(outbox, outbox.oldest_ring())
    assert outbox.oldest_ring() is outbox.parked[b"B"]
    take(outbox, outbox.oldest_ring())
    assert outbox.oldest_ring() is outbox.ring


def test_limit_of_messages(outbox):
    outbox.set_limits(2, 1, UNLIMITED, UNLIMITED, WAIT)
    put(outbox, b"1")
    assert not outbox.is_full(1)
    put(outbox, b"2")
    assert outbox.is_full(0)
    assert not outbox.above_high  # as many as the limit
    put(outbox, b"3")
    assert outbox.above_high
    take(outbox)
    assert not outbox.fell_to_low()
    assert outbox.above_high  # until it has fallen to `low`
    take(outbox)
    assert outbox.fell_to_low()
    assert not outbox.above_high
    assert not outbox.fell_to_low()  # true once


def test_message_that_counts_for_no_limit(outbox):
    """Nobody has asked whether the outbox is above its limit."""
    outbox.set_limits(1, 0, UNLIMITED, UNLIMITED, WAIT)
    outbox.put(b"1", 1, 0, None)
    outbox.put(b"2", 1, 0, None)
    assert not outbox.above_high


def test_limit_of_bytes(outbox):
    outbox.set_limits(UNLIMITED, UNLIMITED, 10, 5, WAIT)
    put(outbox, b"1", size=6)
    assert not outbox.is_full(4)
    assert outbox.is_full(5)
    put(outbox, b"2", size=5)
    assert outbox.above_high
    take(outbox)
    assert outbox.fell_to_low()


def test_empty_outbox_is_never_full(outbox):
    outbox.set_limits(1, 0, 10, 0, WAIT)
    assert not outbox.is_full(1000)


def test_limits_that_what_waits_exceeds_already(outbox):
    put(outbox, b"1", b"2", b"3")
    outbox.set_limits(2, 1, UNLIMITED, UNLIMITED, WAIT)
    assert outbox.above_high


def test_deadlines(outbox):
    late, early = put_with_deadline(outbox, 20), put_with_deadline(outbox, 10)
    assert outbox.next_deadline() == 10
    assert outbox.take_overdue(9) is None
    assert outbox.take_overdue(10) is early
    outbox.cancel(early)
    assert outbox.next_deadline() == 20
    take(outbox)
    assert late.ring is None
    assert outbox.next_deadline() == 0
    assert outbox.take_overdue(100) is None


def test_deadline_of_a_message_that_is_parked(outbox):
    delivery = put_with_deadline(outbox, 10)
    outbox.park(b"A")
    assert outbox.next_deadline() == 10
    assert outbox.take_overdue(10) is delivery


def test_equal_deadlines_in_the_order_of_their_messages(outbox):
    deliveries = [put_with_deadline(outbox, 10) for _ in range(5)]
    assert [outbox.take_overdue(10) for _ in range(5)] == deliveries


def test_deadlines_of_messages_that_have_left_do_not_pile_up(outbox):
    waits = put_with_deadline(outbox, 10)
    for i in range(1000):
        outbox.cancel(put_with_deadline(outbox, 1000 - i))
        assert len(outbox.deadlines) <= STALE_DEADLINES + 1
    assert outbox.next_deadline() == 10
    assert outbox.take_overdue(10) is waits


def test_deadlines_of_messages_that_wait_are_kept(outbox):
    """...when the heap has grown so long that those that have left are removed."""
    count = 5 * STALE_DEADLINES
    deliveries = [put_with_deadline(outbox, 1 + i * 7 % count) for i in range(count)]
    for delivery in deliveries[::2]:
        outbox.cancel(delivery)
    deliveries = deliveries[1::2] + [put_with_deadline(outbox, count + i) for i in range(count)]
    deliveries.sort(key=lambda delivery: delivery.deadline)
    assert [outbox.take_overdue(3 * count) for _ in deliveries] == deliveries


def test_deadlines_of_parked_messages_are_kept(outbox):
    parked = put_with_deadline(outbox, 10)
    outbox.park(b"A")
    for _ in range(2 * STALE_DEADLINES):
        outbox.cancel(put_with_deadline(outbox, 20))
    assert outbox.take_overdue(10) is parked


def test_clear(outbox):
    delivery = put_with_deadline(outbox, 10)
    put(outbox, b"2", b"3")
    outbox.park(b"A")
    outbox.clear()
    assert (outbox.queued, outbox.queued_bytes, outbox.parked_count) == (0, 0, 0)
    assert (outbox.ring.count, outbox.parked) == (0, None)
    assert delivery.ring is None
    assert outbox.deadlines is None
    assert outbox.next_deadline() == 0
    put(outbox, b"4")
    assert take(outbox) == b"4"
