"""What programs have around their streams: an IOLoop with callbacks, and loops in threads.

The tests here do what docs/uses.md lists, on pyzmq's class and on ours.
"""

import concurrent.futures
import threading
import time
from pathlib import Path

import pytest

import zmqstream

TIMEOUT = 20  # seconds


def pytest_collection_modifyitems(config, items):
    """What programs do is the same with either poller: one of them will do."""
    here = Path(__file__).parent

    def repeats(item):
        callspec = getattr(item, "callspec", None)
        backend = callspec.params.get("backend", "") if callspec else ""
        return here in item.path.parents and str(backend).endswith("-selectors")

    items[:] = [item for item in items if not repeats(item)]


def with_callbacks(io_loop):
    """`io_loop` with add_callback(), call_later() and the like, as Tornado's has."""
    if hasattr(io_loop, "add_callback"):
        return io_loop
    return zmqstream.IOLoop(make_current=False, asyncio_loop=io_loop)


class LoopThread:
    """A loop of the backend's kind, in a thread of its own."""

    def __init__(self, backend):
        loop, io_loop = backend.new_loop()
        loop.set_exception_handler(lambda loop, context: backend.errors.append(context))
        self.io_loop = with_callbacks(io_loop)
        self.closing = {}  # arguments of IOLoop.close()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.ended = False

    def start(self):
        self.thread.start()
        return self

    def run(self):
        self.io_loop.start()
        self.io_loop.close(**self.closing)

    def call(self, function):
        """Run `function()` in the loop's thread; return its result, or raise its error."""
        future = concurrent.futures.Future()

        def run():
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)

        self.io_loop.add_callback(run)
        return future.result(TIMEOUT)

    def stop(self, **closing):
        """Stop the loop, close it in its thread, and wait for that."""
        if self.ended:
            return
        self.ended = True
        self.closing = closing
        if self.thread.ident is None:
            self.io_loop.close(**closing)
        else:
            self.io_loop.add_callback(self.io_loop.stop)
            self.thread.join(TIMEOUT)
            assert not self.thread.is_alive(), "the loop in a thread did not stop"


@pytest.fixture
def until():
    """`until(condition)` asks until it is true, without a loop."""

    def wait(condition):
        end = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < end, f"not within {TIMEOUT} s: {condition}"

    return wait


@pytest.fixture
def io_loop(backend):
    """The backend's loop as an IOLoop; its streams are given that."""
    backend.io_loop = with_callbacks(backend.io_loop)
    return backend.io_loop


@pytest.fixture
def in_thread(backend):
    """`in_thread()` makes a LoopThread, which is yet to be started."""
    threads = []

    def make():
        threads.append(LoopThread(backend))
        return threads[-1]

    yield make
    for thread in threads:
        thread.stop()
