"""Streams on every kind of loop: which a stream finds, in threads, one after another, closed."""

import asyncio
import concurrent.futures
import gc
import itertools
import os
import subprocess
import sys
import textwrap
import threading

import pytest
import zmq
from tornado.ioloop import IOLoop as TornadoLoop

import zmqstream
from zmqstream import IOLoop, ZMQStream

TIMEOUT = 20  # seconds
_names = itertools.count()
KINDS = ("own", "own facade", "asyncio", "uvloop", "tornado", "tornado on own")


def new_loop(kind):
    """What a stream can be given as `io_loop`."""
    if kind == "own":
        return zmqstream.EventLoop()
    if kind == "own facade":
        return IOLoop(make_current=False)
    if kind == "asyncio":
        return asyncio.SelectorEventLoop()
    if kind == "uvloop":
        return pytest.importorskip("uvloop").new_event_loop()
    if kind == "tornado on own":
        return TornadoLoop(make_current=False, asyncio_loop=zmqstream.EventLoop())
    return TornadoLoop(make_current=False)


def asyncio_loop(loop):
    return getattr(loop, "asyncio_loop", loop)


def run_on(loop, coroutine):
    return asyncio_loop(loop).run_until_complete(asyncio.wait_for(coroutine, TIMEOUT))


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def context():
    context = zmq.Context()
    yield context
    context.destroy(linger=0)


@pytest.fixture(autouse=True)
def nothing_is_current():
    """Each test begins and ends without a current loop."""
    IOLoop.clear_current()
    yield
    IOLoop.clear_current()


class Echo:
    """A stream that echoes, and one that has sent to it and waits for the answers."""

    def __init__(self, context, io_loop=None):
        near, far = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        near.bind(f"inproc://loops-{next(_names)}")
        far.connect(near.last_endpoint.decode())
        self.stream, self.other = ZMQStream(near, io_loop), ZMQStream(far, io_loop)
        self.stream.on_recv(self.stream.send_multipart)
        self.got = []
        self.done = None

    async def round_trips(self, count):
        """Send `count` messages, each when the last has come back."""
        self.done = asyncio.get_running_loop().create_future()
        self.got.clear()

        def callback(msg):
            self.got.append(msg)
            if len(self.got) < count:
                self.other.send(b"%d" % len(self.got))
            else:
                self.done.set_result(None)

        self.other.on_recv(callback)
        self.other.send(b"0")
        await self.done
        assert self.got == [[b"%d" % i] for i in range(count)]

    def close(self):
        self.stream.close()
        self.other.close()


# -- which loop a stream is on ---------------------------------------------------------------------


def test_a_stream_knows_the_loop_that_it_was_given(kind, context):
    loop = new_loop(kind)
    echo = Echo(context, loop)
    assert echo.stream.io_loop is loop
    run_on(loop, echo.round_trips(20))
    echo.close()
    loop.close()


def test_a_stream_finds_the_loop_that_runs(kind, context):
    loop = new_loop(kind)
    called = asyncio_loop(loop).create_future()

    async def main():
        echo = Echo(context)
        found = echo.stream.io_loop
        assert found.asyncio_loop is asyncio.get_running_loop()
        if kind.startswith("tornado"):
            assert found is loop
        if kind == "own facade":
            assert found is loop
        found.add_callback(called.set_result, "called")
        assert await called == "called"
        await echo.round_trips(20)
        echo.close()

    run_on(loop, main())
    loop.close()


def test_a_stream_finds_the_current_loop_before_it_runs(kind, context):
    loop = new_loop(kind)
    asyncio.set_event_loop(asyncio_loop(loop))
    echo = Echo(context)
    assert echo.stream.io_loop.asyncio_loop is asyncio_loop(loop)
    if hasattr(loop, "asyncio_loop"):
        assert echo.stream.io_loop is loop
    run_on(loop, echo.round_trips(20))
    echo.close()
    asyncio.set_event_loop(None)
    loop.close()


BEFORE_ANY_LOOP = {
    "tornado": "tornado.ioloop.IOLoop.current()",
    "zmqstream": "zmqstream.IOLoop.current()",
    "instance": "zmqstream.IOLoop.instance()",
    "asyncio": "asyncio.get_event_loop()",
    "the stream's": "stream.io_loop",
}


