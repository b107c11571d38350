"""EventLoop is an asyncio loop: all of asyncio works on it, beside streams that are busy."""

import asyncio
import concurrent.futures
import contextlib
import ctypes
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
from zmqstream import EventLoop, IOLoop, ZMQStream, eventloop

TIMEOUT = 20  # seconds


@pytest.fixture(params=["epoll", "selectors"], autouse=True)
def poller(request, monkeypatch):
    monkeypatch.setenv("ZMQSTREAM_POLLER", request.param)
    return request.param


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


@pytest.fixture
def loop():
    """An EventLoop. Its `errors` are what was reported; a test takes those that it expects."""
    loop = EventLoop()
    loop.errors = []
    loop.set_exception_handler(lambda _, context: loop.errors.append(context["exception"]))
    yield loop
    if not loop.is_closed():
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    assert loop.errors == []


def pair(context, kind=zmq.PAIR, other=zmq.PAIR):
    first, second = context.socket(kind), context.socket(other)
    first.bind(f"inproc://{id(first)}")
    second.connect(first.last_endpoint.decode())
    second.rcvtimeo = second.sndtimeo = TIMEOUT * 1000
    return first, second


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


# -- run() and new_event_loop() -------------------------------------------------------------------


def test_run():
    loops = []

    async def main(value):
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(0)
        return value

    assert zmqstream.run(main("result")) == "result"
    assert type(loops[0]) is EventLoop
    assert loops[0].is_closed()
    zmqstream.run(main(None))
    assert loops[0] is not loops[1]


def test_run_raises():
    async def main():
        raise LookupError("of main")

    with pytest.raises(LookupError, match="of main"):
        zmqstream.run(main())
    with pytest.raises((ValueError, TypeError), match="coroutine"):
        zmqstream.run(main)


def test_run_in_a_running_loop():
    async def main():
        coroutine = asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="running event loop"):
            zmqstream.run(coroutine)
        coroutine.close()

    run(main)


def test_run_ends_what_main_left_behind(context):
    ended = []

    async def task(name):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async def generator():
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            ended.append("generator")

    async def main():
        held.append(asyncio.create_task(task("task")))
        held.append(generator())
        assert await anext(held[-1]) == 1
        await asyncio.sleep(0)
        with busy(context):
            await asyncio.to_thread(ended.append, "thread")

    held = []
    run(main)
    assert sorted(ended) == ["generator", "task", "thread"]
    assert held[0].cancelled()


def test_run_as_in_python_3_10(context, caplog):
    ended = []

    async def task():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append(asyncio.get_running_loop())
            raise LookupError("in shutdown") from None

    async def main():
        held.append(asyncio.create_task(task()))
        with busy(context):
            await asyncio.to_thread(len, "abc")
        return asyncio.get_running_loop().get_debug()

    held = []
    assert eventloop._run_as_3_10(main(), True) is True
    assert [type(loop) for loop in ended] == [EventLoop]
    assert ended[0].is_closed()
    assert "in shutdown" in caplog.text
    with pytest.raises(ValueError, match="coroutine"):
        eventloop._run_as_3_10(main, None)


def test_run_debug(context):
    async def main():
        loop = asyncio.get_running_loop()
        with busy(context):
            with pytest.raises(RuntimeError, match=r"[Nn]on-thread-safe"):
                await asyncio.to_thread(loop.call_soon, print)
            await asyncio.sleep(0.002)
        return loop.get_debug()

    assert run(main, debug=True) is True
    assert run(main_without_debug, debug=False) is False


async def main_without_debug():
    return asyncio.get_running_loop().get_debug()


def test_debug_mode_tells_of_slow_callbacks(context, caplog):
    async def main():
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = 0
        with busy(context):
            await asyncio.sleep(0)

    run(main, debug=True)
    assert any("Executing" in record.getMessage() for record in caplog.records)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.Runner is new in 3.11")
