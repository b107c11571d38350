"""await recv_multipart(), recv(), asend_multipart(), and async for: messages for coroutines."""

import asyncio
import collections.abc
import contextlib
import gc
import itertools
import sys
import threading
import weakref

import pytest
import zmq

import zmqstream
from zmqstream import MultipartMessageError, eventloop

pytestmark = pytest.mark.ours


@pytest.fixture
def pair(home):
    socket, peer = home.pair(sndhwm=0, rcvhwm=0)
    return home.stream(socket), peer


async def iterations(count=5):
    for _ in range(count):
        await asyncio.sleep(0)


async def there(stream):
    """Until a message waits in the stream's socket."""
    while not stream.socket.get(zmq.EVENTS) & zmq.POLLIN:
        await asyncio.sleep(0)


def start(coroutine):
    return asyncio.ensure_future(coroutine)


# -- receiving ------------------------------------------------------------------------------------


def test_messages_that_are_there_and_messages_that_come(home, pair):
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

    home.run(main())
    assert stream.stats()[:2] == (5 - 1, 5)


@pytest.mark.parametrize("transport", ["inproc", "tcp"])
def test_many_messages_in_order(home, transport):
    socket, peer = home.pair(transport=transport, sndhwm=0, rcvhwm=0)
    stream = home.stream(socket)
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

    assert home.run(main()) == [b"%d" % i for i in range(count)]


def test_frames(home, pair):
    stream, peer = pair

    async def main():
        peer.send_multipart([b"a", b"b"])
        frames = await stream.recv_multipart(copy=False)
        assert [type(frame) for frame in frames] == [zmq.Frame] * 2
        assert [frame.bytes for frame in frames] == [b"a", b"b"]
        assert frames[0].more
        peer.send(b"c")
        assert (await stream.recv(copy=False)).bytes == b"c"

    home.run(main())


def test_a_message_that_is_there_needs_no_iteration_of_the_loop(home, pair):
    stream, peer = pair

    async def main():
        for i in range(20):
            peer.send(b"%d" % i)
        await there(stream)
        others = []
        home.loop.call_soon(others.append, 1)
        got = [await stream.recv() for _ in range(20)]
        assert others == []
        return got

    assert home.run(main()) == [b"%d" % i for i in range(20)]


def test_a_backlog_lets_the_loop_go_round(home, pair):
    """Promise 5 holds for coroutines: each turn's worth of messages, others run."""
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

    assert home.run(main()) == [b"%d" % i for i in range(1000)]
    gaps = [b - a for a, b in itertools.pairwise(seen)]
    assert len(seen) >= 9
    assert max(gaps) <= 100


def test_a_slow_consumer_lets_the_loop_go_round_by_the_clock(home, pair):
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
            home.loop.call_soon(ticks.append, 1)
            end = time.perf_counter() + 0.002
            while time.perf_counter() < end:
                pass

    home.run(main())
    assert len(ticks) >= 10


def test_receivers_are_served_in_order(home, pair):
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

    home.run(main())
    assert served == [(i, b"%d" % i) for i in range(5)]


def test_a_newcomer_does_not_overtake_who_waits(home, pair):
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

    home.run(main())
    assert served == [("first", b"0"), ("second", b"1")]


def test_two_receivers_in_a_flood_take_turns(home, pair):
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

    home.run(main())
    assert sorted(got[0] + got[1])[:400] == list(range(400))
    assert all(numbers == sorted(numbers) for numbers in got)
    assert min(map(len, got)) > 150


@pytest.mark.parametrize("arrives", ["before", "with", "after"])
def test_a_receiver_that_is_cancelled_loses_nothing(home, pair, arrives):
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

    home.run(main())


def test_one_that_is_woken_and_cancelled_wakes_the_next(home, pair):
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

    home.run(main())


def test_wait_for(home, pair):
    stream, peer = pair

    async def main():
        for _ in range(3):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(stream.recv(), 0.005)
        peer.send(b"x")
        assert await asyncio.wait_for(stream.recv(), 20) == b"x"

    home.run(main())


def test_what_is_awaited_is_a_coroutine_to_asyncio(home, pair):
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

    home.run(main())


