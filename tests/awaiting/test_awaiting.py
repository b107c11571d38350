"""await recv_multipart(), recv(), and async for: messages for coroutines."""

import asyncio
import collections.abc
import contextlib
import itertools
import threading

import pytest
import zmq

from support.coroutines import iterations, start, there
from zmqstream import MultipartMessageError

pytestmark = pytest.mark.ours


# -- receiving -------------------------------------------------------------------------------------


def test_messages_that_are_there_and_messages_that_come(backend, pair):
    stream, peer = pair

    async def main():
        peer.send(b"0")
        peer.send_multipart([b"1", b"", b"2"])
        peer.send(b"3")
        await there(stream)
        assert await stream.recv_multipart() == [b"0"]
        assert await stream.recv_multipart() == [b"1", b"", b"2"]
        assert await stream.recv() == b"3"
        waiting = start(stream.recv_multipart())
        await iterations()
        assert not waiting.done()
        peer.send(b"4")
        assert await waiting == [b"4"]

    backend.run(main())
    assert stream.stats()[:2] == (5 - 1, 5)


@pytest.mark.parametrize("transport", ["inproc", "tcp"])
def test_many_messages_in_order(backend, transport):
    socket, peer = backend.pair(transport=transport, sndhwm=0, rcvhwm=0)
    stream = backend.stream(socket)
    count = 3000

    def send():
        for i in range(count):
            peer.send(b"%d" % i)

    async def main():
        thread = threading.Thread(target=send)
        thread.start()
        got = [await stream.recv() for _ in range(count)]
        thread.join()
        return got

    assert backend.run(main()) == [b"%d" % i for i in range(count)]


def test_frames(backend, pair):
    stream, peer = pair

    async def main():
        peer.send_multipart([b"a", b"b"])
        frames = await stream.recv_multipart(copy=False)
        assert [type(frame) for frame in frames] == [zmq.Frame] * 2
        assert [frame.bytes for frame in frames] == [b"a", b"b"]
        assert frames[0].more
        peer.send(b"c")
        assert (await stream.recv(copy=False)).bytes == b"c"

    backend.run(main())


def test_a_message_that_is_there_needs_no_iteration_of_the_loop(backend, pair):
    stream, peer = pair
    stream.set_turn_limits(seconds=60)  # or else time may make it let the loop go round

    async def main():
        for i in range(20):
            peer.send(b"%d" % i)
        await there(stream)
        others = []
        backend.loop.call_soon(others.append, 1)
        got = [await stream.recv() for _ in range(20)]
        assert others == []
        return got

    assert backend.run(main()) == [b"%d" % i for i in range(20)]


def test_a_backlog_lets_the_loop_go_round(backend, pair):
    """Turns are fair for coroutines too: after each turn's worth of messages, others run."""
    stream, peer = pair
    stream.set_turn_limits(messages=100, seconds=60)
    for i in range(1000):
        peer.send(b"%d" % i)
    seen = []

    async def other():
        while True:
            seen.append(stream.stats().messages_in)
            await asyncio.sleep(0)

    async def main():
        await there(stream)
        task = start(other())
        got = [await stream.recv() for _ in range(1000)]
        task.cancel()
        return got

    assert backend.run(main()) == [b"%d" % i for i in range(1000)]
    gaps = [b - a for a, b in itertools.pairwise(seen)]
    assert len(seen) >= 9
    assert max(gaps) <= 100


def test_a_slow_consumer_lets_the_loop_go_round_by_the_clock(backend, pair):
    import time

    stream, peer = pair
    stream.set_turn_limits(seconds=0.001)
    for _ in range(20):
        peer.send(b"x")
    ticks = []

    async def main():
        await there(stream)
        for _ in range(20):
            await stream.recv()
            backend.loop.call_soon(ticks.append, 1)
            end = time.perf_counter() + 0.002
            while time.perf_counter() < end:
                pass

    backend.run(main())
    assert len(ticks) >= 10


def test_receivers_are_served_in_order(backend, pair):
    stream, peer = pair
    served = []

    async def receive(name):
        served.append((name, await stream.recv()))

    async def main():
        tasks = [start(receive(name)) for name in range(5)]
        await iterations()
        for i in range(5):
            peer.send(b"%d" % i)
        await asyncio.gather(*tasks)

    backend.run(main())
    assert served == [(i, b"%d" % i) for i in range(5)]