def test_asyncio_runner(context):
    async def main(value):
        with busy(context):
            await asyncio.sleep(0.002)
        return value, asyncio.get_running_loop()

    with asyncio.Runner(loop_factory=zmqstream.new_event_loop) as runner:
        results = [runner.run(main(i)) for i in range(3)]
    assert [value for value, _ in results] == [0, 1, 2]
    assert len({loop for _, loop in results}) == 1
    assert type(results[0][1]) is EventLoop


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.Runner is new in 3.11")
def test_control_c_cancels_main(context):
    ended = []

    async def main():
        socket, _ = pair(context)
        stream = ZMQStream(socket)
        stream.on_recv(print)
        thread.start()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(stream.closed())
            stream.close()

    thread = threading.Thread(
        target=lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    )
    with pytest.raises(KeyboardInterrupt):
        zmqstream.run(main())
    thread.join()
    assert ended == [False]


def test_the_poller(monkeypatch):
    monkeypatch.setenv("ZMQSTREAM_POLLER", "kqueue")
    with pytest.raises(ValueError, match="kqueue"):
        EventLoop()
    monkeypatch.delenv("ZMQSTREAM_POLLER")
    assert eventloop.poller() == ("epoll" if sys.platform == "linux" else "selectors")


def test_where_there_is_no_epoll(monkeypatch, poller):
    monkeypatch.delattr("selectors.EpollSelector")
    if poller == "epoll":
        with pytest.raises(ValueError, match="no epoll"):
            eventloop.poller()
    monkeypatch.delenv("ZMQSTREAM_POLLER")
    assert eventloop.poller() == "selectors"


# -- all of asyncio beside a busy stream ----------------------------------------------------------


def test_tasks(context):
    async def main():
        queue, done = asyncio.Queue(1), asyncio.Event()

        async def produce():
            for i in range(50):
                await queue.put(i)
            done.set()

        async def consume():
            return [await queue.get() for _ in range(50)]

        with busy(context):
            _, got = await asyncio.gather(produce(), consume())
            assert got == list(range(50))
            assert done.is_set()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), 0.005)
            task = asyncio.create_task(asyncio.sleep(3600))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            if sys.version_info >= (3, 11):
                with pytest.raises(BaseException, match="unhandled errors in a TaskGroup"):
                    await group()

    async def group():
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(3600))
            group.create_task(asyncio.wait_for(asyncio.Event().wait(), 0.001))

    run(main)


def test_timers(context):
    async def main():
        loop = asyncio.get_running_loop()
        got, done = [], asyncio.Event()
        with busy(context):
            now = loop.time()
            loop.call_at(now + 0.03, got.append, 5)
            loop.call_at(now + 0.01, got.append, 2)
            loop.call_later(0.02, got.append, 3)
            loop.call_at(now + 0.025, got.append, 4)
            loop.call_later(0.015, got.append, "cancelled").cancel()
            loop.call_soon(got.append, 1)
            loop.call_soon(got.append, "cancelled").cancel()
            loop.call_later(0.035, done.set)
            await done.wait()
            assert loop.time() - now >= 0.034
        assert got == [1, 2, 3, 4, 5]

    run(main)


def test_timers_without_streams():
    """Never early: epoll counts milliseconds, asyncio does not."""

    async def main():
        loop = asyncio.get_running_loop()
        for delay in (0, 0.0001, 0.0004, 0.0011, 0.01, 0.0105):
            before = loop.time()
            await asyncio.sleep(delay)
            assert loop.time() - before >= delay - loop._clock_resolution

    run(main)


