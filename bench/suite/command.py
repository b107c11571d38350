"""python -m zmqstream bench: runs the benchmarks without pytest.

    python -m zmqstream bench [--quick] [--rounds N] [--json PATH] [--list] [WORK ...]

WORK is a part of a work's name; by default all are run.
"""

from __future__ import annotations

import argparse
import sys

from . import report
from .harness import ROUNDS, interleave
from .works import WORKS


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m zmqstream bench", description="Benchmarks of zmqstream"
    )
    parser.add_argument("work", nargs="*", help="part of a work's name; by default all are run")
    parser.add_argument("--quick", action="store_true", help="a tenth of the messages, 3 rounds")
    parser.add_argument(
        "--rounds", type=int, help="rounds of each work; by default BENCH_ROUNDS or 5"
    )
    parser.add_argument("--json", metavar="PATH", help="write all figures there")
    parser.add_argument("--list", action="store_true", help="say what is measured, and stop")
    options = parser.parse_args(arguments)
    works = [
        work
        for work in WORKS
        if not options.work or any(part in work.name for part in options.work)
    ]
    if not works:
        parser.error("no such work; there are: " + "; ".join(work.name for work in WORKS))
    if options.list:
        for work in works:
            print(f"{work.name}\n{'-' * len(work.name)}\n{work.what}\n")
        return
    rounds = options.rounds or (3 if options.quick else ROUNDS)
    results = []
    for work in works:
        print(f"{work.name} ...", file=sys.stderr)
        results.append(interleave(work, rounds, options.quick))
    print(report.tables(results))
    if options.json:
        report.write_json(options.json, results)