def test_the_coroutine_protocol(home, pair):
    stream, peer = pair

    async def main():
        peer.send(b"x")
        await there(stream)
        message = stream.recv()
        with pytest.raises(StopIteration) as stop:
            message.send(None)
        assert stop.value.value == b"x"
        peer.send_multipart([b"a", b"b"])
        await there(stream)
        with pytest.raises(StopIteration) as stop:
            next(stream.recv_multipart())
        assert stop.value.value == [b"a", b"b"]
        with pytest.raises(KeyError):
            stream.recv().throw(KeyError())
        with pytest.raises(KeyError, match="3"):
            stream.recv().throw(KeyError, KeyError(3), None)
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

    home.run(main())


def test_recv_of_a_message_of_several_frames(home, pair):
    stream, peer = pair

    async def main():
        peer.send_multipart([b"a", b"b"])
        peer.send(b"c")
        with pytest.raises(MultipartMessageError, match="of 2 frames") as info:
            await stream.recv()
        assert isinstance(info.value, ValueError)
        assert info.value.message == [b"a", b"b"]
        assert await stream.recv() == b"c"

    home.run(main())


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


def test_what_fails_beside_a_message_loses_none(home, expected_log):
    """A look at the sending side is asked for before a message is received, and not after."""
    socket, peer = home.pair(sndhwm=1, rcvhwm=1)
    stream = home.stream(socket)
    while not stream.sending():
        stream.send(b"fill")
        home.settle()
    peer.send(b"x")

    async def main():
        await there(stream)
        with NoCall(home.loop):
            try:
                return await stream.recv()
            except MemoryError:
                pass
        return await stream.recv()

    assert home.run(main()) == b"x"
    stream.close(linger=0)
    expected_log("1 queued messages")


def test_what_fails_beside_a_message_that_others_wait_for_loses_none(home, pair):
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
        with NoCall(home.loop):
            try:
                first.send(None)
            except StopIteration as stop:
                got = stop.value
            except MemoryError:
                return await second
        second.cancel()
        return got

    assert home.run(main()) == b"x"


# -- async for ------------------------------------------------------------------------------------


def test_async_for_ends_when_the_stream_is_closed(home, pair):
    stream, peer = pair
    for i in range(500):
        peer.send(b"%d" % i)
    got = []

    async def main():
        async for message in stream:
            got.append(message)
            if len(got) == 500:
                home.loop.call_soon(stream.close)

    home.run(main())
    assert got == [[b"%d" % i] for i in range(500)]


def test_async_for_ends_when_it_closes_the_stream_itself(home, pair):
    stream, peer = pair
    peer.send(b"x")

    async def main():
        async for message in stream:
            assert message == [b"x"]
            stream.close()
        async for _message in stream:
            pytest.fail("closed")

    home.run(main())


# -- mixing with callbacks ------------------------------------------------------------------------


def test_a_receive_callback_and_a_receiver_exclude_each_other(home, pair):
    stream, peer = pair
    got = home.recorder()

    async def main():
        stream.on_recv(got.append)
        with pytest.raises(RuntimeError, match="has a receive callback; await its messages, or"):
            await stream.recv()
        with pytest.raises(RuntimeError, match="has a receive callback"):
            async for _message in stream:
                pass
        stream.on_recv(None)
        receiver = start(stream.recv())
        await iterations()
        for register in (stream.on_recv, stream.on_recv_batch, stream.on_recv_stream):
            with pytest.raises(RuntimeError, match="a coroutine awaits a message of <ZMQStream"):
                register(got.append)
        stream.on_recv(None)
        peer.send(b"x")
        assert await receiver == b"x"
        stream.on_recv(got.append)
        peer.send(b"y")

    home.run(main())
    home.wait(got)
    assert got == [[b"y"]]


def test_a_flush_leaves_messages_to_who_waits(home, pair):
    stream, peer = pair

    async def main():
        receiver = start(stream.recv())
        await iterations()
        peer.send(b"x")
        for _ in range(3):
            assert stream.flush(zmq.POLLIN) == 0
        assert await receiver == b"x"

    home.run(main())


# -- never deaf -----------------------------------------------------------------------------------


