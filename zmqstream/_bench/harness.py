"""A benchmark: a work that several implementations do, and the runner that makes them take turns.

`interleave()` is the runner of `python -m zmqstream bench`. `pytest bench` runs the same works with
pytest-benchmark.
"""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from time import perf_counter_ns

from .figures import median
from .machine import Machine
from .peers import BLOCKING, OURS, PEERS, STREAM, C

__all__ = ["BLOCKING", "OURS", "STREAM", "C"]  # and what is below

QUICK = 10  # a quick run, and the warm-up of any run, is shorter by this factor
SECONDS = 0.25  # the duration of a measurement of a work without a fixed n
PROBE = 1_000  # the n of the probe that finds the n for SECONDS
TIME_LIMIT = 120  # seconds for one measurement
PEER_TIME_LIMIT = 10  # the same for implementations that may be missing
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
LEAST_ROUNDS = 5  # fewer show no spread
QUICK_ROUNDS = 2  # a quick run allows no conclusions


HUNG: dict[str, str] = {}  # peers that reached a time limit, and are not run again


@dataclass(frozen=True)
class Figure:
    """One measurement: `value` is compared, in its work's unit; `more` is reported beside it, in
    nanoseconds, or in percent where the key says so; `curve` is for plots."""

    value: float
    more: dict[str, float] = field(default_factory=dict)
    curve: tuple[float, ...] = ()


@dataclass(frozen=True)
class Job:
    """A work that is ready to be done once. Only `run()` is timed.

    `after(each)` is called next. It returns the figure of this run: by default the nanoseconds for
    each time that the work was done.
    """

    run: Callable[[], object]
    after: Callable[[float], Figure] = Figure


Prepare = Callable[[int], AbstractContextManager[Job]]


@dataclass(frozen=True)
class Measure:
    """How an implementation does a work: `prepare(n)` gets everything ready to do it n times.

    Without n, the work is done as often as SECONDS allow, estimated from the warm-up, but at most
    `most` times. `part` is the largest number that can be prepared at once; a measurement of more
    is made of several jobs.
    """

    prepare: Prepare
    n: int | None = None
    most: int = 2_000_000
    part: int = 2_000_000
    peer: str = ""  # the name in PEERS, where the implementation's is longer
    quick: bool = True  # whether it is in quick runs too


def whole(function: Callable[[int], Figure | float]) -> Prepare:
    """A `prepare` for a function that measures by itself and returns its figure."""

    @contextmanager
    def prepare(n: int) -> Iterator[Job]:
        found: list[Figure | float] = []

        def after(each: float) -> Figure:
            figure = found[0]
            return figure if isinstance(figure, Figure) else Figure(figure)

        yield Job(lambda: found.append(function(n)), after)

    return prepare


@dataclass(frozen=True)
class Comparison:
    """A ratio of two implementations' figures.

    kind "speed": `against`'s figure over the subject's;
    kind "time": the subject's figure over `against`'s.
    `of`: the name of a value beside the figure, to be used instead of the figure.
    """

    kind: str
    against: str
    subject: str = OURS
    of: str = ""

    def ratio(self, subject: float, against: float) -> float:
        return against / subject if self.kind == "speed" else subject / against


@dataclass(frozen=True)
class Work:
    """Something to do, in as many ways as there are `measures`."""

    name: str
    figure: str  # the meaning of the figure: "per message"
    what: str  # the description: what is timed, and what is not
    measures: dict[str, Measure]
    comparisons: tuple[Comparison, ...] = ()
    unit: str = "ns"  # or "B", "%"
    curve: str = ""  # the meaning of the figures' curves
    plot: tuple[str, float] | None = None  # the plot of its medians, and their x
    batch: int = (
        0  # how often pytest-benchmark has it done in a round; 0: its figure is no duration
    )


