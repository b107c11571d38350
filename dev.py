#!/usr/bin/env python3
"""Set up and run, with nothing but Python >= 3.10 and a C compiler.

    python3 dev.py demo            a flood over TCP: pyzmq's ZMQStream, then zmqstream's
    python3 dev.py test            the tests; further arguments go to pytest
    python3 dev.py COMMAND ...     as python -m zmqstream COMMAND ..., where zmqstream is installed:
                                   info, run, push, pull, pub, sub, echo or bench

The first use makes a virtual environment in .venv and builds the package there.
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
    """Make the environment, and build and install the package if anything of it has changed."""
    stamp = VENV / "built-from"
    sources = {path for pattern in SOURCES for path in ROOT.glob(pattern) if path.suffix != ".pyc"}
    newest = max(path.stat().st_mtime for path in sources)
    if stamp.exists() and stamp.stat().st_mtime >= newest:
        return
    if not BIN.exists():
        say(f"making a virtual environment in {VENV.name}")
        venv.create(VENV, with_pip=True)
    say("building and installing zmqstream, with what its tests need (about a minute)")
    run(PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", ".[test]")
    stamp.touch()


def become(*command: str | Path) -> NoReturn:
    """End as this command does. Signals go to it."""
    words = [str(part) for part in command]
    if os.name != "nt":
        os.execv(words[0], words)
    sys.exit(subprocess.run(words, check=False).returncode)


def installed_first() -> None:
    """Let programs that lie beside the sources import what was built.

    A program's own folder is first in its path, but not yet when Python imports sitecustomize.
    """
    folder = VENV / "first"
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text("try:\n    import zmqstream\nexcept Exception: pass\n")
    path = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(path)


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
    if command in ("", "-h", "--help"):
        sys.exit((__doc__ or "").strip())
    set_up()
    if command in ("demo", "test"):
        os.chdir(ROOT)
    if command == "demo":
        become(PYTHON, ROOT / "bench" / "demo.py", *arguments[1:])
    if command == "test":
        # Not `python -m pytest`: that would put this folder first on the path, and import the
        # package's sources instead of what was built and installed.
        become(BIN / "pytest", *workers(arguments[1:]), *arguments[1:])
    if command == "run":
        installed_first()
    become(BIN / "zmqstream", *arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
