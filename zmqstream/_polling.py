"""One call of zmqstream.asyncio.Poller.poll(), while it waits."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Any

import zmq

from zmqstream import _core


class Polling:
    """One call of Poller.poll()."""

    def __init__(self, poller: Any, reactor: _core.Reactor) -> None:
        self.poller = poller
        self.reactor = reactor
        self.streams: list[tuple[Any, int, _core.Stream]] = []
        self.others: list[Any] = []  # descriptors, and what has a fileno()
        self.waiters: list[_core.PollWaiter] = []
        self.watched: list[Any] = []
        self.timer: asyncio.TimerHandle | None = None
        self.future: asyncio.Future[list[tuple[Any, int]]] | None = None

    def start(self, timeout: float | None) -> asyncio.Future[list[tuple[Any, int]]]:
        loop = self.reactor.loop
        for socket, mask in self.poller.sockets:
            if isinstance(socket, self.poller._socket_class):
                stream = socket._find_stream()
            elif isinstance(socket, zmq.Socket):
                stream = _core.stream_of(self.reactor, None, socket)
            else:
                self.others.append(socket)
                continue
            self.streams.append((socket, int(mask), stream))
        found = self.look()
        if timeout == 0 or (found and self.may_go_on()):
            self.end()
            done: asyncio.Future[list[tuple[Any, int]]] = loop.create_future()
            done.set_result(found)
            return done
        future = self.future = _core.poll_future(loop, self.end)
        for _, mask, stream in self.streams:
            self.waiters.append(_core.poll_wait(stream, mask, self.fire))
        if self.others:
            self.watch_others(loop)
        if timeout is not None and timeout > 0:
            self.timer = loop.call_later(timeout * 1e-3, self.fire)
        if found and not self.streams:
            loop.call_soon(self.fire)
        return future

    def look(self) -> list[tuple[Any, int]]:
        """What Poller.poll(0) returns."""
        if self.others:
            found = zmq.Poller.poll(self.poller, 0)
            for _, _, stream in self.streams:  # it may have swallowed what others wait for
                _core.look_for_events(stream)
            return found
        return [
            (socket, events)
            for socket, mask, stream in self.streams
            if (events := _events(socket, stream) & mask)
        ]

    def may_go_on(self) -> bool:
        return not self.streams or _core.may_go_on(self.streams[0][2])

    def watch_others(self, loop: asyncio.AbstractEventLoop) -> None:
        for socket, mask in self.poller.sockets:
            if isinstance(socket, zmq.Socket):
                continue
            # a duplicate: the loop may have a reader of this descriptor already
            fd = os.dup(socket if isinstance(socket, int) else socket.fileno())
            self.watched.append(fd)
            if mask & zmq.POLLIN:
                loop.add_reader(fd, self.fire)
            if mask & zmq.POLLOUT:
                loop.add_writer(fd, self.fire)

    def end(self) -> None:
        """Leave nothing behind: no watcher, no timer, no reader."""
        if self.future is not None:
            self.future._end = None  # type: ignore[attr-defined]
        for waiter in self.waiters:
            waiter.leave()
        self.waiters.clear()
        for fd in self.watched:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self.reactor.loop.remove_reader(fd)
                self.reactor.loop.remove_writer(fd)
            os.close(fd)
        self.watched.clear()
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        for _, _, stream in self.streams:
            _core.release_unowned(stream)

    def fire(self, events: int = 1, error: BaseException | None = None) -> None:
        """There are events, or the time is over; 0 events: a socket was closed."""
        future = self.future
        assert future is not None
        found: list[tuple[Any, int]] = []
        if events and error is None:
            try:
                found = self.look()
            except Exception as failure:
                error = failure
        self.end()
        self.future = None
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        elif not events:
            asyncio.Future.cancel(future)
        else:
            future.set_result(found)


def _events(socket: Any, stream: _core.Stream) -> int:
    events = _core.look_for_events(stream)
    # A stream may be closed because another one has taken its place.
    return socket.getsockopt(zmq.EVENTS) if events < 0 else events
