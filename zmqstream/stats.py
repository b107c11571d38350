"""What ZMQStream.stats() and IOLoop.stats() return."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["LoopStats", "StreamStats"]


class StreamStats(NamedTuple):
    """Counts of one stream since it was made, and the state of its queue."""

    #: messages that were received
    messages_in: int
    #: bytes of all their frames
    bytes_in: int
    #: messages that libzmq took
    messages_out: int
    #: bytes of all their frames
    bytes_out: int
    #: errors of the socket, failed sends among them
    errors: int
    #: messages dropped because the queue was full, see set_write_buffer_limits()
    dropped: int
    #: messages that were not handed over within their `timeout`
    expired: int
    #: messages that wait in the queue now
    queued: int
    #: bytes of all their frames
    queued_bytes: int
    #: the most messages that have ever waited
    peak_queued: int
    #: how often the loop gave the stream a turn
    turns: int
    #: turns that ended by their budget while more was waiting, see set_turn_limits()
    turns_cut: int
    #: events that somebody else's use of the socket had swallowed, and that were found again; on a
    #: busy loop also a few that came just before the look for such
    repaired: int
    #: seconds spent in callbacks; None unless set_callback_timing() was switched on
    callback_time: float | None


class LoopStats(NamedTuple):
    """Counts of the streams' part of one loop, since its first stream."""

    #: streams, and ZeroMQ sockets of add_handler(), that it serves now
    streams: int
    #: how often it polled
    polls: int
    #: how often it slept in its poll; never on a loop that is not zmqstream's
    sleeps: int
    #: rounds of turns
    passes: int
    #: turns of streams
    turns: int
    #: full rounds of looks at streams that may have missed an event
    sweeps: int
    #: events that were found by them
    repaired: int
