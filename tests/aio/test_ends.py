"""Sockets, contexts, loops and programs that end while something waits."""

import asyncio
import gc
import subprocess
import sys
import textwrap
import threading
import warnings

import pytest
import zmq

from support import TIMEOUT
from support.children import fork
from support.coroutines import iterations, start


async def waiting_on(aio, socket, full):
    """What may wait at a socket."""
    poller = aio.module.Poller()
    poller.register(socket, zmq.POLLIN)
    futures = [socket.recv(), socket.recv_multipart(), socket.poll(), socket.poll(10_000)]
    futures += [poller.poll(), full.send(b"x"), full.send_multipart([b"y", b"z"])]
    await iterations()
    assert not any(future.done() for future in futures)
    return futures


@pytest.mark.parametrize("how", ["close", "destroy"])
def test_close_cancels(aio, how):
    context = aio.module.Context()
    socket, full = context.socket(zmq.PULL), context.socket(zmq.PUSH)

    async def main():
        futures = await waiting_on(aio, socket, full)
        tasks = [start(receive()), start(poll())]
        await iterations()
        if how == "close":
            socket.close(), full.close()
            socket.close()
            context.term()
        else:
            context.destroy(linger=0)
        await asyncio.wait([*futures, *tasks])
        assert all(future.cancelled() for future in [*futures, *tasks])

    async def receive():
        await socket.recv()

    async def poll():
        await socket.poll()

    aio.run(main())


def test_what_libzmq_has_is_under_linger(aio):
    socket, peer = aio.aio_pair(zmq.PUSH, zmq.PULL, transport="tcp")

    async def main():
        for i in range(100):
            await socket.send(b"%d" % i)
        socket.close(linger=TIMEOUT * 1000)
        for i in range(100):
            assert await asyncio.to_thread(peer.recv) == b"%d" % i

    aio.run(main())


def test_close_after_the_loop(aio, pair):
    """From another thread, too."""
    socket, _ = pair

    async def main():
        left.extend([socket.recv(), socket.poll()])
        await iterations()

    left = []
    aio.run(main())
    aio.loop.close()
    thread = threading.Thread(target=socket.close, args=[0])
    thread.start()
    thread.join()
    assert socket.closed


@pytest.mark.differs("term() hangs")
def test_term(aio):
    socket, _ = aio.aio_pair()
    full, _, _ = aio.full()
    for plain in aio.sockets:
        if not isinstance(plain, aio.module.Socket):
            plain.close()

    async def main():
        poller = aio.module.Poller()
        poller.register(socket, zmq.POLLIN)
        waiting = [socket.recv(), socket.recv_json(), socket.poll(), poller.poll(), full.send(b"x")]
        task = start(receive())
        await iterations()
        await asyncio.wait_for(asyncio.to_thread(aio.context.term), TIMEOUT)
        await asyncio.wait([*waiting, task])
        for each in (*waiting, task):
            assert isinstance(each.exception(), zmq.ContextTerminated)
        assert socket.closed
        assert full.closed

    async def receive():
        return await socket.recv_multipart()

    aio.run(main())


@pytest.mark.differs("it does not close by itself")
def test_use_after_term(aio):
    """A socket that waits for nothing notices when it is used."""
    socket = aio.aio_socket(zmq.PULL)

    async def main():
        await iterations()
        with pytest.raises(zmq.Again):
            await socket.recv(zmq.NOBLOCK)
        thread = threading.Thread(target=aio.context.term)
        thread.start()
        while not socket.closed:
            try:
                await socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                await asyncio.sleep(0)
            except zmq.ContextTerminated:
                pass
        thread.join(TIMEOUT)

    aio.run(main())


def test_a_dropped_socket_is_closed(aio):
    socket, peer = aio.aio_pair(zmq.PULL, zmq.PUSH)
    aio.sockets.remove(socket)

    async def main(socket):
        peer.send(b"x")
        assert await socket.recv() == b"x"

    aio.run(main(socket))
    if aio.reference:
        aio.loop.close()  # its reader keeps the socket
    with pytest.warns(ResourceWarning, match="Unclosed socket"):
        del socket
        gc.collect()
    if not aio.reference:
        assert "no streams" in table(aio.loop)


def table(loop):
    from zmqstream import _dump

    return _dump.text_of(loop)


def test_what_waits_keeps_its_socket(aio):
    peer = aio.socket(zmq.PUSH)
    address = aio.address()
    peer.bind(address)

    def wait():
        socket = aio.module.Socket(aio.context, zmq.PULL)
        socket.linger = 0
        socket.connect(address)
        return socket.recv()

    async def main():
        waiting = wait()
        gc.collect()
        await iterations()
        peer.send(b"x")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            assert await waiting == b"x"
            del waiting
            gc.collect()

    aio.run(main())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        aio.loop.close()
        gc.collect()


PROGRAM = """
    import asyncio, zmq, {module} as module

    async def main():
        socket = module.Context.instance().socket(zmq.PULL)
        socket.bind("tcp://127.0.0.1:*")
        waiting = socket.recv()
        polling = socket.poll()
        task = asyncio.ensure_future(socket.recv_multipart().__await__() and wait(socket))
        await asyncio.sleep(0)

    async def wait(socket):
        await socket.recv()

    asyncio.run(main())
"""


def test_a_program_that_closes_nothing_ends():
    program = textwrap.dedent(PROGRAM.format(module="zmqstream.asyncio"))
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=TIMEOUT
    )
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.differs("its child shares the parent's descriptors")
@pytest.mark.skipif(not hasattr(asyncio, "SelectorEventLoop"), reason="needs fork")
def test_fork(aio, pair):
    """The child's use raises, and the parent loses nothing."""
    socket, peer = pair

    async def main():
        peer.send(b"1")
        assert await socket.recv() == b"1"
        waiting = socket.recv()
        await iterations()
        error = await asyncio.to_thread(lambda: fork(use_in_child).result())
        assert "fork" in error
        peer.send(b"2")
        assert await waiting == b"2"

    def use_in_child():
        async def use():
            return await socket.recv()

        try:
            asyncio.new_event_loop().run_until_complete(use())
        except (RuntimeError, zmq.ZMQError) as error:
            return f"fork: {error}" if isinstance(error, zmq.ZMQError) else str(error)

    aio.run(main())
