"""Pictures of the figures in the JSON file: throughput by size, latency, idle streams."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")

from matplotlib import pyplot

from .figures import CURVE
from .peers import BLOCKING, OURS, PYOMQ, STREAM, ZLOOP, C

COLOURS = {
    C: "0.55",
    OURS: "tab:red",
    BLOCKING: "tab:blue",
    STREAM: "tab:orange",
    PYOMQ: "tab:green",
    ZLOOP: "tab:purple",
}


class NothingToDraw(Exception):
    """The file has no figures for a picture."""


def draw(document: dict[str, Any], folder: str) -> Iterator[Path]:
    """Draw each picture for which there are figures. Yields the files."""
    pyplot.rcParams.update(
        {
            "svg.hashsalt": "zmqstream",  # the same figures give the same file
            "svg.fonttype": "none",
            "font.size": 10,
            "axes.grid": True,
            "grid.alpha": 0.3,
        }
    )
    Path(folder).mkdir(parents=True, exist_ok=True)
    works = {work["name"]: work for work in document["works"]}
    for name, picture in PICTURES.items():
        figure, axes = pyplot.subplots(figsize=(7, 4))
        try:
            picture(axes, works)
        except NothingToDraw:
            continue
        finally:
            pyplot.close(figure)
        axes.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
        path = Path(folder, f"{name}.svg")
        # a white background, because pages may have a dark one
        figure.savefig(
            path, bbox_inches="tight", facecolor="white", metadata={"Date": None, "Creator": None}
        )
        yield path


def by_size(axes: Any, works: dict[str, Any]) -> None:
    for kind, line in (("copied", "-"), ("not copied", "--")):
        points: dict[str, list[tuple[float, float]]] = {}
        for work in works.values():
            if work["plot"] and work["plot"][0] == kind:
                for name, found in work["implementations"].items():
                    if name in COLOURS:
                        points.setdefault(name, []).append((work["plot"][1], found["median"]))
        for name, found in points.items():
            if kind != "copied" and name == C:
                continue  # the same loop
            sizes, times = zip(*sorted((max(size, 1), ns) for size, ns in found), strict=True)
            label = name if kind == "copied" else f"{name}, copy=False"
            rates = [1e9 / ns for ns in times]
            axes.plot(sizes, rates, line, marker="o", ms=4, color=COLOURS[name], label=label)
    if not axes.lines:
        raise NothingToDraw
    axes.set(
        title="Receiving messages of one frame, inproc",
        xlabel="bytes (0 is drawn at 1)",
        ylabel="messages per second",
    )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")


def latency(axes: Any, works: dict[str, Any]) -> None:
    work = works.get("tcp echo, p50")
    if work is None:
        raise NothingToDraw
    for name in COLOURS:
        if found := work["implementations"].get(name):
            axes.plot(
                [1 / (1 - part) for part in CURVE],
                [ns / 1000 for ns in found["curve"]],
                color=COLOURS[name],
                label=name,
            )
    axes.set(
        title="Echo over tcp: how long round trips take",
        xlabel="part of the trips that take no longer",
        ylabel="microseconds",
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = (0, 0.5, 0.9, 0.99, 0.999)
    axes.set_xticks([1 / (1 - part) for part in ticks], [f"{part:.1%}" for part in ticks])
    axes.minorticks_off()


def idle(axes: Any, works: dict[str, Any]) -> None:
    work = works.get("ping-pong beside idle streams")
    if work is None:
        raise NothingToDraw
    for name in (OURS, STREAM):
        points = []
        for key, found in work["implementations"].items():
            implementation, _, beside = key.partition(", ")
            if implementation == name:
                number = int(beside.removesuffix(" idle").replace(",", "")) if beside else 0
                points.append((number, found["median"] / 1000))
        numbers, times = zip(*sorted(points), strict=True)
        axes.plot(numbers, times, marker="o", ms=4, color=COLOURS[name], label=name)
    axes.set(
        title="Ping-pong of two streams beside idle ones on the same loop",
        xlabel="idle streams",
        ylabel="microseconds per round trip",
        ylim=(0, None),
    )
    axes.set_xscale("symlog", linthresh=100)


def flood(axes: Any, works: dict[str, Any]) -> None:
    work = works.get("tcp flood 1 x 16 B")
    if work is None:
        raise NothingToDraw
    found = sorted(work["implementations"].items(), key=lambda pair: -pair[1]["median"])
    for row, (name, figures) in enumerate(found):
        colour = "tab:red" if name.startswith(OURS) else COLOURS.get(name, "0.75")
        rate = 1e3 / figures["median"]
        axes.barh(row, rate, color=colour)
        axes.text(rate, row, f" {rate:.2f}", va="center", fontsize="small")
    axes.set_yticks(range(len(found)), [name for name, _ in found])
    axes.set(title="A flood of 16 B messages over tcp", xlabel="million messages per second")
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.1)
    axes.plot([], [], color="tab:red", label="zmqstream, on its own loop and on others")


PICTURES: dict[str, Callable[[Any, dict[str, Any]], None]] = {
    "throughput": by_size,
    "flood": flood,
    "latency": latency,
    "idle": idle,
}
