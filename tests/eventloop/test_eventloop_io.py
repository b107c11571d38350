"""EventLoop: asyncio's transports, readers and writers beside streams, and fairness among them."""

import asyncio
import contextlib
import os
import socket as sockets
import subprocess
import sys
import textwrap
import threading
import time

import pytest
import zmq
import zmq.asyncio

from support import TIMEOUT
from support.loops import busy, pair, run, until
from zmqstream import ZMQStream

pytestmark = pytest.mark.usefixtures("poller")


@pytest.fixture
def loop(event_loop):
    return event_loop


# -- transports and descriptors --------------------------------------------------------------------


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
    """A closed socket does no harm: its descriptor's number is reused at once."""

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
    """Turns are fair, without looking at a clock: everybody gets turns while the flood goes on."""

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
