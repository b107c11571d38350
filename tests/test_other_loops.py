"""Loops that are not ours, and ours under Tornado."""

import asyncio
import subprocess
import sys
import textwrap

import pytest
from helpers import TIMEOUT, busy, pair, until

from zmqstream import IOLoop, ZMQStream

pytestmark = pytest.mark.usefixtures("poller")


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