@pytest.mark.parametrize("idle", [True, False])
def test_what_a_stream_callback_asks_of_asyncio(context, idle):
    """The loop stays in its selector between messages, and must see what changed for asyncio."""

    async def main():
        loop = asyncio.get_running_loop()
        socket, peer = pair(context)
        stream = ZMQStream(socket)
        later = []
        if not idle:
            later.append(loop.call_later(3600, print))

        async def ask(kind):
            done = loop.create_future()
            actions = {
                "call_soon": lambda: loop.call_soon(done.set_result, kind),
                "call_later": lambda: loop.call_later(0.001, done.set_result, kind),
                "earlier": lambda: (
                    later.append(loop.call_later(1800, print)),
                    loop.call_later(0, done.set_result, kind),
                ),
                "future": lambda: done.set_result(kind),
                "task": lambda: later.append(asyncio.ensure_future(set_result(done, kind))),
                "reader": lambda: loop.add_reader(ready, finish, done, kind),
                "writer": lambda: loop.add_writer(ready, finish, done, kind),
                "thread": lambda: loop.run_in_executor(None, lambda: None).add_done_callback(
                    lambda _: done.set_result(kind)
                ),
            }
            stream.on_recv(lambda message: actions[kind]())
            peer.send(b"go")
            assert await done == kind
            stream.on_recv(None)

        def finish(future, value):  # readers may be called again
            loop.remove_reader(ready)
            loop.remove_writer(ready)
            future.set_result(value)

        async def set_result(future, value):
            await asyncio.sleep(0)
            future.set_result(value)

        ready, other = sockets.socketpair()
        other.send(b"readable")
        with ready, other:
            for kind in (
                "call_soon", "call_later", "earlier", "future", "task", "reader", "writer", "thread"
            ):  # fmt: skip
                await ask(kind)
        for each in later:
            each.cancel()
        stream.close()

    run(main)


def test_a_stream_callback_cancels_the_next_timer(context):
    async def main():
        loop = asyncio.get_running_loop()
        socket, peer = pair(context)
        stream = ZMQStream(socket)
        got, done = [], loop.create_future()
        first = loop.call_later(0.02, got.append, "cancelled")
        loop.call_later(0.03, done.set_result, None)
        stream.on_recv(lambda message: first.cancel())
        peer.send(b"go")
        await done
        assert got == []
        stream.close()

    run(main)


def test_stop_in_a_stream_callback(context, loop):
    socket, peer = pair(context)
    stream = ZMQStream(socket, loop)
    got = []
    stream.on_recv(lambda message: (got.append(message), loop.stop()))
    peer.send(b"x")
    loop.run_forever()
    assert got == [[b"x"]]
    stream.close()


def test_executors(context):
    async def main():
        loop = asyncio.get_running_loop()
        with busy(context) as hits:
            assert await asyncio.to_thread(sum, [1, 2]) == 3
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                got = await asyncio.gather(
                    *(loop.run_in_executor(pool, pow, 2, i) for i in range(20))
                )
                assert got == [2**i for i in range(20)]
                before = len(hits)  # the streams go on while a thread is waited for
                await loop.run_in_executor(pool, wait_for_hits, hits, before + 10)

    def wait_for_hits(hits, count):
        end = time.monotonic() + TIMEOUT
        while len(hits) < count:
            assert time.monotonic() < end
            time.sleep(0.0001)

    run(main)


def test_subprocesses(context):
    async def main():
        with busy(context):
            process = await asyncio.create_subprocess_exec(
                "cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            out, _ = await process.communicate(b"through a pipe" * 10_000)
            assert out == b"through a pipe" * 10_000
            assert process.returncode == 0
            process = await asyncio.create_subprocess_shell("exit 3")
            assert await process.wait() == 3
            process = await asyncio.create_subprocess_exec("sleep", "3600")
            process.kill()
            assert await process.wait() == -signal.SIGKILL

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of child watchers, in 3.12
        run(main)


@pytest.mark.parametrize("flood", [True, False])
def test_signal_handlers(context, flood):
    async def main():
        loop = asyncio.get_running_loop()
        for _ in range(3):
            got = asyncio.Event()
            loop.add_signal_handler(signal.SIGUSR1, got.set)
            with busy(context) if flood else contextlib.nullcontext():
                await asyncio.sleep(0.002)
                os.kill(os.getpid(), signal.SIGUSR1)
                await got.wait()
        assert loop.remove_signal_handler(signal.SIGUSR1)

    run(main)


def test_plain_signal_handlers_while_the_loop_sleeps(context):
    """They run at once, and an exception of theirs leaves the loop."""

    async def main():
        loop = asyncio.get_running_loop()
        socket, _ = pair(context)
        stream = ZMQStream(socket)
        stream.on_recv(print)
        got = loop.create_future()
        signal.signal(
            signal.SIGUSR1, lambda number, frame: loop.call_soon_threadsafe(got.set_result, number)
        )
        thread.start()
        assert await got == signal.SIGUSR1
        stream.close()

    thread = threading.Thread(
        target=lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
    )
    before = signal.getsignal(signal.SIGUSR1)
    try:
        run(main)
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)


