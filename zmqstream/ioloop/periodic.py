"""PeriodicCallback and DelayedCallback: calls by the clock, on any loop.

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

SHORTEST = 1e-6  # milliseconds: a nanosecond, which no loop's clock can tell from 0


class PeriodicCallback:
    """Calls a function once in each period.

    The calls are due at start() + n periods by the loop's monotonic clock: they do not drift, and
    changes of the system's time do not matter. What came due while the loop or the call before was
    busy is skipped, so there is never a burst. An exception of the callback is reported by
    `IOLoop.handle_callback_exception()`, and the calls go on.

    Parameters
    ----------
    callback : callable
        Called without arguments. If it is a coroutine function, a call lasts until its end.
    callback_time : float or datetime.timedelta
        The period, in milliseconds. The attribute of this name may be set at any time; it counts
        from the next call on.
    jitter : float, optional
        A fraction of the period, from 0 to 1: each period is longer or shorter, at random, by up
        to half of it.
    io_loop : zmqstream.IOLoop, tornado.ioloop.IOLoop or asyncio.AbstractEventLoop, optional
        By default `IOLoop.current()` of where start() is called. It may also be the third
        argument, as in pyzmq and in Tornado before version 5.

    Raises
    ------
    TypeError
        `callback` is not callable, `callback_time` no time, `jitter` no number, or `io_loop` no
        event loop.
    ValueError
        `callback_time` is not above 0, or `jitter` not from 0 to 1.
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
                    "PeriodicCallback: the third argument is a jitter, a number from 0 to 1, or "
                    f"an event loop, and not {type(jitter).__name__}: {jitter!r}"
                )
            jitter, io_loop = 0, jitter
        if not 0 <= jitter <= 1:
            raise ValueError(f"PeriodicCallback: jitter must be from 0 to 1, not {jitter!r}")
        if io_loop is not None:
            asyncio_loop_of(io_loop)
        self.callback = callback
        self.callback_time = callback_time
        self.jitter: float = jitter
        self.io_loop = io_loop  # without one: that of the last start()
        self._given = io_loop
        self._running = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._facade: IOLoop | None = None
        self._due = 0.0  # when the next call is due, or the last one was, or start(); loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._call: Any = None  # the call under way: True, or its task

    @property
    def callback_time(self) -> float:
        """The period, in milliseconds."""
        return self._callback_time

    @callback_time.setter
    def callback_time(self, value: float | datetime.timedelta) -> None:
        milliseconds = _milliseconds(value)
        if not SHORTEST <= milliseconds < math.inf:
            raise ValueError(f"callback_time must be above 0 milliseconds, not {value!r}")
        self._callback_time = milliseconds

    def start(self) -> None:
        """Begin: the first call comes a period from now. Nothing happens if it is running.

        To be called in the loop's thread.
        """
        if self._running and self._loop is not None and not self._loop.is_closed():
            return
        self.io_loop = current_loop() if self._given is None else self._given
        loop = asyncio_loop_of(self.io_loop)
        if loop is not self._loop:  # what is under way on another loop does not concern us
            self._timer = self._call = None
        self._loop = loop
        self._facade = self.io_loop if isinstance(self.io_loop, IOLoop) else IOLoop._of(loop)
        self._running = True
        self._due = loop.time()
        self._schedule()

    def stop(self) -> None:
        """End: no call begins any more. A coroutine callback that has begun goes on to its end."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def is_running(self) -> bool:
        """Whether it was started and not stopped."""
        return self._running

    def _schedule(self) -> None:
        """Have the next call made, unless one is under way: its end will come here."""
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
                task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Future[Any]) -> None:
        if self._call is task:
            self._call = None
            self._schedule()


class DelayedCallback(PeriodicCallback):
    """Calls a function once, some milliseconds after start().

    As PeriodicCallback, but for the jitter, and `callback_time` may be 0: as soon as possible. It
    is running until the call; then, or in the call, it may be started again.
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
    raise TypeError(f"callback_time must be milliseconds, or a timedelta, not {value!r}")
