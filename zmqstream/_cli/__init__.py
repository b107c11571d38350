"""The command line: `python -m zmqstream`, and the script `zmqstream`.

This module has what all commands use to print, fail and end. The exit code is 0 if the command
succeeded, 1 if it failed (`Failure`, for example an address in use), and 2 if the command line is
wrong. A command that a signal ends dies of that signal, so shells and supervisors see the reason.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

USAGE = 2  # the exit code for a command line that is wrong


class Failure(Exception):
    """An error of the user or the system, printed as one line without a traceback."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def prog() -> str:
    """The name of this program on the user's command line."""
    name = os.path.basename(sys.argv[0])
    return "python -m zmqstream" if name in ("", "-c", "__main__.py") else name


def say(text: str) -> None:
    if sys.stderr is not None:
        print(text, file=sys.stderr, flush=True)


def out(text: str = "") -> None:
    """Write to stdout and flush it. An error, such as a full disk, ends the process."""
    if sys.stdout is None:  # stdout was closed before the process began
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        say(f"{prog()}: cannot write to stdout: {error.strerror}")
        os._exit(1)  # sys.exit() would flush stdout again and print the error twice


def die_of(number: int) -> NoReturn:
    """End the process by this signal, as if the signal were not handled."""
    try:
        sys.stderr.flush()
    except OSError:
        pass
    if os.name != "nt":
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(128 + number)  # on Windows, or if the signal is blocked
