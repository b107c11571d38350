"""IOLoop.set_blocking_log_threshold(): what blocks a loop is logged; an idle one is left alone."""

import asyncio
import gc
import logging
import queue
import threading
import weakref

import pytest
import zmq
from tornado import ioloop as tornado_ioloop

import zmqstream
from support import TIMEOUT
from support.backends import POLLERS
from support.children import run_script
from support.loops import in_thread, pair, start, turn
from zmqstream import IOLoop, PeriodicCallback, ZMQStream
from zmqstream.ioloop.watchdog import CHECKS, Watchdog, _watchdogs

THRESHOLD = 0.02  # seconds
pytestmark = pytest.mark.usefixtures("nothing_is_current")


@pytest.fixture(params=[*(f"own-{poller}" for poller in POLLERS), "asyncio", "tornado", "guest"])
def loop(request, monkeypatch):
    kind, _, poller = request.param.partition("-")
    monkeypatch.setenv("ZMQSTREAM_POLLER", poller)
    monkeypatch.setenv("ZMQSTREAM_LOOP", "guest" if kind == "guest" else "")
    if kind == "own":
        loop = IOLoop(make_current=False)
    elif kind in ("asyncio", "guest"):
        loop = IOLoop(make_current=False, asyncio_loop=asyncio.SelectorEventLoop())
    else:
        theirs = tornado_ioloop.IOLoop(make_current=False)
        loop = IOLoop(make_current=False, asyncio_loop=theirs.asyncio_loop)
    errors = []
    loop.asyncio_loop.set_exception_handler(lambda _, context: errors.append(context))
    yield loop
    watchdog = _watchdogs.get(loop.asyncio_loop)
    loop.close()
    assert watchdog is None or ended(watchdog)  # what it logs, it logs in this test
    assert errors == []


@pytest.fixture
def logged():
    """What was logged. A bad callback calls `block()`, which waits until that was logged."""

    class Handler(logging.Handler):
        def __init__(self):
            super().__init__()
            self.records = []
            self.blocks = []  # that were caught in block(), not in a pause of a loaded machine
            self.caught = threading.Semaphore(0)

        def emit(self, record):
            self.records.append(record)
            message = record.getMessage()
            if ", in block\n" in message:
                self.blocks.append(message)
                self.caught.release()

        def block(self):
            assert self.caught.acquire(timeout=TIMEOUT), "it was not logged"

        def message(self):
            [message] = self.blocks
            self.blocks.clear()
            return message

        def count(self):
            """Of all since the last time."""
            count = len(self.records)
            self.records.clear()
            return count

    handler = Handler()
    logging.getLogger("zmqstream").addHandler(handler)
    yield handler
    logging.getLogger("zmqstream").removeHandler(handler)
    assert handler.blocks == [], "logged, and not expected by the test"


def watchdog_of(loop):
    return _watchdogs[loop.asyncio_loop]


def ended(watchdog):
    watchdog.thread.join(TIMEOUT)
    return not watchdog.thread.is_alive()


# -- what is logged -------------------------------------------------------------------------------


def test_a_callback_that_blocks(loop, logged):
    def a_bad_callback():
        logged.block()

    loop.set_blocking_log_threshold(THRESHOLD)
    for _ in range(2):
        loop.add_callback(a_bad_callback)
        loop.add_callback(loop.stop)
        start(loop)
        message = logged.message()
        assert message.startswith("IOLoop blocked for more than 0.02 s in\n")
        assert "in a_bad_callback" in message
        assert "logged.block()" in message


def test_a_stream_callback_that_blocks(loop, logged, context):
    """On our own loop the selector does not return for that: the reactor tells of its polls."""

    def a_bad_callback(message):
        logged.block()
        loop.stop()

    socket, peer = pair(context)
    stream = ZMQStream(socket, loop)
    stream.on_recv(a_bad_callback)
    loop.set_blocking_log_threshold(THRESHOLD)
    for _ in range(2):
        thread = threading.Thread(target=peer.send, args=(b"x",))
        loop.add_callback(thread.start)  # it is sent while the loop sleeps, or just before
        start(loop)
        thread.join()
        message = logged.message()
        assert "in a_bad_callback" in message
    stream.close()


@pytest.mark.parametrize("kind", ["coroutine", "timeout", "handler", "periodic", "asyncio"])
def test_everything_else_that_blocks(loop, logged, context, kind):
    def something_bad(*args):
        loop.remove_handler(socket)
        logged.block()
        loop.stop()

    async def a_coroutine():
        await asyncio.sleep(0)
        something_bad()

    socket, peer = pair(context)
    peer.send(b"x")
    periodic = PeriodicCallback(something_bad, 1, loop)
    loop.set_blocking_log_threshold(THRESHOLD)
    {
        "coroutine": lambda: loop.add_callback(a_coroutine),
        "timeout": lambda: loop.call_later(0.001, something_bad),
        "handler": lambda: loop.add_handler(socket, something_bad, loop.READ),
        "periodic": periodic.start,
        "asyncio": lambda: loop.asyncio_loop.call_later(0.001, something_bad),
    }[kind]()
    start(loop)
    periodic.stop()
    message = logged.message()
    assert "in something_bad" in message


