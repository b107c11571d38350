"""IOLoop: the callback-style facade of an asyncio loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import datetime
import functools
import numbers
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, overload

from zmqstream import _core
from zmqstream.eventloop import (
    AllFds,
    EventLoop,
    asyncio_loop_of,
    current_asyncio_loop,
    is_usable,
    reactor_of,
)
from zmqstream.ioloop import handlers, watchdog
from zmqstream.stats import LoopStats

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Literal

_thread = threading.local()

# Coroutine callbacks until they end: asyncio itself holds its tasks weakly.
_tasks: set[asyncio.Future[Any]] = set()


class IOLoop:
    """An event loop with callbacks.

    Parameters
    ----------
    make_current : bool, optional
        Whether `IOLoop.current()` is this loop in this thread from now on. By default it is if
        there was none.
    asyncio_loop : asyncio.AbstractEventLoop, optional
        The loop to be a facade of; by default a new EventLoop.
    """

    NONE = handlers.NONE
    READ = handlers.READ
    WRITE = handlers.WRITE
    ERROR = handlers.ERROR

    def __init__(
        self,
        make_current: bool | None = None,
        *,
        asyncio_loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.asyncio_loop = EventLoop() if asyncio_loop is None else asyncio_loop_of(asyncio_loop)
        self._handlers: dict[Any, handlers.Handler] = {}
        try:
            self.asyncio_loop._zmqstream_ioloop = self  # type: ignore[attr-defined]
        except AttributeError:
            pass  # a loop without room for it: current() makes another one each time
        if make_current or (make_current is None and IOLoop.current(instance=False) is None):
            self.make_current()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.asyncio_loop!r}>"

    # -- which loop ------------------------------------------------------------------------------

    @classmethod
    def instance(cls) -> IOLoop:
        """The same as current(), as in Tornado from version 5: each thread has its own loop."""
        return cls.current()

    @classmethod
    def initialized(cls) -> bool:
        """Whether this thread has a current loop."""
        return cls.current(instance=False) is not None

    @classmethod
    def clear_instance(cls) -> None:
        """The same as clear_current()."""
        cls.clear_current()

    def install(self) -> None:
        """The same as make_current()."""
        self.make_current()

    @overload
    @classmethod
    def current(cls, instance: Literal[True] = True) -> IOLoop: ...

    @overload
    @classmethod
    def current(cls, instance: bool) -> IOLoop | None: ...

    @classmethod
    def current(cls, instance: bool = True) -> IOLoop | None:
        """The loop that runs in this thread, or else the one that was made current: by
        make_current(), or since then by asyncio.set_event_loop(), as Tornado's make_current() does.

        If there is none, a new loop is made and becomes current; or, if not `instance`, the result
        is None.
        """
        present = current_asyncio_loop()
        loop: IOLoop | None = getattr(_thread, "current", None)
        # asyncio may know none any more: asyncio.run() leaves none behind
        if present is None and loop is not None and not is_usable(loop.asyncio_loop):
            loop = None
        if loop is not None and present in (None, loop.asyncio_loop):
            return loop
        if present is not None:
            return cls._of(present)
        return cls(make_current=True) if instance else None

    @classmethod
    def _of(cls, loop: asyncio.AbstractEventLoop) -> IOLoop:
        facade: IOLoop | None = getattr(loop, "_zmqstream_ioloop", None)
        return cls(make_current=False, asyncio_loop=loop) if facade is None else facade

    def make_current(self) -> None:
        """Be the loop that IOLoop.current() and asyncio.get_event_loop() find in this thread."""
        _thread.current = self
        asyncio.set_event_loop(self.asyncio_loop)

    @classmethod
    def clear_current(cls) -> None:
        """Have no current loop in this thread."""
        _thread.current = None
        asyncio.set_event_loop(None)

    # -- running ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Run until stop() is called; if it was before, return at once."""
        self.asyncio_loop.run_forever()

    def stop(self) -> None:
        """Have start() return when what is ready now has run.

        From another thread: `add_callback(loop.stop)`.
        """
        self.asyncio_loop.stop()

    def running(self) -> bool:
        """Whether the loop runs."""
        return self.asyncio_loop.is_running()

    def close(self, all_fds: bool = False) -> None:
        """Close the loop, which must not be running.

        With `all_fds`, also its streams, and what add_handler() was given: descriptors, files and
        sockets.
        """
        if self.asyncio_loop.is_closed():
            return
        if self.running():
            raise RuntimeError(f"cannot close a running loop: {self!r}")
        for handler in self._handlers.values():
            handler.remove()
            if all_fds:
                self.close_fd(handler.target)
        self._handlers.clear()
        if all_fds:
            AllFds(self.asyncio_loop).close()
        if getattr(_thread, "current", None) is self:
            if current_asyncio_loop() is self.asyncio_loop:
                asyncio.set_event_loop(None)  # and not what was set since
            _thread.current = None
        self.asyncio_loop.close()
        _tasks.difference_update([t for t in list(_tasks) if t.get_loop() is self.asyncio_loop])

    def run_sync(self, func: Callable[[], Any], timeout: float | None = None) -> Any:
        """Run the loop until `func()`, a function or coroutine function, has its result.

        A function may also return a future, of asyncio or concurrent.futures. `timeout` in seconds;
        then what runs is cancelled and TimeoutError raised.
        """

        async def main() -> Any:
            result = func()
            if isinstance(result, concurrent.futures.Future):
                result = asyncio.wrap_future(result)
            if not _is_awaitable(result):
                return result
            task = asyncio.ensure_future(result)
            if not (await asyncio.wait([task], timeout=timeout))[0]:
                task.cancel()
                await asyncio.wait([task])
                if task.cancelled():
                    raise asyncio.TimeoutError(f"run_sync: no result after {timeout} s")
            return task.result()

        return self.asyncio_loop.run_until_complete(main())

    # -- descriptors and sockets -----------------------------------------------------------------

    def add_handler(self, fd: Any, handler: Callable[[Any, int], Any], events: int) -> None:
        """Call `handler(fd, events)` as long as `fd` has any of `events`.

        Parameters
        ----------
        fd : int, object with fileno(), or zmq.Socket
            The handler gets just this. Its readiness is level-triggered.
        handler : callable
        events : int
            READ, WRITE or both; ERROR is always included.

        Raises
        ------
        ValueError
            `fd` has a handler already.
        TypeError
            It is nothing that can be polled.
        """
        if not callable(handler):
            raise _core.NotCallableError(f"add_handler: not callable: {handler!r}")
        key = handlers.key_of(fd)
        if key in self._handlers:
            raise ValueError(f"{fd!r} was added twice")
        new = handlers.new_handler(self.asyncio_loop, self._run_callback, fd, key, handler)
        self._handlers[key] = new
        try:
            new.watch(events)
        except BaseException:
            del self._handlers[key]
            new.remove()  # what it watches already
            raise

    def update_handler(self, fd: Any, events: int) -> None:
        """Change the events of a handler. KeyError if `fd` has none."""
        try:
            handler = self._handlers[handlers.key_of(fd)]
        except KeyError:
            raise KeyError(f"{fd!r} has no handler on this loop") from None
        handler.watch(events)

    def remove_handler(self, fd: Any) -> None:
        """End a handler; nothing happens if there is none."""
        try:
            key = handlers.key_of(fd)
        except (TypeError, ValueError):  # closed meanwhile: it has no number any more
            key = next((h.key for h in self._handlers.values() if h.target is fd), None)
        handler = self._handlers.pop(key, None)
        if handler is not None:
            handler.remove()

    def split_fd(self, fd: Any) -> tuple[Any, Any]:
        """What identifies a handler (a descriptor's number, or a zmq.Socket), and `fd` itself."""
        return handlers.key_of(fd), fd

    def close_fd(self, fd: Any) -> None:
        """Close what add_handler() was given: a descriptor's number or an object with close()."""
        try:
            if isinstance(fd, int):
                os.close(fd)
            else:
                fd.close()
        except OSError:
            pass  # it was closed already

    # -- callbacks and time ----------------------------------------------------------------------

    def add_callback(self, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Call soon, in the loop. May be called from any thread. A closed loop calls nothing."""
        if asyncio._get_running_loop() is self.asyncio_loop:
            call_soon = self.asyncio_loop.call_soon
        else:
            call_soon = self.asyncio_loop.call_soon_threadsafe
        self._add_callback(call_soon, callback, args, kwargs)

    def _add_callback(
        self, call_soon: Callable[..., Any], callback: Any, args: Any, kwargs: Any
    ) -> None:
        try:
            call_soon(self._run_callback, callback, args, kwargs)
        except RuntimeError:
            if not self.asyncio_loop.is_closed():
                raise
            # as with Tornado's: who comes too late, in a thread or a handler, has no one to tell

    def add_callback_from_signal(
        self, callback: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> None:
        """As add_callback(), from a signal handler."""
        self._add_callback(self.asyncio_loop.call_soon_threadsafe, callback, args, kwargs)

    spawn_callback = add_callback

    def add_future(
        self, future: asyncio.Future[Any], callback: Callable[[asyncio.Future[Any]], Any]
    ) -> None:
        """Call `callback(future)` in the loop when the future is done."""
        future.add_done_callback(lambda done: self.add_callback(callback, done))

    def run_in_executor(
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> Awaitable[Any]:
        """As asyncio's: run `func(*args)` in an executor, None for the default one."""
        return self.asyncio_loop.run_in_executor(executor, func, *args)

    def set_default_executor(self, executor: Any) -> None:
        """The executor that run_in_executor(None, ...) uses."""
        self.asyncio_loop.set_default_executor(executor)

    def stats(self) -> LoopStats:
        """What the loop has done for streams."""
        return LoopStats(*reactor_of(self.asyncio_loop).stats())

    def time(self) -> float:
        """The clock of add_timeout() and call_at(): time.time(), in seconds."""
        return time.time()

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> object:
        """Call after `delay` seconds. Returns what remove_timeout() takes."""
        return self.asyncio_loop.call_later(
            max(0, delay), self._run_callback, callback, args, kwargs
        )

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> object:
        """Call at `when`, a time of time()."""
        return self.call_later(when - self.time(), callback, *args, **kwargs)

    def add_timeout(
        self,
        deadline: float | datetime.timedelta,
        callback: Callable[..., Any],
        *args: Any,
        **kwargs: Any,
    ) -> object:
        """Call at `deadline`: a time of time(), or a timedelta from now."""
        if isinstance(deadline, datetime.timedelta):
            return self.call_later(deadline.total_seconds(), callback, *args, **kwargs)
        if isinstance(deadline, numbers.Real):
            return self.call_at(float(deadline), callback, *args, **kwargs)
        raise TypeError(f"deadline must be a number or a timedelta, not {deadline!r}")

    def remove_timeout(self, timeout: object) -> None:
        """Cancel what call_later(), call_at() or add_timeout() returned."""
        timeout.cancel()  # type: ignore[attr-defined]

    def handle_callback_exception(self, callback: Callable[..., Any]) -> None:
        """Called in the `except` of a callback that failed; reports it. May be overridden."""
        self.asyncio_loop.call_exception_handler(
            {"message": f"Exception in callback {callback!r}", "exception": sys.exc_info()[1]}
        )

    def set_blocking_log_threshold(self, seconds: float | None) -> None:
        """Log a warning, with the stack, whenever the loop is blocked for more than `seconds`.

        It is blocked for as long as something that it has called does not return: a callback of
        ours, of a stream or of asyncio, or a step of a coroutine. A thread watches over that, and
        the warning comes meanwhile, once. None or 0 ends it, as does the end of the loop. Not
        seen are C code that never lets other threads run, and loops that are not written in
        Python, as uvloop's: for these there is a RuntimeWarning.
        """
        watchdog.watch(self.asyncio_loop, seconds)

    def _run_callback(
        self, callback: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> asyncio.Future[Any] | None:
        """Call it, and report its failure. Returns the task of a coroutine function."""
        try:
            result = callback(*args, **kwargs)
            if _is_awaitable(result):
                task: asyncio.Future[Any] = asyncio.ensure_future(result, loop=self.asyncio_loop)
                _tasks.add(task)
                task.add_done_callback(functools.partial(self._task_done, callback))
                return task
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            self.handle_callback_exception(callback)
        return None

    def _task_done(self, callback: Callable[..., Any], task: asyncio.Future[Any]) -> None:
        _tasks.discard(task)
        if task.cancelled():
            return
        try:
            task.result()
        except (KeyboardInterrupt, SystemExit):
            pass  # it has left the loop already
        except BaseException:
            self.handle_callback_exception(callback)


def _is_awaitable(result: Any) -> bool:
    return result is not None and hasattr(type(result), "__await__")
