"""Contract 1: IOLoop, on our own EventLoop and on asyncio's, with both pollers."""

import asyncio
import concurrent.futures
import datetime
import gc
import os
import signal
import socket as sockets
import subprocess
import sys
import textwrap
import threading
import time
import warnings
import weakref

import pytest
import zmq
import zmq.asyncio

import zmqstream
from zmqstream import IOLoop, ZMQStream, ioloop

TIMEOUT = 20  # seconds
LOOPS = ("own-epoll", "own-selectors", "asyncio-epoll", "asyncio-selectors")
READ, WRITE = IOLoop.READ, IOLoop.WRITE


@pytest.fixture(autouse=True)
def nothing_is_current():
    """Each test begins and ends without a current loop and without an instance()."""
    IOLoop.clear_current()
    IOLoop.clear_instance()
    yield
    for loop in (IOLoop.current(instance=False), IOLoop._instance):
        if loop is not None:
            loop.close()
    IOLoop.clear_current()
    IOLoop.clear_instance()


@pytest.fixture(params=LOOPS)
def loop(request, monkeypatch):
    """An IOLoop. Its `errors` are what was reported; a test takes those that it expects."""
    kind, _, poller = request.param.partition("-")
    monkeypatch.setenv("ZMQSTREAM_POLLER", poller)
    asyncio_loop = asyncio.SelectorEventLoop() if kind == "asyncio" else None
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


# -- which loop -----------------------------------------------------------------------------------


def test_a_new_loop_each_time():
    first, second = IOLoop(), IOLoop()
    assert first is not second
    assert first.asyncio_loop is not second.asyncio_loop
    assert isinstance(first.asyncio_loop, zmqstream.EventLoop)
    assert IOLoop.current() is first
    assert not IOLoop.initialized()
    first.close()
    second.close()


def test_make_current():
    assert IOLoop.current(instance=False) is None
    loop, other = IOLoop(make_current=False), IOLoop(make_current=True)
    assert IOLoop.current() is other
    loop.make_current()
    assert IOLoop.current() is loop
    assert asyncio.get_event_loop_policy().get_event_loop() is loop.asyncio_loop
    IOLoop.clear_current()
    assert IOLoop.current(instance=False) is None
    other.make_current()
    other.close()
    assert IOLoop.current(instance=False) is None
    loop.close()


def test_instance():
    assert not IOLoop.initialized()
    loop = IOLoop.instance()
    assert IOLoop.initialized()
    assert IOLoop.instance() is loop
    assert IOLoop.current() is loop
    assert in_thread(IOLoop.instance) is loop
    IOLoop.clear_instance()
    assert not IOLoop.initialized()
    other = IOLoop.instance()
    assert other is not loop
    loop.install()
    assert IOLoop.instance() is loop
    loop.close()
    assert not IOLoop.initialized()
    third = IOLoop.instance()
    assert third is not loop
    other.close()
    assert IOLoop.instance() is third
    third.asyncio_loop.close()
    assert IOLoop.instance() is not third


def test_current_makes_the_instance_in_the_main_thread():
    loop = IOLoop.current()
    assert loop is IOLoop.instance()
    assert IOLoop.current() is loop


def test_current_in_a_running_loop():
    own = IOLoop()

    async def main():
        loop = IOLoop.current()
        assert loop is not own
        assert loop.asyncio_loop is asyncio.get_running_loop()
        assert IOLoop.current(instance=False) is loop
        called = asyncio.get_running_loop().create_future()
        loop.add_callback(called.set_result, "called")
        return await called

    foreign = asyncio.SelectorEventLoop()
    assert foreign.run_until_complete(main()) == "called"
    foreign.close()
    assert IOLoop.current() is own


def test_current_is_what_asyncio_was_told():
    loop = asyncio.SelectorEventLoop()
    asyncio.set_event_loop(loop)
    assert IOLoop.current().asyncio_loop is loop
    loop.close()
    assert IOLoop.current(instance=False) is None


