"""asend() and asend_multipart(): sends that tell their caller what became of the message."""

import asyncio
import gc
import weakref

import pytest
import zmq

import zmqstream
from support.coroutines import iterations, start
from zmqstream import eventloop

pytestmark = pytest.mark.ours


def test_asend_hands_over_at_once_and_in_order(backend, pair):
    stream, peer = pair

    async def main():
        stream.send(b"0")
        last = start(stream.asend(b"1"))
        stream.send_multipart([b"2", b"3"])
        await last
        for i in range(1000):
            assert await stream.asend_multipart([b"%d" % i, b"x"]) is None

    backend.run(main())
    assert [peer.recv_multipart() for _ in range(3)] == [[b"0"], [b"1"], [b"2", b"3"]]
    assert [peer.recv_multipart() for _ in range(1000)] == [[b"%d" % i, b"x"] for i in range(1000)]
    stats = stream.stats()
    assert (stats.messages_out, stats.queued) == (1003, 0)


def test_asend_waits_for_room(backend):
    stream, connect = backend.stalled()
    outcomes = []
    stream.on_send(lambda message, status: outcomes.append(message))

    async def main():
        sending = [start(stream.asend(b"%d" % i)) for i in range(3)]
        await iterations()
        assert not any(each.done() for each in sending)
        assert stream.get_write_buffer_size() == 3
        peer = connect()
        await asyncio.gather(*sending)
        assert [peer.recv() for _ in range(3)] == [b"0", b"1", b"2"]

    backend.run(main())
    assert outcomes == []  # who awaits is told, and nobody else


def test_asend_lets_the_loop_go_round(backend, pair):
    stream, _peer = pair
    stream.set_turn_limits(messages=10, seconds=60)
    ticks = []

    async def main():
        for _ in range(100):
            backend.loop.call_soon(ticks.append, 1)
            await stream.asend(b"x")
        return len(ticks)  # before the loop goes on by itself

    assert backend.run(main()) >= 90


def test_asend_raises_libzmqs_error(backend):
    router = backend.stream(backend.socket(zmq.ROUTER, router_mandatory=1))
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

    backend.run(main())
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
def test_what_cannot_be_sent_is_an_error_at_the_call(backend, pair, arguments, error, text):
    stream, _ = pair
    with pytest.raises(error, match=text):
        stream.asend_multipart(*arguments)
    assert stream.stats().queued == 0


def test_asend_with_a_timeout(backend):
    stream = backend.stream(backend.socket(zmq.PUSH))

    async def main():
        first = start(stream.asend(b"0", timeout=60))
        with pytest.raises(zmqstream.MessageExpired):
            await stream.asend(b"1", timeout=0.01)
        with pytest.raises(ValueError, match="asend_multipart: timeout must be more than 0"):
            stream.asend(b"2", timeout=0)
        first.cancel()
        await asyncio.wait([first])

    backend.run(main())
    assert stream.stats().queued == 0
    assert stream.stats().expired == 1


def test_asend_that_is_cancelled_takes_its_message_back(backend):
    stream, connect = backend.stalled()

    async def main():
        sending = [start(stream.asend(b"%d" % i)) for i in range(5)]
        await iterations()
        for i in (0, 2, 3):
            sending[i].cancel()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(stream.asend(b"5"), 0.005)
        assert stream.get_write_buffer_size() == 2
        peer = connect()
        await sending[1]
        await sending[4]
        await stream.asend(b"6")
        assert [peer.recv() for _ in range(3)] == [b"1", b"4", b"6"]

    backend.run(main())


def test_asend_that_is_not_awaited_is_sent_all_the_same(backend, pair):
    """Also where no loop runs, and its pace would be over."""
    stream, peer = pair
    stream.set_turn_limits(seconds=1e-9)
    stream.asend(b"at once")
    assert peer.recv() == b"at once"
    stream.send(b"0")
    stream.asend(b"1")
    backend.drained(stream)
    assert [peer.recv(), peer.recv()] == [b"0", b"1"]


def test_asend_of_frames_that_are_tracked(backend, pair):
    stream, peer = pair

    async def main():
        tracker = await stream.asend(b"x" * 100_000, copy=False, track=True)
        assert isinstance(tracker, zmq.MessageTracker)
        assert len(peer.recv()) == 100_000
        tracker.wait(20)

    backend.run(main())


def test_asend_when_the_stream_is_closed(backend, expected_log):
    stream = backend.stream(backend.socket(zmq.PUSH))

    async def main():
        sending = [start(stream.asend(b"x")) for _ in range(2)]
        await iterations()
        stream.close()
        for each in sending:
            with pytest.raises(OSError, match="Stream is closed"):
                await each
        with pytest.raises(OSError, match="Stream is closed"):
            stream.asend(b"x")

    backend.run(main())
    expected_log("2 queued messages")


def test_asend_to_a_peer_without_room_when_the_stream_is_closed(backend, expected_log):
    router, _ = backend.router(b"a", hwm=1)
    stream = backend.stream(router)

    async def main():
        sending = [start(stream.asend_multipart([b"a", b"x"])) for _ in range(10)]
        await iterations()
        waiting = [each for each in sending if not each.done()]
        stream.close()
        assert waiting
        for each in waiting:
            with pytest.raises(OSError, match="Stream is closed"):
                await each

    backend.run(main())
    expected_log("queued messages could not be handed to libzmq")