def test_a_signal_between_a_turn_and_sleep(context, loop):
    """It comes while C code runs, so it interrupts no sleep, and is seen all the same."""

    class Number:
        @staticmethod
        def from_param(message):
            return signal.SIGUSR1

    throw = ctypes.CDLL(None)["raise"]  # signal.raise_signal() would call the handler itself
    throw.argtypes = [Number]
    socket, peer = pair(context)
    stream = ZMQStream(socket, loop)
    got = []

    def handler(number, frame):
        got.append(number)
        loop.call_soon_threadsafe(loop.stop)

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        stream.on_recv(throw)
        for _ in range(3):
            limit = loop.call_later(TIMEOUT, got.append, "too late")
            loop.call_later(0.002, peer.send, b"x")
            loop.run_forever()
            limit.cancel()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert got == [signal.SIGUSR1] * 3
    stream.close()


def test_an_exception_of_a_signal_handler(context, loop):
    class Alarm(KeyboardInterrupt):
        pass

    def alarm(number, frame):
        raise Alarm

    socket, peer = pair(context)
    stream = ZMQStream(socket, loop)
    got = []
    stream.on_recv(lambda message: (got.append(message), loop.stop()))
    thread = threading.Thread(
        target=lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
    )
    before = signal.signal(signal.SIGUSR1, alarm)
    try:
        loop.call_later(0, thread.start)
        with pytest.raises(Alarm):
            loop.run_until_complete(asyncio.wait_for(forever(), TIMEOUT))
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    peer.send(b"x")
    loop.run_forever()
    assert got == [[b"x"]]
    stream.close()


async def forever():
    await asyncio.Event().wait()


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_servers_and_connections(context, kind, tmp_path):
    async def echo(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def client(connect):
        reader, writer = await connect()
        data = os.urandom(300_000)
        writer.write(data)
        writer.write_eof()
        assert await reader.read() == data
        writer.close()
        await writer.wait_closed()

    async def main():
        if kind == "tcp":
            server = await asyncio.start_server(echo, "127.0.0.1", 0)
            host, port = server.sockets[0].getsockname()
            connect = lambda: asyncio.open_connection(host, port)  # noqa: E731
        else:
            path = os.path.relpath(tmp_path / "s")
            server = await asyncio.start_unix_server(echo, path)
            connect = lambda: asyncio.open_unix_connection(path)  # noqa: E731
        with busy(context):
            await asyncio.gather(*(client(connect) for _ in range(5)))
            server.close()
            await server.wait_closed()

    run(main)


def test_datagrams(context):
    async def main():
        loop = asyncio.get_running_loop()
        got = loop.create_future()

        class Protocol(asyncio.DatagramProtocol):
            def datagram_received(self, data, address):
                got.set_result(data)

        server, _ = await loop.create_datagram_endpoint(Protocol, ("127.0.0.1", 0))
        client, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=server.get_extra_info("sockname")
        )
        with busy(context):
            client.sendto(b"datagram")
            assert await got == b"datagram"
        server.close()
        client.close()

    run(main)


def test_readers_and_writers(context):
    async def main():
        loop = asyncio.get_running_loop()
        a, b = sockets.socketpair()
        got, done = [], asyncio.Event()

        def read(name):
            got.append((name, a.recv(1)))
            if len(got) == 4:
                done.set()

        with busy(context), a, b:
            loop.add_reader(a, read, "reader")
            b.send(b"12")
            await until(lambda: len(got) == 2)
            loop.add_reader(a, read, "replaced")
            writable = asyncio.Event()
            loop.add_writer(a, writable.set)
            await writable.wait()
            assert loop.remove_writer(a)
            b.send(b"34")
            await done.wait()
            assert loop.remove_reader(a)
            assert not loop.remove_reader(a)
            b.send(b"5")
            await asyncio.sleep(0.002)
            names = ["reader"] * 2 + ["replaced"] * 2
            assert got == [(name, b"%d" % i) for i, name in enumerate(names, 1)]
            await loop.sock_sendall(a, b"sock")
            assert await loop.sock_recv(b, 10) == b"sock"

    run(main)


