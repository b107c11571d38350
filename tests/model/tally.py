"""What a stream's statistics must say."""

from __future__ import annotations

from collections import Counter

from model.ends import ensure


class Tally:
    """Counts of one stream: of what was done to it, and of the outcomes that were told."""

    def __init__(self, owner):
        self.owner = owner
        self.messages, self.bytes = Counter(), Counter()
        self.bytes_known = True  # not of what a flush has dropped

    def add(self, outcome, message):
        """`outcome`: sent, and then one of out, failed, dropped, expired and withdrawn."""
        self.messages[outcome] += 1
        self.bytes[outcome] += sum(map(len, message.all_frames()))

    def came(self, frames):
        self.messages["in"] += 1
        self.bytes["in"] += sum(map(len, frames))

    def drops_untold(self):
        """How many messages were dropped, and who is to be told does not know it yet."""
        if self.owner.world.backend.reference:  # pyzmq's drops nothing
            return 0
        return self.owner.stream.stats().dropped - self.messages["dropped"]

    def expiries_untold(self):
        if self.owner.world.backend.reference:
            return 0
        return self.owner.stream.stats().expired - self.messages["expired"]

    def without_outcome(self, stats):
        """How many messages have gone without any outcome that is counted."""
        counted = stats.messages_out + stats.errors + stats.dropped + stats.expired + stats.queued
        return self.messages["sent"] - counted - self.messages["withdrawn"]

    def check(self):
        owner, stats, told = self.owner, self.owner.stream.stats(), self.messages
        ensure(stats.messages_in == told["in"], owner, "counts", stats, "and received", told["in"])
        if self.bytes_known:
            ensure(stats.bytes_in == self.bytes["in"], owner, stats, "and got", self.bytes["in"])
        ensure(stats.errors == told["failed"], owner, "counts", stats, "and failed", told["failed"])
        ensure(stats.dropped >= told["dropped"], owner, "told of drops:", told, stats)
        ensure(stats.expired >= told["expired"], owner, "told of expiries:", told, stats)
        ensure(stats.peak_queued >= stats.queued, owner, "never had so many:", stats)
        ensure(stats.turns >= stats.turns_cut, owner, stats)
        missing = self.without_outcome(stats)
        if not owner.open:
            ensure(stats.queued == stats.queued_bytes == 0, owner, "is closed:", stats)
            ensure(missing <= owner.lost, owner, "lost", owner.lost, "of", missing, told, stats)
            return
        ensure(missing == 0, owner, "has no outcome of", missing, told, stats)
        size = owner.flow.size()
        ensure(size == (stats.queued, stats.queued_bytes), owner, "queue:", size, stats)
        ensure(owner.stream.sending() == (size[0] > 0), owner, "sending, with", size)
        if owner.unclear():
            return
        ensure((stats.dropped, stats.expired) == (told["dropped"], told["expired"]), told, stats)
        if not owner.untold:
            ensure(stats.messages_out == told["out"], owner, "counts", stats, "and sent", told)
            ensure(stats.bytes_out == self.bytes["out"], owner, "counts", stats, "sent", self.bytes)
            ensure(size[0] == owner.queued(), owner, "queued", size, "not told of", owner.queued())
        others = ("failed", "dropped", "expired", "withdrawn")
        gone = stats.bytes_out + sum(self.bytes[each] for each in others)
        ensure(self.bytes["sent"] == gone + size[1], owner, "bytes:", self.bytes, stats)
