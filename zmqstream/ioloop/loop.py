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

import zmq

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

# Tasks of coroutine callbacks, until they end. asyncio itself refers to its tasks weakly.
_tasks: set[asyncio.Future[Any]] = set()


class IOLoop:
    """An event loop with callbacks.

    Parameters
    ----------
    make_current : bool, optional
        Whether this loop becomes `IOLoop.current()` of this thread. By default it does if the
        thread has no current loop.
    asyncio_loop : asyncio.AbstractEventLoop, optional
        The loop behind this facade; by default a new EventLoop.
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
            pass  # this loop accepts no attributes: current() creates a facade at each call
        if make_current or (make_current is None and IOLoop.current(instance=False) is None):
            self.make_current()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.asyncio_loop!r}>"

    # -- which loop ------------------------------------------------------------------------------

    @classmethod
    def instance(cls) -> IOLoop:
        """The same as current(): each thread has its own loop, as in Tornado 5 and newer."""
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
        """The loop that runs in this thread, or else the thread's current loop.

        make_current() sets the current loop, as do asyncio.set_event_loop() and Tornado's
        make_current(). If there is no loop, a new one becomes current; if `instance` is false, the
        result is None.
        """
        present = current_asyncio_loop()
        loop: IOLoop | None = getattr(_thread, "current", None)
        # asyncio.run() sets asyncio's current loop to None, while `_thread.current` is still set.
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
        """Make this the loop of IOLoop.current() and asyncio.get_event_loop() in this thread."""
        _thread.current = self
        asyncio.set_event_loop(self.asyncio_loop)

    @classmethod
    def clear_current(cls) -> None:
        """Leave this thread without a current loop."""
        _thread.current = None
        asyncio.set_event_loop(None)

    # -- running ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Run until stop() is called. If it was called before, return at once."""
        self.asyncio_loop.run_forever()

    def stop(self) -> None:
        """Make start() return after the ready callbacks. Threads use `add_callback(loop.stop)`."""
        self.asyncio_loop.stop()

    def running(self) -> bool:
        """Whether the loop runs."""
        return self.asyncio_loop.is_running()

    def close(self, all_fds: bool = False) -> None:
        """Close the loop. Raises RuntimeError if it is running.

        With `all_fds`, also close its streams, and the descriptors, files and sockets that
        add_handler() was given.
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
                asyncio.set_event_loop(None)  # another loop that was set since stays current
            _thread.current = None
        self.asyncio_loop.close()
        _tasks.difference_update([t for t in list(_tasks) if t.get_loop() is self.asyncio_loop])

    def run_sync(self, func: Callable[[], Any], timeout: float | None = None) -> Any:
        """Run the loop until `func()` has a result, and return it.

        `func` is a function or a coroutine function. A function may also return a future of asyncio
        or concurrent.futures. After `timeout` seconds run_sync() cancels the coroutine or future
        and raises TimeoutError.
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
        """Call `handler(fd, events)` as long as any of `events` is ready on `fd` (level-triggered).

        Parameters
        ----------
        fd : int, object with fileno(), or zmq.Socket
            The handler gets this object itself.
        handler : callable
        events : int
            READ, WRITE or both. ERROR is always included.

        Raises
        ------
        ValueError
            `fd` already has a handler.
        TypeError
            `fd` cannot be polled, or `handler` is not callable.
        """
        if not callable(handler):
            raise _core.NotCallableError(f"add_handler: not callable: {handler!r}")
        key = handlers.key_of(fd)
        if key in self._handlers:
            raise ValueError(f"{fd!r} was added twice")
        socket = isinstance(fd, zmq.Socket)
        handler_class = handlers.SocketHandler if socket else handlers.DescriptorHandler
        new = handler_class(self.asyncio_loop, self._run_callback, fd, key, handler)
        self._handlers[key] = new
        try:
            new.watch(events)
        except BaseException:
            del self._handlers[key]
            new.remove()  # watch() may have added the reader and failed to add the writer
            raise

    def update_handler(self, fd: Any, events: int) -> None:
        """Change the events of a handler. Raises KeyError if `fd` has no handler."""
        try:
            handler = self._handlers[handlers.key_of(fd)]
        except KeyError:
            raise KeyError(f"{fd!r} has no handler on this loop") from None
        handler.watch(events)

    def remove_handler(self, fd: Any) -> None:
        """Remove the handler of `fd`, if it has one."""
        try:
            key = handlers.key_of(fd)
        except (TypeError, ValueError):  # a closed file has no number
            key = next((h.key for h in self._handlers.values() if h.target is fd), None)
        handler = self._handlers.pop(key, None)
        if handler is not None:
            handler.remove()

    def split_fd(self, fd: Any) -> tuple[Any, Any]:
        """The key of a handler (a descriptor's number or a zmq.Socket), and `fd` itself."""
        return handlers.key_of(fd), fd

    def close_fd(self, fd: Any) -> None:
        """Close `fd`, a descriptor's number or an object with close()."""
        try:
            if isinstance(fd, int):
                os.close(fd)
            else:
                fd.close()
        except OSError:
            pass  # `fd` was closed already

    # -- callbacks and time ----------------------------------------------------------------------

    def add_callback(self, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Call `callback` soon, in the loop. Thread-safe. A closed loop ignores the call."""
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
            # Like Tornado, ignore callbacks for a closed loop: threads cannot know that it closed.

    def add_callback_from_signal(
        self, callback: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> None:
        """Like add_callback(), for signal handlers."""
        self._add_callback(self.asyncio_loop.call_soon_threadsafe, callback, args, kwargs)

    spawn_callback = add_callback

    def add_future(
        self, future: asyncio.Future[Any], callback: Callable[[asyncio.Future[Any]], Any]
    ) -> None:
        """Call `callback(future)` in the loop when `future` is done."""
        future.add_done_callback(lambda done: self.add_callback(callback, done))

    def run_in_executor(
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> Awaitable[Any]:
        """Run `func(*args)` in an executor, as asyncio does; None is the default executor."""
        return self.asyncio_loop.run_in_executor(executor, func, *args)

    def set_default_executor(self, executor: Any) -> None:
        """Set the executor that run_in_executor(None, ...) uses."""
        self.asyncio_loop.set_default_executor(executor)

    def stats(self) -> LoopStats:
        """Counts of what the loop has done for streams."""
        return LoopStats(*reactor_of(self.asyncio_loop).stats())

    def time(self) -> float:
        """The clock of add_timeout() and call_at(): time.time() in seconds."""
        return time.time()

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> object:
        """Call `callback` after `delay` seconds. Returns a handle for remove_timeout()."""
        return self.asyncio_loop.call_later(
            max(0, delay), self._run_callback, callback, args, kwargs
        )

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> object:
        """Call `callback` at `when`, a time of time(). Returns a handle for remove_timeout()."""
        return self.call_later(when - self.time(), callback, *args, **kwargs)

    def add_timeout(
        self,
        deadline: float | datetime.timedelta,
        callback: Callable[..., Any],
        *args: Any,
        **kwargs: Any,
    ) -> object:
        """Like call_at(). `deadline` may also be a timedelta, which is the time from now."""
        if isinstance(deadline, datetime.timedelta):
            return self.call_later(deadline.total_seconds(), callback, *args, **kwargs)
        if isinstance(deadline, numbers.Real):
            return self.call_at(float(deadline), callback, *args, **kwargs)
        raise TypeError(f"deadline must be a number or a timedelta, not {deadline!r}")

    def remove_timeout(self, timeout: object) -> None:
        """Cancel a call of call_later(), call_at() or add_timeout(), which returned `timeout`."""
        timeout.cancel()  # type: ignore[attr-defined]

    def handle_callback_exception(self, callback: Callable[..., Any]) -> None:
        """Report the exception of `callback` that is being handled. May be overridden."""
        self.asyncio_loop.call_exception_handler(
            {"message": f"Exception in callback {callback!r}", "exception": sys.exc_info()[1]}
        )

    def set_blocking_log_threshold(self, seconds: float | None) -> None:
        """Log a warning with the stack whenever the loop is blocked for more than `seconds`.

        The loop is blocked while a callback, or a step of a coroutine, does not return. A thread
        watches the loop and logs one warning while the loop is blocked. None or 0 ends that, as
        does closing the loop. The thread cannot see C code that keeps the GIL. It cannot watch
        loops that are not written in Python, such as uvloop's: then a RuntimeWarning is issued.
        """
        watchdog.watch(self.asyncio_loop, seconds)

    def _run_callback(
        self, callback: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> asyncio.Future[Any] | None:
        """Call `callback` and report its exception. Returns the task of a coroutine function."""
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
            pass  # the loop has raised it already
        except BaseException:
            self.handle_callback_exception(callback)


def _is_awaitable(result: Any) -> bool:
    return result is not None and hasattr(type(result), "__await__")