@pytest.mark.parametrize("touch", ["events", "send", "poll", "asend", "flush"])
@pytest.mark.parametrize("where", ["task", "timer"])
def test_who_waits_is_woken_whatever_was_done_to_the_socket(home, pair, throttled, touch, where):
    stream, peer = pair
    touches = {
        "events": lambda: stream.socket.get(zmq.EVENTS),
        "send": lambda: stream.socket.send(b"raw"),
        "poll": lambda: stream.socket.poll(0),
        "asend": lambda: stream.asend(b"x"),
        "flush": lambda: stream.flush(),
    }

    def swallow():
        peer.send(b"x")
        throttled()
        touches[touch]()

    async def main():
        for _ in range(3):
            receiver = start(stream.recv())
            await iterations()
            if where == "task":
                swallow()
            else:
                home.loop.call_later(0.001, swallow)
            assert await receiver == b"x"

    home.run(main())


def test_a_receiver_does_not_make_the_sending_side_deaf(home, throttled):
    """recv() may swallow the event that tells of room to send."""
    socket, peer = home.pair(zmq.PAIR, sndhwm=1, rcvhwm=1)
    stream = home.stream(socket)

    async def main():
        for round_ in range(5):
            while not stream.sending():
                stream.send(b"%d" % round_)
                await iterations(3)
            throttled()
            while peer.poll(0):
                peer.recv()
            peer.send(b"x")
            throttled()
            assert await stream.recv() == b"x"
            while stream.sending():
                if peer.poll(0):
                    peer.recv()
                await asyncio.sleep(0)

    home.run(main())


def test_a_receiver_that_fails_does_not_hold_up_others(home):
    """Its message is taken away before it runs: a REP may not receive then."""
    socket, peer = home.pair(zmq.REP, zmq.REQ)
    stream = home.stream(socket)

    async def main():
        failing = stream.recv()
        woken = failing.send(None)
        peer.send(b"0")
        while not woken.done():
            await asyncio.sleep(0)
        assert socket.recv() == b"0"
        with pytest.raises(zmq.ZMQError) as info:
            failing.send(None)
        assert info.value.errno == zmq.EFSM
        socket.send(b"!")
        peer.recv()
        peer.send(b"1")
        assert await stream.recv() == b"1"
        stream.on_recv(print)  # nobody waits any more

    home.run(main())


def test_a_pending_send_and_a_receiver(home):
    """A REQ's answer can be awaited while the request is still in the stream's queue."""
    socket, peer = home.pair(zmq.REQ, zmq.REP)
    stream = home.stream(socket)

    async def main():
        for i in range(3):
            stream.send(b"%d" % i)
            receiver = start(stream.recv())
            while not peer.poll(0):
                await asyncio.sleep(0)
            peer.send(peer.recv() + b"!")
            assert await receiver == b"%d!" % i
        with pytest.raises(zmq.ZMQError) as info:
            await stream.recv()
        assert info.value.errno == zmq.EFSM

    home.run(main())


def test_a_socket_that_only_sends(home):
    stream = home.stream(home.socket(zmq.PUSH))

    async def main():
        with pytest.raises(zmq.ZMQError) as info:
            await stream.recv()
        assert info.value.errno == zmq.ENOTSUP

    home.run(main())


# -- the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "directly"])
def test_receivers_of_a_stream_that_is_closed(home, pair, how, expected_log, recwarn):
    stream, _peer = pair

    async def main():
        receivers = [start(stream.recv()) for _ in range(3)]
        await iterations()
        if how == "close":
            stream.close()
        else:
            stream.socket.close()
            assert stream.closed()
        for receiver in receivers:
            with pytest.raises(OSError, match="Stream is closed"):
                await receiver
        with pytest.raises(OSError, match="Stream is closed"):
            await stream.recv_multipart()

    home.run(main())
    if how == "directly":
        assert "closed directly" in str(recwarn.pop(UserWarning).message)


def test_receivers_when_the_context_is_terminated(home):
    context = zmq.Context()
    stream = home.stream(context.socket(zmq.PULL))

    async def main():
        async def iterate():
            async for _message in stream:
                pass

        receivers = [start(stream.recv()), start(iterate())]
        await iterations()
        term = home.loop.run_in_executor(None, context.term)
        for receiver in receivers:
            with pytest.raises(zmq.ContextTerminated):
                await receiver
        await term
        assert stream.closed()

    home.run(main())


def test_another_loop(home, pair):
    stream, _ = pair

    async def main():
        await stream.recv()

    with pytest.raises(RuntimeError, match="in its own event loop"):
        asyncio.run(main())


