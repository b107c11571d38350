"""Memory is bounded when asked: on_drain() and await drain() report that the queue has room."""

import asyncio
import gc
import weakref

import pytest
import zmq

import zmqstream
from support.loops import run_inside
from support.traffic import numbers

pytestmark = pytest.mark.ours


def test_on_drain_when_the_queue_has_fallen_to_low(backend):
    stream, connect = backend.stalled(high=10, low=4)
    sizes = backend.recorder()
    stream.on_drain(lambda: sizes.append(stream.get_write_buffer_size()))
    stream.set_turn_limits(messages=1)
    for number in numbers(0, 10):
        stream.send(number)
    backend.settle()
    assert sizes == []  # ten are not more than ten
    stream.send(b"10")
    peer = connect()
    backend.wait(sizes)
    assert 0 < sizes[0] <= 4  # then, and not when nothing is left
    backend.drained(stream)
    backend.settle()
    assert len(sizes) == 1  # once
    assert [peer.recv() for _ in range(11)] == numbers(0, 11)


def test_on_drain_refills_without_end(backend):
    stream, connect = backend.stalled(high=10)
    rounds = backend.recorder()

    def refill():
        rounds.append(stream.get_write_buffer_size())
        for _ in range(11):
            stream.send(b"x")

    stream.on_drain(refill)
    refill()
    connect()
    backend.wait(rounds, 20)


def test_on_drain_after_a_refusal(backend):
    stream, connect = backend.stalled(high=2, policy="raise")
    drained = backend.recorder()
    stream.on_drain(lambda: drained.append(1))
    stream.send(b"0")
    stream.send(b"1")
    with pytest.raises(zmq.Again):
        stream.send(b"2")
    connect()
    backend.wait(drained)


def test_on_drain_by_flush_and_by_higher_limits(backend):
    stream, connect = backend.stalled(high=2)
    drained = backend.recorder()
    stream.on_drain(lambda: drained.append(1))
    for number in numbers(0, 3):
        stream.send(number)
    stream.set_write_buffer_limits(100, 50)
    backend.wait(drained)
    stream.set_write_buffer_limits(2)  # too many again
    connect()
    backend.run_until(lambda: stream.flush(zmq.POLLOUT) or not stream.sending())
    backend.wait(drained, 2)


def test_an_exception_in_on_drain_is_reported_with_the_stream(backend):
    stream, connect = backend.stalled(high=2)
    called = backend.recorder()

    def fail():
        called.append(1)
        raise ZeroDivisionError

    stream.on_drain(fail)
    for _ in range(2):
        for number in numbers(0, 3):
            stream.send(number)
        if len(called) == 0:
            connect()
        backend.drained(stream)
        backend.settle()
    for found in backend.expect_errors(ZeroDivisionError, ZeroDivisionError):
        assert "the on_drain callback of <ZMQStream(zmq.PUSH)" in found["message"]


def test_on_drain_may_close_the_stream_or_end_itself(backend):
    stream, connect = backend.stalled(high=2)
    closed = backend.recorder()
    stream.set_close_callback(lambda: closed.append(1))
    stream.on_drain(stream.close)
    for number in numbers(0, 3):
        stream.send(number)
    connect()
    backend.wait(closed)
    stream, connect = backend.stalled(high=2)
    stream.on_drain(lambda: pytest.fail("called"))
    stream.on_drain(None)
    for number in numbers(0, 3):
        stream.send(number)
    connect()
    backend.drained(stream)
    backend.settle()


def test_no_on_drain_after_close(backend, expected_log):
    stream, _ = backend.stalled(high=2)
    stream.on_drain(lambda: pytest.fail("called"))
    for number in numbers(0, 3):
        stream.send(number)
    stream.close()
    backend.settle()
    expected_log("3 queued messages")


def test_on_drain_wants_a_callable(backend):
    stream, _ = backend.stalled()
    with pytest.raises(TypeError, match="on_drain: the callback must be callable or None, not int"):
        stream.on_drain(5)


# -- await drain() --------------------------------------------------------------------------------


def test_drain_waits_for_low(backend):
    stream, connect = backend.stalled(high=10, low=3)
    stream.set_turn_limits(messages=1)

    async def main():
        for number in numbers(0, 10):
            stream.send(number)
            await stream.drain()  # not too many: nothing to wait for
        stream.send(b"10")
        waiting = asyncio.ensure_future(stream.drain())
        await asyncio.sleep(0)
        assert not waiting.done()
        peer = connect()
        await waiting
        assert stream.get_write_buffer_size() <= 3
        return peer

    peer = backend.run(main())
    backend.drained(stream)
    assert [peer.recv() for _ in range(11)] == numbers(0, 11)


def test_drain_without_limits_waits_for_an_empty_queue(backend):
    stream, connect = backend.stalled()

    async def main():
        await stream.drain()
        stream.send(b"0")
        waiting = asyncio.ensure_future(stream.drain())
        await asyncio.sleep(0)
        assert not waiting.done()
        connect()
        await waiting
        assert not stream.sending()

    backend.run(main())


def test_a_producer_that_awaits_drain_keeps_its_queue_bounded(backend):
    stream, connect = backend.stalled(high=100)

    async def produce():
        for number in numbers(0, 5000):
            stream.send(number)
            await stream.drain()

    async def main():
        producer = asyncio.ensure_future(produce())
        for _ in range(20):
            await asyncio.sleep(0)
        assert stream.get_write_buffer_size() == 101
        peer = connect()
        await producer
        return peer

    peer = backend.run(main())
    backend.drained(stream)
    assert stream.stats().peak_queued == 101
    assert [peer.recv() for _ in range(5000)] == numbers(0, 5000)


