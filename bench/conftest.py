"""`pytest bench`: the options, the rounds of each work (run once), and the tables at the end.

--bench-json PATH    write all figures there
--bench-quick        a tenth of the messages
BENCH_ROUNDS=N       rounds of each work, by default 5
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from zmqstream._bench.suite import report
from zmqstream._bench.suite.harness import ROUNDS, Result, Work, interleave
from zmqstream._bench.suite.works import WORKS

RESULTS = pytest.StashKey[dict[str, Result]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("zmqstream's benchmarks")
    group.addoption("--bench-json", metavar="PATH", help="write all figures there")
    group.addoption("--bench-quick", action="store_true", help="a tenth of the messages")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RESULTS] = {}


@pytest.fixture
def result_of(request: pytest.FixtureRequest) -> Callable[[Work], Result]:
    """The result of a work, which is run when it is first asked for."""
    results = request.config.stash[RESULTS]

    def result_of(work: Work) -> Result:
        if work.name not in results:
            quick = request.config.getoption("--bench-quick")
            results[work.name] = interleave(work, ROUNDS, quick)
        return results[work.name]

    return result_of


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    done = config.stash[RESULTS]
    results = [done[work.name] for work in WORKS if work.name in done]
    if not results:
        return
    terminalreporter.section("zmqstream's benchmarks")
    terminalreporter.write_line(report.tables(results))
    path = config.getoption("--bench-json")
    if path:
        report.write_json(path, results)
