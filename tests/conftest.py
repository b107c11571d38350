"""The same tests on several implementations: see `home`.

A test never sleeps to give something time. It runs the loop until what it waits for has happened:
`home.wait(got, n)` until `n` items were appended to a `home.recorder()`, without any timer that
would wake the loop meanwhile, and `home.run_until(condition)` where there is no callback to wait
for. Both fail after TIMEOUT.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import os
import selectors
import signal
import threading
import time
import warnings

import pytest
import zmq

import zmqstream
from zmqstream import _core

pytest_plugins = ["helpers"]  # fixtures of the tests of IOLoop and EventLoop

TIMEOUT = 20  # seconds: generous, for loaded machines; nothing waits so long when all is well

# what ZMQSTREAM_POLLER may be here
POLLERS = ("epoll", "selectors") if hasattr(selectors, "EpollSelector") else ("selectors",)

IMPLEMENTATIONS = (
    *(f"own-{poller}" for poller in POLLERS),
    *(f"asyncio-{poller}" for poller in POLLERS),
    "uvloop",
    "tornado",
    "pyzmq",
)

OPEN = ("idle", "armed", "ready")  # the states of what is open, in _core.counters()

_names = itertools.count()


class Recorder(list):
    """A list that tells who waits for it when something is appended."""

    def __init__(self):
        super().__init__()
        self.on_append = None

    def append(self, item):
        super().append(item)
        if self.on_append is not None:
            self.on_append()


class Home:
    """An implementation of ZMQStream, and a loop for it."""

    def __init__(self, name):
        self.name = name
        self.reference = name == "pyzmq"
        self.errors = []  # what was given to the loop's exception handler
        self.streams = []
        self.sockets = []
        self.loop, self.io_loop = self.new_loop()
        self.loop.set_exception_handler(lambda loop, context: self.errors.append(context))
        self.context = zmq.Context()
        self.context.max_sockets = 8192

    def new_loop(self):
        """Another loop of this kind: asyncio's face of it, and what a stream is given."""
        if self.name.startswith("own"):
            loop = zmqstream.EventLoop()
        elif self.name in ("tornado", "pyzmq"):
            from tornado.ioloop import IOLoop

            io_loop = IOLoop(make_current=False)
            return io_loop.asyncio_loop, io_loop
        elif self.name == "uvloop":
            loop = pytest.importorskip("uvloop").new_event_loop()
        else:
            loop = asyncio.SelectorEventLoop()
        return loop, loop

    # -- what is tested --------------------------------------------------------------------------

    @property
    def stream_class(self):
        if self.reference:
            from zmq.eventloop.zmqstream import ZMQStream

            return ZMQStream
        return zmqstream.ZMQStream

    def stream(self, socket, stream_class=None, io_loop=None):
        stream = (stream_class or self.stream_class)(socket, io_loop or self.io_loop)
        self.streams.append(stream)
        return stream

    # -- sockets ---------------------------------------------------------------------------------

    def socket(self, kind, **options):
        socket = self.context.socket(kind)
        socket.linger = 0
        for option, value in options.items():
            socket.set(getattr(zmq, option.upper()), value)
        self.sockets.append(socket)
        return socket

    def address(self, transport="inproc"):
        return "tcp://127.0.0.1:*" if transport == "tcp" else f"inproc://test-{next(_names)}"

    def pair(self, kind=zmq.PAIR, other=None, transport="inproc", **options):
        """Two connected sockets: the first is meant for a stream, the second for the test."""
        first = self.socket(kind, **options)
        second = self.socket(kind if other is None else other, **options)
        # the stream's socket connects, so that it can send at once
        second.bind(self.address(transport))
        first.connect(second.last_endpoint.decode())
        second.rcvtimeo = second.sndtimeo = TIMEOUT * 1000
        return first, second

    def router(self, *names, hwm=None, transport="inproc"):
        """A ROUTER with ROUTER_MANDATORY, and a DEALER of each name that is connected to it.

        With `hwm`, each end has room for so many messages: who does not receive is soon without.
        """
        router = self.socket(zmq.ROUTER, router_mandatory=1, rcvtimeo=TIMEOUT * 1000)
        dealers = [self.socket(zmq.DEALER, routing_id=name) for name in names]
        for socket in (router, *dealers) if hwm is not None else ():
            socket.set_hwm(hwm)
        router.bind(self.address(transport))
        for dealer in dealers:
            dealer.rcvtimeo = dealer.sndtimeo = TIMEOUT * 1000
            dealer.connect(router.last_endpoint.decode())
            dealer.send(b"hello")
            router.recv_multipart()
        return router, *dealers

    def stalled(self, **limits):
        """A stream without a peer: nothing is handed to libzmq. And what gives it one."""
        stream = self.stream(self.socket(zmq.PUSH, sndhwm=0))
        if limits:
            stream.set_write_buffer_limits(**limits)

        def connect():
            peer = self.socket(zmq.PULL, rcvhwm=0, rcvtimeo=TIMEOUT * 1000)
            peer.bind(self.address())
            stream.connect(peer.last_endpoint.decode())
            return peer

        return stream, connect

    # -- waiting ---------------------------------------------------------------------------------

    def recorder(self):
        return Recorder()

    def run(self, coroutine):
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, TIMEOUT))

    def wait(self, recorder, count=1):
        """Run the loop until `recorder` has `count` items, and only then."""
        future = self.loop.create_future()

        def check():
            if len(recorder) >= count and not future.done():
                future.set_result(None)

        recorder.on_append = check
        check()
        try:
            self.run(_awaited(future))
        except asyncio.TimeoutError:
            pytest.fail(f"{len(recorder)} of {count} after {TIMEOUT} s: {recorder[-3:]!r}")
        finally:
            recorder.on_append = None
        return recorder

    def run_until(self, condition):
        """Run the loop until `condition()`."""

        async def main():
            while not condition():
                await asyncio.sleep(0.002)

        try:
            self.run(main())
        except asyncio.TimeoutError:
            pytest.fail(f"not within {TIMEOUT} s: {condition}")

    def settle(self, iterations=5):
        """Run the loop for a few iterations, for what must not happen in them."""

        async def main():
            for _ in range(iterations):
                await asyncio.sleep(0)

        self.run(main())

    def drained(self, *streams):
        """Run the loop until everything was handed to libzmq."""
        self.run_until(lambda: not any(stream.sending() for stream in streams))

    # -- the end ---------------------------------------------------------------------------------

    def expect_errors(self, *kinds):
        """The loop's exception handler got these exceptions, in this order."""
        assert [type(e["exception"]) for e in self.errors] == list(kinds), self.errors
        found, self.errors[:] = list(self.errors), []
        return found

    def close(self):
        for stream in self.streams:
            if not stream.closed():
                stream.close(linger=0)
        for socket in self.sockets:
            if not socket.closed:
                socket.close(linger=0)
        if not self.loop.is_closed():
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.loop.run_until_complete(asyncio.sleep(0))
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.io_loop.close()
        term = threading.Thread(target=self.context.term, daemon=True)
        term.start()
        term.join(TIMEOUT)
        assert not term.is_alive(), "the context cannot be terminated: a socket is still open"


async def _awaited(future):
    return await future


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
def home(request, monkeypatch, caplog):
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
    home = Home(name)
    caplog.set_level(logging.WARNING)
    yield home
    home.close()
    if not home.reference:
        assert home.errors == [], "reported to the loop, and not expected by the test"
        unexpected = [r for r in caplog.get_records("call") if r.name in ("zmqstream", "asyncio")]
        assert unexpected == [], "logged, and not expected by the test"


@pytest.fixture
def pair(home):
    """A stream and its peer, without high-water marks."""
    socket, peer = home.pair(sndhwm=0, rcvhwm=0)
    return home.stream(socket), peer


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
