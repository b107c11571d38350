"""aclose() and `async with`: a stream that ends when everything has been said."""

import asyncio

import pytest
import zmq

pytestmark = pytest.mark.ours


def test_it_hands_over_the_queue_and_closes(backend):
    socket, peer = backend.pair(sndhwm=0, rcvhwm=0)
    stream = backend.stream(socket)
    for i in range(3000):
        stream.send(b"%d" % i)
    assert backend.run(stream.aclose()) == 0
    assert stream.closed()
    assert [peer.recv() for _ in range(3000)] == [b"%d" % i for i in range(3000)]
    assert backend.run(stream.aclose()) == 0  # again


def test_it_waits_for_a_peer(backend):
    stream, connect = backend.stalled()
    stream.send(b"x")

    async def main():
        closing = asyncio.ensure_future(stream.aclose(linger=1000))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not closing.done()
        peer = connect()
        assert await closing == 0
        return peer

    assert backend.run(main()).recv() == b"x"


def test_it_says_how_many_it_could_not_hand_over(backend, expected_log):
    stream = backend.stream(backend.socket(zmq.PUSH))
    for _ in range(7):
        stream.send(b"x")
    assert backend.run(stream.aclose(timeout=0.01)) == 7
    assert stream.closed()
    expected_log("7 queued messages")


def test_it_awaits_coroutine_callbacks_which_may_still_send(backend):
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    started = backend.recorder()
    gate = backend.loop.create_future()

    async def handle(message):
        started.append(message)
        await gate
        await asyncio.sleep(0.001)
        stream.send_multipart([b"answer", *message])

    stream.on_recv(handle, max_concurrency=1)
    peer.send(b"1")
    peer.send(b"2")
    backend.wait(started)

    async def main():
        closing = asyncio.ensure_future(stream.aclose())
        for _ in range(5):
            await asyncio.sleep(0)
        assert not closing.done()
        gate.set_result(None)
        assert await closing == 0

    backend.run(main())
    assert started == [[b"1"]]  # nothing was received meanwhile
    assert peer.recv_multipart() == [b"answer", b"1"]


def test_callbacks_that_take_too_long_are_cancelled(backend):
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    ends = backend.recorder()
    started = backend.recorder()

    async def handle(message):
        started.append(message)
        try:
            await backend.loop.create_future()
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    stream.on_recv(handle, max_concurrency=2)
    peer.send(b"1")
    backend.wait(started)
    backend.run(stream.aclose(timeout=0.01))
    backend.wait(ends)


def test_by_one_of_its_own_callbacks(backend):
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    done = backend.recorder()

    async def handle(message):
        stream.send(b"bye")
        done.append(await stream.aclose())

    stream.on_recv(handle, max_concurrency=1)
    peer.send(b"quit")
    backend.wait(done)
    assert done == [0]
    assert peer.recv() == b"bye"


def test_receivers_and_iterations_end(backend):
    socket, _peer = backend.pair()
    stream = backend.stream(socket)

    async def iterate():
        async for _message in stream:
            pass

    async def main():
        receiver, iteration = asyncio.ensure_future(stream.recv()), asyncio.ensure_future(iterate())
        for _ in range(5):
            await asyncio.sleep(0)
        closing = asyncio.ensure_future(stream.aclose())
        with pytest.raises(OSError, match="Stream is closed"):
            await receiver
        await iteration
        await closing

    backend.run(main())


def test_nothing_is_received_once_it_has_begun(backend, expected_log):
    stream = backend.stream(backend.socket(zmq.PAIR))
    stream.send(b"x")

    async def main():
        closing = asyncio.ensure_future(stream.aclose(timeout=60))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(OSError, match=r"aclose\(\) has begun"):
            stream.on_recv(print)
        with pytest.raises(OSError, match=r"aclose\(\) has begun"):
            await stream.recv()
        stream.close()  # somebody has no patience
        assert await closing == 1

    backend.run(main())
    expected_log("1 queued messages")


def test_cancelled_it_closes_at_once(backend, expected_log):
    stream = backend.stream(backend.socket(zmq.PUSH))
    stream.send(b"x")

    async def main():
        closing = asyncio.ensure_future(stream.aclose())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert stream.closed()

    backend.run(main())
    expected_log("1 queued messages")


def test_async_with(backend):
    socket, peer = backend.pair()

    async def main():
        async with backend.stream(socket) as stream:
            stream.send(b"0")
            with pytest.raises(ZeroDivisionError):
                async with backend.stream(backend.socket(zmq.PULL)) as other:
                    raise ZeroDivisionError
            assert other.closed()
        assert stream.closed()

    backend.run(main())
    assert peer.recv() == b"0"


def test_close_is_overridden(backend):
    closed = []

    class Mine(backend.stream_class):
        def close(self, linger=None):
            closed.append(linger)
            super().close(linger)

    stream = backend.stream(backend.pair()[0], Mine)
    backend.run(stream.aclose(linger=7))
    assert closed == [7]


@pytest.mark.parametrize("timeout", [-1, "1", float("nan")])
def test_timeouts_that_are_none(backend, timeout):
    stream = backend.stream(backend.pair()[0])
    with pytest.raises((ValueError, TypeError), match="aclose: timeout"):
        backend.run(stream.aclose(timeout))
    assert not stream.closed()


def test_by_two_of_its_own_callbacks(backend):
    """None waits for another that waits for the same."""
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    done = backend.recorder()

    async def handle(message):
        stream.send(message[0])
        done.append(await stream.aclose())

    stream.on_recv(handle)
    for number in (b"1", b"2", b"3"):
        peer.send(number)
    backend.wait(done, 3)
    assert done == [0, 0, 0]
    assert [peer.recv() for _ in range(3)] == [b"1", b"2", b"3"]


def test_who_waits_for_a_message_is_told_when_it_begins(backend, expected_log):
    """And not when the queue has been handed over, which may take for ever."""
    stream = backend.stream(backend.socket(zmq.DEALER))
    stream.send(b"to nobody")

    async def main():
        waiting = asyncio.ensure_future(stream.recv())
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(stream.aclose())
        with pytest.raises(OSError, match="Stream is closed"):
            await waiting
        assert not closing.done()
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing

    backend.run(main())
    expected_log("1 queued messages")
