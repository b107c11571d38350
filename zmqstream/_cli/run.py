"""run: a program with zmqstream's ZMQStream in the place of pyzmq's."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from zmqstream import _cli

STARTUP = Path(__file__).resolve().parent.parent / "_startup"

RUN = """\
Run a program that uses pyzmq's ZMQStream with zmqstream's in its place.

    {prog} run -m MODULE [ARGS...]     as python -m MODULE ARGS
    {prog} run SCRIPT.py [ARGS...]     as python SCRIPT.py ARGS
    {prog} run COMMAND [ARGS...]       as COMMAND ARGS, a command of your PATH

The program is not changed. It runs in this very process (the same process id, signals and exit
code), and its Python child processes use zmqstream, too, as long as they inherit the environment
variable PYTHONPATH and have zmqstream installed.
"""


def take_over(arguments: list[str]) -> NoReturn:
    """Become the program of `arguments`, with zmqstream's ZMQStream in it.

    All of them are the program's: argparse would look into them.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(RUN.format(prog=_cli.prog()), end="")
        sys.exit(0 if arguments else 2)
    flags = sys.flags
    if flags.isolated or flags.ignore_environment or flags.no_site:
        fail("run needs PYTHONPATH and site: start Python without -I, -E and -S")
    first = arguments[0]
    if first == "-m":
        if len(arguments) < 2:
            fail("run -m: the name of a module is missing")
        command = [sys.executable, *interpreter_flags(), *arguments]
    elif first.startswith("-"):
        fail(f"run: unknown option {first}; options of the program come after its name")
    elif Path(first).is_file() or Path(first, "__main__.py").is_file():
        command = [sys.executable, *interpreter_flags(), *arguments]
    else:
        found = shutil.which(first)
        if found is None:
            fail(f"run: {first} is no file and no command of your PATH")
        command = [found, *arguments[1:]]
    paths = [str(STARTUP), *filter(None, [os.environ.get("PYTHONPATH")])]
    become(command, {**os.environ, "PYTHONPATH": os.pathsep.join(paths)})


def interpreter_flags() -> list[str]:
    """The options that Python itself was started with here, as -u or -W error."""
    head = sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv) + 1]
    if head[-1:] == sys.argv[:1]:  # the script `zmqstream`
        return head[:-1]
    if head[-1:] == ["zmqstream"]:  # after -m, or -um
        del head[-1]
    elif head and head[-1].endswith("mzmqstream"):
        head[-1] = head[-1].removesuffix("zmqstream")
    else:
        return []
    last = head.pop()[:-1]
    return head if last == "-" else [*head, last]


def become(command: list[str], environment: dict[str, str]) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name != "nt":
        # Python ignores these for itself. Ignored signals would outlive execve(), and a command
        # that writes into a closed pipe would get errors instead of its end.
        for name in ("SIGPIPE", "SIGXFSZ"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), signal.SIG_DFL)
        try:
            os.execve(command[0], command, environment)
        except OSError as error:
            fail(f"run: cannot start {command[0]}: {error.strerror}")
    # Windows cannot replace a process: wait for it, and leave Ctrl-C to it
    process = subprocess.Popen(command, env=environment)
    while True:
        try:
            sys.exit(process.wait())
        except KeyboardInterrupt:
            pass


def fail(message: str) -> NoReturn:
    print(f"{_cli.prog()} {message}", file=sys.stderr)
    sys.exit(2)
