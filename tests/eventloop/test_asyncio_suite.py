"""CPython's own tests of selector loops, on our EventLoop."""

import textwrap

import pytest

from support import asyncio_suite
from support.asyncio_suite import NOT_FOR_OURS, OURS, OURS_FAKED, PASSED
from support.backends import POLLERS
from support.in_place_of_asyncio import ADOPTED

pytestmark = pytest.mark.skipif(
    not asyncio_suite.shipped(), reason="this Python ships no test.test_asyncio"
)


def check(report):
    """Nothing fails on ours alone, and only tests with a selector of their own are not for ours."""
    assert report["failed"] == [], "\n".join(asyncio_suite.describe(["on ours"], report))
    assert PASSED in report["outcomes"].values()
    return {
        name.split(".")[1]
        for name, detail in report["details"].items()
        if detail.startswith(NOT_FOR_OURS)
    }


@pytest.mark.parametrize("poller", POLLERS)
@pytest.mark.parametrize(
    ("module", "what", "at_least"),
    [
        ("test_events", OURS, 90),
        ("test_selector_events", OURS_FAKED, 20),
        ("test_unix_events", OURS, 40),
    ],
)
def test_module(module, what, at_least, poller, monkeypatch):
    """All of them with `selectors`, and streams on each loop, take longer: `tox run -e asyncio`."""
    monkeypatch.setenv("ZMQSTREAM_POLLER", poller)
    if module == "test_events" and poller == "selectors":
        module, at_least = "test_events.EPollEventLoopTests", 70
    report = asyncio_suite.run_module([module])
    refused = {"PollEventLoopTests", "SelectEventLoopTests"} if poller == "epoll" else set()
    assert check(report) <= refused
    assert report["made"][what] >= at_least


def test_loops_that_serve_streams_meanwhile(monkeypatch):
    monkeypatch.setenv("ZMQSTREAM_POLLER", POLLERS[0])
    report = asyncio_suite.run_module(["test_unix_events"], streams="busy")
    check(report)
    assert report["messages"] > 100


@pytest.mark.parametrize("streams", ["idle", "busy"])
def test_asyncios_loop_that_serves_streams_meanwhile(streams, monkeypatch):
    """The loop is adopted, and remains as asyncio's. More of it takes longer: see .ci/run."""
    monkeypatch.setenv("ZMQSTREAM_POLLER", POLLERS[0])
    report = asyncio_suite.run_module(["test_unix_events"], "asyncio:SelectorEventLoop", streams)
    check(report)
    assert report["made"][ADOPTED] >= 30


# -- that the check bites --------------------------------------------------------------------------


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """EventLoops with a defect each, in a module of this name."""
    source = """
        import selectors, zmqstream

        def with_select(select):
            class Loop(zmqstream.EventLoop):
                def __init__(self):
                    super().__init__()
                    ours = self._selector.select
                    self._selector.select = lambda timeout=None: select(ours, timeout)
            return Loop

        def writers_dropped(select, timeout):
            return [(key, mask) for key, mask in select(timeout) if mask == selectors.EVENT_READ]

        Spinning = with_select(lambda select, timeout: select(0))
        Late = with_select(lambda select, timeout: select(None))
        WithoutWriters = with_select(writers_dropped)

        class DeafToThreads(zmqstream.EventLoop):
            def call_soon_threadsafe(self, *args, **kwargs):
                pass
    """
    (tmp_path / "broken.py").write_text(textwrap.dedent(source))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def test_a_loop_that_spins(broken):
    name = "test_events.EPollEventLoopTests.test_timeout_rounding"
    assert asyncio_suite.run_module([name])["failed"] == []
    assert asyncio_suite.run_module([name], "broken:Spinning")["failed"] == [name]


@pytest.mark.parametrize(
    ("loop", "test"),
    [
        ("Late", "test_call_later"),
        ("WithoutWriters", "test_writer_callback"),
        ("DeafToThreads", "test_call_soon_threadsafe"),
    ],
)
def test_a_loop_that_hangs(loop, test, broken):
    with pytest.raises(asyncio_suite.SuiteError, match="Timeout"):
        asyncio_suite.run_module(
            [f"test_events.EPollEventLoopTests.{test}"], f"broken:{loop}", limit=1
        )


def test_loops_that_are_not_ours(monkeypatch):
    run_child = asyncio_suite.run_child
    monkeypatch.setattr(asyncio_suite, "run_child", lambda names, *options: run_child(names))
    with pytest.raises(asyncio_suite.SuiteError, match=r"1 loops of asyncio's, 0 loops of ours"):
        asyncio_suite.run_module(["test_events.TestServer"])
