"""Every work whose figure is a duration: a group for each work, a test for each implementation.

A round does a work as often as the group's name says. Everything that the work needs is prepared
before the round, and is not timed. pytest-benchmark's options decide how many rounds there are.
"""

from __future__ import annotations

from contextlib import ExitStack
from math import nan
from time import perf_counter

import pytest

from zmqstream._bench.harness import Figure, Job, Result, settled, time_limit
from zmqstream._bench.peers import PEERS, is_limit, is_ours
from zmqstream._bench.works import WORKS

TIME_LIMIT = 300  # seconds for one test
HUNG: set[str] = set()  # implementations that reached the time limit, and are not run again


@pytest.mark.parametrize(
    ("work", "name"),
    [
        pytest.param(
            work,
            name,
            id=f"{work.name}: {name}",
            marks=pytest.mark.benchmark(group=f"{work.name}, {work.batch:,} times"),
        )
        for work in WORKS
        if work.batch
        for name in work.measures
    ],
)
def test_work(benchmark, pytestconfig, work, name):
    measure = work.measures[name]
    peer = PEERS.get(measure.peer or name)
    if missing := (peer.missing() if peer else "") or (name in HUNG and "it has hung before"):
        pytest.skip(missing)
    figures: list[Figure] = []
    with settled(), ExitStack() as round_:

        def prepare() -> tuple[tuple[Job], dict]:
            return (round_.enter_context(measure.prepare(work.batch)),), {}

        def run(job: Job) -> Job:
            job.run()
            return job

        def finish(job: Job) -> None:
            figures.append(job.after(nan))
            round_.close()

        try:
            with time_limit(TIME_LIMIT, benchmark.name):
                rounds = 1
                if benchmark.enabled:
                    rounds = number_of_rounds(pytestconfig, prepare, run, finish)
                    figures.clear()
                job = benchmark.pedantic(run, setup=prepare, teardown=finish, rounds=rounds)
                if not benchmark.enabled:  # then pedantic() calls no teardown
                    finish(job)
        except TimeoutError:
            if is_ours(name) or is_limit(name):
                raise
            HUNG.add(name)
            pytest.skip(f"not finished after {TIME_LIMIT} seconds")
    if benchmark.enabled:
        result = Result(work, {name: figures})
        each = benchmark.stats.stats.median / work.batch * 1e9
        benchmark.extra_info.update(
            {"times": work.batch, f"ns {work.figure}": round(each, 1), **result.more(name)}
        )


def number_of_rounds(config, prepare, run, finish) -> int:
    """As many rounds as --benchmark-max-time has room for, but at least --benchmark-min-rounds.

    Unlike pytest-benchmark's own calibration, this includes the time of the preparation. It does
    one round that is not measured.
    """
    start = perf_counter()
    (job,), _ = prepare()
    run(job)
    finish(job)
    seconds = perf_counter() - start
    fitting = int(float(config.getoption("benchmark_max_time")) / seconds)
    return max(config.getoption("benchmark_min_rounds"), fitting)