@pytest.mark.parametrize("which", BEFORE_ANY_LOOP)
def test_a_stream_made_before_any_loop(which):
    """Whichever way the program then takes to a loop, it is the stream's."""
    script = f"""
        import asyncio, zmq, zmqstream
        {"import tornado.ioloop" if which == "tornado" else ""}
        context = zmq.Context()
        socket, peer = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        socket.bind("inproc://x")
        peer.connect("inproc://x")
        stream = zmqstream.ZMQStream(socket)
        loop = {BEFORE_ANY_LOOP[which]}
        loop = getattr(loop, "asyncio_loop", loop)
        stream.on_recv(lambda msg: (print(*msg), loop.stop()))
        peer.send(b"hello")
        loop.call_later({TIMEOUT}, loop.stop)
        loop.run_forever()
        print(type(loop).__name__)
        stream.close()
        context.destroy(linger=0)
        loop.close()
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        check=True, timeout=2 * TIMEOUT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.split("\n") == ["b'hello'", "EventLoop", ""]


def test_a_stream_made_before_tornados_first_loop():
    """Its loop is the IOLoop that Tornado finds later, and is closed with it."""
    script = """
        import zmq, zmqstream
        from tornado.ioloop import IOLoop
        context = zmq.Context()
        stream = zmqstream.ZMQStream(context.socket(zmq.PULL))
        assert stream.io_loop is IOLoop.current()
        stream.io_loop.add_callback(stream.io_loop.stop)
        IOLoop.current().start()
        IOLoop.current().close(all_fds=True)
        assert stream.closed()
        context.term()  # which would wait for an open socket
    """
    subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)], check=True, timeout=TIMEOUT
    )


def test_an_ioloop_lives_as_long_as_its_loop():
    """What a program has given it is there when it asks again."""

    async def main():
        read, write = os.pipe()
        IOLoop.current().add_handler(read, lambda fd, events: done.set_result(events), IOLoop.NONE)
        gc.collect()
        done = asyncio.get_running_loop().create_future()
        os.write(write, b"x")
        IOLoop.current().update_handler(read, IOLoop.READ)
        assert await asyncio.wait_for(done, TIMEOUT) == IOLoop.READ
        IOLoop.current().remove_handler(read)
        os.close(read)
        os.close(write)

    asyncio.run(main())


def test_a_stream_made_in_a_thread_without_a_loop(context):
    def work():
        echo = Echo(context)
        loop = echo.stream.io_loop
        assert loop.asyncio_loop is IOLoop.current().asyncio_loop
        run_on(loop, echo.round_trips(20))
        echo.close()
        loop.close()
        return loop

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert pool.submit(work).result(TIMEOUT) is not IOLoop.current(instance=False)


# -- several loops ---------------------------------------------------------------------------------


def test_loops_of_every_kind_at_once_each_in_its_thread(context):
    barrier = threading.Barrier(2 * len(KINDS))

    def work(kind):
        loop = new_loop(kind)
        echo = Echo(context, loop)
        barrier.wait(TIMEOUT)
        run_on(loop, echo.round_trips(200))
        echo.close()
        loop.close()
        return len(echo.got)

    with concurrent.futures.ThreadPoolExecutor(2 * len(KINDS)) as pool:
        results = [pool.submit(work, kind) for kind in KINDS * 2]
        assert [result.result(TIMEOUT) for result in results] == [200] * 2 * len(KINDS)


def test_loops_of_every_kind_one_after_another(context):
    for kind in KINDS * 2:
        loop = new_loop(kind)
        echo = Echo(context, loop)
        run_on(loop, echo.round_trips(20))
        echo.close()
        loop.close()


def test_loops_that_asyncio_run_makes_one_after_another(context):
    async def main():
        echo = Echo(context)
        await echo.round_trips(20)
        echo.close()
        return echo.stream.io_loop

    loops = []
    for _ in range(3):
        loops.append(asyncio.run(main()))
        loops.append(zmqstream.run(main()))
    assert len({id(loop.asyncio_loop) for loop in loops}) == 6


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("coroutine", [False, True], ids=["plain", "coroutine"])
@pytest.mark.parametrize("handler", [False, True], ids=["no handler", "handler"])
def test_where_an_exception_is_reported(kind, context, caplog, handler, coroutine):
    """To the loop's exception handler; without one it is in the log: in Tornado's on its loop."""
    loop = new_loop(kind)
    echo = Echo(context, loop)
    told = []
    if handler:
        asyncio_loop(loop).set_exception_handler(lambda _, about: told.append(about["exception"]))

    def plain(msg):
        echo.other.send(b"next")
        raise ValueError("one")

    async def later(msg):
        plain(msg)

    async def main():
        done = asyncio.get_running_loop().create_future()
        echo.stream.on_recv(later if coroutine else plain)
        echo.other.send(b"first")
        while not told and not caplog.records:
            await asyncio.sleep(0.001)
        echo.stream.on_recv(lambda msg: done.set_result(None))
        await done

    run_on(loop, main())
    echo.close()
    loop.close()
    if handler:
        assert [str(error) for error in told] == ["one"] * len(told)
        assert not caplog.records
    else:
        tornado = kind.startswith("tornado")
        assert {r.name for r in caplog.records} == {"tornado.general" if tornado else "asyncio"}
        assert all("callback of <ZMQStream(zmq.PAIR)" in r.getMessage() for r in caplog.records)
        assert all(str(r.exc_info[1]) == "one" for r in caplog.records)
        if tornado:  # the very words of pyzmq's log records
            assert "Uncaught exception in ZMQStream callback" in caplog.text


# -- the end ---------------------------------------------------------------------------------------


def test_a_loop_that_is_closed_before_its_streams(kind, context):
    loop = new_loop(kind)
    echo = Echo(context, loop)
    run_on(loop, echo.round_trips(20))
    loop.close()
    with pytest.raises(RuntimeError, match=r"loop.*closed"):
        echo.stream.send(b"x")
    with pytest.raises(RuntimeError, match=r"loop.*closed"):
        echo.stream.on_recv(print)
    echo.other.socket.send(b"more")
    assert echo.stream.socket.poll(TIMEOUT * 1000)
    echo.close()
    assert echo.stream.closed()
    assert echo.other.closed()


@pytest.mark.parametrize("kind", ["own facade", "tornado", "tornado on own"])
@pytest.mark.parametrize("all_fds", [False, True])
def test_a_loop_that_is_closed_with_its_descriptors(kind, context, all_fds):
    """As pyzmq's streams, which are handlers of Tornado's IOLoop: their sockets are closed, too."""
    loop = new_loop(kind)
    streams, closed = [], []
    for _ in range(3):
        echo = Echo(context, loop)
        run_on(loop, echo.round_trips(3))
        streams += [echo.stream, echo.other]
    streams.pop(0).close()
    for stream in streams:
        stream.set_close_callback(lambda stream=stream: closed.append(stream))
    loop.close(all_fds=all_fds)
    assert {stream.closed() for stream in streams} == {all_fds}
    if not all_fds:
        for stream in streams:
            stream.close()
    assert len(closed) == len(set(closed)) == 5
    term = threading.Thread(target=context.term, daemon=True)
    term.start()
    term.join(TIMEOUT)
    assert not term.is_alive()


@pytest.mark.parametrize("kind", ["own facade", "tornado", "tornado on own"])
def test_a_loop_that_is_closed_with_descriptors_that_are_closed(kind, context, caplog):
    """Nobody is told: that is how fixtures of tests end."""
    loop = new_loop(kind)
    echo = Echo(context, loop)
    run_on(loop, echo.round_trips(3))
    echo.stream.socket.close()
    echo.other.socket.close()
    loop.close(all_fds=True)  # warnings are errors here, and would be in the log
    assert not caplog.records


def test_only_what_the_program_imports_is_imported():
    """A stream that runs on our loop and on asyncio's needs neither Tornado nor uvloop."""
    script = """
        import asyncio, sys, zmq, zmqstream

        async def main():
            done = asyncio.Event()
            stream = zmqstream.ZMQStream(context.socket(zmq.PULL))
            port = stream.bind_to_random_port("tcp://127.0.0.1")
            stream.on_recv(lambda msg: done.set())
            push = zmqstream.ZMQStream(context.socket(zmq.PUSH))
            push.connect(f"tcp://127.0.0.1:{port}")
            push.send_json({"a": 1})
            await done.wait()
            stream.close()
            push.close()

        context = zmq.Context()
        zmqstream.run(main())
        asyncio.run(main())
        context.term()
        print(*sorted({"tornado", "uvloop", "gevent"}.intersection(sys.modules)))
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        check=True, timeout=TIMEOUT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == "\n"
