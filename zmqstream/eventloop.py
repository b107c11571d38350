"""EventLoop, an asyncio loop that dispatches ZeroMQ streams in C, and the reactor of any loop.

    import asyncio, zmq, zmqstream

    async def main():
        socket = zmq.Context.instance().socket(zmq.PULL)
        socket.bind("tcp://127.0.0.1:5555")
        stream = zmqstream.ZMQStream(socket)
        stream.on_recv(print)
        await asyncio.sleep(3600)

    zmqstream.run(main())

An EventLoop is asyncio's own SelectorEventLoop with another selector, so everything of asyncio
works on it. On any other loop with readers (asyncio's default, uvloop, Tornado's) streams work
too, at some cost: there a reactor is a guest with one reader.
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
    """How new loops poll: "epoll", or "selectors" where there is none.

    The environment variable ZMQSTREAM_POLLER forces either.
    """
    available = hasattr(selectors, "EpollSelector")
    wish = os.environ.get("ZMQSTREAM_POLLER") or ("epoll" if available else "selectors")
    if wish not in ("epoll", "selectors"):
        raise ValueError(f'ZMQSTREAM_POLLER must be "epoll" or "selectors", not {wish!r}')
    if wish == "epoll" and not available:
        raise ValueError(f"ZMQSTREAM_POLLER: there is no epoll on {sys.platform}")
    return wish


class ReactorSelector(selectors.DefaultSelector):
    """What asyncio watches is registered here, as ever; select() also runs the reactor."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        kind = poller()
        super().__init__()
        self.pid = os.getpid()
        self.reactor = _core.OwnLoopReactor(loop, self, super().select, kind)

    def check_process(self) -> None:
        """Raise RuntimeError in a forked child: what is polled is polled for the parent, too."""
        if os.getpid() != self.pid:
            raise RuntimeError(
                "this event loop belongs to the parent process: after fork, make context, loop and "
                "streams anew"
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
        if os.getpid() != self.pid:  # closing the loop: only forget it
            return self.reactor.keys.pop(fileobj if isinstance(fileobj, int) else fileobj.fileno())
        key = super().unregister(fileobj)
        del self.reactor.keys[key.fd]
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        self.check_process()
        try:
            key = super().modify(fileobj, events, data)
        except BaseException:
            # the base class has unregistered what the operating system does not know any more
            for fd in self.reactor.keys.keys() - self.get_map().keys():
                del self.reactor.keys[fd]
            raise
        self.reactor.keys[key.fd] = key
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return self.reactor.select(timeout)


class EventLoop(asyncio.SelectorEventLoop):
    """asyncio's selector loop, with ZeroMQ streams dispatched in its selector."""

    _closed = True  # until __init__() got so far: asyncio's __del__() looks at it

    def __init__(self) -> None:
        selector = ReactorSelector(self)
        self._reactor = selector.reactor
        self._pid = selector.pid
        try:
            super().__init__(selector)
        except BaseException:  # there is no descriptor for a self-pipe
            self._closed = True
            selector.close()
            raise
        self._reactor.bind_loop()

    def close(self) -> None:
        """Close the loop. Streams that are still open can be flushed and closed, not more."""
        if not self.is_closed() and not self.is_running():
            self._reactor.close()
        super().close()


def new_event_loop() -> EventLoop:
    """A new EventLoop: a `loop_factory` for asyncio.Runner and asyncio.run()."""
    return EventLoop()


def run(main: Coroutine[Any, Any, T], *, debug: bool | None = None) -> T:
    """As asyncio.run(), on a new EventLoop."""
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("zmqstream.run() cannot be called from a running event loop")
    if sys.version_info < (3, 11):
        return _run_as_3_10(main, debug)
    with asyncio.Runner(debug=debug, loop_factory=new_event_loop) as runner:
        return runner.run(main)


def _run_as_3_10(main: Coroutine[Any, Any, T], debug: bool | None) -> T:
    """What asyncio.run() does in Python 3.10, where it takes no loop_factory."""
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
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            for task in tasks:
                if not task.cancelled() and task.exception() is not None:
                    loop.call_exception_handler(
                        {
                            "message": "unhandled exception during zmqstream.run() shutdown",
                            "exception": task.exception(),
                            "task": task,
                        }
                    )
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            loop.close()


def current_asyncio_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that runs, or that asyncio.set_event_loop() has set; never a new one."""
    loop: asyncio.AbstractEventLoop | None = asyncio._get_running_loop()
    if loop is None and sys.version_info >= (3, 14):
        try:
            loop = asyncio.get_event_loop()
        except RuntimeError:
            return None
    elif loop is None:
        # get_event_loop() would make one; this is where asyncio's and uvloop's policies keep it
        local = getattr(asyncio.get_event_loop_policy(), "_local", None)
        loop = getattr(local, "_loop", None)
    return loop if loop is not None and is_usable(loop) else None


# Of loops that are not ours. The reactor refers to its loop: it is kept by the loop's reader, and
# by its streams, and goes with them.
_guests: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = weakref.WeakKeyDictionary()


def asyncio_loop_of(io_loop: Any) -> asyncio.AbstractEventLoop:
    """The asyncio loop behind an IOLoop (ours or Tornado's), or `io_loop` itself.

    Raises TypeError for anything else, RuntimeError for a closed loop.
    """
    loop = getattr(io_loop, "asyncio_loop", io_loop)
    if not isinstance(loop, asyncio.AbstractEventLoop):
        raise TypeError(
            "io_loop must be an IOLoop of zmqstream's or Tornado's, or an asyncio event loop, "
            f"not {type(io_loop).__name__}: {io_loop!r}"
        )
    if loop.is_closed():
        raise RuntimeError(f"io_loop is closed: {io_loop!r}")
    return loop


def is_usable(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether `loop` is not closed and not, in a forked child, the parent's."""
    return not loop.is_closed() and not (isinstance(loop, EventLoop) and loop._pid != os.getpid())


def reactor_of(loop: asyncio.AbstractEventLoop) -> _core.Reactor:
    """The reactor that serves the streams of `loop`."""
    reactor = _present_reactor(loop)
    if reactor is None:
        reactor = _core.GuestReactor(loop, poller())
        _guests[loop] = weakref.ref(reactor)
    return reactor


def _present_reactor(loop: asyncio.AbstractEventLoop) -> _core.Reactor | None:
    if isinstance(loop, EventLoop):
        return loop._reactor
    guest = _guests.get(loop)
    return None if guest is None else guest()


def open_streams(loop: asyncio.AbstractEventLoop) -> list[_core.Stream]:
    """The streams of `loop` whose socket is open."""
    reactor = _present_reactor(loop)
    sources = [] if reactor is None else reactor.open_sources()
    return [source for source in sources if isinstance(source, _core.Stream)]


class AllFds:
    """What closes a loop's streams in `IOLoop.close(all_fds=True)`.

    pyzmq's streams are handlers of Tornado's IOLoop, so that closes their sockets, and programs
    count on it: their contexts could not be terminated otherwise. This stands for all our streams
    of a loop among its handlers.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop

    def fileno(self) -> int:
        return -0x5A4D51  # a key like any other for Tornado, and nobody's descriptor

    def called(self, fd: Any, events: int) -> None:
        """The handler; it has no events."""

    def close(self) -> None:
        for stream in open_streams(self.loop):
            stream.close()


def tornados_ioloop() -> Any:
    """Tornado's IOLoop class, where the program has imported it; or None."""
    # another thread may be in the middle of its import
    return getattr(sys.modules.get("tornado.ioloop"), "IOLoop", None)


def follow_tornado(io_loop: Any) -> None:
    """Have the streams of `io_loop` closed with it, if it is Tornado's."""
    theirs = tornados_ioloop()
    if theirs is None or not isinstance(io_loop, theirs):
        return
    all_fds = AllFds(io_loop.asyncio_loop)
    try:
        io_loop.add_handler(all_fds, all_fds.called, 0)
    except ValueError:
        pass  # it has one already