def test_a_sleeping_loop_is_woken_by_other_threads(context):
    async def main():
        loop = asyncio.get_running_loop()
        socket, _ = pair(context)
        stream = ZMQStream(socket)
        stream.on_recv(print)
        for _ in range(20):
            done = loop.create_future()
            thread = threading.Thread(
                target=loop.call_soon_threadsafe, args=(done.set_result, None)
            )
            thread.start()
            await done
            thread.join()
        future = await asyncio.to_thread(in_thread, loop)
        assert future.result(0) == "from a thread"
        stream.close()

    def in_thread(loop):
        async def coroutine():
            await asyncio.sleep(0)
            return "from a thread"

        future = asyncio.run_coroutine_threadsafe(coroutine(), loop)
        future.result(TIMEOUT)
        return future

    run(main)


def test_an_exception_in_a_callback(context, loop):
    async def main():
        with busy(context):
            loop.call_soon(lambda: 1 / 0)
            loop.call_later(0.001, lambda: 1 / 0)
            await until(lambda: len(loop.errors) == 2)

    loop.run_until_complete(main())
    assert [type(e) for e in loop.errors] == [ZeroDivisionError] * 2
    loop.errors.clear()


def test_transports_zmq_asyncio_and_streams_together(context):
    async def main():
        socket, peer = pair(context)
        stream = ZMQStream(socket)
        stream.on_recv(stream.send_multipart)
        asyncio_peer = zmq.asyncio.Socket.shadow(peer)
        server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
        with busy(context):
            for i in range(20):
                await asyncio_peer.send(b"%d" % i)
                assert await asyncio_peer.recv() == b"%d" % i
                reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                assert await reader.read() == b""
                writer.close()
                await writer.wait_closed()
        server.close()
        await server.wait_closed()
        asyncio_peer.close()
        stream.close()

    run(main)


def test_a_stream_on_the_descriptor_that_asyncio_watches(context):
    """An asyncio socket that is waited for, and a stream that shadows it."""

    async def main():
        socket = context.socket(zmq.PULL, socket_class=zmq.asyncio.Socket)
        socket.bind("inproc://x")
        peer = context.socket(zmq.PUSH)
        peer.connect("inproc://x")
        receiving = asyncio.ensure_future(socket.recv())
        await asyncio.sleep(0)
        peer.send(b"1")
        assert await receiving == b"1"
        loop = asyncio.get_running_loop()
        assert socket.FD in loop._selector.get_map()
        edges = []
        loop.add_reader(socket.FD, edges.append, 1)
        with pytest.warns(RuntimeWarning, match="shadow"):
            stream = ZMQStream(socket)
        got, done = [], asyncio.Event()
        stream.on_recv(lambda message: (got.append(message), len(got) == 20 and done.set()))
        for i in range(20):
            peer.send(b"%d" % i)
            await asyncio.sleep(0)
        await done.wait()
        assert got == [[b"%d" % i] for i in range(20)]
        await until(lambda: edges)  # asyncio's reader is not forgotten
        stream.close()
        assert socket.closed
        await asyncio.sleep(0)

    run(main)


def test_asyncio_watches_the_descriptor_of_a_stream(context):
    """The other way round: the stream was there first."""

    async def main():
        loop = asyncio.get_running_loop()
        socket, peer = pair(context)
        stream = ZMQStream(socket)
        got, edges = [], []
        stream.on_recv(got.append)
        loop.add_reader(socket.FD, edges.append, 1)
        for i in range(20):
            peer.send(b"%d" % i)
            await until(lambda i=i: len(got) == i + 1)
        await until(lambda: edges)
        assert loop.remove_reader(socket.FD)
        peer.send(b"20")
        await until(lambda: len(got) == 21)
        assert got == [[b"%d" % i] for i in range(21)]
        stream.close()

    run(main)


