"""python -m zmqstream bench: measures on this machine, and draws the figures.

    python -m zmqstream bench                 everything, in ten minutes; writes a JSON file
    python -m zmqstream bench --quick         a short run, about a minute
    python -m zmqstream bench receive flood   works whose names contain one of these words
    python -m zmqstream bench --list          print what is measured, and how
    python -m zmqstream bench --plot FOLDER   draw the JSON file's figures as SVG, without measuring
                                              (needs matplotlib)
    python -m zmqstream bench --markdown      print the JSON file as tables, without measuring

The tables name the libraries that are not installed; pip install 'zmqstream[bench]' installs those
that PyPI has. A C compiler adds the limit: loops in C on the same libzmq.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time

from . import report
from .harness import LEAST_ROUNDS, QUICK_ROUNDS, ROUNDS, Work, interleave
from .machine import environment, load
from .works import WORKS

JSON = "zmqstream-bench.json"


class Progress:
    """A progress bar on stderr if stderr is a terminal, else a line for each work."""

    def __init__(self, works: list[Work], rounds: int) -> None:
        self.left = sum(len(work.measures) for work in works) * (rounds + 1)
        self.total, self.done = self.left, 0
        self.terminal = sys.stderr.isatty()
        self.work = ""
        self.start = time.monotonic()

    def begin(self, work: Work) -> None:
        self.work = work.name
        if not self.terminal:
            print(f"{work.name} ...", file=sys.stderr, flush=True)

    def step(self, implementation: str) -> None:
        self.done += 1
        if self.terminal:
            self.show(f"{self.work}: {implementation}")

    def show(self, text: str) -> None:
        width = shutil.get_terminal_size().columns - 1
        part = min(1.0, self.done / self.total)
        seconds = time.monotonic() - self.start
        bar = "#" * int(20 * part)
        line = f"[{bar:20}] {part:4.0%} {seconds:4.0f} s  {text}"
        print(f"\r{line[:width]:{width}}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self.terminal:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r{'':{width}}\r", end="", file=sys.stderr, flush=True)


def selected(parts: list[str]) -> list[Work]:
    return [work for work in WORKS if not parts or any(part in work.name for part in parts)]


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m zmqstream bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("work", nargs="*", help="part of a work's name; by default all are run")
    parser.add_argument("--quick", action="store_true", help="a tenth of the messages, 2 rounds")
    parser.add_argument(
        "--rounds",
        type=int,
        metavar="N",
        help=f"rounds of each work; by default BENCH_ROUNDS or {ROUNDS}",
    )
    parser.add_argument("--json", metavar="PATH", default=JSON, help=f"by default {JSON}")
    parser.add_argument(
        "--add", action="store_true", help="keep the file's figures of other works, measured here"
    )
    parser.add_argument("--list", action="store_true", help="print what is measured, and stop")
    parser.add_argument("--plot", metavar="FOLDER", help="draw the file's figures, and stop")
    parser.add_argument(
        "--markdown", action="store_true", help="print the file as tables, and stop"
    )
    options = parser.parse_args(arguments)
    if options.plot:
        plot(options.json, options.plot)
        return
    if options.markdown:
        try:
            print(report.markdown(report.read_json(options.json)))
        except report.Unreadable as error:
            sys.exit(str(error))
        return
    works = selected(options.work)
    if not works:
        parser.error("no such work; the works are: " + "; ".join(work.name for work in WORKS))
    if options.list:
        for work in works:
            print(f"{work.name}\n{'-' * len(work.name)}\n{work.what}\n")
        return
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    if rounds < LEAST_ROUNDS and not options.quick:
        parser.error(f"at least {LEAST_ROUNDS} rounds: fewer show no spread (or use --quick)")
    before = load()
    progress = Progress(works, rounds)
    results = []
    try:
        for work in works:
            progress.begin(work)
            results.append(interleave(work, rounds, options.quick, progress.step))
    finally:
        progress.end()
    print(report.tables(results))
    print(machine_line(before))
    write = report.add_json if options.add else report.write_json
    try:
        write(options.json, results, before)
    except (OSError, report.Unreadable) as error:
        sys.exit(f"cannot write the figures: {error}")
    print(f"All figures are in {options.json}")


def machine_line(before: float | None) -> str:
    here = environment()
    versions = ", ".join(f"{name} {version}" for name, version in here["packages"].items())
    loaded = "" if before is None else f", load average before: {before:.1f}"
    return (
        f"{here['processor']}, {here['processors']} processors, {here['platform']}{loaded}\n"
        f"Python {here['python']} ({here['build']}), libzmq {here['libzmq']}, {versions}, "
        f"zmqstream {here['zmqstream']} {here['revision']}"
    )


def plot(path: str, folder: str) -> None:
    try:
        from .plots import draw
    except ImportError as error:
        sys.exit(f"--plot needs matplotlib (pip install matplotlib): {error}")
    try:
        for drawn in draw(report.read_json(path), folder):
            print(drawn)
    except report.Unreadable as error:
        sys.exit(str(error))
