"""What IOLoop.add_handler() makes: a reader and a writer of the asyncio loop for a descriptor, a
source of the loop's reactor for a ZeroMQ socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import zmq

from zmqstream import _core
from zmqstream.eventloop import reactor_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

# Events, with Tornado's numbers, which are epoll's.
NONE = 0
READ = 0x001
WRITE = 0x004
ERROR = 0x018


def key_of(fd: Any) -> Any:
    """What identifies a handler: the descriptor's number, or the socket itself."""
    if isinstance(fd, zmq.Socket):
        return fd
    number = fd if isinstance(fd, int) else getattr(fd, "fileno", lambda: None)()
    if not isinstance(number, int) or number < 0:
        raise TypeError(
            "a descriptor, an object with fileno() or a zmq.Socket is needed, "
            f"not {type(fd).__name__}: {fd!r}"
        )
    return number


def new_handler(
    loop: asyncio.AbstractEventLoop,
    run: Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], object],
    target: Any,
    key: Any,
    callback: Callable[[Any, int], Any],
) -> Handler:
    """The handler for `target`, which has the key `key`. It watches nothing yet.

    `run(callback, args, kwargs)` calls the callback, and reports its failure.
    """
    kind = SocketHandler if isinstance(target, zmq.Socket) else DescriptorHandler
    return kind(loop, run, target, key, callback)


class Handler:
    """One add_handler()."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        run: Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], object],
        target: Any,
        key: Any,
        callback: Callable[[Any, int], Any],
    ) -> None:
        self.loop = loop
        self.run = run
        self.target = target
        self.key = key
        self.callback = callback

    def watch(self, events: int) -> None:
        raise NotImplementedError

    def remove(self) -> None:
        self.watch(NONE)

    def call(self, events: int) -> None:
        self.run(self.callback, (self.target, events), {})


class DescriptorHandler(Handler):
    """Of a file descriptor: a reader and a writer of the asyncio loop."""

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
    """Of a ZeroMQ socket: a source of the loop's reactor."""

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
