#!/usr/bin/env python3
"""Build zmqstream in a virtual environment and run it. Needs Python >= 3.10 and a C compiler.

    python3 dev.py demo            receive a flood over TCP with pyzmq's ZMQStream and zmqstream's
    python3 dev.py test            run the tests; further arguments go to pytest
    python3 dev.py COMMAND ...     like python -m zmqstream COMMAND ... of an installed zmqstream:
                                   info, run, top, push, pull, pub, sub, echo or bench

The first use creates a virtual environment in .venv. zmqstream is built and installed there again
when its sources have changed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent
VENV = Path(os.environ.get("ZMQSTREAM_VENV", ROOT / ".venv")).absolute()
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / "python"
SOURCES = (
    "pyproject.toml",
    "setup.py",
    "zmqstream/**/*.p*",
    "zmqstream/**/*.[ch]",
)


def say(text: str) -> None:
    print(f"== {text}", file=sys.stderr, flush=True)


def run(*command: str | Path) -> None:
    status = subprocess.run([str(part) for part in command], cwd=ROOT, check=False).returncode
    if status:
        sys.exit(status)


def set_up() -> None:
    """Create the environment, and build and install the package if its sources have changed."""
    stamp = VENV / "built-from"
    sources = {path for pattern in SOURCES for path in ROOT.glob(pattern) if path.suffix != ".pyc"}
    newest = max(path.stat().st_mtime for path in sources)
    if stamp.exists() and stamp.stat().st_mtime >= newest:
        return
    if not BIN.exists():
        say(f"creating a virtual environment in {VENV.name}")
        venv.create(VENV, with_pip=True)
    say("building and installing zmqstream and the packages that its tests need (about a minute)")
    run(PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", ".[test]")
    stamp.touch()


def execute(*command: str | Path) -> NoReturn:
    """Run this command in place of this process, so it gets the signals and sets the exit code."""
    words = [str(part) for part in command]
    if os.name != "nt":
        os.execv(words[0], words)
    sys.exit(subprocess.run(words, check=False).returncode)


def installed_first() -> None:
    """Make programs in this folder import the installed zmqstream, not the sources.

    Python puts a program's folder first in the path, but only after it has imported sitecustomize.
    """
    folder = VENV / "first"
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text("try:\n    import zmqstream\nexcept Exception: pass\n")
    path = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(path)


def workers(arguments: list[str]) -> list[str]:
    """The options that run the whole suite on all processors. Parts of it run in one process.

    There are two processes for each processor, because many tests wait for a peer or a sweep.
    """
    part = any(Path(argument.partition("::")[0]).exists() for argument in arguments)
    alone = {"-s", "-n", "--pdb", "--trace", "-k"}
    if part or alone & set(arguments):
        return []
    return ["-n", str(min(2 * (os.cpu_count() or 1), 16)), "--dist", "worksteal"]


def main(arguments: list[str]) -> None:
    if sys.version_info < (3, 10):  # noqa: UP036  users run this file with older Pythons
        sys.exit(f"zmqstream needs Python 3.10 or newer; this is {sys.version.split()[0]}")
    command = arguments[0] if arguments else ""
    if command in ("", "-h", "--help"):
        sys.exit((__doc__ or "").strip())
    set_up()
    if command in ("demo", "test"):
        os.chdir(ROOT)
    if command == "demo":
        execute(PYTHON, ROOT / "bench" / "demo.py", *arguments[1:])
    if command == "test":
        # `python -m pytest` would put this folder first in the path, and so import the sources
        # instead of the installed package.
        execute(BIN / "pytest", *workers(arguments[1:]), *arguments[1:])
    if command == "run":
        installed_first()
    execute(BIN / "zmqstream", *arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
