"""What a benchmark is here: a work, done by several implementations in turn, and its floors."""

from __future__ import annotations

import gc
import os
import signal
import statistics
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

# the implementations
C = "C"
OURS = "zmqstream"
BLOCKING = "pyzmq blocking"
STREAM = "pyzmq ZMQStream"

QUICK = 10  # a quick run, and the warm-up of any run, does so many times less
TIME_LIMIT = 120  # seconds for one measurement
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))


@dataclass(frozen=True)
class Figure:
    """One measurement: `ns` is compared; `more` is reported beside it, in ns, too."""

    ns: float
    more: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Measure:
    """How an implementation does a work: `function(n)` does it n times, and measures."""

    function: Callable[[int], Figure | float]
    n: int


@dataclass(frozen=True)
class Floor:
    """What is required of `subject`. Without a bound: only to be reported.

    kind "speed": `against`'s time over the subject's is at least the bound;
    kind "time": the subject's time over `against`'s is at most the bound;
    kind "limit": the subject's figure, in ns, is at most the bound.
    """

    kind: str
    against: str = ""
    bound: float | None = None
    subject: str = OURS

    def ratio(self, subject: float, against: float) -> float:
        return against / subject if self.kind == "speed" else subject / against

    def met(self, value: float) -> bool:
        if self.bound is None:
            return True
        return value >= self.bound if self.kind == "speed" else value <= self.bound


@dataclass(frozen=True)
class Work:
    """Something to do, in as many ways as there are `measures`."""

    name: str
    figure: str  # what the figure is: "per message"
    what: str  # what is timed, what is not, and what is kept
    measures: dict[str, Measure]
    floors: tuple[Floor, ...]


@dataclass
class Result:
    """The figures of every implementation, round by round."""

    work: Work
    figures: dict[str, list[Figure]]
    disturbance: float | None = None  # see Machine

    def ns(self, name: str) -> list[float]:
        return [figure.ns for figure in self.figures[name]]

    def median(self, name: str) -> float:
        return statistics.median(self.ns(name))

    def more(self, name: str) -> dict[str, float]:
        """The medians of what is reported beside the figure."""
        keys = self.figures[name][0].more
        return {key: statistics.median(f.more[key] for f in self.figures[name]) for key in keys}


def interleave(work: Work, rounds: int, quick: bool = False) -> Result:
    """Measure each implementation once a round, one after another, for so many rounds.

    Neighbours in time are compared, so what the machine does meanwhile happens to all of them.
    A tenth of a round is done before, as a warm-up, and is not counted.
    """
    figures: dict[str, list[Figure]] = {name: [] for name in work.measures}
    machine = Machine()
    for done in range(-1, rounds):
        for name, measure in work.measures.items():
            n = max(1, measure.n // QUICK) if quick or done < 0 else measure.n
            figure = measured(f"{work.name}, {name}", measure.function, n)
            if done >= 0:
                figures[name].append(figure)
    return Result(work, figures, machine.disturbance())


def measured(what: str, function: Callable[[int], Figure | float], n: int) -> Figure:
    """One measurement, with the garbage collector on, as in any program.

    What lived before is frozen, so that its passes do not depend on what else the process has
    loaded: pytest, say.
    """
    gc.collect()
    gc.freeze()
    try:
        with time_limit(TIME_LIMIT, what):
            figure = function(n)
    finally:
        gc.unfreeze()
    return figure if isinstance(figure, Figure) else Figure(figure)


class Machine:
    """How much the machine did for others, from now on: it explains figures that scatter.

    Nothing is dropped or repeated for it.
    """

    def __init__(self) -> None:
        self.start = self._seconds()

    def disturbance(self) -> float | None:
        """Processor time of other processes (and, in a virtual machine, of its neighbours, as far
        as it knows), as a part of the time that all processors had. None: unknown."""
        if self.start is None:
            return None
        total, busy, own = (
            now - then for now, then in zip(self._seconds(), self.start, strict=True)
        )
        return max(0.0, busy - own) / total if total else 0.0

    @staticmethod
    def _seconds() -> tuple[float, float, float] | None:
        try:
            with open("/proc/stat") as file:
                ticks = [int(word) for word in file.readline().split()[1:9]]
        except OSError:
            return None
        idle = ticks[3] + ticks[4]
        total = sum(ticks)
        tick = os.sysconf("SC_CLK_TCK")
        return total / tick, (total - idle) / tick, sum(os.times()[:4])


class _TimeLimit(KeyboardInterrupt):
    """What leaves every event loop; any other exception is only reported by them."""


@contextmanager
def time_limit(seconds: float, what: str) -> Iterator[None]:
    """TimeoutError if the block takes longer, wherever it hangs: a loop, libzmq or Python."""
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("benchmarks run in the main thread, where signals are")

    def expired(signum: int, frame: object) -> None:
        raise _TimeLimit

    before = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except _TimeLimit:
        raise TimeoutError(f"{what}: not done after {seconds} seconds") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def quantile(values: list[float] | list[int], part: float) -> float:
    """The value that `part` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
