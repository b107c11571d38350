"""ZMQStream.on_monitor(): the events of a stream's socket, delivered by the stream's loop.

libzmq sends these events through a PAIR. Three facts about that PAIR shape this module.

- The send blocks, while libzmq holds the monitor's mutex. It happens in libzmq's I/O thread, which
  serves the whole context, and in functions such as bind() and unbind(). So our end has no
  high-water mark, and the send never waits for a reader.
- The send also waits while our end is missing. So our end is connected before the monitor begins.
  It stays open until libzmq has closed its own end, or until the context is terminated.
- That can be long after the stream was closed or collected, and while its loop is stopped. So no
  stream and no loop owns our end. One thread of the process reads all PAIRs, and closes each PAIR
  when libzmq has closed its end. The thread ends with the last PAIR.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import os
import selectors
import socket
import threading
import weakref
from typing import TYPE_CHECKING, Any

import zmq
from zmq.utils.monitor import parse_monitor_message

from zmqstream import eventloop

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable

    from zmqstream import _core


class Monitor:
    """The monitor of a stream's socket, and its undelivered events."""

    def __init__(
        self,
        stream: _core.Stream,
        callback: Callable[[dict[str, Any]], object],
        context: contextvars.Context,
        events: int,
    ) -> None:
        self.stream = weakref.ref(stream)  # no cycle, which would delay the end of the stream
        self.callback = callback
        self.context = context
        self.socket = stream._open_socket()
        self.loop = eventloop.asyncio_loop_of(stream.io_loop)
        self.pid = os.getpid()
        self.ended = False
        self.lock = threading.Lock()  # guards the next two attributes
        self.messages: collections.deque[list[bytes]] = collections.deque()
        self.scheduled = False  # whether deliver() is scheduled
        if _is_monitored(self.socket):
            raise RuntimeError(f"on_monitor: the socket is monitored already: {stream!r}")
        _begin(self, events)
        _monitors[self.socket.underlying] = self

    def arrived(self, message: list[bytes]) -> None:
        """Schedule the delivery of an event. The reading thread calls it."""
        with self.lock:
            if self.ended or self.loop.is_closed():
                return
            self.messages.append(message)
            if not self.scheduled:
                with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                    self.loop.call_soon_threadsafe(self.deliver)
                    self.scheduled = True

    def deliver(self) -> None:
        """Deliver one event. One in each iteration, so that a flood does not delay streams."""
        stream = self.stream()
        if stream is None or self.ended or self.pid != os.getpid():
            return
        with self.lock:
            self.scheduled = False
            if len(self.messages) > 1:  # now, because the callback may run the loop
                self.loop.call_soon(self.deliver)
                self.scheduled = True
            message = self.messages.popleft()
        event: dict[str, Any] = dict(parse_monitor_message(message))
        event["value"] = int(event["value"])  # pyzmq makes an Event of any number
        stream._call_on_monitor(self.callback, event, self.context)

    def close(self) -> None:
        """End the monitor. The reading thread notices it, as it notices that the socket closes."""
        self.ended = True
        if self.pid == os.getpid() and not self.socket.closed:
            with contextlib.suppress(zmq.ZMQError):  # a terminated context has ended it
                self.socket.monitor(None, 0)


def check_events(events: Any) -> int:
    """Return the `events` of on_monitor() as an int. Raises TypeError or ValueError."""
    if not isinstance(events, int):
        raise TypeError(f"on_monitor: events must be an int, not {type(events).__name__}")
    if events <= 0:
        raise ValueError(f"on_monitor: events must be flags of zmq.EVENT_ALL: {events}")
    return int(events)


_names = itertools.count()
_monitors: weakref.WeakValueDictionary[int, Monitor] = weakref.WeakValueDictionary()  # by socket


