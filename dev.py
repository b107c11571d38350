#!/usr/bin/env python3
"""Set up and run, with nothing but Python >= 3.10 and a C compiler.

    python3 dev.py demo     a flood over TCP: pyzmq's ZMQStream, then zmqstream's
    python3 dev.py test     the tests; further arguments go to pytest

The first use makes a virtual environment in .venv and builds the package there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = Path(os.environ.get("ZMQSTREAM_VENV", ROOT / ".venv"))
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / "python"
SOURCES = (
    "pyproject.toml",
    "setup.py",
    "zmqstream/**/*.p*",
    "zmqstream/**/*.[ch]",
)


def say(text: str) -> None:
    print(f"== {text}", flush=True)


def run(*command: str | Path) -> None:
    status = subprocess.run([str(part) for part in command], cwd=ROOT, check=False).returncode
    if status:
        sys.exit(status)


def set_up() -> None:
    """Make the environment, and build and install the package if anything of it has changed."""
    stamp = VENV / "built-from"
    newest = max(path.stat().st_mtime for pattern in SOURCES for path in ROOT.glob(pattern))
    if stamp.exists() and stamp.stat().st_mtime >= newest:
        return
    if not BIN.exists():
        say(f"making a virtual environment in {VENV.name}")
        venv.create(VENV, with_pip=True)
    say("building and installing zmqstream, with what its tests need (about a minute)")
    run(PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", ".[test]")
    stamp.touch()


def workers(arguments: list[str]) -> list[str]:
    """The whole suite runs on all processors; parts of it, and debuggers, in one process.

    Two a processor, as many tests wait: for a peer, or for a sweep.
    """
    part = any(Path(argument.partition("::")[0]).exists() for argument in arguments)
    alone = {"-s", "-n", "--pdb", "--trace", "-k"}
    if part or alone & set(arguments):
        return []
    return ["-n", str(min(2 * (os.cpu_count() or 1), 16)), "--dist", "worksteal"]


def main(arguments: list[str]) -> None:
    if sys.version_info < (3, 10):  # noqa: UP036  this is who says it to users
        sys.exit(f"zmqstream needs Python 3.10 or newer; this is {sys.version.split()[0]}")
    command = arguments[0] if arguments else ""
    if command not in ("demo", "test"):
        sys.exit((__doc__ or "").strip())
    set_up()
    if command == "demo":
        run(PYTHON, ROOT / "bench" / "demo.py", *arguments[1:])
    else:
        # Not `python -m pytest`: that would put this folder first on the path, and import the
        # package's sources instead of what was built and installed.
        run(BIN / "pytest", *workers(arguments[1:]), *arguments[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