def test_a_newcomer_does_not_overtake_who_waits(backend, pair):
    stream, peer = pair
    served = []

    async def receive(name):
        served.append((name, await stream.recv()))

    async def main():
        first = start(receive("first"))
        await iterations()
        peer.send(b"0")
        peer.send(b"1")
        await asyncio.sleep(0)  # perhaps `first` has been woken
        second = start(receive("second"))
        await asyncio.gather(first, second)

    backend.run(main())
    assert served == [("first", b"0"), ("second", b"1")]


def test_two_receivers_in_a_flood_take_turns(backend, pair):
    stream, peer = pair
    got = [], []

    async def receive(which):
        while sum(map(len, got)) < 400:
            got[which].append(int(await stream.recv()))

    async def main():
        tasks = [start(receive(which)) for which in (0, 1)]
        await iterations()
        for i in range(402):
            peer.send(b"%d" % i)
        await asyncio.gather(*tasks)

    backend.run(main())
    assert sorted(got[0] + got[1])[:400] == list(range(400))
    assert all(numbers == sorted(numbers) for numbers in got)
    assert min(map(len, got)) > 150


@pytest.mark.parametrize("arrives", ["before", "with", "after"])
def test_a_receiver_that_is_cancelled_loses_nothing(backend, pair, arrives):
    stream, peer = pair

    async def main():
        for i in range(50):
            receiver, next_one = start(stream.recv()), start(stream.recv())
            await iterations(2)
            if arrives != "after":
                peer.send(b"%d" % i)
            if arrives == "before":
                # until it has been woken: its message is there, and it has not run
                while not stream.stats().turns and not receiver.done():
                    await asyncio.sleep(0)
            cancelled = receiver.cancel()
            if arrives == "after":
                peer.send(b"%d" % i)
            if cancelled:
                with contextlib.suppress(asyncio.CancelledError):
                    await receiver
            if receiver.cancelled():
                assert await next_one == b"%d" % i
            else:
                assert receiver.result() == b"%d" % i
                next_one.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await next_one

    backend.run(main())


def test_one_that_is_woken_and_cancelled_wakes_the_next(backend, pair):
    stream, peer = pair

    async def main():
        first, second = start(stream.recv()), start(stream.recv())
        await iterations()

        def first_woken():
            return first.done() or first._fut_waiter is None or first._fut_waiter.done()

        peer.send(b"x")
        while not first_woken():  # in this iteration; it runs in the next
            await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        if first.cancelled():
            assert await second == b"x"
        else:
            assert first.result() == b"x"
            second.cancel()

    backend.run(main())


def test_wait_for(backend, pair):
    stream, peer = pair

    async def main():
        for _ in range(3):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(stream.recv(), 0.005)
        peer.send(b"x")
        assert await asyncio.wait_for(stream.recv(), 20) == b"x"

    backend.run(main())


def test_what_is_awaited_is_a_coroutine_to_asyncio(backend, pair):
    stream, peer = pair

    async def main():
        peer.send(b"0")
        peer.send(b"1")
        assert isinstance(stream.recv(), collections.abc.Coroutine)
        assert await asyncio.create_task(stream.recv()) == b"0"
        assert await asyncio.gather(stream.recv(), stream.drain(), stream.asend(b"x")) == [
            b"1",
            None,
            None,
        ]
        assert await asyncio.shield(asyncio.ensure_future(stream.asend(b"y"))) is None
        message = stream.recv()
        peer.send(b"2")
        assert await message == b"2"
        with pytest.raises(RuntimeError, match="awaited once"):
            await message

    backend.run(main())


def here():
    """A traceback of this function."""
    try:
        raise KeyError
    except KeyError as error:
        return error.__traceback__.tb_next or error.__traceback__


