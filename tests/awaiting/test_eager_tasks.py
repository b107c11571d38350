"""Tasks that begin at once (new in CPython 3.12) await streams and sockets as other tasks do."""

import asyncio

import pytest

import zmqstream.asyncio
from support.coroutines import there

pytestmark = [
    pytest.mark.ours,
    pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="new in CPython 3.12"),
]

COUNT = 50


def eager(loop, coroutine, **options):
    """As asyncio's own, which uvloop calls with an argument that it takes from 3.14 on."""
    return asyncio.Task(coroutine, loop=loop, **{**options, "eager_start": True})


@pytest.fixture(params=["stream", "socket"])
def awaited(request, backend, pair):
    """What is awaited, the function that sends, and the peer."""
    stream, peer = pair
    if request.param == "stream":
        return stream, stream.asend, peer
    socket = zmqstream.asyncio.Socket(shadow=stream.socket)
    return socket, socket.send, peer


def in_eager_tasks(backend, main):
    backend.loop.set_task_factory(eager)
    try:
        backend.run(main())
    finally:
        backend.loop.set_task_factory(None)


def test_a_task_ends_at_once_where_there_is_a_message(backend, pair, awaited):
    receiver, _, peer = awaited

    async def receive():
        return await receiver.recv()

    async def main():
        peer.send(b"x")
        await there(pair[0])
        task = asyncio.create_task(receive())
        assert task.done()
        assert await task == b"x"

    in_eager_tasks(backend, main)


def test_tasks_that_wait_get_their_messages_in_order(backend, awaited):
    receiver, send, peer = awaited

    async def receive():
        return await receiver.recv()

    async def send_one(number):
        await send(b"%d" % number)

    async def main():
        receivers = [asyncio.create_task(receive()) for _ in range(COUNT)]
        senders = []
        for number in range(COUNT):
            peer.send(b"%d" % number)
            senders.append(asyncio.create_task(send_one(number)))
        expected = [b"%d" % number for number in range(COUNT)]
        assert await asyncio.gather(*receivers) == expected
        await asyncio.gather(*senders)
        assert [peer.recv() for _ in range(COUNT)] == expected

    in_eager_tasks(backend, main)


def test_a_timeout_loses_no_message(backend, awaited):
    receiver, _, peer = awaited
    got = []

    async def receive(seconds):
        got.append(await asyncio.wait_for(receiver.recv(), seconds))

    async def main():
        for number in range(COUNT):
            task = asyncio.create_task(receive(1e-6 * number))
            peer.send(b"%d" % number)
            await asyncio.wait([task])
            task.exception()  # a TimeoutError, or None
        while len(got) < COUNT:
            got.append(await receiver.recv())

    in_eager_tasks(backend, main)
    assert got == [b"%d" % number for number in range(COUNT)]