def test_current_makes_no_other_loop_than_ours():
    """asyncio.get_event_loop() would make one of its own, before Python 3.14."""
    run_script("""
        import asyncio
        from zmqstream import EventLoop, IOLoop
        assert IOLoop.current(instance=False) is None
        loop = IOLoop.current()
        assert type(loop.asyncio_loop) is EventLoop
        assert IOLoop.current() is loop is IOLoop.instance()
        loop.close()
    """)


def test_a_loop_of_its_own_in_each_thread():
    loop = IOLoop.instance()
    barrier = threading.Barrier(3)

    def main():
        assert IOLoop.current(instance=False) is None
        own = IOLoop.current()
        assert IOLoop.current() is own
        assert own.asyncio_loop is not loop.asyncio_loop
        got = []
        barrier.wait(TIMEOUT)
        for i in range(100):
            own.add_callback(got.append, i)
        own.add_callback(own.stop)
        start(own)
        own.close()
        return got

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        results = [pool.submit(main) for _ in range(3)]
        assert [r.result(TIMEOUT) for r in results] == [list(range(100))] * 3
    assert IOLoop.current() is loop


def test_finding_the_current_loop_leaves_the_warnings_filters_alone():
    before = list(warnings.filters)
    barrier = threading.Barrier(4)

    def main():
        barrier.wait(TIMEOUT)
        for _ in range(50):
            IOLoop(make_current=False).close()
            assert IOLoop.current(instance=False) is None

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for result in [pool.submit(main) for _ in range(4)]:
            result.result(TIMEOUT)
    assert list(warnings.filters) == before


def test_several_loops_one_after_another(context):
    for i in range(3):
        loop = IOLoop()
        assert IOLoop.current() is loop
        socket, peer = pair(context)
        stream = ZMQStream(socket)
        assert stream.io_loop is loop
        got = []
        stream.on_recv(collect(loop, got, 1))
        peer.send(b"%d" % i)
        start(loop)
        assert got == [([b"%d" % i],)]
        stream.close()
        loop.close()


def test_a_facade_of_anything_else_is_refused():
    closed = asyncio.SelectorEventLoop()
    closed.close()
    with pytest.raises(RuntimeError, match="closed"):
        IOLoop(asyncio_loop=closed)
    with pytest.raises(TypeError, match="io_loop must be"):
        IOLoop(asyncio_loop="loop")


def test_a_loop_goes_with_its_last_reference():
    loop = IOLoop(make_current=False)
    loop.add_callback(loop.stop)
    start(loop)
    loop.close()
    gone = weakref.ref(loop), weakref.ref(loop.asyncio_loop)
    del loop
    gc.collect()
    assert [ref() for ref in gone] == [None, None]


# -- start, stop, close ---------------------------------------------------------------------------


def test_start_and_stop(loop):
    seen = []
    loop.add_callback(lambda: seen.append(loop.running()))
    loop.add_callback(loop.stop)
    assert not loop.running()
    start(loop)
    assert seen == [True]
    assert not loop.running()


def test_stop_before_start(loop):
    seen = []
    loop.stop()
    start(loop)
    loop.add_callback(lambda: loop.add_callback(lambda: (seen.append("again"), loop.stop())))
    start(loop)
    assert seen == ["again"]


def test_stop_runs_what_is_ready(loop):
    seen = []
    loop.add_callback(loop.stop)
    loop.add_callback(seen.append, "ready")
    start(loop)
    assert seen == ["ready"]


def test_stop_from_a_thread(loop):
    thread = threading.Thread(target=loop.add_callback, args=(loop.stop,))
    loop.add_callback(thread.start)
    start(loop)
    thread.join()


def test_stop_in_a_stream_callback(loop, context):
    socket, peer = pair(context)
    stream = ZMQStream(socket, loop)
    got = []
    stream.on_recv(lambda message: (got.append(message), loop.stop()))
    for i in range(3):
        peer.send(b"%d" % i)
    start(loop)
    while len(got) < 3:
        start(loop)
    assert got == [[b"0"], [b"1"], [b"2"]]
    stream.close()