def test_it_begins_at_once(loop, logged):
    """Switched on in a running loop, by what then blocks."""

    def a_bad_callback():
        loop.set_blocking_log_threshold(THRESHOLD)
        logged.block()
        loop.stop()

    loop.add_callback(a_bad_callback)
    start(loop)
    message = logged.message()
    assert "in a_bad_callback" in message


def test_a_loop_in_another_thread(logged):
    def a_bad_callback():
        logged.block()
        IOLoop.current().stop()

    loop = IOLoop(make_current=False)
    loop.set_blocking_log_threshold(THRESHOLD)
    loop.add_callback(a_bad_callback)
    in_thread(lambda: start(loop))
    loop.close()
    message = logged.message()
    assert "in a_bad_callback" in message
    assert "in test_a_loop_in_another_thread" not in message


# -- what is not ----------------------------------------------------------------------------------


class FakeLoop:
    running = True

    def is_running(self):
        return self.running


@pytest.fixture
def watchdog():
    """A watchdog whose checks the test makes."""
    loop = FakeLoop()
    watchdog = Watchdog(loop, 1)
    watchdog.of = loop
    watchdog.on_poll(False)
    watchdog.check()
    return watchdog


def test_a_block_is_logged_once(watchdog, logged):
    for _ in range(3):
        for _ in range(CHECKS - 1):
            watchdog.check()
        assert logged.count() == 0
        watchdog.check()
        assert logged.count() == 1
        for _ in range(3 * CHECKS):
            watchdog.check()
        assert logged.count() == 0
        watchdog.on_poll(True)
        watchdog.on_poll(False)
        watchdog.check()


def test_a_loop_that_is_busy_with_short_callbacks(watchdog, logged):
    for _ in range(5):
        for _ in range(CHECKS - 1):
            watchdog.check()
        watchdog.on_poll(True)
        watchdog.on_poll(False)
        watchdog.check()
    assert logged.count() == 0


@pytest.mark.parametrize("state", ["polls", "does not run"])
def test_a_loop_that_does_nothing(watchdog, logged, state):
    if state == "polls":
        watchdog.on_poll(True)
    else:
        watchdog.of.running = False
    for _ in range(3 * CHECKS):
        watchdog.check()
    assert logged.count() == 0


def test_a_late_event_is_not_a_check(watchdog, logged):
    for _ in range(CHECKS - 1):
        watchdog.check()
    watchdog.events.put(True)
    assert watchdog.wait()
    for _ in range(CHECKS):
        watchdog.check()
    assert logged.count() == 0
    watchdog.check()
    assert logged.count() == 1


class Limited:
    """A events that only comes to those who wait without a limit."""

    def __init__(self):
        self.limits = []
        self.woken = 0

    def get(self, timeout):
        self.limits.append(timeout)
        if timeout is None:
            return True
        raise queue.Empty

    def put(self, going_on):
        self.woken += going_on


def test_a_loop_that_goes_on_before_it_is_seen_to_sleep():
    """Then it has not told that it goes on, and must not be waited for."""

    class Goes(FakeLoop):
        running = False

        def is_running(self):
            before, self.running = self.running, True
            return before

    loop = Goes()
    watchdog = Watchdog(loop, 1)
    watchdog.polling = False
    watchdog.events = Limited()
    assert watchdog.wait()
    assert watchdog.events.limits == [1 / CHECKS]


def test_a_busy_loop_does_not_wake_it_each_time(watchdog):
    """That is, between its checks, each of which may find a busy loop in a poll."""
    watchdog.events = Limited()
    for _ in range(3):
        watchdog.on_poll(True)
        assert watchdog.wait()
        watchdog.check()
        watchdog.on_poll(False)
        watchdog.on_poll(True)
        watchdog.on_poll(False)
    assert watchdog.events.limits == [None, 1 / CHECKS, None]
    assert watchdog.events.woken == 2


class Mail(queue.SimpleQueue):
    """Tells when somebody waits without a limit."""

    def __init__(self):
        super().__init__()
        self.unlimited = threading.Semaphore(0)

    def get(self, block=True, timeout=None):
        if timeout is None:
            self.unlimited.release()
        return super().get(block, timeout)


