"""The tables at the end, and the same as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import zmq

import zmqstream

from .harness import Floor, Result


def time_of(ns: float) -> str:
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{ns / size:,.2f} {unit}"
    return f"{ns:,.1f} ns"


def compare(result: Result, floor: Floor) -> dict[str, Any]:
    """One row of the second table: the ratio of medians, and the rounds' own ratios."""
    subject = result.ns(floor.subject)
    if floor.kind == "limit":
        value, rounds = result.median(floor.subject), subject
    else:
        value = floor.ratio(result.median(floor.subject), result.median(floor.against))
        rounds = [
            floor.ratio(*pair) for pair in zip(subject, result.ns(floor.against), strict=True)
        ]
    return {
        "subject": floor.subject,
        "against": floor.against or None,
        "kind": floor.kind,
        "value": value,
        "required": floor.bound,
        "met": floor.met(value) if floor.bound is not None else None,
        "lowest": min(rounds),
        "highest": max(rounds),
    }


def _shown(kind: str, value: float) -> str:
    if kind == "limit":
        return time_of(value)
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _comparison(result: Result, floor: Floor) -> list[str]:
    row = compare(result, floor)
    kind = row["kind"]
    says = {"speed": "x as fast as", "time": "x the time of", "limit": "in all"}[kind]
    required = ""
    if floor.bound is not None:
        sign = ">=" if kind == "speed" else "<="
        required = f"{sign} {time_of(floor.bound) if kind == 'limit' else f'{floor.bound:g}'}"
    return [
        result.work.name,
        row["subject"],
        _shown(kind, row["value"]),
        f"{says} {floor.against}".strip(),
        required,
        {True: "ok", False: "NOT MET", None: ""}[row["met"]],
        f"{_shown(kind, row['lowest'])} .. {_shown(kind, row['highest'])}",
    ]


def _figures(result: Result) -> Iterable[list[str]]:
    for name in result.figures:
        ns, median = result.ns(name), result.median(name)
        rate = f"{1e9 / median:,.0f}/s" if result.work.figure == "per message" else ""
        more = ", ".join(f"{key} {time_of(value)}" for key, value in result.more(name).items())
        yield [
            result.work.name,
            name,
            time_of(median),
            result.work.figure,
            rate or more,
            f"{time_of(min(ns))} .. {time_of(max(ns))}",
        ]


def _table(title: str, header: list[str], rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = [title, ""]
    before = None
    for row in [header, *rows]:
        if before not in (None, header[0], row[0]):
            lines.append("")
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        if row[0] == before:
            cells[0] = " " * widths[0]
        lines.append("  ".join(cells).rstrip())
        before = row[0]
    return [*lines, ""]


def tables(results: list[Result]) -> str:
    """Both tables, as text."""
    rounds = max((len(figures) for r in results for figures in r.figures.values()), default=0)
    lines = _table(
        f"Medians of {rounds} rounds, the implementations in turn within each",
        ["work", "implementation", "median", "", "", "lowest .. highest round"],
        [row for result in results for row in _figures(result)],
    )
    lines += _table(
        "Ratios of those medians, what is required, and the ratios of single rounds",
        ["work", "", "ratio", "", "required", "", "lowest .. highest round"],
        [_comparison(result, floor) for result in results for floor in result.work.floors],
    )
    disturbed = [f"{r.disturbance:.0%}" for r in results if r.disturbance is not None]
    if disturbed:
        lines += [
            "What other processes took of all processors meanwhile, work by work: "
            + ", ".join(disturbed),
            "",
        ]
    return "\n".join(lines)


def unmet(results: list[Result]) -> int:
    """How many floors are not met."""
    rows = [compare(result, floor) for result in results for floor in result.work.floors]
    return sum(row["met"] is False for row in rows)


def as_json(results: list[Result]) -> dict[str, Any]:
    return {
        "machine": {
            "platform": platform.platform(),
            "processors": os.cpu_count(),
            "python": platform.python_version(),
            "pyzmq": zmq.pyzmq_version(),
            "libzmq": zmq.zmq_version(),
            "zmqstream": zmqstream.__version__,
        },
        "works": [
            {
                "name": result.work.name,
                "figure": f"ns {result.work.figure}",
                "what": result.work.what,
                "disturbance": result.disturbance,
                "implementations": {
                    name: {
                        "n": result.work.measures[name].n,
                        "median": result.median(name),
                        "rounds": result.ns(name),
                        **result.more(name),
                    }
                    for name in result.figures
                },
                "comparisons": [compare(result, floor) for floor in result.work.floors],
            }
            for result in results
        ],
    }


def write_json(path: str, results: list[Result]) -> None:
    Path(path).write_text(json.dumps(as_json(results), indent=2) + "\n")