def test_start_in_a_callback_is_refused(loop):
    loop.add_callback(loop.start)
    loop.add_callback(loop.stop)
    start(loop)
    [error] = loop.errors
    assert isinstance(error, RuntimeError)
    loop.errors.clear()


def test_close(loop):
    loop.add_callback(loop.close)  # refused, and nothing is lost
    received, sent = os.pipe()
    got = []
    loop.add_handler(received, collect(loop, got, 1), READ)
    os.write(sent, b"x")
    start(loop)
    assert got == [(received, READ)]
    [error] = loop.errors
    assert isinstance(error, RuntimeError)
    loop.errors.clear()
    loop.close()
    loop.close()
    assert loop.asyncio_loop.is_closed()
    os.close(received)
    os.close(sent)
    with pytest.raises(RuntimeError):
        loop.start()
    with pytest.raises(RuntimeError):
        loop.add_callback(print)


def test_close_all_fds(loop, context):
    received, sent = os.pipe()
    a, b = sockets.socketpair()
    socket, peer = pair(context)
    for fd in (received, a, socket):
        loop.add_handler(fd, print, READ)
    gone = os.dup(sent)
    loop.add_handler(gone, print, WRITE)
    os.close(gone)
    loop.close(all_fds=True)
    with pytest.raises(OSError):
        os.fstat(received)
    os.fstat(sent)
    assert a.fileno() == -1
    assert socket.closed
    assert not peer.closed
    os.close(sent)
    b.close()


# -- run_sync -------------------------------------------------------------------------------------


def test_run_sync(loop):
    async def coroutine():
        await asyncio.sleep(0)
        assert IOLoop.current() is loop
        return "coroutine"

    def future():
        future = asyncio.get_running_loop().create_future()
        loop.add_callback(future.set_result, "future")
        return future

    assert loop.run_sync(lambda: "function") == "function"
    assert loop.run_sync(coroutine) == "coroutine"
    assert loop.run_sync(coroutine, timeout=TIMEOUT) == "coroutine"
    assert loop.run_sync(future) == "future"
    assert loop.run_sync(lambda: None) is None


def test_run_sync_raises(loop):
    async def coroutine():
        raise asyncio.TimeoutError("of its own")

    with pytest.raises(ZeroDivisionError):
        loop.run_sync(lambda: 1 / 0)
    for timeout in (None, TIMEOUT):
        with pytest.raises(asyncio.TimeoutError, match=r"^of its own$"):
            loop.run_sync(coroutine, timeout=timeout)


def test_run_sync_timeout(loop):
    seen = []

    async def forever():
        try:
            await loop.asyncio_loop.create_future()
        finally:
            seen.append("cancelled")

    with pytest.raises(asyncio.TimeoutError, match=r"no result after 0\.01 s"):
        loop.run_sync(forever, timeout=0.01)
    assert seen == ["cancelled"]


# -- handlers of file descriptors -----------------------------------------------------------------


def test_a_pipe_by_its_number(loop):
    received, sent = os.pipe()
    got = []

    def handler(fd, events):  # one byte a call: level-triggered
        got.append((fd, events, os.read(fd, 1)))
        if len(got) == 3:
            loop.stop()

    loop.add_handler(received, handler, READ)
    os.write(sent, b"abc")
    start(loop)
    assert got == [(received, READ, b"%c" % c) for c in b"abc"]
    loop.remove_handler(received)
    os.write(sent, b"d")
    turn(loop)
    assert len(got) == 3
    loop.remove_handler(received)
    os.close(received)
    os.close(sent)


def test_an_object_with_fileno(loop):
    a, b = sockets.socketpair()
    got = []
    loop.add_handler(a, collect(loop, got, 1), READ | WRITE)
    start(loop)
    assert got[0] == (a, WRITE)
    assert got[0][0] is a
    loop.update_handler(a, READ)
    got.clear()
    turn(loop)
    assert got == []
    b.send(b"x")
    start(loop)
    assert got[0] == (a, READ)
    got.clear()
    loop.update_handler(a.fileno(), WRITE)  # the same handler, by its number
    start(loop)
    assert got[0] == (a, WRITE)
    loop.update_handler(a, IOLoop.NONE)
    got.clear()
    turn(loop)
    assert got == []
    loop.remove_handler(a)
    a.close()
    b.close()


