"""ZMQStream.on_monitor(): the events of a socket itself, through the loop of its stream."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import zmq
from zmq.utils.monitor import parse_monitor_message

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable

    from zmqstream import _core


_names = itertools.count()


class Monitor:
    """libzmq's monitor of a stream's socket: a PAIR that gets its events, and a stream on that."""

    def __init__(
        self,
        stream: _core.Stream,
        stream_class: Callable[[zmq.Socket[bytes], Any], _core.Stream],
        callback: Callable[[dict[str, Any]], object],
        context: contextvars.Context,
        events: int,
    ) -> None:
        self.monitored = stream
        self.callback = callback
        self.context = context
        self.socket = stream._open_socket()
        other = self.socket._monitor_socket
        if other is not None and not other.closed:
            raise RuntimeError(f"on_monitor: the socket is monitored already: {stream!r}")
        # each with a name of its own: one is free again only some time after its socket's close
        pair = self.socket.get_monitor_socket(events, f"inproc://zmqstream-monitor-{next(_names)}")
        try:
            self.stream = stream_class(pair, stream.io_loop)
            self.stream.on_recv(self.received)
        except BaseException:
            self.socket.disable_monitor()
            pair.close(linger=0)
            raise

    def received(self, message: list[bytes]) -> None:
        event: dict[str, Any] = dict(parse_monitor_message(message))
        event["value"] = int(event["value"])  # pyzmq makes an Event of whatever it is
        self.monitored._call_on_monitor(self.callback, event, self.context)

    def close(self) -> None:
        """End it: first in libzmq, which would wait for room in a PAIR that nobody reads."""
        if not self.socket.closed:
            try:
                self.socket.disable_monitor()
            except zmq.ZMQError:  # the context is being terminated, which ends it, too
                pass
        self.stream.close(linger=0)


def check_events(events: Any) -> int:
    """What on_monitor() was asked for, as an int."""
    if not isinstance(events, int):
        raise TypeError(f"on_monitor: events must be an int, not {type(events).__name__}")
    if events <= 0:
        raise ValueError(f"on_monitor: events must be some of zmq.EVENT_ALL: {events}")
    return int(events)