@pytest.mark.parametrize("pace", [60, 1e-9], ids=["", "to be let go round"])
def test_a_closed_loop(home, pair, pace):
    stream, _ = pair
    other, io_loop = home.new_loop()
    first, _ = home.pair()
    lonely = home.stream(first, io_loop=io_loop)
    lonely.set_turn_limits(seconds=pace)
    other.close()

    async def main():
        with pytest.raises(RuntimeError, match="event loop of this stream is closed"):
            await lonely.recv()

    home.run(main())
    lonely.close()


def test_nothing_is_kept_of_messages_and_receivers(home, pair):
    stream, peer = pair

    async def main():
        for _ in range(3):
            peer.send(b"x" * 1000)
            receiver = stream.recv_multipart()
            message = await receiver
            assert sys.getrefcount(message) == 2
            assert sys.getrefcount(receiver) == 2
            waiting = start(stream.recv())
            await iterations()
            waiting.cancel()
            await asyncio.wait([waiting])
        gc.collect()
        before = len(gc.get_objects())
        for _ in range(100):
            peer.send(b"x" * 1000)
            await stream.recv()
        gc.collect()
        assert len(gc.get_objects()) - before < 50

    home.run(main())


# -- sending --------------------------------------------------------------------------------------


def test_asend_hands_over_at_once_and_in_order(home, pair):
    stream, peer = pair

    async def main():
        stream.send(b"0")
        last = start(stream.asend(b"1"))
        stream.send_multipart([b"2", b"3"])
        await last
        for i in range(1000):
            assert await stream.asend_multipart([b"%d" % i, b"x"]) is None

    home.run(main())
    assert [peer.recv_multipart() for _ in range(3)] == [[b"0"], [b"1"], [b"2", b"3"]]
    assert [peer.recv_multipart() for _ in range(1000)] == [[b"%d" % i, b"x"] for i in range(1000)]
    stats = stream.stats()
    assert (stats.messages_out, stats.queued) == (1003, 0)


def test_asend_waits_for_room(home):
    stream = home.stream(home.socket(zmq.PUSH))
    outcomes = []
    stream.on_send(lambda message, status: outcomes.append(message))

    async def main():
        sending = [start(stream.asend(b"%d" % i)) for i in range(3)]
        await iterations()
        assert not any(each.done() for each in sending)
        assert stream.get_write_buffer_size() == 3
        peer = home.socket(zmq.PULL)
        peer.rcvtimeo = 20_000
        address = home.address()
        peer.bind(address)
        stream.connect(address)
        await asyncio.gather(*sending)
        assert [peer.recv() for _ in range(3)] == [b"0", b"1", b"2"]

    home.run(main())
    assert outcomes == []  # who awaits is told, and nobody else


def test_asend_lets_the_loop_go_round(home, pair):
    stream, _peer = pair
    stream.set_turn_limits(messages=10, seconds=60)
    ticks = []

    async def main():
        for _ in range(100):
            home.loop.call_soon(ticks.append, 1)
            await stream.asend(b"x")
        return len(ticks)  # before the loop goes on by itself

    assert home.run(main()) >= 90


def test_asend_raises_libzmqs_error(home):
    router = home.stream(home.socket(zmq.ROUTER, router_mandatory=1))
    errors = []
    router.on_err(errors.append)

    async def main():
        with pytest.raises(zmq.ZMQError) as info:
            await router.asend_multipart([b"nobody", b"x"])
        assert info.value.errno == zmq.EHOSTUNREACH
        assert errors == [info.value]
        router.send_multipart([b"nobody", b"y"])
        with pytest.raises(zmq.ZMQError):
            await router.asend_multipart([b"nobody", b"z"])  # behind the other

    home.run(main())
    assert len(errors) == 3
    assert router.stats().errors == 3


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("str",), TypeError, "multipart message is a list of frames"),
        ((["str"],), TypeError, "frame 0 is str"),
        (([],), ValueError, "at least one frame"),
        (([b"x"], zmq.SNDMORE), ValueError, "SNDMORE"),
    ],
)
def test_what_cannot_be_sent_is_an_error_at_the_call(home, pair, arguments, error, text):
    stream, _ = pair
    with pytest.raises(error, match=text):
        stream.asend_multipart(*arguments)
    assert stream.stats().queued == 0