def test_a_handler_removes_itself(loop):
    a, b = sockets.socketpair()
    b.send(b"never read")
    got = []

    def handler(fd, events):
        got.append(events)
        loop.remove_handler(fd)

    loop.add_handler(a, handler, READ | WRITE)
    turn(loop)
    assert len(got) == 1
    loop.add_handler(a, handler, READ)
    turn(loop)
    assert got[1:] == [READ]
    a.close()
    b.close()


def test_handlers_of_what_was_closed_can_be_removed(loop):
    a, b = sockets.socketpair()
    with open(os.devnull) as file:
        fd = os.dup(a.fileno())
        holder = type("Holder", (), {"fileno": lambda self: fd})()
    del file
    loop.add_handler(a, print, READ)
    loop.add_handler(holder, print, READ)
    a.close()
    loop.remove_handler(a)
    loop.remove_handler(holder)
    os.close(fd)
    b.close()
    assert not loop._handlers


def test_a_handler_that_is_there_already(loop, context):
    received, sent = os.pipe()
    socket, _ = pair(context)
    loop.add_handler(received, print, READ)
    loop.add_handler(socket, print, READ)
    for fd in (received, socket):
        with pytest.raises(ValueError, match="twice"):
            loop.add_handler(fd, print, READ)
        loop.remove_handler(fd)
        loop.add_handler(fd, print, READ)
        loop.remove_handler(fd)
    os.close(received)
    os.close(sent)


def test_handlers_that_are_refused(loop, context):
    for fd in ("text", None, object(), 1.5, -1):
        with pytest.raises(TypeError, match="descriptor"):
            loop.add_handler(fd, print, READ)
    received, sent = os.pipe()
    with pytest.raises(TypeError, match="callable"):
        loop.add_handler(received, "not callable", READ)
    with pytest.raises(KeyError):
        loop.update_handler(received, READ)
    closed = context.socket(zmq.PULL)
    closed.close()
    with pytest.raises(zmq.ZMQError) as info:
        loop.add_handler(closed, print, READ)
    assert info.value.errno == zmq.ENOTSOCK
    with pytest.raises(KeyError):
        loop.update_handler(closed, READ)
    loop.remove_handler(closed)
    os.close(received)
    os.close(sent)
    assert not loop._handlers


def test_an_error_of_a_handler(loop):
    received, sent = os.pipe()
    got = []

    def handler(fd, events):
        got.append(os.read(fd, 1))
        if len(got) == 2:
            loop.stop()
        raise LookupError(got[-1])

    loop.add_handler(received, handler, READ)
    os.write(sent, b"ab")
    start(loop)
    loop.remove_handler(received)
    assert [(type(e), e.args) for e in loop.errors] == [
        (LookupError, (b"a",)),
        (LookupError, (b"b",)),
    ]
    loop.errors.clear()
    os.close(received)
    os.close(sent)


# -- handlers of ZeroMQ sockets -------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["inproc://x", "tcp://127.0.0.1:*"])
def test_a_zmq_socket_is_level_triggered(loop, context, transport):
    socket, peer = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    socket.bind(transport)
    peer.connect(socket.last_endpoint.decode())
    got = []

    def handler(socket, events):  # one message a call
        got.append((socket, events, socket.recv()))
        if len(got) == 10:
            loop.stop()

    for i in range(5):
        peer.send(b"%d" % i)
    loop.add_handler(socket, handler, READ)
    loop.add_callback(lambda: [peer.send(b"%d" % i) for i in range(5, 10)])
    start(loop)
    assert got == [(socket, READ, b"%d" % i) for i in range(10)]
    assert got[0][0] is socket
    loop.remove_handler(socket)
    peer.send(b"more")
    assert socket.poll(TIMEOUT * 1000)
    turn(loop)
    assert len(got) == 10
    loop.remove_handler(socket)
    assert not socket.closed


