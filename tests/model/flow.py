"""The limits of a stream's queue: refused and dropped messages, and reports of room."""

from __future__ import annotations

import math
from typing import NamedTuple

from model.callbacks import Callback
from model.ends import ensure

POLICIES = ("wait", "raise", "drop_newest", "drop_oldest")


def bounds(high, low):
    """The limits as set_write_buffer_limits() completes them."""
    if high is None and low is None:
        return math.inf, math.inf
    high = 4 * low if high is None else high
    return high, high // 4 if low is None else low


class Flow:
    """The limits of `owner`'s queue.

    The stream reports the size of the queue. The Tally checks that the report is true.
    """

    def __init__(self, owner):
        self.owner = owner
        self.high = self.low = self.high_bytes = self.low_bytes = math.inf
        self.policy = "wait"
        self.drainer = None  # the Callback of on_drain
        self.fallen = True  # whether the queue has fallen to `low` since it exceeded `high`
        self.crossings = self.calls = 0  # how often it exceeded `high`; calls of on_drain
        self.due = False  # whether on_drain must be called when the queue has fallen

    def size(self):
        """The size of the queue in messages and bytes."""
        stream = self.owner.stream
        return stream.get_write_buffer_size(), stream.get_write_buffer_bytes()

    def limited(self):
        return self.high < math.inf or self.high_bytes < math.inf

    def is_beyond(self, size):
        return size[0] > self.high or size[1] > self.high_bytes

    def is_low(self, size):
        return size[0] <= self.low and size[1] <= self.low_bytes

    def is_full(self, size, message):
        """Whether `message` would exceed a limit of a queue of this size."""
        more = sum(map(len, message.all_frames()))
        return size[0] > 0 and self.is_beyond((size[0] + 1, size[1] + more))

    def limit(self, policy, high, low, high_bytes, low_bytes):
        stream = self.owner.stream
        self.fallen = self.fallen or self.is_low(self.size())
        stream.set_write_buffer_limits(
            high, low, high_bytes=high_bytes, low_bytes=low_bytes, policy=policy
        )
        self.policy = policy
        self.high, self.low = bounds(high, low)
        self.high_bytes, self.low_bytes = bounds(high_bytes, low_bytes)
        said = [math.inf if limit is None else limit for limit in stream.get_write_buffer_limits()]
        ours = [self.high, self.low, self.high_bytes, self.low_bytes]
        ensure(said == ours, self.owner, "limits:", said, "instead of", ours)
        size = self.size()
        self.fallen = self.fallen or self.is_low(size)
        if self.is_beyond(size):
            self.crosses(certainly=True)

    def crosses(self, certainly):
        if self.fallen:
            self.crossings += 1
        self.fallen = False
        self.due = self.due or (certainly and self.drainer is not None)

    def before_send(self):
        """Returns the argument `before` of after_send()."""
        size = self.size()
        self.fallen = self.fallen or self.is_low(size)
        return size, self.owner.stream.stats().dropped

    def after_send(self, before, message, refused):
        """Check whether `message` had to be refused or queued, and whether a message was dropped.

        Returns whether it was queued.
        """
        (count, size), dropped = before
        full = self.is_full((count, size), message)
        dropped = self.owner.stream.stats().dropped - dropped
        after = self.size()
        story = (self.owner, self.policy, before, after, "dropped", dropped)
        ensure(refused == (full and self.policy == "raise"), *story, "refused:", refused)
        if refused or (full and self.policy == "drop_newest"):
            ensure(after == (count, size) and dropped == (not refused), *story)
        elif full and self.policy == "drop_oldest":
            ensure(after[0] == count + 1 - dropped, *story)
            ensure(after[0] == 1 or not self.is_beyond(after), *story)
            if self.high_bytes == math.inf:
                ensure(dropped == count + 1 - self.high, *story)
        else:
            ensure(after[0] == count + 1 and dropped == 0, *story)
        if self.is_beyond(after) or (full and self.policy != "wait"):
            self.crosses(certainly=True)
        return not refused and not (full and self.policy == "drop_newest")

    def set_callback(self, on):
        """on_drain()"""
        self.drainer = Callback(self.owner, "on_drain") if on else None
        if on:
            self.drainer.register(self.owner.stream.on_drain, self.drainer)
        else:
            self.due = False
            self.owner.stream.on_drain(None)

    def drained(self, callback):
        """The callback of on_drain is called."""
        owner = self.owner
        ensure(owner.open and callback is self.drainer, owner, "an old callback is called")
        ensure(owner.world.flushing() is None, owner, "on_drain in a flush")
        self.calls += 1
        falls = self.crossings - (not (self.fallen or self.is_low(self.size())))
        ensure(self.calls <= falls, owner, "on_drain", self.calls, "times, and it fell", falls)
        self.due = False

    def unmet(self):
        if self.due and self.is_low(self.size()):
            return f"{self.owner} has not called on_drain, with {self.size()} waiting"
        return None


# -- actions -----------------------------------------------------------------------------------


class Limit(NamedTuple):
    """set_write_buffer_limits()"""

    stream: int
    policy: str
    high: int | None
    low: int | None
    high_bytes: int | None
    low_bytes: int | None

    @classmethod
    def draw(cls, pick):
        high, high_bytes = pick.choice(
            ((None, None), (1, None), (2, None), (5, None), (20, None), (None, 500), (5, 2000))
        )
        low = pick.choice((None, None, 0, 1)) if high else None
        low_bytes = pick.choice((None, 0, 40)) if high_bytes else None
        return cls(pick.integer(0, 5), pick.choice(POLICIES), high, low, high_bytes, low_bytes)

    def do(self, world):
        stream = world.stream(self.stream, "outs")
        if stream is None or world.backend.reference:
            return
        policy = self.policy
        if self.high is None and self.high_bytes is None:
            policy = "wait"
        if policy.startswith("drop") and (stream.sends_unreported or stream.link.tcp):
            # The model, or World.end(), could not know which messages were dropped.
            policy = "raise"
        stream.flow.limit(policy, *self[2:])


class SetDrainCallback(NamedTuple):
    """on_drain()"""

    stream: int
    on: bool

    @classmethod
    def draw(cls, pick):
        return cls(pick.integer(0, 5), not pick.chance(4))

    def do(self, world):
        stream = world.stream(self.stream, "outs")
        if stream and not world.backend.reference:
            stream.flow.set_callback(self.on)
