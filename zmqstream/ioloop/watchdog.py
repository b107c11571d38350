"""IOLoop.set_blocking_log_threshold(): reports what blocks a loop, while it is blocked.

A loop is blocked if it does not poll. It calls its watchdog, a thread, when a poll begins and ends.
During a poll the watchdog waits for the end of the poll, so an idle program has no wake-ups. At
other times it checks the loop a few times within the threshold. If the loop has been running all
that time without another poll, the watchdog logs the stack of the loop's thread. Code that keeps
the GIL blocks the watchdog too, and is not reported.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sys
import threading
import traceback
import warnings
import weakref
from typing import TYPE_CHECKING, Any

from zmqstream import _core
from zmqstream.eventloop import reactor_of

if TYPE_CHECKING:
    from collections.abc import Callable

CHECKS = 4  # within a threshold: a warning is late by at most a fourth of it

_logger = logging.getLogger("zmqstream")
_watchdogs: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Watchdog] = (
    weakref.WeakKeyDictionary()
)


def watch(loop: asyncio.AbstractEventLoop, seconds: float | None) -> None:
    """Log what blocks `loop` for more than `seconds`. None or 0 ends that."""
    old = _watchdogs.pop(loop, None)
    if old is not None:
        old.stop()
        _set_on_poll(loop, None)
    if seconds is None or not seconds > 0:
        return
    new = Watchdog(loop, seconds)
    if _set_on_poll(loop, new.on_poll):
        _watchdogs[loop] = new
        new.thread.start()
    else:
        message = f"set_blocking_log_threshold: this loop cannot be watched: {loop!r}"
        warnings.warn(message, RuntimeWarning, stacklevel=3)


def _set_on_poll(loop: Any, on_poll: Callable[[bool | None], None] | None) -> bool:
    """Make the loop call `on_poll`, or nothing if it is None. Returns whether that is possible.

    It is not on uvloop, where the reactor sees the polls only while there are streams.
    """
    reactor = reactor_of(loop)
    if isinstance(reactor, _core.OwnLoopReactor) and reactor.kind != "hooked":
        reactor.on_poll = on_poll
        return True
    # asyncio's private name of the selector or proactor. Loops written in Python have it.
    selector = getattr(loop, "_selector", None)
    if selector is None:
        return False
    for name in ("select", "close"):
        vars(selector).pop(name, None)
    if on_poll is not None:
        original_select, original_close = selector.select, selector.close

        def select(timeout: float | None = None) -> Any:
            on_poll(True)
            try:
                return original_select(timeout)
            finally:
                on_poll(False)

        def close() -> None:
            on_poll(None)
            original_close()

        selector.select, selector.close = select, close
    return True


class Watchdog:
    def __init__(self, loop: asyncio.AbstractEventLoop, threshold: float) -> None:
        self.threshold = threshold
        self.loop = weakref.ref(loop, self.stop)
        self.polling = asyncio._get_running_loop() is not loop  # True also if it is not known
        self.polls = 0  # polls that have ended
        self.last_polls = -1  # `polls` at the last check
        self.unchanged = 0  # consecutive checks that found the same `polls`
        self.loop_thread = threading.get_ident()
        self.parked = False  # whether the watchdog waits for the end of a poll
        # Whether an event has just ended the wait. Then the watchdog does not park at once: it runs
        # when the loop releases the GIL, so it would find a busy loop in a poll every time.
        self.woken = False
        # True: a poll has ended; False: stop. A weakref's callback may interrupt a put() with its
        # own, which only a SimpleQueue allows.
        self.events: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self.run, name="zmqstream-watchdog", daemon=True)

    def on_poll(self, polling: bool | None) -> None:
        """The loop calls this when a poll begins (True) or ends (False), or it closes (None)."""
        if polling is None:
            self.stop()
            return
        self.polling = polling
        if not polling:
            self.polls += 1
            self.loop_thread = threading.get_ident()
            if self.parked:
                self.parked = False
                self.events.put(True)

    def stop(self, _: object = None) -> None:
        self.events.put(False)

    def busy(self) -> bool:
        loop = self.loop()
        return not self.polling and loop is not None and loop.is_running()

    def run(self) -> None:
        while self.wait():
            self.check()

    def wait(self) -> bool:
        """Wait until the next check is due. Returns False if the watchdog was stopped."""
        timeout: float | None = min(self.threshold / CHECKS, threading.TIMEOUT_MAX)
        if not self.woken:
            self.parked = not self.busy()
            if self.parked and not self.busy():  # it may have become busy before it saw `parked`
                timeout = None
        try:
            running = self.events.get(timeout=timeout)
        except queue.Empty:
            self.woken = False
            return True
        self.woken = True
        self.last_polls = -1  # start to count again
        return running

    def check(self) -> None:
        if self.polls != self.last_polls or not self.busy():
            self.last_polls, self.unchanged = self.polls, 0
            return
        self.unchanged += 1
        if self.unchanged == CHECKS:
            frame = sys._current_frames().get(self.loop_thread)
            stack = traceback.format_stack(frame) if frame is not None else []
            message = "IOLoop blocked for more than %g s in\n%s"
            _logger.warning(message, self.threshold, "".join(stack))
