"""IOLoop.set_blocking_log_threshold(): tells what blocks a loop, while it does.

A loop is blocked while it does not poll. It tells its watchdog, a thread, when a poll begins and
ends. During a poll the watchdog waits for its end, so in an idle program neither of them wakes up.
At other times it looks again a few times within the threshold. If the loop has run all the while
without another poll, it logs the stack of the loop's thread. What never lets go of the GIL blocks
the watchdog, too, and is not seen.
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

from zmqstream.eventloop import EventLoop

if TYPE_CHECKING:
    from collections.abc import Callable

LOOKS = 4  # within a threshold: a warning comes late by a fourth of it, at most

_logger = logging.getLogger("zmqstream")
_watchdogs: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Watchdog] = (
    weakref.WeakKeyDictionary()
)


def watch(loop: asyncio.AbstractEventLoop, seconds: float | None) -> None:
    """Log what blocks `loop` for more than `seconds`; None or 0: no more."""
    old = _watchdogs.pop(loop, None)
    if old is not None:
        old.stop()
        _tell(loop, None)
    if seconds is None or not seconds > 0:
        return
    new = Watchdog(loop, seconds)
    if _tell(loop, new.on_poll):
        _watchdogs[loop] = new
        new.thread.start()
    else:
        message = f"it cannot be seen whether this loop is blocked: {loop!r}"
        warnings.warn(message, RuntimeWarning, stacklevel=3)


def _tell(loop: Any, on_poll: Callable[[bool | None], None] | None) -> bool:
    """Have the loop call `on_poll`; None: nobody. Returns whether that is possible."""
    if isinstance(loop, EventLoop):
        loop._reactor.on_poll = on_poll
        return True
    # Loops written in Python have their selector, or proactor, here: private, and so for long.
    selector = getattr(loop, "_selector", None)
    if selector is None:
        return False
    for name in ("select", "close"):
        vars(selector).pop(name, None)
    if on_poll is not None:
        their_select, their_close = selector.select, selector.close

        def select(timeout: float | None = None) -> Any:
            on_poll(True)
            try:
                return their_select(timeout)
            finally:
                on_poll(False)

        def close() -> None:
            on_poll(None)
            their_close()

        selector.select, selector.close = select, close
    return True


class Watchdog:
    def __init__(self, loop: asyncio.AbstractEventLoop, threshold: float) -> None:
        self.threshold = threshold
        self.loop = weakref.ref(loop, self.stop)
        self.polling = asyncio._get_running_loop() is not loop  # in doubt wait for the next poll
        self.polls = 0  # that have ended
        self.seen = -1  # `polls` at the last look
        self.looks = 0  # that have found no other number
        self.loop_thread = threading.get_ident()
        self.parked = False  # it waits for the end of a poll
        # It was woken, and lets some time pass before it parks again: a busy loop polls whenever
        # the watchdog gets to look, as it lets go of the GIL there.
        self.woken = False
        # A SimpleQueue may be used in a weakref's callback, whatever that has interrupted.
        self.mail: queue.SimpleQueue[bool] = queue.SimpleQueue()  # True: a poll ended; False: stop
        self.thread = threading.Thread(target=self.run, name="zmqstream-watchdog", daemon=True)

    def on_poll(self, polling: bool | None) -> None:
        """Called by the loop: a poll begins, a poll has ended, or (None) the loop is closed."""
        if polling is None:
            self.stop()
            return
        self.polling = polling
        if not polling:
            self.polls += 1
            self.loop_thread = threading.get_ident()
            if self.parked:
                self.parked = False
                self.mail.put(True)

    def stop(self, _: object = None) -> None:
        self.mail.put(False)

    def busy(self) -> bool:
        loop = self.loop()
        return not self.polling and loop is not None and loop.is_running()

    def run(self) -> None:
        while self.wait():
            self.look()

    def wait(self) -> bool:
        """Wait for the time of the next look. Returns whether there is to be one."""
        timeout: float | None = min(self.threshold / LOOKS, threading.TIMEOUT_MAX)
        if not self.woken:
            self.parked = not self.busy()
            if self.parked and not self.busy():  # else it became busy before it could see us parked
                timeout = None
        try:
            going_on = self.mail.get(timeout=timeout)
        except queue.Empty:
            self.woken = False
            return True
        self.woken = True
        self.seen = -1  # count anew
        return going_on

    def look(self) -> None:
        if self.polls != self.seen or not self.busy():
            self.seen, self.looks = self.polls, 0
            return
        self.looks += 1
        if self.looks == LOOKS:
            frame = sys._current_frames().get(self.loop_thread)
            stack = traceback.format_stack(frame) if frame is not None else []
            message = "IOLoop blocked for more than %g s in\n%s"
            _logger.warning(message, self.threshold, "".join(stack))
