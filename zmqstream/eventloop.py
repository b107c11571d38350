"""EventLoop, an asyncio loop that dispatches ZeroMQ streams in C; and the reactors of all loops.

    import asyncio, zmq, zmqstream

    async def main():
        socket = zmq.Context.instance().socket(zmq.PULL)
        socket.bind("tcp://127.0.0.1:5555")
        stream = zmqstream.ZMQStream(socket)
        stream.on_recv(print)
        await asyncio.sleep(3600)

    zmqstream.run(main())

An EventLoop is asyncio's SelectorEventLoop with another selector, so all of asyncio works on it.
Streams also work on any other loop with readers (asyncio's default, uvloop, Tornado's), but slower:
there all streams share a guest reactor, which is one reader of that loop.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import sys
import weakref
from typing import TYPE_CHECKING, Any

from zmqstream import _core

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import TypeVar

    T = TypeVar("T")

__all__ = ["EventLoop", "new_event_loop", "run"]


def poller() -> str:
    """How new loops poll: "epoll", or "selectors" on systems without epoll.

    The environment variable ZMQSTREAM_POLLER selects either.
    """
    available = hasattr(selectors, "EpollSelector")
    chosen = os.environ.get("ZMQSTREAM_POLLER") or ("epoll" if available else "selectors")
    if chosen not in ("epoll", "selectors"):
        raise ValueError(f'ZMQSTREAM_POLLER must be "epoll" or "selectors", not {chosen!r}')
    if chosen == "epoll" and not available:
        raise ValueError(f"ZMQSTREAM_POLLER: there is no epoll on {sys.platform}")
    return chosen


class ReactorSelector(selectors.DefaultSelector):
    """asyncio registers its descriptors here as in any selector. select() also runs the reactor."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        kind = poller()
        super().__init__()
        self.pid = os.getpid()
        self.reactor = _core.OwnLoopReactor(loop, self, super().select, kind)

    def check_process(self) -> None:
        """Raise RuntimeError in a forked child, which shares the epoll object with its parent."""
        if os.getpid() != self.pid:
            raise RuntimeError(
                "this event loop belongs to the parent process: create a new context, loop and "
                "streams after fork"
            )

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        self.check_process()
        self.reactor.step_aside(fileobj if isinstance(fileobj, int) else fileobj.fileno())
        key = super().register(fileobj, events, data)
        try:
            self.reactor.keys[key.fd] = key
        except MemoryError:
            super().unregister(fileobj)
            raise
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        if os.getpid() != self.pid:  # the child closes the loop: leave the parent's epoll object
            return self.reactor.keys.pop(fileobj if isinstance(fileobj, int) else fileobj.fileno())
        key = super().unregister(fileobj)
        del self.reactor.keys[key.fd]
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        self.check_process()
        try:
            key = super().modify(fileobj, events, data)
        except BaseException:
            # The base class unregisters a descriptor if the system cannot modify it.
            for fd in self.reactor.keys.keys() - self.get_map().keys():
                del self.reactor.keys[fd]
            raise
        self.reactor.keys[key.fd] = key
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return self.reactor.select(timeout)


class EventLoop(asyncio.SelectorEventLoop):
    """asyncio's selector loop, with ZeroMQ streams dispatched in its selector."""

    _closed = True  # asyncio's __del__() reads it even if __init__() has failed

    def __init__(self) -> None:
        selector = ReactorSelector(self)
        self._reactor = selector.reactor
        self._pid = selector.pid
        try:
            super().__init__(selector)
        except BaseException:  # asyncio cannot create its self-pipe without descriptors
            self._closed = True
            selector.close()
            raise
        self._reactor.bind_loop()

    def close(self) -> None:
        """Close the loop. Streams that are still open can only be flushed and closed."""
        if not self.is_closed() and not self.is_running():
            self._reactor.close()
        super().close()


def new_event_loop() -> EventLoop:
    """Return a new EventLoop: a `loop_factory` for asyncio.Runner and asyncio.run()."""
    return EventLoop()


def run(main: Coroutine[Any, Any, T], *, debug: bool | None = None) -> T:
    """Like asyncio.run(), on a new EventLoop."""
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("zmqstream.run() cannot be called from a running event loop")
    if sys.version_info < (3, 11):
        return _run_as_3_10(main, debug)
    with asyncio.Runner(debug=debug, loop_factory=new_event_loop) as runner:
        return runner.run(main)


