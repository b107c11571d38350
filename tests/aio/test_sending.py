"""Sends go in the order of the calls; one that waits can be withdrawn, one that has gone cannot."""

import asyncio

import pytest
import zmq

from support.coroutines import iterations, start


def test_order(aio):
    socket, peer, rest = aio.full()

    async def main():
        futures = [socket.send(b"%d" % i) for i in range(5)]
        futures.append(socket.send_multipart([b"5", b"more"]))
        await iterations()
        assert not any(future.done() for future in futures)
        rest()
        for i in range(5):
            await futures[i]
            assert await asyncio.to_thread(peer.recv) == b"%d" % i
        await futures[5]
        assert await asyncio.to_thread(peer.recv_multipart) == [b"5", b"more"]

    aio.run(main())


def test_not_awaited(aio):
    socket, peer, rest = aio.full()

    async def main():
        socket.send(b"x")
        rest()
        assert await asyncio.to_thread(peer.recv) == b"x"

    aio.run(main())


@pytest.mark.differs("libzmq looks for room once in a millisecond")
@pytest.mark.parametrize("flags", [0, zmq.NOBLOCK])
def test_room_that_libzmq_has_not_noticed(aio, flags):
    """A send waits only if there is no room."""
    socket, _, rest = aio.full()

    async def main():
        for _ in range(10):
            while socket.send(b"before", zmq.NOBLOCK).exception() is None:
                pass
            rest()
            future = socket.send(b"before", flags)
            assert future.done()
            await future

    aio.run(main())


@pytest.mark.differs("it has no limit")
def test_cancel_of_a_send_that_waits_for_the_loop(aio, pair):
    """A future that is not done is of a message that has not gone, whatever it waits for."""
    socket, peer = pair

    async def main():
        sent = 0
        while (future := socket.send(b"%d" % sent)).done():
            sent += 1
        assert future.cancel()
        await iterations()
        for i in range(sent):
            assert peer.recv() == b"%d" % i
        with pytest.raises(zmq.Again):
            peer.recv(zmq.NOBLOCK)

    aio.run(main())


def test_cancel(aio):
    """A send that waits is withdrawn as a whole."""
    socket, peer, rest = aio.full()

    async def main():
        first = socket.send_multipart([b"never", b"sent"])
        second = socket.send(b"sent")
        task = start(send())
        await iterations()
        assert first.cancel()
        task.cancel()
        await asyncio.wait([task])
        rest()
        await second
        assert not second.cancel()
        assert await asyncio.to_thread(peer.recv_multipart) == [b"sent"]
        with pytest.raises(zmq.Again):
            peer.recv(zmq.NOBLOCK)

    async def send():
        await socket.send(b"neither")

    aio.run(main())


def test_a_future_of_a_message_that_has_gone(aio, pair):
    socket, peer = pair

    async def main():
        future = socket.send(b"x")
        assert not future.cancel()
        await future
        assert peer.recv() == b"x"

    aio.run(main())


@pytest.mark.differs("it keeps the buffer itself")
def test_buffers_are_taken_at_the_call(aio):
    socket, peer, rest = aio.full()

    async def main():
        buffer = bytearray(b"as it was")
        sent = socket.send(buffer)
        frames = [bytearray(b"a"), b"b"]
        both = socket.send_multipart(frames)
        buffer[:] = b"different"
        frames[0][:] = b"z"
        frames.append(b"c")
        rest()
        await sent
        assert await asyncio.to_thread(peer.recv) == b"as it was"
        await both
        assert await asyncio.to_thread(peer.recv_multipart) == [b"a", b"b"]

    aio.run(main())


def test_parts(aio, pair):
    socket, peer = pair

    async def main():
        await socket.send(b"a", zmq.SNDMORE)
        await socket.send(b"b", zmq.SNDMORE)
        await socket.send_multipart([b"c", b"d"])
        assert peer.recv_multipart() == [b"a", b"b", b"c", b"d"]
        await socket.send_multipart([b"e", b"f"], zmq.SNDMORE)
        await socket.send(b"g")
        assert peer.recv_multipart() == [b"e", b"f", b"g"]

    aio.run(main())


@pytest.mark.differs("a half of the message is sent")
def test_parts_without_the_last(aio, pair):
    socket, peer = pair

    async def main():
        await socket.send(b"half", zmq.SNDMORE)
        socket.close(linger=1000)
        with pytest.raises(zmq.Again):
            peer.recv(zmq.NOBLOCK)

    aio.run(main())


def test_trackers(aio, pair):
    socket, peer = pair

    async def main():
        data = b"x" * 100_000
        tracker = await socket.send(data, copy=False, track=True)
        assert isinstance(tracker, zmq.MessageTracker)
        assert not tracker.done
        assert peer.recv() == data
        tracker.wait(10)
        assert (await socket.send(b"small", copy=False)).done
        assert await socket.send(b"copied") is None
        tracker = await socket.send_multipart([data, data], copy=False, track=True)
        assert not tracker.done
        assert [peer.recv_multipart() for _ in range(3)] == [[b"small"], [b"copied"], [data, data]]
        tracker.wait(10)

    aio.run(main())


def test_dontwait(aio):
    """Never waits, and has its error in the future."""
    socket, peer, rest = aio.full()

    async def main():
        future = socket.send(b"x", zmq.DONTWAIT)
        assert isinstance(future.exception(), zmq.Again)
        rest()
        assert await socket.poll(flags=zmq.POLLOUT) == zmq.POLLOUT
        await socket.send(b"y", zmq.DONTWAIT)
        assert await asyncio.to_thread(peer.recv) == b"y"

    aio.run(main())


def test_frames_given_back(aio, pair):
    """What was received with copy=False can be sent."""
    socket, peer = pair

    async def main():
        peer.send_multipart([b"a", b"b"])
        await socket.send_multipart(await socket.recv_multipart(copy=False))
        assert peer.recv_multipart() == [b"a", b"b"]

    aio.run(main())


# -- RCVTIMEO and SNDTIMEO -------------------------------------------------------------------------

SOON = 20  # ms
LATE = 60_000


async def again(awaitable, loop):
    began = loop.time()
    with pytest.raises(zmq.Again):
        await awaitable
    assert loop.time() - began >= (SOON - 1) / 1000


def test_rcvtimeo(aio, pair, receive):
    socket, peer = pair

    async def main():
        socket.rcvtimeo = SOON
        for _ in range(2):
            await again(receive(socket), aio.loop)
        peer.send(b"late")
        assert await receive(socket) == [b"late"]
        socket.rcvtimeo = LATE
        waiting = start(receive(socket))
        await iterations()
        peer.send(b"in time")
        assert await waiting == [b"in time"]
        socket.rcvtimeo = -1
        waiting = start(receive(socket))
        await asyncio.sleep(2 * SOON / 1000)
        assert not waiting.done()
        peer.send(b"x")
        assert await waiting == [b"x"]

    aio.run(main())


def test_sndtimeo(aio):
    socket, peer, rest = aio.full()

    async def main():
        socket.sndtimeo = SOON
        await again(socket.send(b"x"), aio.loop)
        socket.sndtimeo = -1
        waiting = socket.send(b"y")
        rest()
        await waiting
        assert await asyncio.to_thread(peer.recv) == b"y"

    aio.run(main())


def test_timeouts_of_0(aio):
    socket, peer, _ = aio.full(zmq.PAIR, zmq.PAIR)

    async def main():
        socket.rcvtimeo = socket.sndtimeo = 0
        for future in (socket.recv(), socket.send(b"x")):
            with pytest.raises(zmq.Again):
                await future

    aio.run(main())
