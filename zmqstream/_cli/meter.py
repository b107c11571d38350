"""How much, and how fast."""

from __future__ import annotations

import time
from collections.abc import Callable


class Meter:
    """Says what `count()` has told: messages, and the bytes of their frames.

    The time that a total is about begins with the first message and ends with the last, so that
    the wait for a peer does not make it slow.
    """

    def __init__(self, count: Callable[[], tuple[int, int]]) -> None:
        self.count = count
        self.messages = self.bytes = 0
        self.began = self.last = time.perf_counter()
        self._seen = (self.began, 0, 0)  # by the last rates()
        self._idle = False  # no message came before the last rates()

    def begin(self) -> None:
        """The first message has come, or has been taken."""
        self.began = time.perf_counter()

    def look(self) -> None:
        """There may be more."""
        messages, self.bytes = self.count()
        if messages != self.messages:
            self.messages = messages
            self.last = time.perf_counter()

    def rates(self) -> str:
        """Since it was asked last. Empty while still no message comes: it says so once."""
        self.look()
        now = time.perf_counter()
        then, messages, size = self._seen
        self._seen = now, self.messages, self.bytes
        was_idle, self._idle = self._idle, self.messages == messages
        if was_idle and self._idle:
            return ""
        return _rates(self.messages - messages, self.bytes - size, now - then)

    def total(self, what: str) -> str:
        seconds = self.last - self.began
        size = f"{self.bytes:,} bytes" if self.bytes < 1e6 else f"{self.bytes / 1e6:,.1f} MB"
        said = f"{what} {self.messages:,} message{'s' * (self.messages != 1)}, {size}"
        if self.messages > 1 and seconds > 0:
            said += f" in {seconds:.2f} s: {_rates(self.messages, self.bytes, seconds)}"
        return said


def _rates(messages: int, size: int, seconds: float) -> str:
    seconds = max(seconds, 1e-9)
    rate = messages / seconds
    number = f"{rate:.2g}" if 0 < rate < 9.5 else f"{rate:,.0f}"  # 0: no message came
    return f"{number} messages/s, {size / seconds / 1e6:,.1f} MB/s"