def test_a_zmq_socket_that_can_be_written(loop, context):
    socket = context.socket(zmq.PUSH)
    socket.bind("inproc://x")
    got = []
    loop.add_handler(socket, collect(loop, got, 2), WRITE)
    turn(loop)
    assert got == []
    peer = context.socket(zmq.PULL)
    peer.connect(socket.last_endpoint.decode())
    start(loop)
    assert set(got) == {(socket, WRITE)}
    loop.update_handler(socket, IOLoop.NONE)
    got.clear()
    turn(loop)
    assert got == []
    loop.update_handler(socket, READ | WRITE)
    start(loop)
    assert set(got) == {(socket, WRITE)}
    loop.remove_handler(socket)


def test_update_handler_of_a_zmq_socket(loop, context):
    socket, peer = pair(context)
    peer.send(b"x")
    assert socket.poll(TIMEOUT * 1000)
    got = []
    loop.add_handler(socket, collect(loop, got, 1), IOLoop.NONE)
    turn(loop)
    assert got == []
    loop.update_handler(socket, READ | WRITE)
    start(loop)
    assert got[0] == (socket, READ | WRITE)
    loop.update_handler(socket, READ)
    got.clear()
    start(loop)
    assert got[0] == (socket, READ)
    loop.remove_handler(socket)


def test_a_zmq_handler_removes_itself(loop, context):
    socket, peer = pair(context)
    peer.send(b"never read")
    got = []

    def handler(socket, events):
        got.append(events)
        loop.remove_handler(socket)

    loop.add_handler(socket, handler, READ | WRITE)
    turn(loop)
    assert len(got) == 1
    loop.add_handler(socket, handler, READ)
    turn(loop)
    assert got[1:] == [READ]


def test_a_zmq_handler_replaces_itself(loop, context):
    socket, peer = pair(context)
    peer.send(b"x")
    got = []

    def handler(socket, events):
        loop.remove_handler(socket)
        loop.add_handler(socket, collect(loop, got, 1), READ)

    loop.add_handler(socket, handler, READ)
    start(loop)
    assert got[0] == (socket, READ)
    loop.remove_handler(socket)


def test_a_zmq_handler_closes_its_socket(loop, context):
    socket, peer = pair(context)
    peer.send(b"x")
    got = []

    def handler(socket, events):
        got.append(events)
        loop.remove_handler(socket)
        socket.close()

    loop.add_handler(socket, handler, READ)
    turn(loop)
    assert got == [READ]


def test_a_zmq_socket_closed_under_its_handler(loop, context):
    socket, peer = pair(context)
    other, other_peer = pair(context)
    got = []
    loop.add_handler(socket, lambda *args: socket.close(), READ)
    loop.add_handler(other, collect(loop, got, 1), READ)
    peer.send(b"x")
    other_peer.send(b"y")
    start(loop)
    turn(loop)
    [error] = loop.errors
    assert isinstance(error, zmq.ZMQError)
    assert error.errno == zmq.ENOTSOCK
    loop.errors.clear()
    with pytest.raises(zmq.ZMQError):
        loop.update_handler(socket, READ)
    loop.remove_handler(socket)
    gc.collect()
    turn(loop)
    loop.remove_handler(other)


def test_an_error_of_a_zmq_handler(loop, context):
    socket, peer = pair(context)
    got = []

    def handler(socket, events):
        got.append(socket.recv())
        if len(got) == 2:
            loop.stop()
        raise LookupError(got[-1])

    loop.add_handler(socket, handler, READ)
    peer.send(b"a")
    peer.send(b"b")
    start(loop)
    assert [e.args for e in loop.errors] == [(b"a",), (b"b",)]
    loop.errors.clear()
    loop.remove_handler(socket)


def test_a_zmq_handler_that_is_a_coroutine_function(loop, context):
    socket, peer = pair(context)
    got = []

    async def handler(socket, events):
        try:
            message = socket.recv(zmq.DONTWAIT)
        except zmq.Again:  # a call that was made before the other had read it
            return
        await asyncio.sleep(0)
        got.append(message)
        if len(got) == 3:
            loop.stop()

    loop.add_handler(socket, handler, READ)
    for i in range(3):
        peer.send(b"%d" % i)
    start(loop)
    loop.remove_handler(socket)
    assert got == [b"0", b"1", b"2"]


