"""The figures as tables and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .figures import WIDE, median, quartiles, scattered, spread
from .harness import LEAST_ROUNDS, Comparison, Result
from .machine import environment
from .peers import OURS, is_limit, is_ours

SCHEMA = 2  # of the JSON; docs/performance.md explains it
WAITED_LITTLE = 5  # percent: if the sender waited less for room, the sender was the limit
AS_FAST = 0.05  # a peer that is faster by at most this part counts as equally fast


def time_of(ns: float) -> str:
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{ns / size:,.2f} {unit}"
    return f"{ns:,.1f} ns"


def shown(value: float, unit: str) -> str:
    if unit == "ns":
        return time_of(value)
    return f"{value:,.0f} {unit}"


def unit_of(key: str, unit: str = "ns") -> str:
    """The unit of the value `key` beside a figure."""
    return "%" if key.endswith("%") else unit


def name_of(key: str) -> str:
    return key.removesuffix("%").strip()


def compare(result: Result, comparison: Comparison) -> dict[str, Any]:
    """One row of the second table: the median of the rounds' ratios, unless these are scattered.

    It is not the ratio of the medians. The medians may be of different rounds, and on a busy
    machine their ratio was outside of what most rounds had shown.
    """
    subject, against = comparison.subject, comparison.against
    row = {
        "subject": subject,
        "against": against,
        "kind": comparison.kind,
        "of": comparison.of or None,
        "value": None,
        "lowest": None,
        "highest": None,
        "spread": None,
        "remark": "",
    }
    for name in (subject, against):
        if name not in result.figures:
            return {**row, "remark": f"no figures of {name}"}
    pairs = zip(
        result.values(subject, comparison.of), result.values(against, comparison.of), strict=True
    )
    rounds = [comparison.ratio(*pair) for pair in pairs]
    low, high = quartiles(rounds)
    row |= {"lowest": low, "highest": high, "spread": spread(rounds)}
    if scattered(rounds):
        return {**row, "remark": "scattered: measure again on a quieter machine"}
    return {**row, "value": median(rounds)}


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _cells(name: str, row: dict[str, Any]) -> list[str]:
    """A comparison as cells of a table."""
    says = {"speed": "x as fast as", "time": "x the figure of"}[row["kind"]]
    between = ""
    if row["lowest"] is not None:
        between = f"{_ratio(row['lowest'])} .. {_ratio(row['highest'])}"
    return [
        name + (f": {row['of']}" if row["of"] else ""),
        row["subject"],
        "-" if row["value"] is None else _ratio(row["value"]),
        f"{says} {row['against']}",
        between,
        row["remark"],
    ]


def remarks(result: Result, name: str) -> list[str]:
    """What a reader must know about a row to judge it."""
    said = []
    if scattered(result.values(name)):
        said.append(f"scattered ({spread(result.values(name)):.0%})")
    waited = result.more(name).get("sender waited %")
    if waited is not None and waited < WAITED_LITTLE:
        said.append("the sender was the limit")
    return said


def _figures(result: Result) -> Iterable[list[str]]:
    unit = result.work.unit
    for name in result.work.measures:
        if name in result.missing:
            yield [result.work.name, name, "-", "", f"missing: {result.missing[name]}", ""]
            continue
        value = result.median(name)
        more = [
            f"{name_of(key)} {shown(found, unit_of(key, unit))}"
            for key, found in result.more(name).items()
        ]
        if result.work.figure == "per message":
            more.insert(0, f"{1e9 / value:,.0f}/s")
        low, high = quartiles(result.values(name))
        yield [
            result.work.name,
            name,
            shown(value, unit),
            result.work.figure,
            f"{shown(low, unit)} .. {shown(high, unit)}",
            "; ".join([*more, *map(str.upper, remarks(result, name))]),
        ]


def _table(title: str, header: list[str], rows: list[list[str]]) -> list[str]:
    # the last column may be long, and needs no width
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header) - 1)]
    lines = [title, ""]
    before = None
    for row in [header, *rows]:
        if before not in (None, header[0], row[0]):
            lines.append("")
        cells = [cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)]
        if row[0] == before:
            cells[0] = " " * widths[0]
        lines.append("  ".join(cells).rstrip())
        before = row[0]
    return [*lines, ""]


def faster(result: Result) -> list[tuple[str, float]]:
    """The peers without C that are faster than zmqstream on its own loop, and their ratios."""
    if OURS not in result.figures or result.work.unit != "ns":
        return []
    ours = result.median(OURS)
    found = []
    for name in result.figures:
        if is_ours(name) or is_limit(name) or "," in name:
            continue
        ratio = ours / result.median(name)
        if ratio > 1 + AS_FAST:
            found.append((name, ratio))
    return sorted(found, key=lambda pair: -pair[1])


def _slower(results: list[Result]) -> list[str]:
    lines = [
        f"{result.work.name}: {name} is {ratio:.2f} x as fast"
        for result in results
        for name, ratio in faster(result)
    ]
    if not lines:
        lines = [f"nowhere by more than {AS_FAST:.0%}"]
    return ["Where another library is faster than zmqstream", "", *lines, ""]


def tables(results: list[Result]) -> str:
    """All tables as text."""
    rounds = max((len(figures) for r in results for figures in r.figures.values()), default=0)
    title = f"Medians of {rounds} rounds, the implementations in turn within each"
    if rounds < LEAST_ROUNDS or any(result.quick for result in results):
        title += "; a look only: too short, or too few rounds, to conclude anything from"
    lines = _table(
        title,
        ["work", "implementation", "median", "", "middle half", ""],
        [row for result in results for row in _figures(result)],
    )
    lines += _table(
        f"Medians of the rounds' ratios; none where their middle half is wider than {WIDE:.0%}",
        ["work", "", "ratio", "", "middle half", ""],
        [
            _cells(result.work.name, compare(result, comparison))
            for result in results
            for comparison in result.work.comparisons
        ],
    )
    lines += _slower(results)
    disturbed = [f"{r.disturbance:.0%}" for r in results if r.disturbance is not None]
    if disturbed:
        lines += [
            "What other processes took of all processors meanwhile, work by work: "
            + ", ".join(disturbed),
            "",
        ]
    return "\n".join(lines)


def as_json(results: list[Result], load: float | None = None) -> dict[str, Any]:
    """The JSON document. `load` is the load average before the run."""
    return {
        "schema": SCHEMA,
        "environment": environment(),
        "works": [_work(result, load) for result in results],
    }


def _work(result: Result, load: float | None) -> dict[str, Any]:
    work = result.work
    return {
        "name": work.name,
        "figure": work.figure,
        "unit": work.unit,
        "what": work.what,
        "quick": result.quick,
        "load": load,
        "disturbance": result.disturbance,
        "curve": work.curve,
        "plot": list(work.plot) if work.plot else None,
        "implementations": {
            name: {
                "n": result.n.get(name),
                "median": result.median(name),
                "spread": spread(result.values(name)),
                "scattered": scattered(result.values(name)),
                "rounds": result.values(name),
                "more": result.more(name),
                "curve": result.curve(name),
                "remarks": remarks(result, name),
            }
            for name in result.figures
        },
        "missing": result.missing,
        "faster": dict(faster(result)),
        "comparisons": [compare(result, each) for each in work.comparisons],
    }


class Unreadable(Exception):
    """Why a file cannot be read as figures."""


def read_json(path: str | Path) -> dict[str, Any]:
    """The document in a file. Raises Unreadable if it is not one of this program."""
    try:
        document = json.loads(Path(path).read_text())
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise Unreadable(f"{path}: no JSON: {error}") from error
    if not isinstance(document, dict) or "works" not in document:
        raise Unreadable(f"{path}: no figures of python -m zmqstream bench")
    if document.get("schema") != SCHEMA:
        raise Unreadable(f"{path}: schema {document.get('schema')}, where {SCHEMA} is expected")
    return document


def write_json(path: str | Path, results: list[Result], load: float | None = None) -> None:
    Path(path).write_text(json.dumps(as_json(results, load), indent=1) + "\n")


def add_json(path: str | Path, results: list[Result], load: float | None = None) -> None:
    """Add results to a file with those of other works from the same environment."""
    fresh = as_json(results, load)
    if Path(path).exists():
        document = read_json(path)
        differ = [
            key
            for key, value in fresh["environment"].items()
            if document["environment"].get(key) != value
        ]
        if differ:
            raise Unreadable(f"{path}: measured elsewhere: {', '.join(differ)} differ")
        names = {work["name"] for work in fresh["works"]}
        fresh["works"] = [
            *(work for work in document["works"] if work["name"] not in names),
            *fresh["works"],
        ]
    Path(path).write_text(json.dumps(fresh, indent=1) + "\n")


def markdown(document: dict[str, Any]) -> str:
    """Tables for a page of the documentation: all figures, all ratios, and who is faster."""
    here = document["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in here["packages"].items())
    lines = [
        "# What was measured",
        "",
        f"{here['processors']} processors ({here['processor']}), {here['platform']}, Python "
        f"{here['python']} ({here['build']}), libzmq {here['libzmq']}, {versions}; zmqstream "
        f"{here['zmqstream']}, revision {here['revision'] or 'unknown'}.",
        "",
    ]
    for work in document["works"]:
        unit = work["unit"]
        names = {key for found in work["implementations"].values() for key in found["more"]}
        beside = sorted(names, key=list(next(iter(work["implementations"].values()))["more"]).index)
        header = ["", f"{unit} {work['figure']}" if unit != "ns" else work["figure"], "middle half"]
        lines += [
            f"**{work['name']}**",
            "",
            _row([*header, *map(name_of, beside), ""]),
            _row(["---", *["---:"] * (2 + len(beside)), "---"]),
        ]
        for name, found in work["implementations"].items():
            low, high = quartiles(found["rounds"])
            lines.append(
                _row(
                    [
                        name,
                        shown(found["median"], unit),
                        f"{shown(low, unit)} .. {shown(high, unit)}",
                        *(shown(found["more"][key], unit_of(key, unit)) for key in beside),
                        "; ".join(found["remarks"]),
                    ]
                )
            )
        lines += [
            _row([name, "", "", *[""] * len(beside), why]) for name, why in work["missing"].items()
        ]
        lines.append("")
    lines += ["**Ratios**", "", _row(["work", "", "ratio", "", "middle half", ""])]
    lines.append(_row(["---", "---", "---:", "---", "---", "---"]))
    for work in document["works"]:
        lines += [_row(_cells(work["name"], row)) for row in work["comparisons"]]
    lines += ["", "**Where another library is faster**", ""]
    slower = [
        f"- {work['name']}: {name}, {ratio:.2f} x"
        for work in document["works"]
        for name, ratio in work["faster"].items()
    ]
    return "\n".join([*lines, *(slower or ["nowhere"])])


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