def test_drain_of_a_stream_that_is_closed_meanwhile(backend, expected_log):
    stream, _ = backend.stalled(high=1)

    async def main():
        stream.send(b"0")
        stream.send(b"1")
        waiting = [asyncio.ensure_future(stream.drain()) for _ in range(3)]
        await asyncio.sleep(0)
        stream.close()
        for each in waiting:
            with pytest.raises(OSError, match="Stream is closed"):
                await each
        with pytest.raises(OSError, match="Stream is closed"):
            await stream.drain()

    backend.run(main())
    expected_log("2 queued messages")


def test_drain_is_cancelled_and_goes_on_without_the_others(backend):
    stream, connect = backend.stalled(high=1)

    async def main():
        stream.send(b"0")
        stream.send(b"1")
        first, second = (asyncio.ensure_future(stream.drain()) for _ in range(2))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(stream.drain(), 0.001)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        connect()
        await second

    backend.run(main())


def test_a_loop_that_is_stopped_while_a_drain_waits_goes_on_later(backend):
    stream, connect = backend.stalled(high=1)

    async def main():
        stream.send(b"0")
        stream.send(b"1")
        await stream.drain()
        return stream.get_write_buffer_size()

    task = backend.loop.create_task(main())
    backend.settle()
    connect()
    assert backend.run(task) == 0


def test_drain_in_another_loop_is_an_error(backend):
    stream, _ = backend.stalled(high=1)
    stream.send(b"0")
    stream.send(b"1")

    async def main():
        await stream.drain()

    with pytest.raises(RuntimeError, match="in its own event loop"):
        asyncio.run(main())


def test_memory_is_bounded_where_drain_is_awaited(backend, expected_log):
    """What a stalled peer costs is `high` messages (with figures: bench/)."""
    stream, _ = backend.stalled(high=1000)

    async def produce():
        while True:
            stream.send(bytes(1000))
            await stream.drain()

    async def main():
        producer = backend.loop.create_task(produce())
        for _ in range(50):
            await asyncio.sleep(0)
        assert stream.get_write_buffer_size() == 1001
        assert stream.get_write_buffer_bytes() == 1001 * 1000
        producer.cancel()

    backend.run(main())
    stream.close(0)
    expected_log("1001 queued messages")


@pytest.mark.parametrize("how", ["drain", "expire", "receive"])
def test_in_a_loop_that_runs_inside_a_callback(backend, expected_log, how):
    """The turn that ends with the callback is not waited for."""
    if backend.name == "uvloop":
        pytest.skip("it runs in no callback of its own")
    socket, peer = backend.pair(sndhwm=1 if how == "expire" else 0, rcvhwm=1)
    stream = backend.stream(socket)
    stream.set_write_buffer_limits(2, 0)
    if how == "expire":
        while not stream.sending():
            stream.send(b"fill")
            backend.settle()
    done = backend.recorder()

    async def drain():
        for number in numbers(0, 5):
            stream.send(number)
        reader = asyncio.ensure_future(stream.drain())
        while not reader.done():
            await asyncio.sleep(0.001)
            if peer.poll(0):
                peer.recv()
        return stream.get_write_buffer_size()

    async def expire():
        with pytest.raises(zmqstream.MessageExpired):
            await stream.asend(b"x", timeout=0.01)
        return 0

    async def receive():
        waiting = asyncio.ensure_future(stream.recv())
        await asyncio.sleep(0)
        peer.send(b"0")
        return int(await waiting)

    def inside(message, status=None):
        stream.on_send(None)
        done.append(
            run_inside(backend, {"drain": drain, "expire": expire, "receive": receive}[how]())
        )

    if how == "receive":
        stream.on_send(inside)
        stream.send(b"go")
    else:
        stream.on_recv(inside)
        peer.send(b"go")
    backend.wait(done)
    assert done == [0]
    if how == "expire":
        stream.close(linger=0)
        expected_log("could not be handed")


def test_on_drain_waits_for_bytes_too(backend):
    stream, connect = backend.stalled(high_bytes=100, low_bytes=40)
    sizes = backend.recorder()
    stream.on_drain(lambda: sizes.append(stream.get_write_buffer_bytes()))
    stream.set_turn_limits(messages=1)
    for _ in range(11):
        stream.send(b"x" * 10)
    connect()
    backend.wait(sizes)
    assert 0 < sizes[0] <= 40


def test_a_drain_that_is_given_up_is_forgotten(backend):
    stream, _ = backend.stalled(high=1)
    stream.send(b"1")
    stream.send(b"2")

    async def main():
        for wait in (stream.drain, stream._emptied):
            awaited = wait()
            kept = weakref.ref(awaited.send(None))
            awaited.close()
            del awaited
            gc.collect()
            assert kept() is None

    backend.run(main())


def test_no_on_drain_when_the_stream_was_closed_before_its_turn_came(backend):
    stream, connect = backend.stalled(high=2, low=1)
    stream.on_drain(lambda: pytest.fail("called"))
    for number in numbers(0, 3):
        stream.send(number)
    connect()
    assert stream.flush(zmq.POLLOUT) == 3
    stream.close()
    backend.settle()


def test_each_drain_is_an_object_of_its_own(backend):
    """as_completed() and wait() make a set of what they are given."""
    streams = [backend.stream(backend.socket(zmq.PUSH)) for _ in range(2)]

    async def main():
        waiting = [stream.drain() for stream in streams]
        return [await each for each in asyncio.as_completed(waiting)]

    assert backend.run(main()) == [None, None]