def test_a_handler_of_an_asyncio_socket(loop, context):
    socket = context.socket(zmq.PULL, socket_class=zmq.asyncio.Socket)
    socket.bind("inproc://x")
    peer = context.socket(zmq.PUSH)
    peer.connect("inproc://x")
    peer.send(b"x")
    got = []
    loop.add_handler(socket, collect(loop, got, 1), READ)
    start(loop)
    assert got[0] == (socket, READ)
    loop.remove_handler(socket)


def test_a_socket_with_a_stream_gets_no_handler(loop, context):
    socket, _ = pair(context)
    stream = ZMQStream(socket, loop)
    with pytest.raises(ValueError, match="already"):
        loop.add_handler(socket, print, READ)
    stream.close()
    loop.remove_handler(socket)


def test_a_swallowed_edge_under_a_handler(loop, context):
    """Promise 1 is for handlers, too: level-triggered, whatever else touches the socket."""
    socket, peer = pair(context)
    got = []

    def handler(socket, events):
        got.append(socket.recv())
        loop.stop()

    loop.add_handler(socket, handler, READ)
    turn(loop)

    def swallow():
        peer.send(b"x")
        end = time.monotonic() + 0.005
        while time.monotonic() < end:  # libzmq looks at its mailbox once a millisecond
            pass
        socket.send(b"this look at the mailbox takes the edge")

    loop.add_callback(swallow)
    start(loop)
    assert got == [b"x"]
    loop.remove_handler(socket)


# -- callbacks ------------------------------------------------------------------------------------


def test_add_callback(loop):
    got = []
    loop.add_callback(lambda *args, **kwargs: got.append((args, kwargs)), 1, 2, a=3)
    loop.spawn_callback(got.append, "spawned")
    loop.add_callback_from_signal(got.append, "from a signal")
    loop.add_callback(lambda: loop.add_callback(loop.stop))
    start(loop)
    assert got == [((1, 2), {"a": 3}), "spawned", "from a signal"]


def test_add_callback_from_threads(loop):
    got = []

    def add(name):
        for i in range(100):
            loop.add_callback(collect(loop, got, 400), name, i)

    threads = [threading.Thread(target=add, args=(n,)) for n in range(4)]
    loop.add_callback(lambda: [thread.start() for thread in threads])
    start(loop)
    for thread in threads:
        thread.join()
    for n in range(4):
        assert [i for name, i in got if name == n] == list(range(100))


def test_add_callback_from_signal(loop):
    got = []
    before = signal.signal(
        signal.SIGUSR1,
        lambda *_: loop.add_callback_from_signal(collect(loop, got, 1), "signalled"),
    )
    main = threading.main_thread().ident
    # from a thread, so that it is taken while the loop sleeps, or just before
    thread = threading.Thread(target=signal.pthread_kill, args=(main, signal.SIGUSR1))
    try:
        loop.add_callback(thread.start)
        start(loop)
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)
    assert got == [("signalled",)]


def test_coroutine_callbacks(loop):
    got = []

    async def coroutine(name):
        got.append(f"{name} begins")
        await asyncio.sleep(0)
        got.append(f"{name} ends")

    async def stop():
        loop.stop()

    loop.add_callback(coroutine, "first")
    loop.add_callback(coroutine, "second")
    loop.call_later(0.01, stop)
    start(loop)
    assert got == ["first begins", "second begins", "first ends", "second ends"]


def test_coroutine_callbacks_are_held(loop):
    class Holder:
        """What the coroutine waits for is only held by itself."""

    got, waiting = [], []

    async def coroutine():
        holder = Holder()
        holder.future = loop.asyncio_loop.create_future()
        waiting.append(weakref.ref(holder))
        loop.stop()
        got.append(await holder.future)
        loop.stop()

    loop.add_callback(coroutine)
    start(loop)
    gc.collect()
    waiting[0]().future.set_result("awake")
    start(loop)
    assert got == ["awake"]


