"""RCVTIMEO and SNDTIMEO hold for what is awaited: zmq.Again after that time, as in zmq.asyncio."""

import asyncio
import contextlib
import gc
import time
import weakref

import pytest
import zmq

from support.coroutines import iterations, start, there
from zmqstream import MessageExpired

pytestmark = pytest.mark.ours

SOON = 20  # ms
LATE = 60_000


async def again(awaitable):
    """How long it took to raise zmq.Again, in ms."""
    began = time.monotonic()
    with pytest.raises(zmq.Again):
        await awaitable
    return (time.monotonic() - began) * 1000


# -- receiving -------------------------------------------------------------------------------------


def receive(stream):
    return stream.recv()


def receive_multipart(stream):
    return stream.recv_multipart()


ways = pytest.mark.parametrize("receive", [receive, receive_multipart, anext])


@ways
def test_a_receiver_waits_no_longer_than_rcvtimeo(backend, pair, receive):
    stream, peer = pair
    stream.setsockopt(zmq.RCVTIMEO, SOON)

    async def main():
        for _ in range(2):
            assert SOON - 1 <= await again(receive(stream)) < LATE
        stream.setsockopt(zmq.RCVTIMEO, LATE)
        message = start(stream.recv())
        await iterations()
        peer.send(b"in time")
        assert await message == b"in time"
        # the next one has its own time
        stream.setsockopt(zmq.RCVTIMEO, SOON)
        assert SOON - 1 <= await again(receive(stream)) < LATE
        peer.send(b"late")
        await there(stream)
        assert await stream.recv() == b"late"

    backend.run(main())


@ways
def test_a_receiver_with_rcvtimeo_0_does_not_wait(backend, pair, receive):
    stream, peer = pair
    stream.setsockopt(zmq.RCVTIMEO, 0)

    async def main():
        awaited = receive(stream)
        with pytest.raises(zmq.Again):
            awaited.send(None)  # without the loop
        peer.send(b"x")
        await there(stream)
        assert await receive(stream) in (b"x", [b"x"])

    backend.run(main())


def test_rcvtimeo_is_that_of_the_time_when_it_begins_to_wait(backend, pair):
    stream, peer = pair

    async def main():
        endless = start(stream.recv())
        await iterations()
        stream.setsockopt(zmq.RCVTIMEO, SOON)
        short = start(stream.recv())
        await iterations()
        stream.setsockopt(zmq.RCVTIMEO, -1)
        await again(short)
        assert not endless.done()
        peer.send(b"x")
        assert await endless == b"x"

    backend.run(main())


def test_receivers_in_line_each_have_their_time(backend, pair):
    """One that gives up, first in line or not, lets the others have what comes, in order."""
    stream, peer = pair

    async def main():
        waiting = []
        for timeout in (SOON, -1, SOON, -1):
            stream.setsockopt(zmq.RCVTIMEO, timeout)
            waiting.append(start(stream.recv()))
            await iterations()
        for i in (0, 2):
            await again(waiting[i])
        assert not waiting[1].done()
        assert not waiting[3].done()
        peer.send(b"1")
        peer.send(b"3")
        assert await asyncio.gather(waiting[1], waiting[3]) == [b"1", b"3"]

    backend.run(main())


def test_a_message_that_comes_when_the_time_is_over_is_not_lost(backend, pair):
    """Who is woken by both has it."""
    stream, peer = pair
    stream.setsockopt(zmq.RCVTIMEO, SOON)
    end = time.monotonic() + SOON / 1000

    async def main():
        waiting = start(stream.recv())
        await iterations()
        while time.monotonic() < end + 0.01:  # the loop is busy
            pass
        peer.send(b"x")
        assert await asyncio.wait([waiting])
        try:
            got = waiting.result()
        except zmq.Again:
            got = await stream.recv()
        assert got == b"x"

    backend.run(main())


def test_a_receiver_that_ends_leaves_no_timer(backend, pair, expected_log):
    stream, peer = pair
    stream.setsockopt(zmq.RCVTIMEO, LATE)
    references = []

    def awaited():
        one = stream.recv()
        references.append(weakref.ref(one))
        return one

    async def cancelled():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(awaited(), 0.01)

    async def received():
        waiting = start(awaited())
        await iterations()
        peer.send(b"x")
        await waiting

    async def closed():
        waiting = start(awaited())
        await iterations()
        stream.close()
        with pytest.raises(OSError, match="Stream is closed"):
            await waiting

    async def main():
        for how in (cancelled, received, closed):
            await how()
        await iterations()

    backend.run(main())
    gc.collect()
    assert [reference() for reference in references] == [None] * 3