def test_asend_with_a_timeout(home):
    stream = home.stream(home.socket(zmq.PUSH))

    async def main():
        first = start(stream.asend(b"0", timeout=60))
        with pytest.raises(zmqstream.MessageExpired):
            await stream.asend(b"1", timeout=0.01)
        with pytest.raises(ValueError, match="asend_multipart: timeout must be more than 0"):
            stream.asend(b"2", timeout=0)
        first.cancel()
        await asyncio.wait([first])

    home.run(main())
    assert stream.stats().queued == 0
    assert stream.stats().expired == 1


def test_asend_that_is_cancelled_takes_its_message_back(home):
    stream = home.stream(home.socket(zmq.PUSH))

    async def main():
        sending = [start(stream.asend(b"%d" % i)) for i in range(5)]
        await iterations()
        for i in (0, 2, 3):
            sending[i].cancel()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(stream.asend(b"5"), 0.005)
        assert stream.get_write_buffer_size() == 2
        peer = home.socket(zmq.PULL)
        peer.rcvtimeo = 20_000
        address = home.address()
        peer.bind(address)
        stream.connect(address)
        await sending[1]
        await sending[4]
        await stream.asend(b"6")
        assert [peer.recv() for _ in range(3)] == [b"1", b"4", b"6"]

    home.run(main())


def test_asend_that_is_not_awaited_is_sent_all_the_same(home, pair):
    """Also where no loop runs, and its pace would be over."""
    stream, peer = pair
    stream.set_turn_limits(seconds=1e-9)
    stream.asend(b"at once")
    assert peer.recv() == b"at once"
    stream.send(b"0")
    stream.asend(b"1")
    home.drained(stream)
    assert [peer.recv(), peer.recv()] == [b"0", b"1"]


def test_asend_of_frames_that_are_tracked(home, pair):
    stream, peer = pair

    async def main():
        tracker = await stream.asend(b"x" * 100_000, copy=False, track=True)
        assert isinstance(tracker, zmq.MessageTracker)
        assert len(peer.recv()) == 100_000
        tracker.wait(20)

    home.run(main())


def test_asend_when_the_stream_is_closed(home, expected_log):
    stream = home.stream(home.socket(zmq.PUSH))

    async def main():
        sending = [start(stream.asend(b"x")) for _ in range(2)]
        await iterations()
        stream.close()
        for each in sending:
            with pytest.raises(OSError, match="Stream is closed"):
                await each
        with pytest.raises(OSError, match="Stream is closed"):
            stream.asend(b"x")

    home.run(main())
    expected_log("2 queued messages")


def test_asend_to_a_peer_without_room_when_the_stream_is_closed(home, expected_log):
    router = home.socket(zmq.ROUTER, router_mandatory=1, sndhwm=1)
    address = home.address()
    router.bind(address)
    home.socket(zmq.DEALER, rcvhwm=1, routing_id=b"a").connect(address)
    stream = home.stream(router)

    async def main():
        sending = [start(stream.asend_multipart([b"a", b"x"])) for _ in range(10)]
        await iterations()
        waiting = [each for each in sending if not each.done()]
        stream.close()
        assert waiting
        for each in waiting:
            with pytest.raises(OSError, match="Stream is closed"):
                await each

    home.run(main())
    expected_log("queued messages could not be handed to libzmq")


def test_asend_that_close_hands_over(home, pair):
    stream, peer = pair

    async def main():
        stream.send(b"0")
        sending = start(stream.asend(b"1"))
        await asyncio.sleep(0)
        stream.close()
        await sending

    home.run(main())
    assert [peer.recv(), peer.recv()] == [b"0", b"1"]


def test_asend_that_is_dropped(home):
    stream = home.stream(home.socket(zmq.PUSH))
    stream.set_write_buffer_limits(1, policy="drop_oldest")

    async def main():
        sending = start(stream.asend(b"0"))
        await iterations()
        stream.send(b"1")
        with pytest.raises(zmqstream.MessageDropped):
            await sending

    home.run(main())