def test_coroutine_callbacks_are_held_without_an_ioloop():
    """IOLoop.current() on somebody else's loop is held by nobody but its callbacks."""
    got = []

    async def coroutine(waiting):
        future = asyncio.get_running_loop().create_future()
        waiting.append(weakref.ref(future))
        got.append(await future)

    async def main():
        waiting = []
        IOLoop.current().add_callback(coroutine, waiting)
        while not waiting:
            await asyncio.sleep(0)
        gc.collect()
        waiting[0]().set_result("awake")
        while not got:
            await asyncio.sleep(0)

    loop = asyncio.SelectorEventLoop()
    loop.run_until_complete(main())
    loop.close()
    assert got == ["awake"]


def test_add_future(loop):
    future, threaded = loop.asyncio_loop.create_future(), concurrent.futures.Future()
    got = []
    for each in (future, threaded):
        loop.add_future(each, lambda done: got.append((done, done.result())))
    loop.add_callback(future.set_result, 1)
    loop.add_callback(threaded.set_result, 2)
    loop.add_callback(lambda: loop.add_callback(lambda: loop.add_callback(loop.stop)))
    start(loop)
    assert sorted(got, key=lambda g: g[1]) == [(future, 1), (threaded, 2)]


def test_a_future_of_a_thread(loop):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        got = []
        future = pool.submit(threading.get_ident)
        loop.add_future(future, lambda done: (got.append(threading.get_ident()), loop.stop()))
        start(loop)
    assert got == [threading.get_ident()]


def test_run_in_executor(loop):
    async def main():
        return await loop.run_in_executor(None, threading.get_ident)

    assert loop.run_sync(main) != threading.get_ident()
    with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="mine") as pool:
        loop.set_default_executor(pool)

        async def name():
            return await loop.run_in_executor(None, lambda: threading.current_thread().name)

        assert loop.run_sync(name).startswith("mine")


# -- time -----------------------------------------------------------------------------------------


def test_timeouts(loop):
    got = []
    now = loop.time()
    assert abs(now - time.time()) < 5
    loop.add_timeout(datetime.timedelta(milliseconds=30), got.append, 5)
    loop.call_at(now + 0.025, got.append, 4)
    loop.add_timeout(now + 0.02, got.append, 3)
    loop.call_later(0.01, lambda i, a: got.append((i, a)), 2, a="kwarg")
    loop.call_later(-1, got.append, 1)
    for timeout in (
        loop.call_later(0.001, got.append, "removed"),
        loop.call_at(now, got.append, "removed"),
        loop.add_timeout(now + 0.001, got.append, "removed"),
    ):
        loop.remove_timeout(timeout)
        loop.remove_timeout(timeout)
    loop.call_later(0.05, loop.stop)
    before = time.monotonic()
    start(loop)
    assert time.monotonic() - before >= 0.049
    assert got == [1, (2, "kwarg"), 3, 4, 5]


def test_a_deadline_must_be_a_time(loop):
    for deadline in (None, "soon", datetime.datetime.now()):
        with pytest.raises(TypeError, match="deadline"):
            loop.add_timeout(deadline, print)


# -- errors ---------------------------------------------------------------------------------------


async def raise_later(error):
    await asyncio.sleep(0)
    raise error


def raise_now(error):
    raise error


@pytest.mark.parametrize("fail", [raise_now, raise_later], ids=["function", "coroutine"])
def test_errors_are_reported_once(loop, fail):
    errors = [LookupError(i) for i in range(3)]
    loop.add_callback(fail, errors[0])
    loop.call_later(0.001, fail, errors[1])
    loop.add_timeout(loop.time() + 0.005, fail, errors[2])
    loop.call_later(0.02, loop.stop)
    start(loop)
    assert loop.errors == errors
    loop.errors.clear()


def test_a_cancelled_error_is_an_error_like_others(loop):
    loop.add_callback(raise_now, asyncio.CancelledError())
    turn(loop)
    assert [type(e) for e in loop.errors] == [asyncio.CancelledError]
    loop.errors.clear()