def test_the_coroutine_protocol(backend, pair):
    stream, peer = pair
    stream.set_turn_limits(seconds=60)  # or else time may make it let the loop go round

    async def main():
        peer.send(b"x")
        await there(stream)
        message = stream.recv()
        with pytest.raises(StopIteration) as stop:
            message.send(None)
        assert stop.value.value == b"x"
        for step in (next, lambda message: message.__next__()):
            peer.send_multipart([b"a", b"b"])
            await there(stream)
            message = stream.recv_multipart()
            assert iter(message) is message.__await__() is message
            with pytest.raises(StopIteration) as stop:
                step(message)
            assert stop.value.value == [b"a", b"b"]
        with pytest.raises(KeyError):
            stream.recv().throw(KeyError())
        for value in (KeyError(3), 3, (3,), ValueError(3)):
            with pytest.raises(KeyError, match="3"):
                stream.recv().throw(KeyError, value, None)
        with pytest.raises(KeyError) as info:
            stream.recv().throw(KeyError, KeyError(3), here())
        assert info.traceback[-1].name == "here"
        unused = stream.recv()
        unused.close()
        with pytest.raises(RuntimeError, match="awaited once"):
            unused.send(None)
        waiting = stream.recv()
        while waiting.send(None) is None:
            pass  # it let the loop go once round
        with pytest.raises(RuntimeError, match="resumed before it is time"):
            waiting.send(None)
        waiting.close()
        peer.send(b"y")
        assert await stream.recv() == b"y"

    backend.run(main())


def test_recv_of_a_message_of_several_frames(backend, pair):
    stream, peer = pair

    async def main():
        peer.send_multipart([b"a", b"b"])
        peer.send(b"c")
        with pytest.raises(MultipartMessageError, match="of 2 frames") as info:
            await stream.recv()
        assert isinstance(info.value, ValueError)
        assert info.value.message == [b"a", b"b"]
        assert await stream.recv() == b"c"

    backend.run(main())


class NoCall:
    """While it is entered, the loop refuses the first call, as if it had no memory for it."""

    def __init__(self, loop):
        self.loop = loop

    def __enter__(self):
        def refuse(*args, **kwargs):
            del self.loop.call_soon
            raise MemoryError

        try:
            self.loop.call_soon = refuse
        except AttributeError:
            pytest.skip("this loop's call_soon() cannot be replaced")

    def __exit__(self, *error):
        vars(self.loop).pop("call_soon", None)


def test_what_fails_beside_a_message_loses_none(backend, expected_log):
    """A look at the sending side is asked for before a message is received, and not after."""
    socket, peer = backend.pair(sndhwm=1, rcvhwm=1)
    stream = backend.stream(socket)
    while not stream.sending():
        stream.send(b"fill")
        backend.settle()
    peer.send(b"x")

    async def main():
        await there(stream)
        with NoCall(backend.loop):
            try:
                return await stream.recv()
            except MemoryError:
                pass
        return await stream.recv()

    assert backend.run(main()) == b"x"
    stream.close(linger=0)
    expected_log("1 queued messages")


def test_what_fails_beside_a_message_that_others_wait_for_loses_none(backend, pair):
    stream, peer = pair

    async def main():
        first = stream.recv()
        while (future := first.send(None)) is None:
            await asyncio.sleep(0)
        second = start(stream.recv())
        await iterations()
        peer.send(b"x")
        future._asyncio_future_blocking = False  # it was not a task that took it
        await future
        with NoCall(backend.loop):
            try:
                first.send(None)
            except StopIteration as stop:
                got = stop.value
            except MemoryError:
                return await second
        second.cancel()
        return got

    assert backend.run(main()) == b"x"


# -- async for -------------------------------------------------------------------------------------


def test_async_for_ends_when_the_stream_is_closed(backend, pair):
    stream, peer = pair
    for i in range(500):
        peer.send(b"%d" % i)
    got = []

    async def main():
        async for message in stream:
            got.append(message)
            if len(got) == 500:
                backend.loop.call_soon(stream.close)

    backend.run(main())
    assert got == [[b"%d" % i] for i in range(500)]


def test_async_for_ends_when_it_closes_the_stream_itself(backend, pair):
    stream, peer = pair
    peer.send(b"x")

    async def main():
        async for message in stream:
            assert message == [b"x"]
            stream.close()
        async for _message in stream:
            pytest.fail("closed")

    backend.run(main())


def test_async_for_ends_while_the_stream_is_being_closed(backend):
    stream = backend.stream(backend.socket(zmq.DEALER))
    stream.send(b"to nobody yet")

    async def main():
        closing = start(stream.aclose())
        await iterations()
        assert not closing.done()
        async for _message in stream:
            pytest.fail("closing")
        peer = backend.socket(zmq.DEALER)
        address = backend.address()
        peer.bind(address)
        stream.connect(address)
        assert await closing == 0

    backend.run(main())
