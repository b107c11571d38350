"""Fixtures, among them `backend`, which runs a test on several implementations.

A test never sleeps to give something time. It runs the loop until the awaited event has happened.
`backend.wait(got, n)` waits until `n` items were appended to a `backend.recorder()`. No timer wakes
the loop in the meantime. `backend.run_until(condition)` is for events without a callback. Both fail
after TIMEOUT.

The fixtures `io_loop` and `event_loop` are loops with a list `errors` of the exceptions that were
reported to their exception handler. A test removes those that it expects.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import time
import warnings
import zlib

import pytest
import zmq

import zmqstream
from support.backends import (
    IMPLEMENTATIONS,
    POLLERS,
    TWINS,
    Backend,
    set_environment,
    unexpected_records,
)
from zmqstream import EventLoop, IOLoop, _core

LOOPS = tuple(name for name in IMPLEMENTATIONS if name not in ("tornado", "pyzmq"))
OPEN = ("idle", "armed", "ready")  # the states of open sources in _core.counters()


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "deviates(why): zmqstream deviates from pyzmq's class, which is not tested"
    )
    config.addinivalue_line("markers", "ours: tests a feature that pyzmq's class does not have")
    config.addinivalue_line("markers", "thorough: runs only with --all-backends")
    config.addinivalue_line("markers", "any_loop: runs on one loop, as they make no difference")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell's background job ignores SIGINT. Programs that tests interrupt would inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    parser.addoption("--all-backends", action="store_true", help="run each test on all backends")


def pytest_collection_modifyitems(config, items):
    """Run each test on one of the TWINS, or on one backend of ours; tests of loops run on all."""
    selected = config.option.keyword or any("::" in argument for argument in config.args)
    if config.option.all_backends or selected:
        return
    left_out = [item for item in items if not is_run(item)]
    items[:] = [item for item in items if is_run(item)]
    config.hook.pytest_deselected(items=left_out)


def is_run(item):
    if item.get_closest_marker("thorough"):
        return False
    name = item.callspec.params.get("backend") if hasattr(item, "callspec") else None
    choice = ()
    if item.get_closest_marker("any_loop"):
        choice = [each for each in IMPLEMENTATIONS if each != "pyzmq"]
    elif item.path.parent.name != "loops":
        choice = TWINS
    if name not in choice:
        return True
    return name == choice[zlib.crc32(item.nodeid.replace(name, "").encode()) % len(choice)]


@pytest.fixture(autouse=True, scope="module")
def garbage_collections_are_short():
    """Exclude from them what is there before the tests of a file: modules, and what pytest keeps.

    Otherwise they take a fifth of the suite's time.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def children_import_what_is_tested(tmp_path_factory):
    """Make child processes import the zmqstream of this process, not that of the current folder."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(zmqstream.__file__)))
    path = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("cwd"))
        patch.setenv("PYTHONPATH", os.pathsep.join(path))
        yield


@pytest.fixture(params=IMPLEMENTATIONS)
def backend(request, monkeypatch, caplog):
    """zmqstream's class on every kind of loop, and pyzmq's class."""
    name = request.param
    if name == "pyzmq":
        marker = request.node.get_closest_marker("deviates")
        if marker:
            pytest.skip(f"deviates from pyzmq on purpose: {marker.args[0]}")
        if request.node.get_closest_marker("ours"):
            pytest.skip("pyzmq's class does not have this")
    set_environment(name, monkeypatch.setenv)
    backend = Backend(name)
    caplog.set_level(logging.WARNING)
    yield backend
    backend.close()
    if not backend.reference:
        assert backend.errors == [], "the test did not expect this report to the loop"
        assert unexpected_records(caplog) == [], "the test did not expect this log record"


@pytest.fixture
def pair(backend):
    """A stream and its peer, without high-water marks."""
    socket, peer = backend.pair(sndhwm=0, rcvhwm=0)
    return backend.stream(socket), peer


@pytest.fixture
def expected_log(caplog):
    """Remove the log records that a test expects, so that they do not fail it."""

    def take(text, at_least=1):
        found = [r for r in caplog.records if text in r.getMessage()]
        assert len(found) >= at_least, f"{text!r} is not in {caplog.text!r}"
        for handler_records in (caplog.handler.records, caplog.get_records("call")):
            handler_records[:] = [r for r in handler_records if r not in found]
        return found

    return take


@pytest.fixture
def throttled():
    """Wait until libzmq's command throttle is over.

    A send or receive reads the socket's mailbox only if about 1 ms of processor ticks has passed
    since the last time. A test of swallowed events that does not wait for that proves nothing.
    """

    def wait():
        end = time.monotonic() + 0.005
        while time.monotonic() < end:
            pass

    return wait


@pytest.fixture(autouse=True)
def no_garbage_left():
    """Collect a test's garbage before the next test, which would be blamed for its warnings.

    In a build with counters (docs/testing.md), the counters must balance after every test.
    """
    before = _core.counters()
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect(0)
        counts = _core.counters()
        if counts is not None and any(counts[state] for state in OPEN):
            gc.collect()  # a stream may belong to a closed loop
            counts = _core.counters()
    if counts is not None:
        assert counts["msgs"] == 0, counts
        done = {name: counts[name] - before[name] for name in counts}
        assert done["received"] == sum(done[k] for k in ("delivered", "dropped", "given_up")), done
        assert done["queued"] == sum(done[k] for k in ("sent", "failed", "unsent")), done
        assert [counts[state] for state in OPEN] == [0, 0, 0], counts


# -- for tests of IOLoop and EventLoop -------------------------------------------------------------


@pytest.fixture
def context():
    """A context that keeps its sockets, because pyzmq warns about sockets that are not closed."""
    held = []

    class Context(zmq.Context):
        def socket(self, *args, **kwargs):
            socket = super().socket(*args, **kwargs)
            held.append(socket)
            return socket

    context = Context()
    yield context
    context.destroy(linger=0)


@pytest.fixture(params=POLLERS)
def poller(request, monkeypatch):
    monkeypatch.setenv("ZMQSTREAM_POLLER", request.param)
    return request.param


@pytest.fixture
def event_loop(poller):
    """An EventLoop, with both pollers."""
    loop = EventLoop()
    loop.errors = []
    loop.set_exception_handler(lambda _, context: loop.errors.append(context["exception"]))
    yield loop
    if not loop.is_closed():
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    assert loop.errors == []


@pytest.fixture
def nothing_is_current():
    """Begin and end the test without a current IOLoop."""
    IOLoop.clear_current()
    yield
    loop = IOLoop.current(instance=False)
    if loop is not None:
        loop.close()
    IOLoop.clear_current()


@pytest.fixture(params=LOOPS)
def io_loop(request, monkeypatch):
    """An IOLoop, on our own EventLoop, on asyncio's, adopted and not, and on uvloop's."""
    set_environment(request.param, monkeypatch.setenv)
    asyncio_loop = None
    if request.param == "uvloop":
        asyncio_loop = pytest.importorskip("uvloop").new_event_loop()
    elif not request.param.startswith("own"):
        asyncio_loop = asyncio.SelectorEventLoop()
    loop = IOLoop(make_current=False, asyncio_loop=asyncio_loop)
    loop.errors = []
    loop.asyncio_loop.set_exception_handler(
        lambda _, context: loop.errors.append(context["exception"])
    )
    yield loop
    if not loop.asyncio_loop.is_closed():
        for task in asyncio.all_tasks(loop.asyncio_loop):
            task.cancel()
        loop.add_callback(loop.stop)
        loop.start()
        loop.asyncio_loop.run_until_complete(loop.asyncio_loop.shutdown_default_executor())
        loop.close()
    assert loop.errors == []
