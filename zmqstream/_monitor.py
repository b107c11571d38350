"""ZMQStream.on_monitor(): the events of a socket itself.

libzmq sends these events through a PAIR. Three facts about that PAIR decide what happens here.

- The send blocks, and libzmq holds the monitor's mutex meanwhile. It happens in libzmq's I/O
  thread, which serves the whole context, and in bind(), unbind() and their like. So our end has no
  high-water mark: the send never waits for a reader.
- The send also waits while our end is missing. So our end is connected before the monitor begins.
  It stays open until libzmq has closed its own end, or until the context is terminated.
- That can be long after the stream was closed or collected, and while its loop is stopped. So no
  stream and no loop owns our end. One thread of the process reads all of them, and closes each
  when libzmq is done with it. The thread ends with the last of them.
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
    """The monitor of a stream's socket, and the events that its callback has not yet been given."""

    def __init__(
        self,
        stream: _core.Stream,
        callback: Callable[[dict[str, Any]], object],
        context: contextvars.Context,
        events: int,
    ) -> None:
        self.stream = weakref.ref(stream)  # not a cycle, which would delay the end of a stream
        self.callback = callback
        self.context = context
        self.socket = stream._open_socket()
        self.loop = eventloop.asyncio_loop_of(stream.io_loop)
        self.pid = os.getpid()
        self.ended = False
        self.lock = threading.Lock()  # for the two attributes that follow
        self.messages: collections.deque[list[bytes]] = collections.deque()
        self.scheduled = False  # whether the loop has been asked to call deliver()
        if _is_monitored(self.socket):
            raise RuntimeError(f"on_monitor: the socket is monitored already: {stream!r}")
        _begin(self, events)
        _monitors[self.socket.underlying] = self

    def arrived(self, message: list[bytes]) -> None:
        """Have the loop deliver an event. Called in the thread that reads."""
        with self.lock:
            if self.ended or self.loop.is_closed():
                return
            self.messages.append(message)
            if not self.scheduled:
                with contextlib.suppress(RuntimeError):  # the loop has been closed since
                    self.loop.call_soon_threadsafe(self.deliver)
                    self.scheduled = True

    def deliver(self) -> None:
        """Give the callback one event. One an iteration, so that a flood delays no stream."""
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
        event["value"] = int(event["value"])  # pyzmq makes an Event of every number
        stream._call_on_monitor(self.callback, event, self.context)

    def close(self) -> None:
        """End the monitor. The thread that reads notices this, as it notices a direct close."""
        self.ended = True
        if self.pid == os.getpid() and not self.socket.closed:
            with contextlib.suppress(zmq.ZMQError):  # a terminated context has ended it
                self.socket.monitor(None, 0)


def check_events(events: Any) -> int:
    """What on_monitor() was asked for, as an int."""
    if not isinstance(events, int):
        raise TypeError(f"on_monitor: events must be an int, not {type(events).__name__}")
    if events <= 0:
        raise ValueError(f"on_monitor: events must be some of zmq.EVENT_ALL: {events}")
    return int(events)


_names = itertools.count()
_monitors: weakref.WeakValueDictionary[int, Monitor] = weakref.WeakValueDictionary()  # by socket


def _is_monitored(socket: zmq.Socket[Any]) -> bool:
    """Whether the socket has a monitor. libzmq would end it without a word for a second one."""
    theirs = socket._monitor_socket
    ours = _monitors.get(socket.underlying)
    return (theirs is not None and not theirs.closed) or (
        ours is not None and not ours.ended and not ours.socket.closed
    )


def _begin(monitor: Monitor, events: int) -> None:
    """Have libzmq send the events of the monitor's socket to a PAIR that the thread reads."""
    global _reader
    # The name is new each time: libzmq frees a name some time after its socket was closed.
    endpoint = f"inproc://zmqstream-monitor-{os.getpid()}-{next(_names)}"
    # By its address: our end must not keep the context alive, and Context.destroy() must not know
    # our end, as it would close it in the middle of a read.
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
                pair.bind(endpoint)  # to itself: libzmq keeps a socket whose connection waits
            raise
        finally:
            _reader.wake()


class _Reader(threading.Thread):
    """Reads the PAIRs of all monitors."""

    def __init__(self) -> None:
        super().__init__(name="zmqstream-monitors", daemon=True)
        self.new: list[_Pair] = []  # those that the thread has not yet seen
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
        with contextlib.suppress(BlockingIOError):  # it is about to wake up
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
        """Begin to read the new PAIRs. False if none is left at all: the thread ends."""
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
        """Read what is there. Close the PAIR if libzmq has closed its own end."""
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
        if not events & zmq.POLLOUT:  # there is no other end any more
            self.selector.unregister(descriptor)
            ours.close()


_Pair = tuple["zmq.Socket[bytes]", int, "weakref.ReferenceType[Monitor]"]

_lock = threading.RLock()  # for the next, and for what it has not yet seen
_reader: _Reader | None = None
_inherited: list[_Reader | None] = []


def _after_fork_in_child() -> None:
    """The thread is the parent's, and so are its sockets: keep them, and touch none of them."""
    global _lock, _reader
    _inherited.append(_reader)
    _lock = threading.RLock()
    _reader = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
