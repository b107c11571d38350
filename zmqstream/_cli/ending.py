"""The end of a command: by a signal, or because it has finished."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from zmqstream import _cli

SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


class Interrupted(Exception):
    """A signal arrived while a write to stdout was blocked."""


class Ending:
    """The end of a command. Create it in the command's running loop.

    The first signal makes the command finish. A second signal ends the process at once.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.signal = 0
        self._ended: asyncio.Future[None] = self.loop.create_future()
        self._writing = False
        for number in SIGNALS:
            # The parent process may have set a signal to be ignored, as nohup and a shell's "&" do.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._caught)

    def _caught(self, number: int, frame: Any) -> None:
        if self.signal:
            _cli.die_of(number)
        self.signal = number
        self.loop.call_soon_threadsafe(self.end)
        if self._writing:  # otherwise Python retries the write, which may block for ever
            raise Interrupted

    def end(self, error: BaseException | None = None) -> None:
        """End the command; with `error`, wait() raises it."""
        if self._ended.done():
            return
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)

    def ended(self) -> bool:
        return self._ended.done()

    async def wait(self, *coroutines: Any) -> None:
        """Run these until the command ends, or one of them returns or raises."""
        tasks = [asyncio.ensure_future(each) for each in coroutines]
        try:
            await asyncio.wait([self._ended, *tasks], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.end()
            for task in tasks:
                task.cancel()
        results = await asyncio.gather(self._ended, *tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                raise result

    def write(self, text: str) -> None:
        """Write to stdout, unless the command has ended. It may block until a signal arrives."""
        self._writing = True
        try:
            if not self.ended() and not self.signal:
                _cli.out(text)
        except Interrupted:
            pass
        except BrokenPipeError as error:
            self.end(error)
        finally:
            self._writing = False

    def default(self) -> None:
        """Make signals end the process at once from now on."""
        for number in SIGNALS:
            if signal.getsignal(number) == self._caught:
                signal.signal(number, signal.SIG_DFL)
