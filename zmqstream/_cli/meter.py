"""Counts messages and computes their rates."""

from __future__ import annotations

import time
from collections.abc import Callable


class Meter:
    """Computes rates and a total. `count()` returns the numbers of messages and of their bytes.

    The time of a total begins with the first message and ends with the last one, so it does not
    include the wait for a peer.
    """

    def __init__(self, count: Callable[[], tuple[int, int]]) -> None:
        self.count = count
        self.messages = self.bytes = 0
        self.began = self.last = time.perf_counter()
        self._reported = (self.began, 0, 0)  # time, messages and bytes at the last rates()
        self._idle = False  # whether the last rates() found no new message

    def begin(self) -> None:
        """Start the time: the first message has been received or sent."""
        self.began = time.perf_counter()

    def update(self) -> None:
        """Read the counts."""
        messages, self.bytes = self.count()
        if messages != self.messages:
            self.messages = messages
            self.last = time.perf_counter()

    def rates(self) -> str:
        """The rates since the last call; empty if there was no message twice in a row."""
        self.update()
        now = time.perf_counter()
        then, messages, size = self._reported
        self._reported = now, self.messages, self.bytes
        was_idle, self._idle = self._idle, self.messages == messages
        if was_idle and self._idle:
            return ""
        return _rates(self.messages - messages, self.bytes - size, now - then)

    def total(self, what: str) -> str:
        seconds = self.last - self.began
        size = f"{self.bytes:,} bytes" if self.bytes < 1e6 else f"{self.bytes / 1e6:,.1f} MB"
        total = f"{what} {self.messages:,} message{'s' * (self.messages != 1)}, {size}"
        if self.messages > 1 and seconds > 0:
            total += f" in {seconds:.2f} s: {_rates(self.messages, self.bytes, seconds)}"
        return total


def _rates(messages: int, size: int, seconds: float) -> str:
    seconds = max(seconds, 1e-9)
    rate = messages / seconds
    number = f"{rate:.2g}" if 0 < rate < 9.5 else f"{rate:,.0f}"
    return f"{number} messages/s, {size / seconds / 1e6:,.1f} MB/s"
