"""`pytest bench`: its options, the results of the works, and the tables at the end.

--bench-json PATH    write all figures to PATH
--bench-quick        a tenth of the messages, 2 rounds
BENCH_ROUNDS=N       the number of rounds of each work, by default 5
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from zmqstream import _bench
from zmqstream._bench import report
from zmqstream._bench.harness import QUICK_ROUNDS, ROUNDS, Result, Work, interleave
from zmqstream._bench.machine import load
from zmqstream._bench.works import WORKS

RESULTS = pytest.StashKey[dict[str, Result]]()
LOAD = pytest.StashKey[float | None]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("zmqstream's benchmarks")
    group.addoption("--bench-json", metavar="PATH", help="write all figures to PATH")
    group.addoption("--bench-quick", action="store_true", help="a tenth of the messages")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RESULTS] = {}
    config.stash[LOAD] = load()
    check_installed()


def check_installed() -> None:
    """Refuse to run if the installed definitions differ from those of the checkout."""
    used, here = Path(_bench.__path__[0]), Path(__file__).parents[1] / "zmqstream" / "_bench"
    for path in (*here.rglob("*.py"), *here.rglob("*.c")):
        copy = used / path.relative_to(here)
        if not copy.exists() or copy.read_bytes() != path.read_bytes():
            raise pytest.UsageError(f"{path} differs from the installed {copy}; run: pip install .")


@pytest.fixture
def result_of(request: pytest.FixtureRequest) -> Callable[[Work], Result]:
    """Returns the result of a work. The first call runs the work."""
    results = request.config.stash[RESULTS]

    def result_of(work: Work) -> Result:
        if work.name not in results:
            quick = request.config.getoption("--bench-quick")
            results[work.name] = interleave(work, QUICK_ROUNDS if quick else ROUNDS, quick)
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
        report.write_json(path, results, config.stash[LOAD])
