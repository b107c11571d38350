"""The command line: `python -m zmqstream`, and the script `zmqstream`.

Here is what its modules share: how they print, fail and end. Exit codes: 0, done; 1, it failed
(`Failure`: an address in use, say); 2, the command line is wrong. What a signal ends dies of that
signal, so that shells and supervisors see what happened.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

USAGE = 2  # the exit code for a command line that is wrong


class Failure(Exception):
    """What could not be done, said in one line. It is no error of the program."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def prog() -> str:
    """How the user calls this."""
    name = os.path.basename(sys.argv[0])
    return "python -m zmqstream" if name in ("", "-c", "__main__.py") else name


def say(text: str) -> None:
    if sys.stderr is not None:
        print(text, file=sys.stderr, flush=True)


def out(text: str = "") -> None:
    """Write to stdout, at once. A full disk ends this: Python would try again at its end."""
    if sys.stdout is None:  # it was closed before we began
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        cannot_write(error)


def cannot_write(error: OSError) -> NoReturn:
    say(f"{prog()}: cannot write to stdout: {error.strerror}")
    os._exit(1)


def die_of(number: int) -> NoReturn:
    """End as if the signal were not handled: shells and supervisors look at that."""
    try:
        sys.stderr.flush()
    except OSError:
        pass
    if os.name != "nt":
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(128 + number)  # Windows, or the signal is blocked; what was printed has been written
