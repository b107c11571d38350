"""Ring and Delivery: queued messages, oldest first, beside a plain deque."""

import gc
import sys
import weakref
from collections import deque

import hypothesis
import pytest
from hypothesis import strategies as st

from zmqstream._core import Callback, Delivery, Ring

SMALLEST, KEPT, FEW_TOMBSTONES = 8, 1024, 64


class Thing:
    """What can be referred to weakly."""


def pushed(ring, *frames, delivery=None):
    for each in frames:
        ring.push(each, 1, 0, delivery)


def test_order():
    ring = Ring()
    pushed(ring, b"1", b"2", (b"3", b"4"))
    assert ring.count == 3
    assert [ring.pop() for _ in range(3)] == [b"1", b"2", (b"3", b"4")]
    assert ring.count == 0


@pytest.mark.parametrize("ahead", range(SMALLEST))
def test_growth_of_a_ring_that_has_wrapped_around(ahead):
    """Wherever the oldest message stands, the ring keeps the order when it grows."""
    ring = Ring()
    numbers = [b"%d" % i for i in range(5 * SMALLEST)]
    pushed(ring, b"x")
    for _ in range(ahead):
        pushed(ring, b"x")
        ring.pop()
    pushed(ring, *numbers)
    assert ring.capacity == 8 * SMALLEST
    assert ring.pop() == b"x"
    assert [ring.pop() for _ in numbers] == numbers


def test_memory_of_a_large_ring_is_freed_when_it_is_empty():
    ring = Ring()
    assert ring.capacity == 0
    pushed(ring, *[b"x"] * (KEPT + 1))
    assert ring.capacity == 2 * KEPT
    for _ in range(KEPT):
        ring.pop()
    assert ring.capacity == 2 * KEPT
    ring.pop()
    assert ring.capacity == 0
    pushed(ring, b"1", b"2")
    assert [ring.pop(), ring.pop()] == [b"1", b"2"]


def test_memory_of_a_small_ring_is_kept():
    ring = Ring()
    pushed(ring, *[b"x"] * KEPT)
    for _ in range(KEPT):
        ring.pop()
    assert ring.capacity == KEPT


def test_frames_are_owned_until_they_are_popped():
    first, second = ((name, b"x") for name in (b"first", b"second"))  # no constants
    before = sys.getrefcount(first), sys.getrefcount(second)
    ring = Ring()
    pushed(ring, first, second)
    assert (sys.getrefcount(first), sys.getrefcount(second)) == (before[0] + 1, before[1] + 1)
    ring.pop()
    assert sys.getrefcount(first) == before[0]
    del ring
    assert sys.getrefcount(second) == before[1]


# -- deliveries ------------------------------------------------------------------------------------


def test_delivery_of_the_oldest_message():
    ring, delivery = Ring(), Delivery()
    pushed(ring, b"1")
    pushed(ring, b"2", delivery=delivery)
    assert ring.first_delivery() is None
    assert ring.take_delivery() is None
    assert delivery.ring is ring
    ring.pop()
    assert ring.first_delivery() is delivery
    assert ring.take_delivery() is delivery
    assert delivery.ring is None
    assert ring.first_delivery() is None
    assert ring.pop() == b"2"


def test_delivery_that_has_moved_to_another_ring():
    """It stays there when the message leaves its old ring."""
    old, new, delivery = Ring(), Ring(), Delivery()
    pushed(old, b"x", delivery=delivery)
    pushed(new, b"x", delivery=old.first_delivery())
    assert old.take_delivery() is delivery
    assert delivery.ring is new


def test_release_drops_what_a_delivery_refers_to():
    function, tracker = Thing(), Thing()
    refs = [weakref.ref(function), weakref.ref(tracker)]
    delivery = Delivery(Callback("a callback", function), tracker, 5)
    del function, tracker
    gc.collect()
    assert None not in [ref() for ref in refs]
    delivery.release()
    assert [ref() for ref in refs] == [None, None]
    assert delivery.deadline == 5


# -- tombstones ------------------------------------------------------------------------------------


def test_cancel_in_the_middle():
    ring, delivery = Ring(), Delivery()
    pushed(ring, b"1")
    pushed(ring, b"2", delivery=delivery)
    pushed(ring, b"3")
    assert ring.cancel(delivery) == b"2"
    assert delivery.ring is None
    assert (ring.count, ring.tombstones) == (3, 1)
    assert ring.pop() == b"1"
    assert (ring.count, ring.tombstones) == (1, 0)
    assert ring.first_delivery() is None
    assert ring.pop() == b"3"


def test_cancel_of_the_oldest_leaves_no_tombstone():
    ring, delivery = Ring(), Delivery()
    pushed(ring, b"1", delivery=delivery)
    pushed(ring, b"2")
    assert ring.cancel(delivery) == b"1"
    assert (ring.count, ring.tombstones) == (1, 0)
    assert ring.pop() == b"2"