# -- sending ---------------------------------------------------------------------------------------


def test_asend_waits_no_longer_than_sndtimeo(backend):
    """The message is not sent later."""
    stream, connect = backend.stalled()
    failed = backend.recorder()
    stream.on_err(failed.append)

    async def main():
        stream.setsockopt(zmq.SNDTIMEO, SOON)
        assert SOON - 1 <= await again(stream.asend(b"too late")) < LATE
        assert [type(error) for error in failed] == [zmq.Again]
        assert not stream.sending()
        stream.setsockopt(zmq.SNDTIMEO, LATE)
        waiting = start(stream.asend_multipart([b"in", b"time"]))
        await iterations()
        peer = connect()
        await waiting
        assert peer.recv_multipart() == [b"in", b"time"]
        assert not peer.poll(0)

    backend.run(main())


def test_asend_with_sndtimeo_0_does_not_wait(backend):
    stream, connect = backend.stalled()
    stream.setsockopt(zmq.SNDTIMEO, 0)

    async def main():
        with pytest.raises(zmq.Again):
            stream.asend(b"x").send(None)  # without the loop
        assert not stream.sending()
        stream.send(b"queued")
        await again(stream.asend(b"behind it"))
        peer = connect()
        while stream.sending():
            await asyncio.sleep(0.001)
        assert peer.recv() == b"queued"
        for _ in range(50):  # a busy machine may need more than its turn, which is a millisecond
            stream.send(b"first")
            with contextlib.suppress(zmq.Again):
                await stream.asend(b"second")  # there is room, as soon as the first is on its way
                break
            assert peer.recv() == b"first"
        assert [peer.recv() for _ in range(2)] == [b"first", b"second"]

    backend.run(main())


def test_a_timeout_of_asend_goes_before_sndtimeo(backend):
    stream, _ = backend.stalled()

    async def main():
        stream.setsockopt(zmq.SNDTIMEO, 0)
        with pytest.raises(MessageExpired):
            await stream.asend(b"x", timeout=SOON / 1000)
        stream.setsockopt(zmq.SNDTIMEO, LATE)
        with pytest.raises(MessageExpired):
            await stream.asend(b"x", timeout=SOON / 1000)

    backend.run(main())


def test_sndtimeo_is_that_of_the_time_of_the_call(backend):
    stream, connect = backend.stalled()

    async def main():
        by_default = start(stream.asend(b"by default"))
        await iterations()
        stream.setsockopt(zmq.SNDTIMEO, SOON)
        awaited = stream.asend(b"short")
        stream.setsockopt(zmq.SNDTIMEO, -1)
        endless = stream.asend(b"endless")
        stream.setsockopt(zmq.SNDTIMEO, 0)
        await again(awaited)
        assert not by_default.done()  # -1: without end
        peer = connect()
        await by_default
        await endless
        assert [peer.recv() for _ in range(2)] == [b"by default", b"endless"]

    backend.run(main())


def test_send_is_no_concern_of_sndtimeo(backend):
    """What nobody waits for stays queued."""
    stream, connect = backend.stalled()
    stream.setsockopt(zmq.SNDTIMEO, 0)
    stream.send(b"x")
    backend.settle()
    peer = connect()
    backend.drained(stream)
    assert peer.recv() == b"x"


def test_asend_to_a_peer_without_room_waits_no_longer_than_sndtimeo(backend):
    router, full, good = backend.router(b"full", b"good", hwm=1)
    stream = backend.stream(router)

    async def main():
        stream.setsockopt(zmq.SNDTIMEO, SOON)
        sends = [start(stream.asend_multipart([b"full", b"x"])) for _ in range(10)]
        outcomes = await asyncio.gather(*sends, return_exceptions=True)
        assert type(outcomes[-1]) is zmq.Again
        await stream.asend_multipart([b"good", b"x"])
        assert good.recv() == b"x"

    backend.run(main())
