"""When a command that could go on for ever ends: by a signal, or because it is done."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from zmqstream import _cli


class Interrupted(Exception):
    """A signal came while stdout was blocked."""


class Ending:
    """The end of a command, made in its running loop.

    The first signal ends the command in good order; with a second one it dies at once.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.signal = 0
        self._ended: asyncio.Future[None] = self.loop.create_future()
        self._writing = False
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            # who started us may have had it ignored, as nohup and a shell's "&" do
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._caught)

    def _caught(self, number: int, frame: Any) -> None:
        if self.signal:
            _cli.die_of(number)
        self.signal = number
        self.loop.call_soon_threadsafe(self.end)
        if self._writing:  # Python would go on with the write, and its reader may sleep
            raise Interrupted

    def end(self, error: BaseException | None = None) -> None:
        """It is to end; with `error`, by that."""
        if self._ended.done():
            return
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)

    def ended(self) -> bool:
        return self._ended.done()

    async def wait(self, *coroutines: Any) -> None:
        """Run these until the end, which comes when one of them returns or raises."""
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
        """Write to stdout; not what comes when it has ended. May block, until a signal comes."""
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
        """From now on signals end the process at once."""
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) == self._caught:
                signal.signal(number, signal.SIG_DFL)
