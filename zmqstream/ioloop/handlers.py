"""The handlers of IOLoop.add_handler(), for file descriptors and for ZeroMQ sockets."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import zmq

from zmqstream import _core
from zmqstream.eventloop import reactor_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

# Events. The numbers are Tornado's, which are epoll's.
NONE = 0
READ = 0x001
WRITE = 0x004
ERROR = 0x018


def key_of(fd: Any) -> Any:
    """The key of a handler: the number of its descriptor, or the ZeroMQ socket itself."""
    if isinstance(fd, zmq.Socket):
        return fd
    number = fd if isinstance(fd, int) else getattr(fd, "fileno", lambda: None)()
    if not isinstance(number, int) or number < 0:
        raise TypeError(
            "fd must be a descriptor, an object with fileno() or a zmq.Socket, "
            f"not {type(fd).__name__}: {fd!r}"
        )
    return number


@dataclasses.dataclass(eq=False)
class Handler:
    """Calls `callback(target, events)`. A new handler waits for no events.

    `run(callback, args, kwargs)` calls the callback and reports its exceptions.
    """

    loop: asyncio.AbstractEventLoop
    run: Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], object]
    target: Any
    key: Any
    callback: Callable[[Any, int], Any]

    def watch(self, events: int) -> None:
        raise NotImplementedError

    def remove(self) -> None:
        self.watch(NONE)

    def call(self, events: int) -> None:
        self.run(self.callback, (self.target, events), {})


class DescriptorHandler(Handler):
    """For a file descriptor: a reader and a writer of the asyncio loop."""

    watched = NONE

    def watch(self, events: int) -> None:
        loop = self.loop
        for event, add, remove in (
            (READ, loop.add_reader, loop.remove_reader),
            (WRITE, loop.add_writer, loop.remove_writer),
        ):
            if events & event and not self.watched & event:
                add(self.key, self.call, event)
                self.watched |= event
            elif self.watched & event and not events & event:
                remove(self.key)
                self.watched &= ~event


class SocketHandler(Handler):
    """For a ZeroMQ socket: a source of the loop's reactor."""

    source: _core.SocketHandler | None = None

    def watch(self, events: int) -> None:
        mask = (zmq.POLLIN if events & READ else 0) | (zmq.POLLOUT if events & WRITE else 0)
        if self.source is not None:
            self.source.update(mask)
        else:
            reactor = reactor_of(self.loop)
            self.source = _core.SocketHandler(self.target, reactor, self.called, mask)

    def called(self, socket: zmq.Socket[bytes], events: int) -> None:
        self.call((READ if events & zmq.POLLIN else 0) | (WRITE if events & zmq.POLLOUT else 0))

    def remove(self) -> None:
        if self.source is not None:
            self.source.close()
