"""StreamStats and LoopStats: the results of ZMQStream.stats() and IOLoop.stats()."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["LoopStats", "StreamStats"]


class StreamStats(NamedTuple):
    """Counts of one stream since it was created, and the state of its queue."""

    #: messages received
    messages_in: int
    #: bytes of all frames of these messages
    bytes_in: int
    #: messages that libzmq accepted
    messages_out: int
    #: bytes of all frames of these messages
    bytes_out: int
    #: errors of the socket, failed sends included
    errors: int
    #: messages dropped because the queue was full, see set_write_buffer_limits()
    dropped: int
    #: messages that libzmq did not accept within their `timeout`
    expired: int
    #: messages in the queue now
    queued: int
    #: bytes of all frames in the queue
    queued_bytes: int
    #: the largest number of messages that the queue has held
    peak_queued: int
    #: turns that the loop gave the stream
    turns: int
    #: turns that reached a limit before all their work was done, see set_turn_limits()
    turns_cut: int
    #: events that another use of the socket had swallowed, and that the loop found again; on a busy
    #: loop also a few that arrived just before the loop checked for them
    repaired: int
    #: seconds spent in callbacks; None unless set_callback_timing() enabled it
    callback_time: float | None


class LoopStats(NamedTuple):
    """Counts of what one loop did for its streams, since its first stream."""

    #: streams, and ZeroMQ sockets of add_handler(), that the loop serves now
    streams: int
    #: polls
    polls: int
    #: polls that slept; always 0 on a loop that is not zmqstream's
    sleeps: int
    #: rounds of turns
    passes: int
    #: turns of streams
    turns: int
    #: complete checks of all streams that may have missed an event
    sweeps: int
    #: missed events that the checks found
    repaired: int
