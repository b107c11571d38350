"""Shows every work to pytest-benchmark, one test for each implementation, one group for each work.

pytest-benchmark runs one test to its end before the next. Here all implementations of a work run
in turn before its first test. The tests then replay the measurements: their timer is a clock that
moves by the time of each round.
"""

from __future__ import annotations

import pytest

from zmqstream._bench.works import WORKS


class Replay:
    """A timer for pytest-benchmark that plays recorded durations."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timer(self) -> float:
        return self.seconds

    def play(self, durations: list[float]) -> None:
        if durations:
            self.seconds += durations.pop(0)


replay = Replay()


@pytest.mark.parametrize(
    ("work", "implementation"),
    [
        pytest.param(
            work,
            name,
            id=f"{work.name}: {name}",
            marks=pytest.mark.benchmark(
                group=f"{work.name}, {work.figure}", timer=replay.timer, disable_gc=False
            ),
        )
        for work in WORKS
        for name in work.measures
    ],
)
def test_work(benchmark, result_of, work, implementation):
    result = result_of(work)
    if implementation in result.missing:
        pytest.skip(result.missing[implementation])
    # pytest-benchmark knows only seconds: for figures in bytes, read "ns" as "B"
    seconds = [value * 1e-9 for value in result.values(implementation)]
    replay.seconds = 0.0
    benchmark.extra_info.update(result.more(implementation))
    benchmark.pedantic(replay.play, args=(seconds,), rounds=len(seconds), iterations=1)