def test_a_report_names_the_callback(loop):
    reports = []
    loop.asyncio_loop.set_exception_handler(lambda _, context: reports.append(context["message"]))
    loop.add_callback(raise_now, LookupError())
    loop.add_callback(raise_later, LookupError())
    turn(loop, 5)
    assert ["raise_now" in r for r in reports] == [True, False]
    assert ["raise_later" in r for r in reports] == [False, True]


def test_handle_callback_exception_may_be_overridden(loop):
    seen = []

    class Loop(IOLoop):
        def handle_callback_exception(self, callback):
            seen.append((callback, sys.exc_info()[1]))

    own = Loop(asyncio_loop=loop.asyncio_loop, make_current=False)
    error = LookupError()
    own.add_callback(raise_now, error)
    turn(own)
    assert seen == [(raise_now, error)]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("fail", [raise_now, raise_later], ids=["function", "coroutine"])
def test_what_leaves_the_loop(loop, kind, fail):
    got = []
    loop.add_callback(fail, kind())
    with pytest.raises(kind):
        loop.start()
    assert not loop.running()
    loop.add_callback(got.append, "runs again")
    turn(loop, 5)
    assert got == ["runs again"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_leaves_the_loop_from_handlers_and_timeouts(loop, context, kind):
    socket, peer = pair(context)
    received, sent = os.pipe()
    peer.send(b"x")
    os.write(sent, b"x")
    got = []

    def fail(fd, events):
        loop.remove_handler(fd)
        raise kind

    loop.add_handler(socket, fail, READ)
    with pytest.raises(kind):
        loop.start()
    loop.add_handler(received, fail, READ)
    with pytest.raises(kind):
        loop.start()
    loop.call_later(0.001, raise_now, kind())
    with pytest.raises(kind):
        loop.start()
    loop.add_handler(socket, collect(loop, got, 1), READ)
    start(loop)
    assert got[0] == (socket, READ)
    loop.remove_handler(socket)
    os.close(received)
    os.close(sent)


def test_control_c(loop, context):
    """A SIGINT while the loop sleeps in poll."""
    socket, _ = pair(context)
    stream = ZMQStream(socket, loop)
    stream.on_recv(print)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    main = threading.main_thread().ident
    thread = threading.Thread(target=signal.pthread_kill, args=(main, signal.SIGINT))
    try:
        loop.add_callback(thread.start)
        with pytest.raises(KeyboardInterrupt):
            start(loop)
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)
    turn(loop)
    stream.close()


# -- a whole program ------------------------------------------------------------------------------


def run_script(script, *args):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *args],
        check=True,
        timeout=TIMEOUT,
        capture_output=True,
        text=True,
    ).stdout


def test_the_echo_server():
    server = """
        import zmq
        from zmqstream import ioloop, ZMQStream
        ctx = zmq.Context()
        s = ctx.socket(zmq.REP)
        s.bind('tcp://localhost:PORT')
        loop = ioloop.IOLoop.instance()
        stream = ZMQStream(s, loop)
        def echo(msg):
            stream.send_multipart(msg)
        stream.on_recv(echo)
        loop.start()
    """
    with sockets.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = textwrap.dedent(server).replace("PORT", str(port))
    context = zmq.Context()
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            client = context.socket(zmq.REQ)
            client.rcvtimeo = client.sndtimeo = TIMEOUT * 1000
            client.linger = 0
            client.connect(f"tcp://localhost:{port}")
            for message in ([b"hello"], [b"two", b""], [b"x" * 100_000]):
                client.send_multipart(message)
                assert client.recv_multipart() == message
        finally:
            process.send_signal(signal.SIGINT)
            context.destroy(linger=0)
            errors = process.communicate(timeout=TIMEOUT)[1]
    assert errors.strip().endswith("KeyboardInterrupt")


def test_the_names_of_the_module():
    assert ioloop.IOLoop is IOLoop
    for name in ioloop.__all__:
        assert getattr(ioloop, name)