@dataclass
class Result:
    """The figures of every implementation, round by round."""

    work: Work
    figures: dict[str, list[Figure]]
    n: dict[str, int] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)  # {missing implementation: reason}
    disturbance: float | None = None  # see Machine
    quick: bool = False

    def values(self, name: str, of: str = "") -> list[float]:
        return [figure.more[of] if of else figure.value for figure in self.figures[name]]

    def median(self, name: str, of: str = "") -> float:
        return median(self.values(name, of))

    def more(self, name: str) -> dict[str, float]:
        """The medians of the values beside the figure."""
        return {key: self.median(name, key) for key in self.figures[name][0].more}

    def curve(self, name: str) -> list[float]:
        """The medians of the curves, point by point."""
        curves = [figure.curve for figure in self.figures[name]]
        return [median(points) for points in zip(*curves, strict=True)]


def interleave(
    work: Work,
    rounds: int,
    quick: bool = False,
    progress: Callable[[str], None] = lambda name: None,
    peer_limit: float | None = None,
) -> Result:
    """Measure each implementation once a round, one after another, for `rounds` rounds.

    Measurements of a round follow each other, so other work of the machine affects all of them.
    Each implementation is first warmed up with a part of a round, which is not counted. One that
    is not installed or fails is `missing`. A failure of zmqstream or of C is an error. `peer_limit`
    replaces PEER_TIME_LIMIT.
    """
    result = Result(work, {}, quick=quick)
    for name, measure in work.measures.items():
        peer = PEERS.get(measure.peer or name)
        reason = HUNG.get(name) or (peer.missing() if peer else "")
        if quick and not measure.quick:
            reason = "takes too long for a quick run"
        if reason:
            result.missing[name] = reason
        else:
            result.figures[name] = []
    machine = Machine()
    for done in range(-1, rounds):
        for name in list(result.figures):
            progress(name)
            measure = work.measures[name]
            must_work = name.startswith((OURS, C))
            limit = TIME_LIMIT if must_work else peer_limit or PEER_TIME_LIMIT
            what = f"{work.name}, {name}"
            try:
                if done < 0:
                    result.n[name] = warm_up(what, measure, quick, limit)
                else:
                    figure = measured(what, measure, result.n[name], limit)
                    result.figures[name].append(figure)
            except Exception as error:
                if must_work:
                    raise
                del result.figures[name]
                result.missing[name] = f"failed: {error or type(error).__name__}"
                if isinstance(error, TimeoutError):
                    HUNG[name] = f"did not finish {work.name} within {limit} seconds"
    result.disturbance = machine.disturbance()
    return result


def warm_up(what: str, measure: Measure, quick: bool, limit: float) -> int:
    """Do a part of the work, and return its n for each round."""
    divisor = QUICK if quick else 1
    if measure.n is not None:
        measured(what, measure, max(1, measure.n // QUICK), limit)
        return max(1, measure.n // divisor)
    n = PROBE
    for seconds in (SECONDS / QUICK, SECONDS / divisor):
        figure = measured(what, measure, max(1, min(n, measure.most // divisor)), limit)
        n = max(1, min(int(seconds * 1e9 / figure.value), measure.most // divisor))
    return n


def measured(what: str, measure: Measure, n: int, limit: float = TIME_LIMIT) -> Figure:
    """One measurement."""
    took = 0
    with settled(), time_limit(limit, what):
        for done in range(0, n, measure.part):
            with measure.prepare(min(measure.part, n - done)) as job:
                start = perf_counter_ns()
                job.run()
                took += perf_counter_ns() - start
                figure = job.after(took / n)
    return figure


@contextmanager
def settled() -> Iterator[None]:
    """Measure with the garbage collector on, as in any program.

    Older objects are frozen, so that collections do not depend on other modules in the process,
    such as pytest.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class _TimeLimit(KeyboardInterrupt):
    """Leaves every event loop. Loops only report exceptions of other base classes."""


@contextmanager
def time_limit(seconds: float, what: str) -> Iterator[None]:
    """Raise TimeoutError if the block takes longer, even if it hangs in a loop or in libzmq."""
    if not hasattr(signal, "setitimer"):  # Windows has no time limit
        yield
        return
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("benchmarks need the main thread, which gets the signals")

    def expired(signum: int, frame: object) -> None:
        raise _TimeLimit

    before = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except _TimeLimit:
        raise TimeoutError(f"{what}: not finished after {seconds} seconds") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
