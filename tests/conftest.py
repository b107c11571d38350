"""The same tests on several implementations: see `backend`.

A test never sleeps to give something time. It runs the loop until what it waits for has happened:
`backend.wait(got, n)` until `n` items were appended to a `backend.recorder()`, without any timer
that would wake the loop meanwhile, and `backend.run_until(condition)` where there is no callback to
wait for. Both fail after TIMEOUT.

The fixtures `io_loop` and `event_loop` are loops whose `errors` are what was reported to their
exception handler; a test takes those that it expects.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import time
import warnings

import pytest
import zmq

import zmqstream
from support.backends import IMPLEMENTATIONS, POLLERS, Backend
from zmqstream import EventLoop, IOLoop, _core

LOOPS = tuple(name for name in IMPLEMENTATIONS if name not in ("tornado", "pyzmq"))
OPEN = ("idle", "armed", "ready")  # the states of what is open, in _core.counters()


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "deviates(why): the contract deviates from pyzmq's class, which is not tested"
    )
    config.addinivalue_line("markers", "ours: about what pyzmq's class does not have")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # as in a background job of a shell: the programs that tests interrupt would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish():
    """What is there before the first test is no garbage: do not look through it each time.

    Else a fifth of the suite's time is spent on looking at pytest and at modules.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def children_import_what_is_tested(tmp_path_factory):
    """Child processes get the zmqstream of this process: not the sources in the current folder."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(zmqstream.__file__)))
    path = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("cwd"))
        patch.setenv("PYTHONPATH", os.pathsep.join(path))
        yield


@pytest.fixture(params=IMPLEMENTATIONS)
def backend(request, monkeypatch, caplog):
    """Our stream on every kind of loop; and pyzmq's stream."""
    name = request.param
    if name == "pyzmq":
        marker = request.node.get_closest_marker("deviates")
        if marker:
            pytest.skip(f"deviates from pyzmq on purpose: {marker.args[0]}")
        if request.node.get_closest_marker("ours"):
            pytest.skip("pyzmq's class does not have this")
    elif "-" in name:
        monkeypatch.setenv("ZMQSTREAM_POLLER", name.partition("-")[2])
    backend = Backend(name)
    caplog.set_level(logging.WARNING)
    yield backend
    backend.close()
    if not backend.reference:
        assert backend.errors == [], "reported to the loop, and not expected by the test"
        unexpected = [r for r in caplog.get_records("call") if r.name in ("zmqstream", "asyncio")]
        assert unexpected == [], "logged, and not expected by the test"


@pytest.fixture
def pair(backend):
    """A stream and its peer, without high-water marks."""
    socket, peer = backend.pair(sndhwm=0, rcvhwm=0)
    return backend.stream(socket), peer


@pytest.fixture
def expected_log(caplog):
    """Take the log records that a test expects, so that they do not fail it."""

    def take(text, at_least=1):
        found = [r for r in caplog.records if text in r.getMessage()]
        assert len(found) >= at_least, f"nothing like {text!r} in {caplog.text!r}"
        for handler_records in (caplog.handler.records, caplog.get_records("call")):
            handler_records[:] = [r for r in handler_records if r not in found]
        return found

    return take


@pytest.fixture
def throttled():
    """Wait out libzmq's command throttle.

    A send or receive looks at the socket's mailbox only if about 1 ms of processor ticks has
    passed since it last did. A test of swallowed edges that does not wait for that proves nothing.
    """

    def wait():
        end = time.monotonic() + 0.005
        while time.monotonic() < end:
            pass

    return wait


@pytest.fixture(autouse=True)
def no_garbage_left():
    """What a test leaves behind must not be blamed on the next one.

    In a build with counters (docs/testing.md), everything that a test did must balance.
    """
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect(0)
        counts = _core.counters()
        if counts is not None and any(counts[state] for state in OPEN):
            gc.collect()  # a stream that was left to a closed loop
            counts = _core.counters()
    if counts is not None:
        assert counts["msgs"] == 0, counts
        assert counts["received"] == sum(counts[k] for k in ("delivered", "dropped", "given_up"))
        assert counts["queued"] == sum(counts[k] for k in ("sent", "failed", "unsent")), counts
        assert [counts[state] for state in OPEN] == [0, 0, 0], counts


# -- for tests of IOLoop and EventLoop -------------------------------------------------------------


@pytest.fixture
def context():
    """A context that holds its sockets: pyzmq warns of those that are dropped."""
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
    """Each test begins and ends without a current IOLoop."""
    IOLoop.clear_current()
    yield
    loop = IOLoop.current(instance=False)
    if loop is not None:
        loop.close()
    IOLoop.clear_current()


@pytest.fixture(params=LOOPS)
def io_loop(request, monkeypatch):
    """An IOLoop, on our own EventLoop and on asyncio's, with both pollers, and on uvloop's."""
    kind, _, poller = request.param.partition("-")
    monkeypatch.setenv("ZMQSTREAM_POLLER", poller)
    asyncio_loop = asyncio.SelectorEventLoop() if kind == "asyncio" else None
    if kind == "uvloop":
        asyncio_loop = pytest.importorskip("uvloop").new_event_loop()
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