def test_asyncio_gets_the_descriptor_of_a_socket_that_was_closed_directly(context):
    """Promise 10: its number is reused at once, and the dead stream does no harm."""

    async def main():
        loop = asyncio.get_running_loop()
        socket = context.socket(zmq.PULL)
        stream = ZMQStream(socket)
        stream.on_recv(print)
        fd = socket.FD
        await asyncio.sleep(0.001)
        a, b = sockets.socketpair()
        with a, b, pytest.warns(UserWarning, match="closed directly"):
            socket.close()
            end = time.monotonic() + TIMEOUT
            while is_open(fd):  # libzmq closes it in a thread of its own
                assert time.monotonic() < end
                time.sleep(0.0001)
            os.dup2(a.fileno(), fd)
            got = loop.create_future()
            loop.add_reader(fd, lambda: got.done() or got.set_result(os.read(fd, 10)))
            await asyncio.sleep(0.001)
            b.send(b"reused")
            assert await got == b"reused"
            loop.remove_reader(fd)
            os.close(fd)
            assert stream.closed()

    def is_open(fd):
        with contextlib.suppress(OSError):
            os.fstat(fd)
            return True

    run(main)


def test_what_asyncio_watches_does_not_include_streams(context, loop, poller):
    socket, _ = pair(context)
    before = set(loop._selector.get_map())
    stream = ZMQStream(socket, loop)
    if poller == "epoll":
        assert set(loop._selector.get_map()) == before
    stream.close()
    assert set(loop._selector.get_map()) == before


# -- fairness -------------------------------------------------------------------------------------


def test_timers_and_readers_under_a_flood(context):
    """Promise 5, without looking at a clock: everybody gets turns while the flood goes on."""

    async def main():
        loop = asyncio.get_running_loop()
        socket, peer = pair(context, zmq.PULL, zmq.PUSH)
        stop = threading.Event()
        received = []

        def flood():
            while not stop.is_set():
                try:
                    peer.send(b"x", zmq.DONTWAIT)
                except zmq.Again:
                    time.sleep(0)

        stream = ZMQStream(socket)
        stream.on_recv(lambda message: received.append(1))
        thread = threading.Thread(target=flood)
        thread.start()
        try:
            await until(lambda: len(received) > 1000)
            server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
            for _ in range(10):
                await asyncio.sleep(0.001)
                await asyncio.to_thread(len, ())
                reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                assert await reader.read() == b""
                writer.close()
                await writer.wait_closed()
                done = loop.create_future()
                loop.call_soon(done.set_result, None)
                await done
            count = len(received)
            await until(lambda: len(received) > count)
            server.close()
            await server.wait_closed()
        finally:
            stop.set()
            thread.join()
        stream.close()

    run(main)


CALLBACKS_IN_C = """
    import asyncio, os, signal, sys, threading, zmq, zmqstream

    context = zmq.Context()
    sockets = [context.socket(zmq.PAIR) for _ in range(2)]
    sockets[0].bind("inproc://x")
    sockets[1].connect("inproc://x")
    loop = zmqstream.EventLoop()
    streams = [zmqstream.ZMQStream(socket, loop) for socket in sockets]
    for stream in streams:
        stream.on_recv(stream.send_multipart)  # no bytecode runs for a message
    streams[0].send(b"ball")

    def thread():
        if sys.argv[1] == "signal":
            os.kill(os.getpid(), signal.SIGINT)
        else:
            loop.call_soon_threadsafe(loop.stop)

    # started before the loop, so that no handle of it has to run for that
    threading.Timer(0.02, thread).start()
    try:
        loop.run_forever()
    except KeyboardInterrupt:
        assert sys.argv[1] == "signal"
    for stream in streams:
        stream.close(linger=0)
    loop.close()
    context.term()
"""


@pytest.mark.parametrize("what", ["thread", "signal"])
def test_streams_that_are_busy_in_c_stop_nobody(what):
    """Threads and signal handlers have their chance also where no bytecode runs."""
    subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(CALLBACKS_IN_C), what],
        check=True,
        timeout=TIMEOUT,
    )


