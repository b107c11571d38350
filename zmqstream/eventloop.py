"""EventLoop, an asyncio loop that dispatches ZeroMQ streams in C; and the reactors of all loops.

    import asyncio, zmq, zmqstream

    async def main():
        socket = zmq.Context.instance().socket(zmq.PULL)
        socket.bind("tcp://127.0.0.1:5555")
        stream = zmqstream.ZMQStream(socket)
        stream.on_recv(print)
        await asyncio.sleep(3600)

    zmqstream.run(main())

A loop is served in one of four ways:

- "own": an EventLoop. It is asyncio's SelectorEventLoop with a selector that runs the reactor, so
  all of asyncio works on it.
- "adopted": a SelectorEventLoop of asyncio. Its default loop and Tornado's are such loops. When
  the first stream is created, the loop's selector becomes one that runs the reactor, and stays so.
- "hooked": a loop of uvloop. As long as it has streams, libuv runs their reactor before each poll.
- "guest": any other loop with readers. There all streams share a guest reactor, which is one reader
  of that loop, and are slower.
"""

from __future__ import annotations

import asyncio
import functools
import os
import selectors
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

from zmqstream import _core

_core._use_asyncio(asyncio)

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


def may_be_ours() -> bool:
    """Whether other people's loops may be made ours: not with ZMQSTREAM_LOOP=guest."""
    chosen = os.environ.get("ZMQSTREAM_LOOP", "")
    if chosen not in ("", "guest"):
        raise ValueError(f'ZMQSTREAM_LOOP must be "guest" or not set, not {chosen!r}')
    return not chosen


_DefaultSelector: Any = selectors.DefaultSelector
_METHODS = frozenset(dir(_DefaultSelector))


class ReactorSelector(selectors.DefaultSelector):
    """asyncio registers its descriptors here as in any selector. select() also runs the reactor."""

    pid: int
    reactor: _core.OwnLoopReactor
    _fd_to_key: dict[int, selectors.SelectorKey]

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        poller()  # it may raise, before there is a descriptor
        super().__init__()
        add_reactor(self, loop, "own")

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
        return super().register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        if os.getpid() != self.pid:  # the child closes the loop: leave the parent's epoll object
            return self._fd_to_key.pop(fileobj if isinstance(fileobj, int) else fileobj.fileno())
        return super().unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        self.check_process()
        return super().modify(fileobj, events, data)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return self.reactor.select(timeout)

    def close(self) -> None:
        """The loop is being closed: its streams can be flushed and closed, not more."""
        self.reactor.close()
        super().close()


def add_reactor(selector: Any, loop: asyncio.AbstractEventLoop, kind: str) -> None:
    """Give `selector` what a ReactorSelector has."""
    select = functools.partial(_DefaultSelector.select, selector)
    selector.pid = os.getpid()
    selector.reactor = _core.OwnLoopReactor(loop, poller(), kind, selector, select)


class EventLoop(asyncio.SelectorEventLoop):
    """asyncio's selector loop, with ZeroMQ streams dispatched in its selector."""

    _closed = True  # asyncio's __del__() reads it even if __init__() has failed

    def __init__(self) -> None:
        selector = ReactorSelector(self)
        self._reactor = selector.reactor
        try:
            super().__init__(selector)
        except BaseException:  # asyncio cannot create its self-pipe without descriptors
            self._closed = True
            selector.close()
            raise
        self._reactor.bind_loop()


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


# Weak references to the reactors of hooked loops and of guests. A reactor refers to its loop, so it
# must not be kept alive here: the loop and the streams keep it.
_reactors: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = weakref.WeakKeyDictionary()

# Held while a loop gets its reactor, which two threads may ask for. A signal handler may ask for
# another one meanwhile.
_first_stream = threading.RLock()

# A loop that does these as asyncio's does polls in its own thread, with its selector.
POLLING = (
    *("run_forever", "_run_once", "_process_events", "call_soon_threadsafe"),
    *(f"{how}_{what}" for how in ("add", "remove") for what in ("reader", "writer")),
    *(f"_{how}_{what}" for how in ("add", "remove") for what in ("reader", "writer")),
)


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
    selector = getattr(loop, "_selector", None)
    return not loop.is_closed() and getattr(selector, "pid", os.getpid()) == os.getpid()


def reactor_of(loop: asyncio.AbstractEventLoop) -> _core.Reactor:
    """The reactor that serves the streams of `loop`, which gets one if it has none yet."""
    with _first_stream:
        reactor = existing_reactor(loop)
        if reactor is None and may_be_ours():
            reactor = adopt(loop) if can_be_adopted(loop) else hook(loop)
        if reactor is None:
            reactor = _core.GuestReactor(loop, poller())
            _reactors[loop] = weakref.ref(reactor)
        return reactor


def existing_reactor(loop: asyncio.AbstractEventLoop) -> _core.Reactor | None:
    if isinstance(loop, EventLoop):
        return loop._reactor
    adopted = getattr(getattr(loop, "_selector", None), "reactor", None)
    if isinstance(adopted, _core.OwnLoopReactor):
        return adopted
    other = _reactors.get(loop)
    return None if other is None else other()


def can_be_adopted(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether `loop` polls as asyncio's selector loops do, with asyncio's default selector."""
    selector = getattr(loop, "_selector", None)
    return (
        isinstance(loop, asyncio.SelectorEventLoop)
        and all(getattr(type(loop), n) is getattr(asyncio.SelectorEventLoop, n) for n in POLLING)
        # A method is a new object at each look-up, and a patch is always the same one. vars(loop)
        # would make asyncio slower for good: CPython 3.11 and 3.12 then look up each attribute of
        # the loop in a dict, and an awaited message takes 4 % longer.
        and all(getattr(loop, n) is not getattr(loop, n) for n in POLLING)
        and type(selector) is _DefaultSelector
        and vars(selector).keys().isdisjoint(_METHODS)  # nothing is patched
        and type(vars(selector).get("_fd_to_key")) is dict
        and hasattr(loop, "_thread_id")
    )


def adopt(loop: Any) -> _core.Reactor:
    """Make the selector of `loop` one that runs the reactor.

    The selector remains the same object with the same descriptors. So this takes no longer on a
    loop with many readers, and any thread may do it at any time. A loop that sleeps in the
    select() that it had before is woken.
    """
    add_reactor(loop._selector, loop, "adopted")
    reactor: _core.OwnLoopReactor = loop._selector.reactor
    reactor.bind_loop()  # first: the loop may use it at once
    loop._selector.__class__ = ReactorSelector
    if loop.is_running():
        loop.call_soon_threadsafe(_core._nothing)
    return reactor


def hook(loop: Any) -> _core.Reactor | None:
    """Have a loop of uvloop's run a reactor before each poll; None if it is another loop."""
    module: Any = sys.modules.get("uvloop.loop")
    if module is None or not isinstance(loop, module.Loop):
        return None
    try:
        hook = _core.UvHook(loop, module)
    except (AttributeError, LookupError):  # another uvloop than those that are known
        return None
    reactor = _core.OwnLoopReactor(loop, poller(), "hooked", hook=hook)
    _reactors[loop] = weakref.ref(reactor)
    return reactor


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