def test_cancel_of_the_newest():
    """The tombstone goes with the last message before it."""
    ring, delivery = Ring(), Delivery()
    pushed(ring, b"1")
    pushed(ring, b"2", delivery=delivery)
    ring.cancel(delivery)
    assert ring.pop() == b"1"
    assert (ring.count, ring.tombstones) == (0, 0)
    pushed(ring, b"3")
    assert ring.pop() == b"3"


def test_cancelled_frames_are_not_kept():
    frames, delivery, ring = (b"2", b"x"), Delivery(), Ring()
    before = sys.getrefcount(frames)
    pushed(ring, b"1")
    pushed(ring, frames, delivery=delivery)
    assert ring.cancel(delivery) is frames
    assert sys.getrefcount(frames) == before
    ring.pop()
    assert sys.getrefcount(frames) == before


@pytest.mark.parametrize("count", [100, 300])
def test_compaction(count):
    """Tombstones are removed when they are more than a few, and more than half of the ring."""
    ring, deliveries = Ring(), [Delivery() for _ in range(count)]
    for i, delivery in enumerate(deliveries):
        pushed(ring, b"%d" % i, delivery=delivery)
    cancelled = max(FEW_TOMBSTONES, count // 2)
    for delivery in deliveries[1 : cancelled + 1]:
        ring.cancel(delivery)
    assert (ring.count, ring.tombstones) == (count, cancelled)
    ring.cancel(deliveries[cancelled + 1])
    assert (ring.count, ring.tombstones) == (count - cancelled - 1, 0)
    assert ring.cancel(deliveries[count - 2]) == b"%d" % (count - 2)  # its place has changed
    left = [0, *range(cancelled + 2, count - 2), count - 1]
    for i in left:
        assert ring.take_delivery() is deliveries[i]
        assert ring.pop() == b"%d" % i
    assert ring.count == 0


def test_compaction_of_a_ring_that_has_wrapped_around():
    """...where some messages have no delivery, and the deliveries of others have been taken."""
    ring, messages = Ring(), []
    pushed(ring, *[b"before"] * 200)
    for i in range(160):
        delivery = Delivery() if i % 5 else None
        pushed(ring, b"%d" % i, delivery=delivery)
        messages.append((b"%d" % i, delivery))
        ring.pop()
    for _ in range(40):
        assert ring.pop() == b"before"
    assert ring.capacity == 256  # so that the ring has wrapped around
    cancelled = [m for m in messages[1:] if m[1] is not None][:81]
    for frames, delivery in cancelled:
        assert ring.cancel(delivery) == frames
    assert (ring.count, ring.tombstones) == (79, 0)
    for message in messages:
        if message not in cancelled:
            assert ring.take_delivery() is message[1]
            assert ring.pop() == message[0]
    assert ring.count == 0


# -- anything --------------------------------------------------------------------------------------

# so many at once that rings grow, wrap around, are compacted and freed
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(1, 300), st.integers(1, 4)),
        st.tuples(st.just("pop"), st.integers(1, 400)),
        st.tuples(st.just("cancel"), st.integers(0, 300), st.integers(1, 5), st.integers(1, 300)),
    ),
    max_size=30,
)


class Plain:
    """A Ring, and beside it a deque of (frames, delivery) that must say the same."""

    def __init__(self):
        self.ring, self.messages, self.pushed = Ring(), deque(), 0

    def push(self, count, every):
        """`every` so many-th message has a delivery."""
        for _ in range(count):
            self.pushed += 1
            delivery = Delivery() if self.pushed % every == 0 else None
            self.messages.append((b"%d" % self.pushed, delivery))
            self.ring.push(b"%d" % self.pushed, 1, 0, delivery)

    def pop(self, count):
        for _ in range(min(count, len(self.messages))):
            frames, delivery = self.messages.popleft()
            assert self.ring.first_delivery() is delivery
            assert self.ring.take_delivery() is delivery
            assert self.ring.pop() == frames

    def cancel(self, start, step, most):
        """Cancel messages from all over the ring, if they have a delivery."""
        for message in list(self.messages)[start::step][:most]:
            frames, delivery = message
            if delivery is not None:
                self.messages.remove(message)
                assert self.ring.cancel(delivery) == frames
                assert delivery.ring is None
                assert self.ring.tombstones <= max(FEW_TOMBSTONES, self.ring.count // 2)

    def check(self):
        ring = self.ring
        assert ring.count - ring.tombstones == len(self.messages)
        assert ring.capacity >= ring.count
        assert ring.capacity & (ring.capacity - 1) == 0
        assert ring.capacity <= KEPT or self.messages
        for _, delivery in self.messages:
            assert delivery is None or delivery.ring is ring


def test_anything(seeded):
    @hypothesis.settings(max_examples=100, deadline=None, database=None)
    @hypothesis.given(OPERATIONS)
    def examples(operations):
        plain = Plain()
        for name, *args in operations:
            getattr(plain, name)(*args)
            plain.check()
        plain.pop(len(plain.messages))
        plain.check()
        assert plain.ring.count == 0

    seeded(examples)()