def test_asend_to_a_peer_without_room_does_not_hold_up_another(home):
    router = home.socket(zmq.ROUTER, router_mandatory=1, sndhwm=1)
    address = home.address()
    router.bind(address)
    dealers = [home.socket(zmq.DEALER, rcvhwm=1, routing_id=name) for name in (b"a", b"b")]
    for dealer in dealers:
        dealer.connect(address)
    stream = home.stream(router)

    async def main():
        stalled = [start(stream.asend_multipart([b"a", b"%d" % i])) for i in range(10)]
        await stream.asend_multipart([b"b", b"x"])
        while not dealers[1].poll(0):
            await asyncio.sleep(0)
        assert not all(each.done() for each in stalled)
        got = []
        while len(got) < 10:
            if dealers[0].poll(0):
                got.append(int(dealers[0].recv()))
            await asyncio.sleep(0)
        assert got == list(range(10))
        await asyncio.gather(*stalled)

    home.run(main())


def test_a_receiver_that_fails_does_not_stand_in_the_way(home):
    """Woken for a reply that somebody else then takes: it is a REQ's turn to send again."""
    socket, peer = home.pair(zmq.REQ, zmq.REP)
    stream = home.stream(socket)

    async def main():
        await stream.asend(b"1")
        peer.recv()
        waiting = start(stream.recv())
        await iterations()
        peer.send(b"1")
        stream.flush(zmq.POLLOUT)  # which wakes it
        assert stream.socket.recv() == b"1"
        with pytest.raises(zmq.ZMQError):
            await waiting
        await stream.asend(b"2")
        peer.recv()
        peer.send(b"2")
        return await stream.recv()

    assert home.run(main()) == b"2"


def test_two_that_await_the_same(home, expected_log):
    stream = home.stream(home.socket(zmq.PUSH))
    stream.send(b"0")

    async def main():
        for awaited in (stream.recv(), stream.asend(b"1"), stream.drain()):

            async def wait(awaited=awaited):
                return await awaited

            first = start(wait())
            await iterations()
            if first.done():  # a PUSH receives nothing
                assert first.exception().errno == zmq.ENOTSUP
                continue
            with pytest.raises(RuntimeError, match="resumed before it is time"):
                await wait()
            assert not first.done()
            peer = home.socket(zmq.PULL)
            peer.bind(home.address())
            stream.connect(peer.last_endpoint.decode())
            assert await first is None
            stream.disconnect(peer.last_endpoint.decode())
            stream.send(b"2")

    home.run(main())
    stream.close(linger=0)
    expected_log("1 queued messages could not be handed")


def test_what_is_awaited_is_made_by_streams_alone(home, pair):
    stream, _ = pair
    for awaited in (stream.recv(), stream.asend(b"x"), stream._emptied(), stream.drain()):
        with pytest.raises(TypeError, match="cannot create"):
            type(awaited)()


def test_an_asend_that_nobody_awaits_and_that_fails_is_logged(home, expected_log):
    stream = home.stream(home.socket(zmq.PUSH))
    stream.asend(b"x", timeout=0.01)
    home.run_until(lambda: stream.stats().expired)
    gc.collect()
    expected_log("nobody awaits it: not handed over in time")

    # but not where on_err() was told, nor where who awaited it was cancelled
    errors = []
    stream.on_err(errors.append)
    stream.asend(b"x", timeout=0.01)
    home.run_until(lambda: errors)


def test_the_error_of_an_asend_makes_no_cycle(home):
    stream = home.stream(home.socket(zmq.PUSH))

    async def main():
        awaited = stream.asend(b"x", timeout=0.01)
        try:
            await awaited
        except zmqstream.MessageExpired as error:
            return weakref.ref(error), awaited

    gc.collect()
    gc.disable()
    try:
        error, _awaited = home.run(main())
        home.settle()
        assert error() is None
    finally:
        gc.enable()


def test_an_asend_in_another_streams_callback_makes_nobody_wait_for_a_sweep(home):
    """It may swallow the event of a message, which is looked for before the loop sleeps."""
    if home.name == "asyncio-selectors":
        pytest.skip("there each stream is a reader of its own, and no poll shows a look")
    socket, _peer = home.pair()
    stream = home.stream(socket)
    trigger, other = home.pair()
    reactor = eventloop.reactor_of(home.loop)
    polls = home.recorder()

    def act(message):
        stream.asend(b"x")
        polls.append(reactor.stats()[1])

    home.stream(trigger).on_recv(act)
    home.settle()
    other.send(b"go")
    home.wait(polls)
    home.settle()
    assert reactor.stats()[1] > polls[0]  # each poll comes with such a look
