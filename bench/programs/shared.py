"""Options, profile and start of the benchmarks of whole programs.

    --quick          a tenth of the work, 1 round
    --rounds N       the number of rounds, by default 5
    --json PATH      write all figures to PATH, as zmqstream bench does
    --profile        run once with pyzmq's ZMQStream, and print what used the processor time

The benchmarks need: pip install '.[programs]'
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from zmqstream._bench import report
from zmqstream._bench.harness import (
    OURS,
    QUICK,
    ROUNDS,
    STREAM,
    TIME_LIMIT,
    Comparison,
    Figure,
    Measure,
    Work,
    interleave,
    whole,
)

__all__ = [
    "OURS",
    "PYTHON",
    "STREAM",
    "Accounts",
    "Comparison",
    "Figure",
    "Measure",
    "Work",
    "main",
    "processor_seconds",
    "whole",
]

HERE = Path(__file__).resolve().parent
PYTHON = {
    STREAM: [sys.executable],
    OURS: [sys.executable, "-m", "zmqstream", "run"],
}


def main(work: Work, profile: Callable[[int], dict[str, dict[str, float]]]) -> None:
    """The command line of one benchmark. `profile(n)` does the work with pyzmq's class, and returns
    the nanoseconds of each process by owner (account/sitecustomize.py)."""
    parser = argparse.ArgumentParser(description=work.what)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, 1 round")
    parser.add_argument("--rounds", type=int, help=f"number of rounds, by default {ROUNDS}")
    parser.add_argument("--json", metavar="PATH", help="write all figures to PATH")
    parser.add_argument(
        "--profile",
        action="store_true",
        help="print what uses the processor time with pyzmq's class",
    )
    options = parser.parse_args()
    if options.profile:
        n = work.measures[STREAM].n
        n = n // QUICK if options.quick else n
        print(profile_table(work, profile(n), n))
        return
    load = os.getloadavg()[0]
    rounds = options.rounds or (1 if options.quick else ROUNDS)
    # a busy machine needs 10 seconds to start a program and to end it
    result = interleave(work, rounds, options.quick, peer_limit=TIME_LIMIT)
    result.disturbance = None  # it would include the children of the processes
    print(report.tables([result]))
    print(f"Load average before: {load:.1f}, on {os.cpu_count()} processors")
    if options.json:
        report.write_json(options.json, [result])


def processor_seconds(*processes: psutil.Process) -> float:
    """The processor time of these processes so far, in user and system mode."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


# -- whose the time is -----------------------------------------------------------------------------

ROWS = {
    "stream": "ZMQStream",
    "socket": "its calls of pyzmq's sockets",
    "loop": "asyncio's loop",
    "poll": "its poll",
    "messages": "JSON and signing",
    "program": "the program's other code",
    "others": "threads without Python: libzmq's",
}


class Accounts:
    """Reads the accounts of processes that were started with `environment()`."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(Path(self._folder.name, "socket")))
        self._socket.settimeout(20)

    def close(self) -> None:
        self._socket.close()
        self._folder.cleanup()

    def environment(self) -> dict[str, str]:
        path = [str(HERE / "account"), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path),
            "ACCOUNT_SOCKET": self._socket.getsockname(),
        }

    def read(self, process: psutil.Process) -> collections.Counter[str]:
        process.send_signal(signal.SIGUSR2)
        told = collections.Counter(json.loads(self._socket.recv(65536)))
        known = sum(told[owner] for owner in ROWS)
        told["others"] = round(processor_seconds(process) * 1e9) - known
        return told

    @contextmanager
    def during(self, *processes: psutil.Process) -> Iterator[dict[str, float]]:
        """The time that these processes spend in the block, in sum, added at its end."""
        spent: dict[str, float] = collections.Counter()
        before = [self.read(process) for process in processes]
        yield spent
        for process, then in zip(processes, before, strict=True):
            now = self.read(process)
            for owner in now:
                spent[owner] += now[owner] - then[owner]


def profile_table(work: Work, profile: dict[str, dict[str, float]], n: int) -> str:
    """The processor time as a table, and the share of ZMQStream."""
    lines = [f"{work.name}, with pyzmq's ZMQStream: processor time {work.figure}, in us", ""]
    lines.append(f"{'':38}" + "".join(f"{name:>16}" for name in profile))

    def row(title: str, value: Callable[[dict[str, float]], float]) -> None:
        cells = []
        for spent in profile.values():
            total = sum(spent[owner] for owner in ROWS)
            cells.append(f"{value(spent) / n / 1e3:>10,.1f}{value(spent) / total:>6.0%}")
        lines.append(f"{title:38}" + "".join(cells))

    for owner, title in ROWS.items():
        row(title, lambda spent, owner=owner: spent[owner])
    row("in all", lambda spent: sum(spent[owner] for owner in ROWS))
    lines.append("")
    streams = {name: s["of streams"] / max(1, s["callbacks"]) for name, s in profile.items()}
    lines.append(
        f"{'callbacks of the loop for ZMQStream':38}"
        + "".join(f"{share:>16.0%}" for share in streams.values())
    )
    row("ZMQStream and its part of the loop", share_of_streams)
    return "\n".join(lines)


def share_of_streams(spent: dict[str, float]) -> float:
    """The time of ZMQStream, and of the loop in proportion to its callbacks for ZMQStream."""
    part = spent["of streams"] / max(1, spent["callbacks"])
    return spent["stream"] + spent["socket"] + (spent["loop"] + spent["poll"]) * part