def test_asend_that_close_hands_over(backend, pair):
    stream, peer = pair

    async def main():
        stream.send(b"0")
        sending = start(stream.asend(b"1"))
        await asyncio.sleep(0)
        stream.close()
        await sending

    backend.run(main())
    assert [peer.recv(), peer.recv()] == [b"0", b"1"]


def test_asend_that_is_dropped(backend):
    stream = backend.stream(backend.socket(zmq.PUSH))
    stream.set_write_buffer_limits(1, policy="drop_oldest")

    async def main():
        sending = start(stream.asend(b"0"))
        await iterations()
        stream.send(b"1")
        with pytest.raises(zmqstream.MessageDropped):
            await sending

    backend.run(main())


def test_asend_to_a_peer_without_room_does_not_hold_up_another(backend):
    router, slow, fast = backend.router(b"a", b"b", hwm=1)
    stream = backend.stream(router)

    async def main():
        stalled = [start(stream.asend_multipart([b"a", b"%d" % i])) for i in range(10)]
        await stream.asend_multipart([b"b", b"x"])
        while not fast.poll(0):
            await asyncio.sleep(0)
        assert not all(each.done() for each in stalled)
        got = []
        while len(got) < 10:
            if slow.poll(0):
                got.append(int(slow.recv()))
            await asyncio.sleep(0)
        assert got == list(range(10))
        await asyncio.gather(*stalled)

    backend.run(main())


def test_a_receiver_that_fails_does_not_stand_in_the_way(backend):
    """Woken for a reply that somebody else then takes: it is a REQ's turn to send again."""
    socket, peer = backend.pair(zmq.REQ, zmq.REP)
    stream = backend.stream(socket)

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

    assert backend.run(main()) == b"2"


def test_two_that_await_the_same(backend, expected_log):
    stream = backend.stream(backend.socket(zmq.PUSH))
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
            peer = backend.socket(zmq.PULL)
            peer.bind(backend.address())
            stream.connect(peer.last_endpoint.decode())
            assert await first is None
            stream.disconnect(peer.last_endpoint.decode())
            stream.send(b"2")

    backend.run(main())
    stream.close(linger=0)
    expected_log("1 queued messages could not be handed")


def test_what_is_awaited_is_awaited_once(backend):
    stream, connect = backend.stalled(high=1)

    async def main():
        stream.send(b"1")
        stream.send(b"2")
        sent, drained = stream.asend(b"3"), stream.drain()
        waiting = [start(sent), start(drained)]
        await iterations()
        assert not any(each.done() for each in waiting)
        connect()
        await asyncio.gather(*waiting)
        for each in (sent, drained):
            with pytest.raises(RuntimeError, match="awaited once"):
                await each

    backend.run(main())


def test_what_is_awaited_is_made_by_streams_alone(backend, pair):
    stream, _ = pair
    for awaited in (stream.recv(), stream.asend(b"x"), stream._emptied(), stream.drain()):
        with pytest.raises(TypeError, match="cannot create"):
            type(awaited)()


def test_an_asend_that_nobody_awaits_and_that_fails_is_logged(backend, expected_log):
    stream = backend.stream(backend.socket(zmq.PUSH))
    stream.asend(b"x", timeout=0.01)
    backend.run_until(lambda: stream.stats().expired)
    gc.collect()
    expected_log("nobody awaits it: not handed over in time")

    # but not where on_err() was told, nor where who awaited it was cancelled
    errors = []
    stream.on_err(errors.append)
    stream.asend(b"x", timeout=0.01)
    backend.run_until(lambda: errors)


def test_the_error_of_an_asend_makes_no_cycle(backend):
    stream = backend.stream(backend.socket(zmq.PUSH))

    async def main():
        awaited = stream.asend(b"x", timeout=0.01)
        try:
            await awaited
        except zmqstream.MessageExpired as error:
            return weakref.ref(error), awaited

    gc.collect()
    gc.disable()
    try:
        error, _awaited = backend.run(main())
        backend.settle()
        assert error() is None
    finally:
        gc.enable()


def test_an_asend_in_another_streams_callback_makes_nobody_wait_for_a_sweep(backend):
    """It may swallow the event of a message, which is looked for before the loop sleeps."""
    if backend.name == "guest-selectors":
        pytest.skip("there each stream is a reader of its own, and no poll shows a look")
    socket, _peer = backend.pair()
    stream = backend.stream(socket)
    trigger, other = backend.pair()
    reactor = eventloop.reactor_of(backend.loop)
    polls = backend.recorder()

    def act(message):
        stream.asend(b"x")
        polls.append(reactor.stats()[1])

    backend.stream(trigger).on_recv(act)
    backend.settle()
    other.send(b"go")
    backend.wait(polls)
    backend.settle()
    assert reactor.stats()[1] > polls[0]  # each poll comes with such a look


def test_an_error_of_a_send_that_is_cancelled_just_then_is_logged(backend, expected_log):
    """Its coroutine will not be told: nobody was."""
    stream = backend.stream(backend.socket(zmq.REQ))
    address = backend.address()
    backend.socket(zmq.REP).bind(address)

    async def send():
        await stream.asend(b"2")  # out of turn: EFSM

    async def main():
        stream.send(b"1", callback=lambda message, status: backend.loop.call_soon(task.cancel))
        task = backend.loop.create_task(send())
        await iterations()
        stream.connect(address)
        with pytest.raises(asyncio.CancelledError):
            await task

    backend.run(main())
    assert stream.stats().errors == 1
    gc.collect()
    assert len(expected_log("a message could not be sent")) == 1