def test_a_stream_under_a_flood_of_handles(context, loop):
    """And the other way round: call_soon without end leaves streams their turns."""
    socket, peer = pair(context)
    stream = ZMQStream(socket, loop)
    got = []
    stream.on_recv(lambda message: (got.append(message), len(got) == 3 and loop.stop()))

    def again():
        loop.call_soon(again)

    loop.call_soon(again)
    for i in range(3):
        peer.send(b"%d" % i)
    loop.run_forever()
    assert got == [[b"0"], [b"1"], [b"2"]]
    stream.close()


# -- a loop's life --------------------------------------------------------------------------------


def test_a_stream_on_a_loop_that_runs_later(context, loop):
    socket, peer = pair(context)
    stream = ZMQStream(socket, loop)
    stream.on_recv(stream.send_multipart)
    peer.send(b"before the loop ran")
    stream.send(b"queued before")

    async def main():
        await until(lambda: peer.poll(0))
        return peer.recv()

    assert loop.run_until_complete(main()) == b"queued before"
    assert loop.run_until_complete(main()) == b"before the loop ran"
    stream.close()


def test_a_loop_that_runs_again_and_again(context, loop):
    socket, peer = pair(context)
    stream = ZMQStream(socket, loop)
    got = []
    stream.on_recv(got.append)
    for i in range(20):
        peer.send(b"%d" % i)
        loop.run_until_complete(until(lambda i=i: len(got) == i + 1))
    assert got == [[b"%d" % i] for i in range(20)]
    stream.close()


@pytest.mark.parametrize("own", [True, False])
def test_a_loop_that_is_closed_before_its_streams(context, own):
    loop = EventLoop() if own else asyncio.SelectorEventLoop()
    (socket, peer), (other, _) = pair(context), pair(context)
    closed = []
    stream, idle = ZMQStream(socket, loop), ZMQStream(other, loop)
    got = []
    stream.on_recv(got.append)
    stream.set_close_callback(lambda: closed.append(True))
    peer.send(b"first")
    loop.run_until_complete(until(lambda: got))
    stream.send(b"queued")
    loop.close()
    with pytest.raises(RuntimeError, match=r"loop.*closed"):
        stream.send(b"x")
    with pytest.raises(RuntimeError, match=r"loop.*closed"):
        stream.on_recv(got.append)
    with pytest.raises(RuntimeError, match=r"loop.*closed"):
        ZMQStream(context.socket(zmq.PULL), loop)
    peer.send(b"second")
    assert socket.poll(TIMEOUT * 1000)
    assert stream.flush() == 2
    assert got == [[b"first"], [b"second"]]
    assert peer.recv() == b"queued"
    assert not stream.closed()
    stream.close()
    idle.close()
    assert stream.closed()
    assert socket.closed
    assert closed == [True]


def test_streams_of_a_closed_loop_may_be_dropped(context):
    loop = EventLoop()
    streams = [ZMQStream(pair(context)[0], loop) for _ in range(5)]
    gone = [weakref.ref(stream) for stream in streams]
    loop.close()
    assert len(loop._reactor) == 0
    del streams
    gc.collect()
    assert [ref() for ref in gone] == [None] * 5


def test_a_running_loop_is_not_closed(context):
    async def main():
        with busy(context) as hits:
            with pytest.raises(RuntimeError, match="running"):
                asyncio.get_running_loop().close()
            count = len(hits)
            await until(lambda: len(hits) > count)

    run(main)


def test_closing_twice(loop):
    loop.close()
    loop.close()
    assert loop.is_closed()
    with pytest.raises(RuntimeError, match="closed"):
        loop.run_forever()


def test_a_closed_loop_leaves_no_descriptor(context, poller):
    def descriptors():
        return len(os.listdir("/proc/self/fd" if sys.platform == "linux" else "/dev/fd"))

    socket, _ = pair(context)
    gc.collect()
    before = descriptors()
    for _ in range(5):
        loop = EventLoop()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
    assert descriptors() == before


