"""Compare the figures of a run with the project's bounds.

    python -m zmqstream bench --json figures.json
    python bench/bounds.py figures.json

It fails if a bound is not met. Run it on a quiet machine before a release. bench/guard.py finds
small losses on any machine, because it counts instructions.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from zmqstream._bench import report
from zmqstream._bench.peers import (
    ASYNC,
    BLOCKING,
    OTHER_LOOPS,
    OURS,
    OURS_AWAITED,
    PYOMQ,
    STREAM,
    ZLOOP,
    C,
)


@dataclass(frozen=True)
class Bound:
    """A bound of one figure of `subject`, or of its ratio to the figure of `against`.

    kind "speed": the ratio of speeds is at least the bound;
    kind "time": the ratio of figures is at most the bound;
    kind "limit": the figure, in the unit of the work, is at most the bound.
    `of`: the name of a value beside the figure, to be used instead of the figure.
    """

    work: str
    kind: str
    bound: float
    against: str | None = None
    subject: str = OURS
    of: str | None = None

    def row(self, work: dict[str, Any]) -> dict[str, Any] | None:
        """The comparison in the file that has the ratio."""
        wanted = {key: getattr(self, key) for key in ("kind", "against", "subject", "of")}
        rows = work["comparisons"]
        return next((row for row in rows if all(row[k] == wanted[k] for k in wanted)), None)

    def value(self, works: dict[str, dict[str, Any]]) -> float | None:
        """The figure or the ratio, or None if the file does not have it."""
        work = works.get(self.work)
        if work is None:
            return None
        if self.kind == "limit":
            found = work["implementations"].get(self.subject)
            return None if found is None else found["median"]
        row = self.row(work)
        return None if row is None else row["value"]

    def met(self, value: float) -> bool:
        return value >= self.bound if self.kind == "speed" else value <= self.bound

    def __str__(self) -> str:
        text = f"{self.work}{f', {self.of}' if self.of else ''}: {self.subject}"
        sign = ">=" if self.kind == "speed" else "<="
        against = {"speed": f" x as fast as {self.against}", "time": f" x {self.against}"}
        return f"{text} {sign} {self.bound:g}{against.get(self.kind, '')}"


PING_PONG = "ping-pong beside idle streams"
BOUNDS = [
    Bound("receive 1 x 16 B", "time", 3.0, C),
    Bound("receive 1 x 16 B", "speed", 90, STREAM),
    Bound("receive 3 x 16 B", "time", 2.2, C),
    Bound("receive 3 x 16 B", "speed", 45, STREAM),
    Bound("receive 1 x 64 KiB, copy=False", "speed", 20, STREAM),
    Bound("send 1 x 16 B", "time", 3.5, C),
    Bound("send 1 x 16 B", "speed", 80, STREAM),
    Bound("await recv_multipart", "speed", 25, ASYNC),
    Bound("tcp flood, awaited", "speed", 12, ASYNC, OURS_AWAITED),
    Bound("tcp flood, awaited", "speed", 1, BLOCKING, OURS_AWAITED),
    Bound("async for", "speed", 30, ASYNC),
    Bound("on_recv_batch", "time", 2.5, C),
    Bound("tcp flood 1 x 16 B", "speed", 0.7, C),
    Bound("tcp flood 1 x 16 B", "speed", 50, STREAM),
    Bound("tcp flood 1 x 16 B", "speed", 3, ZLOOP),
    Bound("tcp flood 1 x 16 B", "speed", 1.5, PYOMQ),
    *(
        Bound("tcp flood 1 x 16 B", "speed", part, OURS, f"{OURS} on {loop}")
        for loop, part in zip(OTHER_LOOPS, (0.75, 0.6, 0.6), strict=True)
    ),
    *(
        Bound("tcp flood 1 x 16 B", "speed", 30, stream, f"{OURS} on {loop}")
        for loop, stream in zip(
            OTHER_LOOPS, (f"{STREAM} on uvloop", STREAM, f"{STREAM} on Tornado"), strict=True
        )
    ),
    Bound("tcp echo, p50", "time", 1.10, C),
    Bound("tcp echo, p50", "time", 1.15, C, of="p99"),
    Bound("tcp echo, p50", "time", 0.4, STREAM, of="server's CPU"),
    Bound(PING_PONG, "speed", 10, STREAM),
    Bound(PING_PONG, "time", 1.10, OURS, f"{OURS}, 10,000 idle"),
    Bound("memory of a stream", "limit", 1536),
    Bound("10 ms timer under flood, p99", "limit", 5e6),
    *(
        Bound(f"1 ms timer, {count} stalled peers, p99.9", "limit", 5e6, subject=name)
        for count in (0, 1, 50)
        for name in (OURS, f"{OURS} on asyncio", f"{OURS} on uvloop")
    ),
    Bound("two floods, longest wait", "limit", 5e6),
    Bound("import", "limit", 30e6),
]


def check(document: dict[str, Any]) -> tuple[list[str], bool]:
    """A line for each bound, and whether none is broken. Figures may be missing or scattered."""
    works = {work["name"]: work for work in document["works"]}
    lines, well = [], True
    for bound in BOUNDS:
        value = bound.value(works)
        met = None if value is None else bound.met(value)
        well = well and met is not False
        verdict = {True: "ok", False: "NOT MET", None: "no figure"}[met]
        lines.append(f"{verdict:9}  {bound}" + ("" if value is None else f": {value:.4g}"))
    return lines, well


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit((__doc__ or "").strip())
    try:
        lines, well = check(report.read_json(sys.argv[1]))
    except report.Unreadable as error:
        sys.exit(str(error))
    print("\n".join(lines))
    sys.exit(not well)


if __name__ == "__main__":
    main()
