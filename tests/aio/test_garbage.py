"""Nothing is left for the garbage collector."""

import asyncio
import gc
import sys

import pytest
import zmq

from support.coroutines import iterations, start

COUNT = 150


@pytest.fixture
def garbage():
    """How many objects only the garbage collector can free: those since the test began."""
    gc.collect()
    stay = gc.collect()  # garbage of other tests, in cycles that no collection can break
    gc.disable()
    yield lambda: gc.collect() - stay
    gc.enable()


async def received(aio, socket, peer):
    waiting = start(_receive(socket))
    await asyncio.sleep(0)
    peer.send(b"x")
    await waiting


async def received_by_callback(aio, socket, peer):
    waiting = socket.recv_json()
    peer.send(b"1")
    await asyncio.wait([waiting])
    assert waiting.result() == 1


async def there(aio, socket, peer):
    peer.send(b"x")
    await socket.recv()


async def cancelled(aio, socket, peer):
    task = start(_receive(socket))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])


async def future_cancelled(aio, socket, peer):
    waiting = socket.recv()
    waiting.cancel()
    await asyncio.sleep(0)


async def dropped(aio, socket, peer):
    socket.poll()
    polled = socket.poll()
    polled.cancel()
    peer.send(b"x")
    await socket.poll()
    await socket.recv()


async def again(aio, socket, peer):
    assert isinstance(socket.recv(zmq.NOBLOCK).exception(), zmq.Again)


async def timed_out(aio, socket, peer):
    assert await socket.poll(0.01) == 0


async def rcvtimeo(aio, socket, peer):
    socket.rcvtimeo = 1
    try:
        await socket.recv()
    except zmq.Again:
        pass
    socket.rcvtimeo = -1


async def poller(aio, socket, peer):
    poller = aio.module.Poller()
    poller.register(socket, zmq.POLLIN)
    poller.register(peer, zmq.POLLIN)
    waiting = poller.poll(10_000)
    await asyncio.sleep(0)
    peer.send(b"x")
    assert await waiting == [(socket, zmq.POLLIN)]
    await socket.recv()
    poller.poll().cancel()


async def sent(aio, socket, peer):
    await socket.send(b"x")
    await socket.send(b"x", copy=False, track=True)
    peer.recv(), peer.recv()


WAYS = [received, received_by_callback, there, cancelled, future_cancelled, dropped, again]
WAYS += [timed_out, rcvtimeo, poller, sent]


@pytest.mark.differs("it leaves cycles")
@pytest.mark.parametrize("way", WAYS)
def test_none(aio, pair, garbage, way):
    socket, peer = pair

    async def main():
        grown = []
        for _ in range(3):
            before = sys.getallocatedblocks()
            for _ in range(20 if way is rcvtimeo else COUNT):
                await way(aio, socket, peer)
            await iterations()
            grown.append(sys.getallocatedblocks() - before)
            assert garbage() == 0 or len(grown) == 1  # imports
        assert min(grown) < COUNT

    aio.run(main())


async def _receive(socket):
    return await socket.recv()
