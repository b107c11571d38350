"""Tornado's own features on our EventLoop, beside streams that are busy."""

import asyncio
import contextlib
import os
import signal
import socket as sockets
import subprocess
import sys
import threading

import pytest
from tornado import gen, process, web
from tornado.ioloop import IOLoop, PeriodicCallback
from tornado.iostream import StreamClosedError
from tornado.tcpclient import TCPClient
from tornado.tcpserver import TCPServer
from tornado.testing import bind_unused_port

from support.tornado_programs import WAYS, Feed, busy, serving, starting

pytestmark = pytest.mark.usefixtures("poller")


@pytest.fixture(params=WAYS)
def start(request, caplog):
    yield from starting(request.param, caplog)


def test_tcp_servers(start, context):
    class Lines(TCPServer):
        async def handle_stream(self, stream, address):
            with contextlib.suppress(StreamClosedError):
                while True:
                    await stream.write((await stream.read_until(b"\n")).upper())

    async def main():
        server = Lines()
        socket, port = bind_unused_port()
        server.add_socket(socket)
        with busy(context):
            stream = await TCPClient().connect("127.0.0.1", port)
            for size in (1, 1000, 1_000_000):
                await stream.write(b"a" * size + b"\n")
                assert await stream.read_until(b"\n") == b"A" * size + b"\n"
            stream.close()
        server.stop()

    start(main)


@pytest.mark.parametrize("idle", [True, False])
def test_timers(start, context, idle):
    async def main():
        io_loop = IOLoop.current()
        ticks, called = [], []
        enough = asyncio.Event()

        def tick():
            ticks.append(io_loop.time())
            if len(ticks) == 10:
                enough.set()

        periodic = PeriodicCallback(tick, 3)
        with contextlib.nullcontext() if idle else busy(context):
            started = io_loop.time()
            periodic.start()
            cancelled = io_loop.call_later(0.005, called.append, "cancelled")
            io_loop.call_later(0.005, called.append, "later")
            io_loop.add_timeout(started + 0.006, called.append, "at")
            io_loop.remove_timeout(cancelled)
            await enough.wait()
            periodic.stop()
            assert not periodic.is_running()
            assert ticks[-1] - started > 0.02
            await gen.sleep(0.01)
        assert len(ticks) == 10
        assert sorted(called) == ["at", "later"]

    start(main)


def test_executors(start, context):
    class Compute(web.RequestHandler):
        async def get(self):
            n = int(self.get_argument("n"))
            self.write(str(await IOLoop.current().run_in_executor(None, pow, 2, n)))

    async def main():
        async with serving(("/compute", Compute)) as (address, client):
            replies = [client.fetch(f"http://{address}/compute?n={n}") for n in range(10)]
            assert [(await r).body for r in replies] == [b"%d" % 2**n for n in range(10)]
            with busy(context):
                reply = await client.fetch(f"http://{address}/compute?n=64")
            assert reply.body == b"18446744073709551616"
        await IOLoop.current().asyncio_loop.shutdown_default_executor()

    start(main)


def test_threads_and_signals_wake_the_loop(start, context):
    async def main():
        io_loop = IOLoop.current()
        called = asyncio.Event()
        for _ in range(20):
            called.clear()
            thread = threading.Thread(target=io_loop.add_callback, args=[called.set])
            thread.start()
            await called.wait()
            thread.join()
        called.clear()
        io_loop.asyncio_loop.add_signal_handler(signal.SIGUSR1, called.set)
        thread = threading.Thread(target=os.kill, args=[os.getpid(), signal.SIGUSR1])
        thread.start()
        await called.wait()
        thread.join()
        assert io_loop.asyncio_loop.remove_signal_handler(signal.SIGUSR1)

    start(main)


def test_descriptors(start, context):
    """IOLoop.add_handler() of Tornado."""

    async def main():
        io_loop = IOLoop.current()
        a, b = sockets.socketpair()
        got = asyncio.Queue()

        def handler(fd, events):
            assert fd is a
            got.put_nowait((events, a.recv(10) if events & IOLoop.READ else b""))
            if events & IOLoop.WRITE:
                io_loop.update_handler(a, IOLoop.READ)

        with a, b:
            io_loop.add_handler(a, handler, IOLoop.READ)
            b.send(b"1")
            assert await got.get() == (IOLoop.READ, b"1")
            io_loop.update_handler(a, IOLoop.WRITE)
            assert await got.get() == (IOLoop.WRITE, b"")
            with busy(context):
                b.send(b"2")
                assert await got.get() == (IOLoop.READ, b"2")
            io_loop.remove_handler(a)
            b.send(b"3")
            for _ in range(5):  # iterations of the loop
                await gen.sleep(0)
            assert got.empty()

    start(main)


def test_subprocesses(start, context):
    async def main():
        feed = Feed(context)
        got = asyncio.Queue()
        feed.on_message(got.put_nowait)
        program = "import sys; text = sys.stdin.read(); print(text.upper()); sys.exit(len(text))"
        with busy(context):
            children = [
                process.Subprocess(
                    [sys.executable, "-c", program],
                    stdin=process.Subprocess.STREAM,
                    stdout=process.Subprocess.STREAM,
                )
                for _ in range(3)
            ]
            for n, child in enumerate(children):
                await child.stdin.write(b"x" * n)
                child.stdin.close()
                assert await child.stdout.read_until_close() == b"X" * n + b"\n"
                assert await child.wait_for_exit(raise_error=False) == n
        silent = process.Subprocess([sys.executable, "-c", "import sys; sys.exit(3)"])
        with pytest.raises(subprocess.CalledProcessError, match="exit status 3"):
            await silent.wait_for_exit()
        process.Subprocess.uninitialize()
        feed.send(b"after a SIGCHLD")
        assert await got.get() == [b"after a SIGCHLD"]
        feed.close()

    start(main)
