#!/usr/bin/env python3
"""Run a command with the disturbances of an overloaded machine. Linux only.

    python tools/disturb.py stalls pytest tests            stops all processes now and then
    python tools/disturb.py delays pytest tests            delays libzmq's threads now and then
    python tools/disturb.py delays --main pytest tests     delays the main thread too

A test that fails only here has nearly always slept for some time instead of waiting for an event.
The exit code is that of the command.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

DELAYS = Path(__file__).with_name("delays.c")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = parser.add_subparsers(required=True, metavar="stalls|delays")

    kind = kinds.add_parser("stalls", description=stalls.__doc__)
    kind.add_argument("--every", type=float, default=4, metavar="SECONDS", help="on average; 4")
    kind.add_argument("--longest", type=float, default=0.7, metavar="SECONDS", help="0.7")
    kind.set_defaults(run=stalls)

    kind = kinds.add_parser("delays", description=delays.__doc__)
    kind.add_argument("--share", type=float, default=0.01, help="of the calls; 0.01")
    kind.add_argument("--longest", type=float, default=0.02, metavar="SECONDS", help="0.02")
    kind.add_argument("--main", action="store_true", help="in the main thread too")
    kind.set_defaults(run=delays)

    for kind in kinds.choices.values():
        kind.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if not options.command:
        parser.error("a command is missing")
    return options.run(options)


def stalls(options: argparse.Namespace) -> int:
    """Stop all processes at once, as if other programs used all processors."""
    process = subprocess.Popen(options.command)
    count = 0
    while process.poll() is None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(random.uniform(0, 2 * options.every))
        stopped = [pid for pid in descendants(process.pid) if kill(pid, signal.SIGSTOP)]
        try:
            time.sleep(random.uniform(0, options.longest))
        finally:
            for pid in stopped:
                kill(pid, signal.SIGCONT)
        count += len(stopped) > 0
    print(f"{count} stalls", file=sys.stderr)
    return process.returncode


def kill(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def descendants(root: int) -> list[int]:
    """This process and its descendants, without those that must not be stopped."""
    children: dict[int, list[int]] = {}
    spared = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError):
                name, _, rest = Path("/proc", entry, "stat").read_text().rpartition(")")
                state, parent = rest.split()[:2]
                children.setdefault(int(parent), []).append(int(entry))
                # A process that a test has stopped would continue. bash's `wait -n` reports stops.
                if state in "TtZ" or name.endswith("(bash"):
                    spared.add(int(entry))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return [pid for pid in found if pid not in spared]


def delays(options: argparse.Namespace) -> int:
    """Delay system calls in all threads but the main thread: that is, above all, in libzmq's."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "delays.so")
        compiler = os.environ.get("CC", "cc")
        subprocess.run(
            [compiler, "-O2", "-Wall", "-shared", "-fPIC", "-o", library, DELAYS, "-ldl"],
            check=True,
        )
        settings = {
            "LD_PRELOAD": str(library),
            "DELAYS_SHARE": str(options.share),
            "DELAYS_LONGEST": str(options.longest),
            "DELAYS_MAIN": str(int(options.main)),
        }
        return subprocess.run(options.command, env={**os.environ, **settings}).returncode


if __name__ == "__main__":
    sys.exit(main())
