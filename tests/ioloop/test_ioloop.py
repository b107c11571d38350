"""Contract 1: IOLoop: which loop is current, start and stop, run_sync, a whole program."""

import asyncio
import concurrent.futures
import contextlib
import gc
import os
import signal
import socket as sockets
import subprocess
import sys
import textwrap
import threading
import warnings
import weakref

import pytest
import zmq

import zmqstream
from support import TIMEOUT
from support.children import run_script
from support.commands import reserved_port
from support.loops import collect, in_thread, pair, start
from zmqstream import IOLoop, ZMQStream, ioloop

pytestmark = pytest.mark.usefixtures("nothing_is_current")
READ, WRITE = IOLoop.READ, IOLoop.WRITE


@pytest.fixture
def loop(io_loop):
    return io_loop


# -- which loop -----------------------------------------------------------------------------------


def test_a_new_loop_each_time():
    first, second = IOLoop(), IOLoop()
    assert first is not second
    assert first.asyncio_loop is not second.asyncio_loop
    assert isinstance(first.asyncio_loop, zmqstream.EventLoop)
    assert IOLoop.current() is first
    first.close()
    second.close()


def test_make_current():
    assert IOLoop.current(instance=False) is None
    loop, other = IOLoop(make_current=False), IOLoop(make_current=True)
    assert IOLoop.current() is other
    loop.make_current()
    assert IOLoop.current() is loop
    with warnings.catch_warnings():
        # before 3.14 as there is no running loop, and since then the policy itself
        warnings.simplefilter("ignore", DeprecationWarning)
        assert asyncio.get_event_loop_policy().get_event_loop() is loop.asyncio_loop
    IOLoop.clear_current()
    assert IOLoop.current(instance=False) is None
    other.make_current()
    other.close()
    assert IOLoop.current(instance=False) is None
    loop.close()


def test_instance():
    """As in Tornado from version 5, it is current(), and what goes with it, too."""
    assert not IOLoop.initialized()
    loop = IOLoop.instance()
    assert IOLoop.initialized()
    assert IOLoop.instance() is loop
    assert IOLoop.current() is loop
    assert in_thread(IOLoop.initialized) is False
    IOLoop.clear_instance()
    assert IOLoop.current(instance=False) is None
    other = IOLoop.instance()
    assert other is not loop
    loop.install()
    assert IOLoop.instance() is IOLoop.current() is loop
    loop.close()
    assert not IOLoop.initialized()
    third = IOLoop.instance()
    assert third is not loop
    other.close()
    assert IOLoop.instance() is third
    third.asyncio_loop.close()
    assert IOLoop.instance() is not third


def test_instance_in_a_running_loop():
    outer = IOLoop.instance()

    async def main():
        return IOLoop.instance()

    foreign = asyncio.SelectorEventLoop()
    loop = foreign.run_until_complete(main())
    assert loop.asyncio_loop is foreign
    foreign.close()
    assert IOLoop.instance() is outer


def test_what_the_instance_of_each_thread_runs(context):
    """Streams, timers and periodic callbacks run in the thread that has made them."""
    own = IOLoop.instance()
    barrier = threading.Barrier(2)

    def service():
        loop = IOLoop.instance()
        barrier.wait(TIMEOUT)  # both threads have their loops
        threads = {}
        waits = {"stream", "callback", "timeout", "periodic"}

        def called(kind):
            threads[kind] = threading.current_thread()
            if threads.keys() == waits:
                loop.stop()

        socket, peer = pair(context)
        stream = ZMQStream(socket)
        assert stream.io_loop is loop
        stream.on_recv(lambda message: called("stream"))
        peer.send(b"x")
        loop.add_callback(called, "callback")
        loop.call_later(0, called, "timeout")
        periodic = ioloop.PeriodicCallback(lambda: called("periodic"), 1)
        periodic.start()
        assert periodic.io_loop is loop
        start(loop)
        periodic.stop()
        stream.close()
        loop.close()
        assert set(threads.values()) == {threading.current_thread()}
        return loop

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = [pool.submit(service) for _ in range(2)]
        loops = {result.result(TIMEOUT) for result in results}
    assert len(loops | {own}) == 3
    assert IOLoop.instance() is own


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


def test_a_loop_that_asyncio_is_told_later_is_current_from_then_on():
    """As Tornado makes its IOLoops current: streams belong to the loop that will run."""
    first = IOLoop.current()
    second = asyncio.SelectorEventLoop()
    asyncio.set_event_loop(second)
    assert IOLoop.current().asyncio_loop is second
    first.close()
    assert asyncio.get_event_loop() is second  # closing the other does not take it away
    asyncio.set_event_loop(None)
    second.close()


def test_current_outlives_what_asyncio_forgets():
    loop = IOLoop.current()
    asyncio.run(asyncio.sleep(0))  # leaves asyncio without a current loop
    assert IOLoop.current() is loop


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


@pytest.mark.parametrize("find", ["current", "instance"])
def test_a_loop_of_its_own_in_each_thread(find):
    loop = IOLoop.current()
    barrier = threading.Barrier(3)

    def main():
        assert IOLoop.current(instance=False) is None
        own = getattr(IOLoop, find)()
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
    assert set(got) == {(received, READ)}  # nobody reads it: uvloop calls again before it stops
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
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert loop.run_sync(lambda: pool.submit(lambda: "thread")) == "thread"
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


# -- a whole program ------------------------------------------------------------------------------


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
    context = zmq.Context()
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(reserved_port()).rpartition(":")[2]
        program = textwrap.dedent(server).replace("PORT", port)
        options = ["-W", "error", "-W", "ignore:unclosed:ResourceWarning"]  # it closes nothing
        command = [sys.executable, *options, "-c", program]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        stack.enter_context(process)
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
