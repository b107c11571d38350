"""aclose() and `async with`: a stream that ends when everything has been said."""

import asyncio

import pytest
import zmq

pytestmark = pytest.mark.ours


def test_it_hands_over_the_queue_and_closes(home):
    socket, peer = home.pair(sndhwm=0, rcvhwm=0)
    stream = home.stream(socket)
    for i in range(3000):
        stream.send(b"%d" % i)
    assert home.run(stream.aclose()) == 0
    assert stream.closed()
    assert [peer.recv() for _ in range(3000)] == [b"%d" % i for i in range(3000)]
    assert home.run(stream.aclose()) == 0  # again


def test_it_waits_for_a_peer(home):
    stream, connect = home.stalled()
    stream.send(b"x")

    async def main():
        closing = asyncio.ensure_future(stream.aclose(linger=1000))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not closing.done()
        peer = connect()
        assert await closing == 0
        return peer

    assert home.run(main()).recv() == b"x"


def test_it_says_how_many_it_could_not_hand_over(home, expected_log):
    stream = home.stream(home.socket(zmq.PUSH))
    for _ in range(7):
        stream.send(b"x")
    assert home.run(stream.aclose(timeout=0.01)) == 7
    assert stream.closed()
    expected_log("7 queued messages")


def test_it_awaits_coroutine_callbacks_which_may_still_send(home):
    socket, peer = home.pair()
    stream = home.stream(socket)
    started = home.recorder()
    gate = home.loop.create_future()

    async def handle(message):
        started.append(message)
        await gate
        await asyncio.sleep(0.001)
        stream.send_multipart([b"answer", *message])

    stream.on_recv(handle, max_concurrency=1)
    peer.send(b"1")
    peer.send(b"2")
    home.wait(started)

    async def main():
        closing = asyncio.ensure_future(stream.aclose())
        for _ in range(5):
            await asyncio.sleep(0)
        assert not closing.done()
        gate.set_result(None)
        assert await closing == 0

    home.run(main())
    assert started == [[b"1"]]  # nothing was received meanwhile
    assert peer.recv_multipart() == [b"answer", b"1"]


def test_callbacks_that_take_too_long_are_cancelled(home):
    socket, peer = home.pair()
    stream = home.stream(socket)
    ends = home.recorder()
    started = home.recorder()

    async def handle(message):
        started.append(message)
        try:
            await home.loop.create_future()
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    stream.on_recv(handle, max_concurrency=2)
    peer.send(b"1")
    home.wait(started)
    home.run(stream.aclose(timeout=0.01))
    home.wait(ends)


def test_by_one_of_its_own_callbacks(home):
    socket, peer = home.pair()
    stream = home.stream(socket)
    done = home.recorder()

    async def handle(message):
        stream.send(b"bye")
        done.append(await stream.aclose())

    stream.on_recv(handle, max_concurrency=1)
    peer.send(b"quit")
    home.wait(done)
    assert done == [0]
    assert peer.recv() == b"bye"


def test_receivers_and_iterations_end(home):
    socket, _peer = home.pair()
    stream = home.stream(socket)

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

    home.run(main())


def test_nothing_is_received_once_it_has_begun(home, expected_log):
    stream = home.stream(home.socket(zmq.PAIR))
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

    home.run(main())
    expected_log("1 queued messages")


def test_cancelled_it_closes_at_once(home, expected_log):
    stream = home.stream(home.socket(zmq.PUSH))
    stream.send(b"x")

    async def main():
        closing = asyncio.ensure_future(stream.aclose())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert stream.closed()

    home.run(main())
    expected_log("1 queued messages")


def test_async_with(home):
    socket, peer = home.pair()

    async def main():
        async with home.stream(socket) as stream:
            stream.send(b"0")
            with pytest.raises(ZeroDivisionError):
                async with home.stream(home.socket(zmq.PULL)) as other:
                    raise ZeroDivisionError
            assert other.closed()
        assert stream.closed()

    home.run(main())
    assert peer.recv() == b"0"


def test_close_is_overridden(home):
    closed = []

    class Mine(home.stream_class):
        def close(self, linger=None):
            closed.append(linger)
            super().close(linger)

    stream = home.stream(home.pair()[0], Mine)
    home.run(stream.aclose(linger=7))
    assert closed == [7]


@pytest.mark.parametrize("timeout", [-1, "1", float("nan")])
def test_timeouts_that_are_none(home, timeout):
    stream = home.stream(home.pair()[0])
    with pytest.raises((ValueError, TypeError), match="aclose: timeout"):
        home.run(stream.aclose(timeout))
    assert not stream.closed()


def test_by_two_of_its_own_callbacks(home):
    """None waits for another that waits for the same."""
    socket, peer = home.pair()
    stream = home.stream(socket)
    done = home.recorder()

    async def handle(message):
        stream.send(message[0])
        done.append(await stream.aclose())

    stream.on_recv(handle)
    for number in (b"1", b"2", b"3"):
        peer.send(number)
    home.wait(done, 3)
    assert done == [0, 0, 0]
    assert [peer.recv() for _ in range(3)] == [b"1", b"2", b"3"]


def test_who_waits_for_a_message_is_told_when_it_begins(home, expected_log):
    """And not when the queue has been handed over, which may take for ever."""
    stream = home.stream(home.socket(zmq.DEALER))
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

    home.run(main())
    expected_log("1 queued messages")
