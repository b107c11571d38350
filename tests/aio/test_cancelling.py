"""A receive that is cancelled loses no message."""

import asyncio
import random
import sys

import pytest
import zmq

from support.coroutines import iterations, start

lossless = pytest.mark.differs("a cancelled receive may lose a message")


async def on_timeout(receive):
    try:
        await asyncio.wait_for(receive(), 0.002)
    except asyncio.TimeoutError:
        pass


@lossless
@pytest.mark.parametrize("steps", range(6))
@pytest.mark.parametrize("method", ["recv", "recv_multipart", "recv_string"])
def test_cancel_in_each_iteration(aio, pair, steps, method):
    """The message has come so many iterations before the task is cancelled."""
    socket, peer = pair

    async def main():
        for i in range(10):
            got = []

            async def take(got=got):
                got.append(await getattr(socket, method)())

            task = start(take())
            await iterations(2)
            peer.send(b"%d" % i)
            await iterations(steps)
            task.cancel()
            await asyncio.wait([task])
            if not got:
                assert await socket.recv() == b"%d" % i

    aio.run(main())


@lossless
def test_cancel_in_the_iteration_of_the_arrival(aio, pair):
    """The task is woken and cancelled before it runs."""
    socket, peer = pair
    loop = aio.loop

    async def main():
        for i in range(50):
            task = start(wait())
            await iterations(2)
            peer.send(b"%d" % i)
            # the poll finds the message; the callback, scheduled before the task's, cancels it
            loop.call_later(0, task.cancel)
            await asyncio.wait([task])
            if task.cancelled():
                assert await socket.recv() == b"%d" % i
            else:
                assert task.result() == b"%d" % i

    async def wait():
        return await socket.recv()

    aio.run(main())


@lossless
def test_the_next_receiver_gets_it(aio, pair):
    socket, peer = pair

    async def main():
        for _ in range(5):
            first, second = start(wait()), start(wait())
            await iterations(2)
            peer.send(b"x")
            await asyncio.sleep(0)
            first.cancel()
            assert await second == b"x" if not first.done() or first.cancelled() else first.result()
            second.cancel()
            await asyncio.wait([first, second])

    async def wait():
        return await socket.recv()

    aio.run(main())


@lossless
def test_timeouts(aio, pair):
    """Whatever the timeout's and the message's order is."""
    socket, peer = pair
    count, loop = 100, aio.loop
    chance = random.Random(1)

    async def main():
        sent = iter(range(count))

        def send():
            i = next(sent, None)
            if i is not None:
                peer.send(b"%d" % i)
                loop.call_later(chance.random() * 0.002, send)

        send()
        for i in range(count):
            while True:
                try:
                    message = await asyncio.wait_for(take(), 0.001)
                except asyncio.TimeoutError:
                    continue
                assert message == b"%d" % i
                break

    async def take():
        return await socket.recv()

    aio.run(main())


@lossless
@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout() is of Python 3.11")
def test_timeout_context(aio, pair):
    socket, peer = pair

    async def main():
        for i in range(20):
            aio.loop.call_later(0.001, peer.send, b"%d" % i)
            try:
                async with asyncio.timeout(0.001):
                    assert await socket.recv() == b"%d" % i
            except asyncio.TimeoutError:
                assert await socket.recv() == b"%d" % i

    aio.run(main())


def test_a_future_that_has_its_message(aio, pair):
    socket, peer = pair

    async def main():
        future = socket.recv()
        peer.send(b"x")
        while not future.done():
            await asyncio.sleep(0)
        assert not future.cancel()
        assert future.result() == b"x"

    aio.run(main())


def test_cancelled_futures_leave_the_line(aio, pair):
    socket, peer = pair

    async def main():
        futures = [socket.recv() for _ in range(5)]
        for i in (0, 2, 4):
            assert futures[i].cancel()
            assert not futures[i].cancel()
        for i in (1, 3):
            peer.send(b"%d" % i)
            assert await futures[i] == b"%d" % i
        assert [future.cancelled() for future in futures] == [True, False] * 2 + [True]

    aio.run(main())


def test_cancel_of_a_future_that_a_task_awaits(aio, pair):
    socket, peer = pair

    async def main():
        future = socket.recv()
        task = start(_awaited(future))
        await iterations()
        future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        peer.send(b"x")
        assert await socket.recv() == b"x"

    aio.run(main())


def test_task_whose_future_others_await(aio, pair):
    """One task is cancelled; the future is, too, as asyncio's are."""
    socket, peer = pair

    async def main():
        future = socket.recv()
        first, second = start(_awaited(future)), start(_awaited(future))
        await iterations()
        second.cancel()
        await asyncio.wait([first, second])
        assert first.cancelled()
        assert second.cancelled()
        peer.send(b"x")
        assert await socket.recv() == b"x"

    aio.run(main())


@lossless
def test_random_receivers(aio, pair):
    """Tasks wait in random ways and are cancelled at random. Each message is received once."""
    socket, peer = pair
    chance = random.Random(2)
    count, got = 300, []

    async def task():
        while not done.done():  # up to Python 3.11, wait_for() may swallow a cancellation
            kind = chance.randrange(5)
            limit = chance.choice([0, 0.0003, 0.001])
            try:
                if kind == 0:
                    got.append(int(await asyncio.wait_for(coroutine(), limit)))
                elif kind == 1:
                    got.append(await socket.recv_json())
                elif kind == 2:
                    waiting = socket.recv()
                    await asyncio.wait([waiting], timeout=limit)
                    if not waiting.cancel():
                        got.append(int(waiting.result()))
                elif kind == 3:
                    got.append(int(await socket.recv(zmq.NOBLOCK)))
                else:
                    await asyncio.wait_for(socket.poll(), limit)
            except (asyncio.TimeoutError, zmq.Again):
                await asyncio.sleep(0)
            if len(got) == count and not done.done():
                done.set_result(None)

    async def main():
        tasks = [start(task()) for _ in range(4)]
        for i in range(count):
            peer.send(b"%d" % i)
            if chance.random() < 0.7:
                await iterations(chance.randrange(4))
        await done
        for each in tasks:
            each.cancel()
        await asyncio.wait(tasks)

    async def coroutine():
        return await socket.recv()

    done = aio.loop.create_future()
    aio.run(main())
    assert sorted(got) == list(range(count))


async def _awaited(future):
    return await future
