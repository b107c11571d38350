"""PeriodicCallback and DelayedCallback: timers that call a function, on any loop.

beat = ioloop.PeriodicCallback(send_heartbeat, 1000)  # milliseconds
beat.start()
"""

from __future__ import annotations

import datetime
import math
import numbers
import random
from typing import TYPE_CHECKING, Any

from zmqstream import _core
from zmqstream.eventloop import asyncio_loop_of
from zmqstream.ioloop.current import current_loop
from zmqstream.ioloop.loop import IOLoop

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["DelayedCallback", "PeriodicCallback"]

SHORTEST_PERIOD = 1e-6  # milliseconds: a nanosecond, which is 0 for every loop's clock


class PeriodicCallback:
    """Calls a function once in each period.

    The calls are due at start() + n periods of the loop's monotonic clock. They do not drift, and
    changes of the system's time do not affect them. A call that comes due while the loop is busy,
    or while the previous call still runs, is skipped, so there is never a burst of calls.
    `IOLoop.handle_callback_exception()` reports exceptions of the callback, and the calls continue.

    Parameters
    ----------
    callback : callable
        Called without arguments. A call of a coroutine function lasts until its coroutine ends.
    callback_time : float or datetime.timedelta
        The period, in milliseconds if it is a number. The attribute of this name may be set at any
        time, and takes effect after the next call.
    jitter : float, optional
        A fraction of the period, from 0 to 1. Each period is longer or shorter by a random time of
        up to half of this fraction.
    io_loop : zmqstream.IOLoop, tornado.ioloop.IOLoop or asyncio.AbstractEventLoop, optional
        By default `IOLoop.current()` at the call of start(). It may also be the third argument, as
        in pyzmq and in Tornado before version 5.

    Raises
    ------
    TypeError
        `callback` is not callable, `callback_time` is not a number or timedelta, `jitter` is not a
        number, or `io_loop` is not an event loop.
    ValueError
        `callback_time` is not above 0, or `jitter` is not from 0 to 1.
    RuntimeError
        The loop is closed.
    """

    def __init__(
        self,
        callback: Callable[[], Any],
        callback_time: float | datetime.timedelta,
        jitter: Any = 0,
        io_loop: Any = None,
    ) -> None:
        if not callable(callback):
            raise _core.NotCallableError(
                f"{type(self).__name__}: the callback is not callable: {callback!r}"
            )
        if jitter is None:
            jitter = 0  # the third argument is io_loop=None
        elif not isinstance(jitter, numbers.Real):
            if io_loop is not None or not hasattr(jitter, "call_later"):
                raise TypeError(
                    "PeriodicCallback: the third argument must be a jitter, a number from 0 to 1, "
                    f"or an event loop, not {type(jitter).__name__}: {jitter!r}"
                )
            jitter, io_loop = 0, jitter
        if not 0 <= jitter <= 1:
            raise ValueError(f"PeriodicCallback: jitter must be from 0 to 1, not {jitter!r}")
        if io_loop is not None:
            asyncio_loop_of(io_loop)
        self.callback = callback
        self.callback_time = callback_time
        self.jitter: float = jitter
        self.io_loop = io_loop  # if None, start() sets it
        self._given = io_loop
        self._running = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._facade: IOLoop | None = None
        self._due = 0.0  # loop.time() of the scheduled call, else of the last one or of start()
        self._timer: asyncio.TimerHandle | None = None
        self._call: Any = None  # the running call: True, or the task of a coroutine function

    @property
    def callback_time(self) -> float:
        """The period, in milliseconds."""
        return self._callback_time

    @callback_time.setter
    def callback_time(self, value: float | datetime.timedelta) -> None:
        milliseconds = _milliseconds(value)
        if not SHORTEST_PERIOD <= milliseconds < math.inf:
            raise ValueError(f"callback_time must be above 0 milliseconds, not {value!r}")
        self._callback_time = milliseconds

    def start(self) -> None:
        """Schedule the first call a period from now. If the timer is running, do nothing.

        Call it in the loop's thread.
        """
        if self._running and self._loop is not None and not self._loop.is_closed():
            return
        self.io_loop = current_loop() if self._given is None else self._given
        loop = asyncio_loop_of(self.io_loop)
        if loop is not self._loop:  # forget a call that still runs on another loop
            self._timer = self._call = None
        self._loop = loop
        self._facade = self.io_loop if isinstance(self.io_loop, IOLoop) else IOLoop._of(loop)
        self._running = True
        self._due = loop.time()
        self._schedule()

    def stop(self) -> None:
        """Make no more calls. A coroutine callback that has begun continues to its end."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def is_running(self) -> bool:
        """Whether start() was called, and stop() was not called since."""
        return self._running

    def _schedule(self) -> None:
        """Schedule the next call, unless a call is running: its end schedules the next one."""
        if self._running and self._call is None:
            assert self._loop is not None
            self._due = self._next(self._loop.time())
            self._timer = self._loop.call_at(self._due, self._run)

    def _next(self, now: float) -> float:
        period = self._callback_time / 1000
        if self.jitter:
            period *= 1 + self.jitter * (random.random() - 0.5)
        missed = (now - self._due) // period  # negative: a timer may be a little early
        return self._due + period * (max(missed, 0) + 1)

    def _run(self) -> None:
        assert self._facade is not None
        self._timer = None
        self._call = True
        task = None
        try:
            task = self._facade._run_callback(self.callback, (), {})
        finally:
            self._call = task
            if task is None:
                self._schedule()
            else:
                task.add_done_callback(self._call_ended)

    def _call_ended(self, task: asyncio.Future[Any]) -> None:
        if self._call is task:
            self._call = None
            self._schedule()


class DelayedCallback(PeriodicCallback):
    """Calls a function once, some milliseconds after start().

    It is like PeriodicCallback, without the jitter. If `callback_time` is 0, the call is made as
    soon as possible. is_running() is true until the call; then the callback, or any other code, may
    call start() again.
    """

    def __init__(
        self,
        callback: Callable[[], Any],
        callback_time: float | datetime.timedelta,
        io_loop: Any = None,
    ) -> None:
        super().__init__(callback, max(_milliseconds(callback_time), 1e-3), 0, io_loop)

    def _next(self, now: float) -> float:
        return self._due + self._callback_time / 1000

    def _run(self) -> None:
        self._running = False
        super()._run()


def _milliseconds(value: Any) -> float:
    if isinstance(value, datetime.timedelta):
        return value / datetime.timedelta(milliseconds=1)
    if isinstance(value, numbers.Real):
        return value  # type: ignore[return-value]
    raise TypeError(f"callback_time must be milliseconds or a timedelta, not {value!r}")
