"""StreamStats and LoopStats: the results of ZMQStream.stats() and IOLoop.stats()."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["LoopStats", "StreamStats"]


class StreamStats(NamedTuple):
    """Counts of one stream since it was created, and the state of its queue."""

    messages_in: int  #: messages received
    bytes_in: int  #: bytes of all frames of these messages
    messages_out: int  #: messages that libzmq accepted
    bytes_out: int  #: bytes of all frames of these messages
    errors: int  #: errors of the socket, failed sends included
    dropped: int  #: messages dropped because the queue was full, see set_write_buffer_limits()
    expired: int  #: messages that libzmq did not accept within their `timeout`
    queued: int  #: messages in the queue now
    queued_bytes: int  #: bytes of all frames in the queue
    peak_queued: int  #: the largest number of messages that the queue has held
    turns: int  #: turns that the loop gave the stream
    turns_cut: int  #: turns that reached a limit with work left, see set_turn_limits()
    #: events that another use of the socket had swallowed, and that the loop found again; on a busy
    #: loop also a few that arrived just before the loop checked for them
    repaired: int
    callback_time: float | None  #: seconds in callbacks; None without set_callback_timing()


class LoopStats(NamedTuple):
    """Counts of what one loop did for its streams, since its first stream."""

    streams: int  #: streams, and ZeroMQ sockets of add_handler(), that the loop serves now
    polls: int  #: polls of the loop
    sleeps: int  #: polls that slept; always 0 on a loop that is not zmqstream's
    passes: int  #: rounds of turns
    turns: int  #: turns of streams
    sweeps: int  #: complete checks of all streams that may have missed an event
    repaired: int  #: missed events that the checks found
