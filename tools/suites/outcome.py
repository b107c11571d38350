"""The results of the runs: the tests' outcomes, the objects that were created, the tables."""

from __future__ import annotations

import collections
import json
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from table import Suite

SEVERITY = ("passed", "skipped", "failed", "error", "missing")
BAD = ("failed", "error", "missing")


@dataclass
class Run:
    """One run of a suite with one of the classes."""

    suite: Suite
    ours: bool
    number: int
    outcomes: dict[str, str] = field(default_factory=dict)  # by test
    made: dict[tuple[str, str], int] = field(default_factory=dict)  # by program and class
    left: int = 0  # processes that existed when pytest had ended
    seconds: float = 0
    problem: str = ""  # why the run did not reach its end

    @property
    def name(self) -> str:
        return f"{'zmqstream' if self.ours else 'pyzmq'} {self.number}"

    def count(self, *outcomes: str) -> int:
        return sum(outcome in outcomes for outcome in self.outcomes.values())

    def count_made(self, whose: str) -> int:
        return sum(count for (_, each), count in self.made.items() if each == whose)


def outcomes(junit: Path) -> dict[str, str]:
    """The outcome of each test in pytest's report, or the worst one if it has several."""
    found: dict[str, str] = {}
    for case in ElementTree.parse(junit).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        kinds = [{"failure": "failed"}.get(child.tag, child.tag) for child in case]
        all_kinds = [kind for kind in kinds if kind in SEVERITY] + [found.get(name, "passed")]
        found[name] = max(all_kinds, key=SEVERITY.index)
    return found


def made(constructions: Path, kind: str) -> dict[tuple[str, str], int]:
    """The number of objects of a kind that each program created, by class."""
    counts: dict[tuple[str, str], int] = collections.Counter()
    for line in constructions.read_text().splitlines():
        what, whose, _, arguments = json.loads(line)
        if what == kind:
            counts[program(arguments), whose] += 1
    return dict(counts)


def program(arguments: list[str]) -> str:
    """The program that a process runs, from the arguments of its Python."""
    rest = list(arguments)
    while rest and rest[0].startswith("-") and rest[0] not in ("-m", "-c"):
        del rest[: 2 if rest[0] in ("-W", "-X") else 1]
    if not rest:
        return "python"
    if rest[0] == "-m":
        return rest[1]
    if rest[0] == "-c":
        return f"-c {' '.join(rest[1].split())[:50]}"
    return Path(rest[0]).name


@dataclass
class Verdict:
    """The conclusion from the runs of one suite."""

    runs: list[Run]
    what: str  # "streams" or "sockets"

    def __post_init__(self) -> None:
        self.stock = [run for run in self.runs if not run.ours]
        self.ours = [run for run in self.runs if run.ours]
        tests = {name for run in self.runs for name in run.outcomes}
        self.flaky = {}  # tests that differ between runs with pyzmq's class
        self.new = {}  # tests that do not pass with our class, and pass in all runs with pyzmq's
        self.deviate = {}  # such tests that contradict what zmqstream promises
        for name in sorted(tests):
            stock, ours = self.of(name, self.stock), self.of(name, self.ours)
            worse = BAD if not stock or "skipped" in stock else (*BAD, "skipped")
            if len(set(stock)) > 1:
                self.flaky[name] = (stock, ours)
            elif any(each in worse for each in ours) and not any(each in BAD for each in stock):
                on_purpose = name in self.runs[0].suite.deviations
                (self.deviate if on_purpose else self.new)[name] = (stock, ours)
        self.problems = [f"{run.name}: {run.problem}" for run in self.runs if run.problem]
        for run in self.runs:
            want, other = ("zmqstream", "pyzmq") if run.ours else ("pyzmq", "zmqstream")
            if run.count_made(other):
                self.problems.append(
                    f"{run.name}: {run.count_made(other)} {self.what} of {other}'s class"
                )
            if not run.count_made(want) and not run.problem:
                self.problems.append(f"{run.name}: no {self.what} of {want}'s class were made")

    def of(self, name: str, runs: list[Run]) -> list[str]:
        return [run.outcomes.get(name, "missing") for run in runs]


def table(head: list[str], rows: list[list[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def made_table(verdicts: list[Verdict]) -> str:
    """The number of objects that each program created, by class and run."""
    columns = {
        "pyzmq's class: of pyzmq's": (False, "pyzmq"),
        "zmqstream's class: of zmqstream's": (True, "zmqstream"),
        "of pyzmq's": (True, "pyzmq"),
        "of zmq.green's": (True, "green"),
    }
    rows = [
        [
            verdict.runs[0].suite.name,
            name,
            *(
                ", ".join(
                    str(run.made.get((name, whose), 0)) for run in verdict.runs if run.ours == ours
                )
                for ours, whose in columns.values()
            ),
        ]
        for verdict in verdicts
        for name in sorted({name for run in verdict.runs for name, _ in run.made})
    ]
    return table(["suite", f"{verdicts[0].what} made by", *columns], rows)


def report(verdicts: list[Verdict]) -> str:
    heads = ["suite", "class, run", "passed", "failed", "errors", "skipped", "seconds", "left"]
    rows = [
        [run.suite.sdist, run.name, run.count("passed"), run.count("failed"), run.count("error"),
         run.count("skipped"), round(run.seconds), run.left]
        for verdict in verdicts for run in verdict.runs
    ]  # fmt: skip
    parts = [table(heads, rows)]
    parts.append(made_table(verdicts))
    for verdict in verdicts:
        suite = verdict.runs[0].suite
        for what, tests in (
            ("NEW FAILURE", verdict.new),
            ("deviates on purpose", verdict.deviate),
            ("flaky with pyzmq's", verdict.flaky),
        ):
            for name, (stock, ours) in tests.items():
                parts.append(
                    f"{suite.name}: {what}: {name}\n"
                    f"    pyzmq: {', '.join(stock)}; zmqstream: {', '.join(ours)}"
                )
                if tests is verdict.deviate:
                    parts[-1] += f"\n    {suite.deviations[name]}"
        parts += [f"{suite.name}: PROBLEM: {text}" for text in verdict.problems]
    return "\n\n".join(parts)
