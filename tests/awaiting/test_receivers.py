"""Coroutines that await messages beside callbacks and raw use of the socket, and until its end."""

import asyncio
import contextlib
import gc
import sys
import threading

import pytest
import zmq

from support.coroutines import iterations, start

pytestmark = pytest.mark.ours


def test_a_receive_callback_and_a_receiver_exclude_each_other(backend, pair):
    stream, peer = pair
    got = backend.recorder()

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

    backend.run(main())
    backend.wait(got)
    assert got == [[b"y"]]


def test_a_flush_leaves_messages_to_who_waits(backend, pair):
    stream, peer = pair

    async def main():
        receiver = start(stream.recv())
        await iterations()
        peer.send(b"x")
        for _ in range(3):
            assert stream.flush(zmq.POLLIN) == 0
        assert await receiver == b"x"

    backend.run(main())


@pytest.mark.parametrize("touch", ["events", "send", "poll", "asend", "flush"])
@pytest.mark.parametrize("where", ["task", "timer"])
def test_who_waits_is_woken_whatever_was_done_to_the_socket(backend, pair, throttled, touch, where):
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
                backend.loop.call_later(0.001, swallow)
            assert await receiver == b"x"

    backend.run(main())


def test_a_receiver_does_not_make_the_sending_side_deaf(backend, throttled):
    """recv() may swallow the event that tells of room to send."""
    socket, peer = backend.pair(zmq.PAIR, sndhwm=1, rcvhwm=1)
    stream = backend.stream(socket)

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

    backend.run(main())


def test_a_receiver_that_fails_does_not_hold_up_others(backend):
    """Its message is taken away before it runs: a REP may not receive then."""
    socket, peer = backend.pair(zmq.REP, zmq.REQ)
    stream = backend.stream(socket)

    async def main():
        failing = stream.recv()
        while (woken := failing.send(None)) is None:
            await asyncio.sleep(0)
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

    backend.run(main())


def test_a_pending_send_and_a_receiver(backend):
    """A REQ's answer can be awaited while the request is still in the stream's queue."""
    socket, peer = backend.pair(zmq.REQ, zmq.REP)
    stream = backend.stream(socket)

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

    backend.run(main())


def test_a_socket_that_only_sends(backend):
    stream = backend.stream(backend.socket(zmq.PUSH))

    async def main():
        with pytest.raises(zmq.ZMQError) as info:
            await stream.recv()
        assert info.value.errno == zmq.ENOTSUP

    backend.run(main())


@pytest.mark.parametrize("how", ["close", "directly"])
def test_receivers_of_a_stream_that_is_closed(backend, pair, how, expected_log, recwarn):
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

    backend.run(main())
    if how == "directly":
        assert "closed directly" in str(recwarn.pop(UserWarning).message)


def test_receivers_when_the_context_is_terminated(backend):
    context = zmq.Context()
    stream = backend.stream(context.socket(zmq.PULL))

    async def main():
        async def iterate():
            async for _message in stream:
                pass

        receivers = [start(stream.recv()), start(iterate())]
        await iterations()
        term = backend.loop.run_in_executor(None, context.term)
        for receiver in receivers:
            with pytest.raises(zmq.ContextTerminated):
                await receiver
        await term
        assert stream.closed()

    backend.run(main())


def test_another_loop(backend, pair):
    stream, _ = pair

    async def main():
        await stream.recv()

    with pytest.raises(RuntimeError, match="in its own event loop"):
        asyncio.run(main())


@pytest.mark.parametrize("pace", [60, 1e-9], ids=["", "to be let go round"])
def test_a_closed_loop(backend, pair, pace):
    stream, _ = pair
    other, io_loop = backend.new_loop()
    first, _ = backend.pair()
    lonely = backend.stream(first, io_loop=io_loop)
    lonely.set_turn_limits(seconds=pace)
    other.close()

    async def main():
        with pytest.raises(RuntimeError, match="event loop of this stream is closed"):
            await lonely.recv()

    backend.run(main())
    lonely.close()


def test_nothing_is_kept_of_messages_and_receivers(backend, pair):
    stream, peer = pair

    async def main():
        for _ in range(3):
            peer.send(b"x" * 1000)
            receiver = stream.recv_multipart()
            message = await receiver
            ours = [b"x"]
            one = sys.getrefcount(ours)  # from 3.14 on, a local variable lends its reference
            assert sys.getrefcount(message) == one
            assert sys.getrefcount(receiver) == one
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

    backend.run(main())


def test_a_reply_to_a_request_that_waits_for_a_peer(backend):
    """A REQ that has not sent refuses to receive: that is no error while its request is queued."""
    stream = backend.stream(backend.socket(zmq.REQ))
    peer = backend.socket(zmq.REP, rcvtimeo=20_000)

    async def main():
        stream.send(b"request")
        reply = start(stream.recv())
        await iterations()
        assert not reply.done()
        address = backend.address()
        peer.bind(address)
        stream.connect(address)
        while stream.sending():
            await asyncio.sleep(0)
        assert peer.recv() == b"request"
        peer.send(b"reply")
        assert await reply == b"reply"

    backend.run(main())


def test_a_receiver_that_finds_its_socket_closed(backend, pair):
    stream, _peer = pair

    async def main():
        stream.socket.close()
        with pytest.raises(OSError, match="Stream is closed"):
            await stream.recv()

    with pytest.warns(UserWarning, match="closed directly"):
        backend.run(main())
    assert stream.closed()


@pytest.mark.parametrize("what", ["recv", "asend"])
def test_one_that_finds_its_context_terminated(backend, what):
    context = zmq.Context()
    socket = context.socket(zmq.PAIR)
    address = backend.address()
    socket.bind(address)
    peer = context.socket(zmq.PAIR)
    peer.connect(address)
    stream = backend.stream(socket)

    async def main():
        term = threading.Thread(target=context.term, daemon=True)
        term.start()
        with contextlib.suppress(zmq.ContextTerminated):
            while not peer.poll(1):
                pass
        with pytest.raises(zmq.ContextTerminated):
            await (stream.recv() if what == "recv" else stream.asend(b"x"))
        assert stream.closed()
        peer.close()
        term.join(20)
        assert not term.is_alive()

    backend.run(main())
