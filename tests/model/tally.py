"""The statistics that a stream must have."""

from __future__ import annotations

from collections import Counter

from model.ends import ensure


class Tally:
    """Counts of one stream's messages and of the outcomes that were reported."""

    def __init__(self, owner):
        self.owner = owner
        self.messages, self.bytes = Counter(), Counter()
        self.bytes_known = True  # False if a flush has dropped messages

    def add(self, outcome, message):
        """Count `outcome`: "sent", and then out, failed, dropped, expired or withdrawn."""
        self.messages[outcome] += 1
        self.bytes[outcome] += sum(map(len, message.all_frames()))

    def came(self, frames):
        self.messages["in"] += 1
        self.bytes["in"] += sum(map(len, frames))

    def unreported_drops(self):
        """The number of drops that were not reported yet."""
        if self.owner.world.backend.reference:  # pyzmq's drops nothing
            return 0
        return self.owner.stream.stats().dropped - self.messages["dropped"]

    def unreported_expiries(self):
        if self.owner.world.backend.reference:
            return 0
        return self.owner.stream.stats().expired - self.messages["expired"]

    def without_outcome(self, stats):
        """The number of messages that have left without an outcome in `stats`."""
        counted = stats.messages_out + stats.errors + stats.dropped + stats.expired + stats.queued
        return self.messages["sent"] - counted - self.messages["withdrawn"]

    def check(self):
        owner, stats, reported = self.owner, self.owner.stream.stats(), self.messages
        ensure(
            stats.messages_in == reported["in"],
            owner,
            "counts",
            stats,
            "and received",
            reported["in"],
        )
        if self.bytes_known:
            ensure(stats.bytes_in == self.bytes["in"], owner, stats, "and got", self.bytes["in"])
        ensure(
            stats.errors == reported["failed"],
            owner,
            "counts",
            stats,
            "and failed",
            reported["failed"],
        )
        ensure(stats.dropped >= reported["dropped"], owner, "reported more drops:", reported, stats)
        ensure(
            stats.expired >= reported["expired"], owner, "reported more expiries:", reported, stats
        )
        ensure(stats.peak_queued >= stats.queued, owner, "never had so many:", stats)
        ensure(stats.turns >= stats.turns_cut, owner, stats)
        missing = self.without_outcome(stats)
        if not owner.open:
            ensure(stats.queued == stats.queued_bytes == 0, owner, "is closed:", stats)
            ensure(missing <= owner.lost, owner, "lost", owner.lost, "of", missing, reported, stats)
            return
        ensure(missing == 0, owner, "has no outcome of", missing, reported, stats)
        size = owner.flow.size()
        ensure(size == (stats.queued, stats.queued_bytes), owner, "queue:", size, stats)
        ensure(owner.stream.sending() == (size[0] > 0), owner, "sending, with", size)
        if owner.unclear():
            return
        ensure(
            (stats.dropped, stats.expired) == (reported["dropped"], reported["expired"]),
            reported,
            stats,
        )
        if not owner.sends_unreported:
            ensure(
                stats.messages_out == reported["out"], owner, "counts", stats, "and sent", reported
            )
            ensure(stats.bytes_out == self.bytes["out"], owner, "counts", stats, "sent", self.bytes)
            ensure(
                size[0] == owner.queued(), owner, "queued", size, "not reported:", owner.queued()
            )
        others = ("failed", "dropped", "expired", "withdrawn")
        gone = stats.bytes_out + sum(self.bytes[each] for each in others)
        ensure(self.bytes["sent"] == gone + size[1], owner, "bytes:", self.bytes, stats)