def test_three_loops_in_three_threads(context):
    """Each with its own reactor, streams and wake-ups, all at once."""
    barrier = threading.Barrier(3)

    async def main():
        loop = asyncio.get_running_loop()
        socket, peer = pair(context)
        stream, other = ZMQStream(socket), ZMQStream(peer)
        got, done = [], asyncio.Event()
        assert stream.io_loop is IOLoop.current()

        def callback(message):
            got.append(message)
            if len(got) == 200:
                done.set()
            else:
                stream.send_multipart(message)

        stream.on_recv(callback)
        other.on_recv(other.send_multipart)
        await loop.run_in_executor(None, barrier.wait, TIMEOUT)
        stream.send(b"%d" % threading.get_ident())
        await done.wait()
        assert set(map(tuple, got)) == {(b"%d" % threading.get_ident(),)}
        stream.close()
        other.close()
        return len(got)

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        results = [pool.submit(run, main) for _ in range(3)]
        assert [result.result(TIMEOUT) for result in results] == [200] * 3


class UnboundLoop(EventLoop):
    """As if asyncio's private attributes, which the reactor looks at, did not exist."""

    def __init__(self):
        selector = eventloop.ReactorSelector(self)
        asyncio.SelectorEventLoop.__init__(self, selector)
        self._reactor = selector.reactor


def test_without_asyncios_private_attributes(context):
    async def main():
        loop = asyncio.get_running_loop()
        got, done = [], loop.create_future()
        with busy(context) as hits:
            loop.call_later(0.003, got.append, 2)
            loop.call_soon(got.append, 1)
            loop.call_later(0.006, done.set_result, None)
            await done
            count = len(hits)
            await until(lambda: len(hits) > count + 100)
            assert await asyncio.to_thread(len, "abc") == 3
        assert got == [1, 2]

    loop = UnboundLoop()
    loop.run_until_complete(asyncio.wait_for(main(), TIMEOUT))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def test_a_callback_that_raises_keyboard_interrupt(context, loop):
    socket, peer = pair(context)
    stream = ZMQStream(socket, loop)
    got = []

    def callback(message):
        got.append(message)
        if len(got) == 2:
            raise KeyboardInterrupt
        if len(got) == 4:
            loop.stop()

    stream.on_recv(callback)
    for i in range(4):
        peer.send(b"%d" % i)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    loop.run_forever()
    assert got == [[b"%d" % i] for i in range(4)]
    stream.close()


# -- other loops ----------------------------------------------------------------------------------


def test_uvloop(context):
    uvloop = pytest.importorskip("uvloop")

    async def main():
        with busy(context) as hits:
            await until(lambda: len(hits) > 100)
            assert await asyncio.to_thread(len, "abc") == 3
        assert IOLoop.current().asyncio_loop is asyncio.get_running_loop()

    loop = uvloop.new_event_loop()
    loop.run_until_complete(asyncio.wait_for(main(), TIMEOUT))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def test_tornado(context):
    ioloop = pytest.importorskip("tornado.ioloop")

    async def main():
        socket, peer = pair(context)
        stream = ZMQStream(socket, io_loop)
        assert stream.io_loop is io_loop
        stream.on_recv(stream.send_multipart)
        peer.send(b"echo")
        await until(lambda: peer.poll(0))
        assert peer.recv() == b"echo"
        stream.close()

    io_loop = ioloop.IOLoop(make_current=False)
    io_loop.run_sync(main, timeout=TIMEOUT)
    io_loop.close()


def test_zmqstream_loop_under_tornado(context):
    """Tornado runs on any asyncio loop, so on ours."""
    pytest.importorskip("tornado")
    program = """
        import asyncio, zmqstream
        from tornado import ioloop

        async def main():
            fired = asyncio.Event()
            periodic = ioloop.PeriodicCallback(fired.set, 1)
            periodic.start()
            await fired.wait()
            periodic.stop()
            assert ioloop.IOLoop.current().asyncio_loop is asyncio.get_running_loop()
            print(type(asyncio.get_running_loop()).__name__)

        zmqstream.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        check=True, timeout=TIMEOUT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.strip() == "EventLoop"
