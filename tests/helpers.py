"""What the tests of IOLoop and EventLoop share: fixtures, for all files, and helpers to import.

The fixtures `io_loop` and `event_loop` are loops whose `errors` are what was reported to their
exception handler; a test takes those that it expects.
"""

import asyncio
import concurrent.futures
import contextlib
import subprocess
import sys
import textwrap

import pytest
import zmq
from conftest import IMPLEMENTATIONS, POLLERS

import zmqstream
from zmqstream import EventLoop, IOLoop, ZMQStream

TIMEOUT = 20  # seconds
LOOPS = tuple(name for name in IMPLEMENTATIONS if name not in ("tornado", "pyzmq"))


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
    """Each test begins and ends without a current IOLoop and without an instance()."""
    IOLoop.clear_current()
    IOLoop.clear_instance()
    yield
    for loop in (IOLoop.current(instance=False), IOLoop._instance):
        if loop is not None:
            loop.close()
    IOLoop.clear_current()
    IOLoop.clear_instance()


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


# -- of IOLoop ------------------------------------------------------------------------------------


def start(loop):
    """start(), which a test that has failed ends, too."""
    late = []
    timer = loop.call_later(TIMEOUT, lambda: (late.append(1), loop.stop()))
    try:
        loop.start()
    finally:
        loop.remove_timeout(timer)
    assert not late, f"not stopped within {TIMEOUT} s"


def turn(loop, times=3):
    """Run the loop for a few iterations, for what must not happen in them."""
    for _ in range(times):
        loop.add_callback(loop.stop)
        start(loop)


def collect(loop, got, count):
    """A callback that keeps what it is called with, and stops the loop at the last."""

    def callback(*args):
        got.append(args)
        if len(got) >= count:
            loop.stop()

    return callback


# -- of EventLoop ---------------------------------------------------------------------------------


def run(main, **kwargs):
    """zmqstream.run() with a limit."""

    async def limited():
        return await asyncio.wait_for(main(), TIMEOUT)

    return zmqstream.run(limited(), **kwargs)


@contextlib.contextmanager
def busy(context):
    """Two streams on the running loop that play ping-pong meanwhile, without a pause."""
    streams = [ZMQStream(socket) for socket in pair(context)]
    hits = []
    for stream in streams:
        stream.on_recv(lambda message, stream=stream: stream.send_multipart(message))
    streams[0].on_send(lambda message, status: hits.append(message))
    streams[0].send(b"ball")
    yield hits
    for stream in streams:
        stream.close()
    assert hits


async def until(condition):
    """A timer, a handle, or both in each iteration."""
    delay = 0
    while not condition():
        await asyncio.sleep(delay)
        delay = 0.001 - delay


# -- of both --------------------------------------------------------------------------------------


def pair(context, kind=zmq.PAIR, other=zmq.PAIR):
    first, second = context.socket(kind), context.socket(other)
    first.bind(f"inproc://{id(first)}")
    second.connect(first.last_endpoint.decode())
    second.rcvtimeo = second.sndtimeo = TIMEOUT * 1000
    return first, second


def in_thread(function):
    """The result of a function that runs in another thread."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result(TIMEOUT)


def run_script(script, *args):
    """What a program of its own prints; its warnings are errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *args],
        check=True,
        timeout=TIMEOUT,
        capture_output=True,
        text=True,
    ).stdout
