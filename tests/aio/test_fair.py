"""Who awaits a socket that is never empty lets the loop go round; nobody goes deaf."""

import asyncio

import pytest
import zmq

import zmqstream.asyncio
from support.coroutines import iterations, start

MOST = 600  # of one call without the loop: 256 messages and less than that again


@pytest.fixture
def rounds(aio):
    """Counts the iterations of the loop."""
    return [0]


async def count(rounds):
    while True:
        rounds[0] += 1
        await asyncio.sleep(0)


async def receive_frame(socket):
    await socket.recv()


async def receive_multipart(socket):
    await socket.recv_multipart()


async def convert(socket):
    await socket.recv_string()


async def send(socket):
    await socket.send(b"x")


async def poll(socket):
    await socket.poll()


@pytest.mark.differs("it has no limit")
@pytest.mark.parametrize("operate", [receive_frame, receive_multipart, convert, send, poll])
def test_the_loop_goes_round(aio, pair, rounds, operate):
    socket, peer = pair

    async def main():
        for _ in range(3000):
            peer.send(b"x")
        counter = start(count(rounds))
        await asyncio.sleep(0)
        for _ in range(5):
            before = rounds[0]
            for _ in range(MOST):
                await operate(socket)
            assert rounds[0] > before
        counter.cancel()

    aio.run(main())


@pytest.mark.differs("it has no limit")
def test_the_loop_goes_round_for_a_poller(aio, pair, rounds):
    socket, peer = pair

    async def main():
        peer.send(b"x")
        poller = aio.module.Poller()
        poller.register(socket, zmq.POLLIN)
        counter = start(count(rounds))
        await asyncio.sleep(0)
        before = rounds[0]
        for _ in range(MOST):
            await poller.poll()
        assert rounds[0] > before
        counter.cancel()

    aio.run(main())


@pytest.mark.differs("it has no limit")
def test_a_timer_runs_under_a_flood(aio, pair):
    socket, peer = pair

    async def main():
        fired = aio.loop.create_future()
        aio.loop.call_later(0.001, fired.set_result, None)
        received = 0
        while not fired.done():
            peer.send(b"x")
            await socket.recv()
            received += 1
            assert received < 1_000_000

    aio.run(main())


@pytest.mark.differs("an empty queue's error is not counted, too")
def test_dontwait_spends_no_budget(aio, pair):
    socket, peer = pair

    async def main():
        for _ in range(MOST):
            assert isinstance(socket.recv(zmq.NOBLOCK).exception(), zmq.Again)
            assert socket.send(b"x", zmq.NOBLOCK).done()
        peer.send(b"x")
        received = socket.recv()
        at_once = received.done()
        await received
        return at_once

    # the budget is also a time, which a busy machine may have spent
    assert any(aio.run(main()) for _ in range(20))


def test_a_timeout_of_0_never_waits(aio, pair):
    socket, peer = pair
    socket.sndtimeo = socket.rcvtimeo = 0

    async def main():
        for _ in range(MOST):
            peer.send(b"x")
            assert socket.recv().result() == b"x"
            assert socket.send(b"x").done()

    aio.run(main())


# -- never deaf ------------------------------------------------------------------------------------


def poll_0(aio, socket):
    socket.poll(0)


def events(aio, socket):
    socket.getsockopt(zmq.EVENTS)


def attribute(aio, socket):
    assert socket.events is not None


def shadow_poll(aio, socket):
    zmq.Socket.shadow(socket.underlying).poll(0)


def shadow_send(aio, socket):
    zmq.Socket.shadow(socket.underlying).send(b"out")


def plain_poller(aio, socket):
    poller = zmq.Poller()
    poller.register(socket, zmq.POLLIN)
    poller.poll(0)


def connect(aio, socket):
    socket.connect("tcp://127.0.0.1:1")


def send_itself(aio, socket):
    socket.send(b"out")


TOUCHES = [poll_0, events, attribute, shadow_poll, shadow_send, plain_poller, connect, send_itself]


async def awaited(socket):
    return await socket.recv_multipart()


@pytest.mark.differs("it goes deaf")
@pytest.mark.parametrize("receive", [awaited, zmqstream.asyncio.Socket.recv_multipart])
@pytest.mark.parametrize("touch", TOUCHES)
def test_a_touch_beside_a_receive(aio, throttled, receive, touch):
    """The socket's event is swallowed just before its message is looked for."""
    socket, peer = aio.aio_pair(zmq.DEALER, transport="tcp", sndhwm=0, rcvhwm=0)

    async def main():
        for i in range(2):
            waiting = start(receive(socket))
            await iterations()
            peer.send(b"%d" % i)
            while not zmq.Socket.shadow(peer.underlying).get(zmq.EVENTS) & zmq.POLLOUT:
                pass
            throttled()
            touch(aio, socket)
            assert await waiting == [b"%d" % i]

    aio.run(main())


@pytest.mark.differs("it goes deaf")
@pytest.mark.parametrize("touch", TOUCHES)
def test_a_touch_beside_a_poll(aio, throttled, touch):
    socket, peer = aio.aio_pair(zmq.DEALER, transport="tcp", sndhwm=0, rcvhwm=0)

    async def main():
        waiting = socket.poll()
        await iterations()
        peer.send(b"x")
        throttled()
        touch(aio, socket)
        assert await waiting == zmq.POLLIN
        assert await socket.recv() == b"x"

    aio.run(main())


@pytest.mark.differs("the reader that the program adds replaces its own")
def test_the_program_watches_the_descriptor(aio):
    socket, peer = aio.aio_pair(zmq.DEALER, transport="tcp")

    async def main():
        seen = []
        for i in range(3):
            aio.loop.add_reader(socket.FD, seen.append, i)
            waiting = socket.recv()
            await iterations()
            peer.send(b"%d" % i)
            assert await waiting == b"%d" % i
            aio.loop.remove_reader(socket.FD)
            peer.send(b"again")
            assert await socket.recv() == b"again"

    aio.run(main())
