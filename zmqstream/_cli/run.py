"""run: runs a program with zmqstream's ZMQStream in the place of pyzmq's."""

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
Run a program that uses pyzmq's ZMQStream, with zmqstream's ZMQStream in its place.

    {prog} run -m MODULE [ARGS...]     like python -m MODULE ARGS
    {prog} run SCRIPT.py [ARGS...]     like python SCRIPT.py ARGS
    {prog} run COMMAND [ARGS...]       like COMMAND ARGS: a command of your PATH, or a path
    {prog} run --asyncio ...           also replace the Context, Socket and Poller of zmq.asyncio

This Python runs files that end in .py, .pyw or .pyz, files that name this Python in their first
line, and folders with a __main__.py, which must be given with a slash. Other programs are executed
as they are.

The program is not changed. It runs in this process, with the same process id, signals and exit
code. Its Python child processes use zmqstream too, if they inherit the environment variable
PYTHONPATH and have zmqstream installed.
"""


def take_over(arguments: list[str]) -> NoReturn:
    """Replace this process by the program of `arguments`, with zmqstream's ZMQStream in it.

    argparse does not see the arguments, because they belong to the program.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(RUN.format(prog=_cli.prog()), end="")
        sys.exit(0 if arguments else 2)
    flags = sys.flags
    if flags.isolated or flags.ignore_environment or flags.no_site:
        fail("run needs PYTHONPATH and site: start Python without -I, -E and -S")
    variables = {}
    if arguments[0] == "--asyncio":
        variables["ZMQSTREAM_ASYNCIO"] = "1"
        arguments = arguments[1:]
        if not arguments:
            fail("run --asyncio: the program is missing")
    first = arguments[0]
    if first == "-m":
        if len(arguments) < 2:
            fail("run -m: the name of a module is missing")
        command = [sys.executable, *interpreter_flags(), *arguments]
    elif first.startswith("-"):
        fail(f"run: unknown option {first}; give the program's options after its name")
    else:
        command = [*program(first), *arguments[1:]]
    paths = [str(STARTUP), *filter(None, [os.environ.get("PYTHONPATH")])]
    execute(command, {**os.environ, **variables, "PYTHONPATH": os.pathsep.join(paths)})


def program(name: str) -> list[str]:
    """The command line that runs this file, folder or command of the PATH."""
    has_slash = name in (os.curdir, os.pardir) or os.path.dirname(name) != ""
    path = (None if has_slash else shutil.which(name)) or name
    python = [sys.executable, *interpreter_flags()]
    if has_slash and os.path.isfile(os.path.join(path, "__main__.py")):
        return [*python, path]
    if not os.path.isfile(path):
        fail(f"run: {name} is neither a file nor a command of your PATH")
    if path.endswith((".py", ".pyw", ".pyz")):
        return [*python, path]
    options = options_for_this_python(path)
    if options is not None:
        return [*python, *options, path]
    if not os.access(path, os.X_OK):
        fail(f"run: {name} is not executable, and does not look like Python source")
    return [path]


def options_for_this_python(path: str) -> list[str] | None:
    """The options after "#!/.../python" in the first line, or None if it names another program.

    Its folder counts too, because the python of a virtual environment is a link to another one.
    """
    try:
        with open(path, "rb") as file:
            line = os.fsdecode(file.readline(1000))
        words = line[2:].split() if line.startswith("#!") else []
        if words and os.path.basename(words[0]) == "env":
            words = words[2:] if words[1:2] == ["-S"] else words[1:]
            words[0] = shutil.which(words[0]) or ""
        here = os.path.samefile(words[0], sys.executable) and os.path.samefile(
            os.path.dirname(words[0]), os.path.dirname(sys.executable)
        )
    except (OSError, IndexError, ValueError):  # unreadable, or the interpreter does not exist
        return None
    return words[1:] if here else None


def interpreter_flags() -> list[str]:
    """The options of the Python in this process, such as -u or -W error."""
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


def execute(command: list[str], environment: dict[str, str]) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        if os.name != "nt":
            # Python ignores these signals, and execve() keeps them ignored. The program would get
            # an error from a closed pipe instead of the signal that ends it.
            for name in ("SIGPIPE", "SIGXFSZ"):
                if hasattr(signal, name):
                    signal.signal(getattr(signal, name), signal.SIG_DFL)
            os.execve(command[0], command, environment)
        # Windows cannot replace a process: wait for a child, which handles Ctrl-C
        process = subprocess.Popen(command, env=environment)
    except OSError as error:
        fail(f"run: cannot start {command[0]}: {error.strerror}")
    while True:
        try:
            sys.exit(process.wait())
        except KeyboardInterrupt:
            pass


def fail(message: str) -> NoReturn:
    print(f"{_cli.prog()} {message}", file=sys.stderr)
    sys.exit(2)