def _is_monitored(socket: zmq.Socket[Any]) -> bool:
    """Whether the socket has a monitor. A second monitor would silently end the first one."""
    pyzmqs = socket._monitor_socket
    ours = _monitors.get(socket.underlying)
    return (pyzmqs is not None and not pyzmqs.closed) or (
        ours is not None and not ours.ended and not ours.socket.closed
    )


def _begin(monitor: Monitor, events: int) -> None:
    """Make libzmq send the events of the monitor's socket to a PAIR that the thread reads."""
    global _reader
    # Every monitor gets a new name, because libzmq frees a name only after some time.
    endpoint = f"inproc://zmqstream-monitor-{os.getpid()}-{next(_names)}"
    # A shadow: our end must not keep the context alive, and Context.destroy() must not know our
    # end, because it would close it in the middle of a read.
    context: zmq.Context[Any] = zmq.Context.shadow(monitor.socket.context.underlying)
    with _lock:
        if _reader is None:
            _reader = _Reader()
        pair: zmq.Socket[bytes] = zmq.Socket(context, zmq.PAIR)
        try:
            pair.linger = pair.rcvhwm = 0
            pair.connect(endpoint)
            _reader.new.append((pair, pair.FD, weakref.ref(monitor)))
        except BaseException:
            pair.close()
            raise
        try:
            monitor.socket.monitor(endpoint, events)
        except BaseException:
            with contextlib.suppress(zmq.ZMQError):
                monitor.socket.monitor(None, 0)
            with contextlib.suppress(zmq.ZMQError):
                pair.bind(endpoint)  # libzmq keeps a socket that still waits for its peer
            raise
        finally:
            _reader.wake()


class _Reader(threading.Thread):
    """Reads the PAIRs of all monitors."""

    def __init__(self) -> None:
        super().__init__(name="zmqstream-monitors", daemon=True)
        self.new: list[_Pair] = []  # PAIRs that the thread has not seen yet
        self.resources = contextlib.ExitStack()
        try:
            self.selector = self.resources.enter_context(selectors.DefaultSelector())
            self.woken, self.waker = map(self.resources.enter_context, socket.socketpair())
            self.waker.setblocking(False)
            self.selector.register(self.woken, selectors.EVENT_READ)
            self.start()
        except BaseException:
            self.resources.close()
            raise

    def wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # the thread is about to wake up
            self.waker.send(b"\0")

    def run(self) -> None:
        with self.resources:
            while self.adopt():
                for key, _events in self.selector.select():
                    if key.fileobj is self.woken:
                        self.woken.recv(4096)
                    else:
                        self.read(key.data)

    def adopt(self) -> bool:
        """Start reading the new PAIRs. Returns False if no PAIR is left, which ends the thread."""
        global _reader
        while True:
            with _lock:
                new, self.new = self.new, []
                if not new:
                    if len(self.selector.get_map()) > 1:
                        return True
                    _reader = None
                    return False
            for pair in new:
                self.selector.register(pair[1], selectors.EVENT_READ, pair)
                self.read(pair)

    def read(self, pair: _Pair) -> None:
        """Read the waiting events. Close the PAIR if libzmq has closed its own end."""
        ours, descriptor, monitor = pair
        try:
            while (events := int(ours.getsockopt(zmq.EVENTS))) & zmq.POLLIN:
                message = ours.recv_multipart(zmq.DONTWAIT)
                receiver = monitor()
                if receiver is not None:
                    receiver.arrived(message)
                del receiver
        except zmq.ContextTerminated:
            events = 0
        if not events & zmq.POLLOUT:  # the other end is closed
            self.selector.unregister(descriptor)
            ours.close()


_Pair = tuple["zmq.Socket[bytes]", int, "weakref.ReferenceType[Monitor]"]

_lock = threading.RLock()  # guards _reader and its `new`
_reader: _Reader | None = None
_inherited: list[_Reader | None] = []


def _after_fork_in_child() -> None:
    """Keep the parent's reader and its sockets alive, but do not use them."""
    global _lock, _reader
    _inherited.append(_reader)
    _lock = threading.RLock()
    _reader = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