def _run_as_3_10(main: Coroutine[Any, Any, T], debug: bool | None) -> T:
    """What asyncio.run() does in Python 3.10, where it has no `loop_factory`."""
    if not asyncio.iscoroutine(main):
        raise ValueError(f"a coroutine was expected, got {main!r}")
    loop = new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        if debug is not None:
            loop.set_debug(debug)
        return loop.run_until_complete(main)
    finally:
        try:
            asyncio.runners._cancel_all_tasks(loop)  # type: ignore[attr-defined]
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            loop.close()


def current_asyncio_loop() -> asyncio.AbstractEventLoop | None:
    """The running loop, or else that of asyncio.set_event_loop(). Never creates a loop."""
    loop: asyncio.AbstractEventLoop | None = asyncio._get_running_loop()
    if loop is None and sys.version_info >= (3, 14):
        try:
            loop = asyncio.get_event_loop()
        except RuntimeError:
            return None
    elif loop is None:
        # get_event_loop() would create one. asyncio's and uvloop's policies keep theirs here.
        local = getattr(asyncio.get_event_loop_policy(), "_local", None)
        loop = getattr(local, "_loop", None)
    return loop if loop is not None and is_usable(loop) else None


# Weak references to the reactors of other loops. A reactor refers to its loop, so it must not be
# kept alive here: the loop's reader and the streams keep it.
_guests: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = weakref.WeakKeyDictionary()


def asyncio_loop_of(
    io_loop: Any, name: str = "io_loop", closed: bool = False
) -> asyncio.AbstractEventLoop:
    """The asyncio loop of an IOLoop (zmqstream's or Tornado's), or `io_loop` itself.

    Raises TypeError for any other object, and RuntimeError for a closed loop unless `closed`.
    """
    loop = getattr(io_loop, "asyncio_loop", io_loop)
    if not isinstance(loop, asyncio.AbstractEventLoop):
        raise TypeError(
            f"{name} must be zmqstream's or Tornado's IOLoop or an asyncio event loop, "
            f"not {type(io_loop).__name__}: {io_loop!r}"
        )
    if loop.is_closed() and not closed:
        raise RuntimeError(f"{name} is closed: {io_loop!r}")
    return loop


def is_usable(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether `loop` is open and was not created before a fork of this process."""
    return not loop.is_closed() and not (isinstance(loop, EventLoop) and loop._pid != os.getpid())


def reactor_of(loop: asyncio.AbstractEventLoop) -> _core.Reactor:
    """The reactor that serves the streams of `loop`."""
    reactor = existing_reactor(loop)
    if reactor is None:
        reactor = _core.GuestReactor(loop, poller())
        _guests[loop] = weakref.ref(reactor)
    return reactor


def existing_reactor(loop: asyncio.AbstractEventLoop) -> _core.Reactor | None:
    if isinstance(loop, EventLoop):
        return loop._reactor
    guest = _guests.get(loop)
    return None if guest is None else guest()


def open_streams(loop: asyncio.AbstractEventLoop) -> list[_core.Stream]:
    """The streams of `loop` whose sockets are open."""
    reactor = existing_reactor(loop)
    sources = [] if reactor is None else reactor.open_sources()
    return [source for source in sources if isinstance(source, _core.Stream)]


class AllFds:
    """A handler of Tornado's IOLoop that closes all streams of its loop.

    Tornado's `IOLoop.close(all_fds=True)` closes pyzmq's streams, because they are handlers of that
    loop. Programs rely on it: open sockets would block the termination of their contexts.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop

    def fileno(self) -> int:
        return -0x5A4D51  # Tornado uses it as a key only; no descriptor is negative

    def called(self, fd: Any, events: int) -> None:
        """The handler's callback, which is never called: the handler waits for no events."""

    def close(self) -> None:
        for stream in open_streams(self.loop):
            stream.close()


def tornado_ioloop_class() -> Any:
    """Tornado's IOLoop class, or None if the program has not imported it."""
    # The attribute is missing while another thread imports the module.
    return getattr(sys.modules.get("tornado.ioloop"), "IOLoop", None)


def close_with_tornado(io_loop: Any) -> None:
    """Make `close(all_fds=True)` of a Tornado IOLoop close its streams; ignore other loops."""
    ioloop_class = tornado_ioloop_class()
    if ioloop_class is None or not isinstance(io_loop, ioloop_class):
        return
    all_fds = AllFds(io_loop.asyncio_loop)
    try:
        io_loop.add_handler(all_fds, all_fds.called, 0)
    except ValueError:
        pass  # the loop already has this handler