def test_the_watchdog_of_an_idle_loop_sleeps(loop, logged, monkeypatch):
    """Idle costs nothing: neither it nor the loop wakes up, until something happens."""
    monkeypatch.setattr(queue, "SimpleQueue", Mail)
    loop.set_blocking_log_threshold(THRESHOLD)
    watchdog = watchdog_of(loop)

    sleeps = watchdog.events.unlimited
    assert sleeps.acquire(timeout=TIMEOUT)  # nothing runs yet

    def when_it_sleeps():
        for _ in range(3):
            loop.add_callback(lambda: None)
            slept.append(sleeps.acquire(timeout=TIMEOUT))
        loop.add_callback(loop.stop)

    slept = []
    thread = threading.Thread(target=when_it_sleeps)
    loop.add_callback(thread.start)
    start(loop)
    thread.join()
    assert slept == [True] * 3


# -- its end --------------------------------------------------------------------------------------


def hooked(loop):
    """Whether the loop tells anybody of its polls."""
    reactor = getattr(loop.asyncio_loop._selector, "reactor", None)
    if reactor is not None:
        return reactor.on_poll is not None
    return "select" in vars(loop.asyncio_loop._selector)


@pytest.mark.parametrize("seconds", [None, 0, -1])
def test_switching_it_off(loop, logged, seconds):
    assert not hooked(loop)
    loop.set_blocking_log_threshold(seconds)
    assert not hooked(loop)
    loop.set_blocking_log_threshold(THRESHOLD)
    watchdog = watchdog_of(loop)
    assert hooked(loop)
    turn(loop)
    loop.set_blocking_log_threshold(seconds)
    assert ended(watchdog)
    assert not hooked(loop)
    assert loop.asyncio_loop not in _watchdogs
    turn(loop)


def test_another_threshold(loop, logged):
    loop.set_blocking_log_threshold(3600)
    first = watchdog_of(loop)
    loop.set_blocking_log_threshold(THRESHOLD)
    assert ended(first)
    loop.add_callback(logged.block)
    loop.add_callback(loop.stop)
    start(loop)
    message = logged.message()
    assert "for more than 0.02 s" in message


@pytest.mark.parametrize("how", ["IOLoop", "asyncio"])
def test_it_ends_with_the_loop(loop, logged, how):
    loop.set_blocking_log_threshold(THRESHOLD)
    watchdog, selector = watchdog_of(loop), loop.asyncio_loop._selector
    turn(loop)
    if how == "IOLoop":
        loop.close()
    else:
        loop.asyncio_loop.close()
    assert ended(watchdog)
    assert selector.get_map() is None  # it is closed


def test_it_ends_with_the_last_reference_to_the_loop():
    loop = FakeLoop()
    watchdog = Watchdog(loop, 1)
    watchdog.thread.start()
    del loop
    gc.collect()
    assert ended(watchdog)


def test_it_does_not_keep_the_program_from_ending():
    run_script("""
        from zmqstream import IOLoop
        loop = IOLoop.instance()
        loop.set_blocking_log_threshold(1)
        loop.add_callback(loop.stop)
        loop.start()
    """)


def test_it_keeps_no_loop():
    loop = IOLoop(make_current=False)
    loop.set_blocking_log_threshold(THRESHOLD)
    turn(loop)
    loop.close()
    gone = weakref.ref(loop.asyncio_loop)
    del loop
    gc.collect()
    assert gone() is None


def test_it_outlives_a_facade(logged):
    """IOLoop.current() on somebody else's loop is held by nobody."""

    async def main():
        IOLoop.current().set_blocking_log_threshold(THRESHOLD)
        gc.collect()
        logged.block()

    loop = asyncio.SelectorEventLoop()
    loop.run_until_complete(main())
    loop.close()
    message = logged.message()
    assert "in main" in message


def test_a_loop_that_cannot_be_watched():
    loop = pytest.importorskip("uvloop").new_event_loop()
    with pytest.warns(RuntimeWarning, match="this loop cannot be watched: <uvloop"):
        IOLoop(make_current=False, asyncio_loop=loop).set_blocking_log_threshold(THRESHOLD)
    assert loop not in _watchdogs
    loop.close()


@pytest.mark.parametrize("poller", POLLERS)
def test_what_a_thread_sends_while_the_watchdog_is_told_of_a_poll(poller, monkeypatch):
    """The loop has decided to sleep, and what it calls then is Python code: other threads run."""
    monkeypatch.setenv("ZMQSTREAM_POLLER", poller)
    context = zmq.Context()
    loop = zmqstream.EventLoop()
    first, second = pair(context)
    stream = ZMQStream(first, loop)
    polls = []

    def on_poll(polling):
        if polling and len(polls) < 10:
            polls.append(polling)
            in_thread(lambda: stream.send(b"x"))

    loop._reactor.on_poll = on_poll
    arrived = loop.run_in_executor(None, lambda: [second.recv() for _ in range(10)])
    assert loop.run_until_complete(asyncio.wait_for(arrived, TIMEOUT)) == [b"x"] * 10
    stream.close()
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    context.destroy(linger=0)
