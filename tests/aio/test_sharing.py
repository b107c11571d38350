"""A socket and a ZMQStream on the same handle share what watches it."""

import asyncio
import io

import pytest
import zmq

import zmqstream
from support.coroutines import iterations, start

pytestmark = pytest.mark.differs("it has no streams")

shadow_warning = pytest.mark.filterwarnings("ignore:ZMQStream needs a plain:RuntimeWarning")


@pytest.fixture
def shared(aio):
    """A stream, an asynchronous socket on the same handle, and their peer."""
    plain, peer = aio.pair(sndhwm=0, rcvhwm=0)
    return aio.stream(plain), aio.module.Socket(plain), peer


def test_in_one_line(aio, shared):
    """Messages go to the receivers in the order of their calls, whatever they call."""
    stream, socket, peer = shared

    async def main():
        waiting = [start(stream.recv()), socket.recv(), start(stream.recv()), socket.recv()]
        await iterations()
        for i in range(4):
            peer.send(b"%d" % i)
        got = await asyncio.gather(*waiting)
        assert sorted(got) == [b"0", b"1", b"2", b"3"]

    aio.run(main())


def test_poll_of_a_socket_whose_stream_has_a_callback(aio, shared):
    stream, socket, peer = shared

    async def main():
        got = []
        stream.on_recv(got.append)
        waiting = socket.recv()
        with pytest.raises(RuntimeError, match="receive callback"):
            await waiting
        assert await socket.poll(flags=zmq.POLLOUT) == zmq.POLLOUT
        await socket.send(b"x")
        assert peer.recv() == b"x"
        peer.send(b"y")
        while not got:
            await asyncio.sleep(0)
        assert got == [[b"y"]]

    aio.run(main())


def test_sends_in_order(aio, shared):
    stream, socket, peer = shared

    async def main():
        stream.send(b"1")
        second = socket.send(b"2")
        stream.send(b"3")
        await second
        assert [await asyncio.to_thread(peer.recv) for _ in range(3)] == [b"1", b"2", b"3"]

    aio.run(main())


@shadow_warning
def test_a_stream_of_an_asynchronous_socket(aio):
    """What waits at the socket waits on at the stream."""
    socket, peer = aio.aio_pair()
    full, other, rest = aio.full()

    async def main():
        waiting = [socket.recv(), start(receive()), socket.poll()]
        sent = full.send(b"x")
        await iterations()
        streams = [aio.stream(socket), aio.stream(full)]
        peer.send(b"1")
        peer.send(b"2")
        assert sorted(await asyncio.gather(*waiting[:2])) == [b"1", b"2"]
        assert await waiting[2] == zmq.POLLIN
        rest()
        await sent
        assert await asyncio.to_thread(other.recv) == b"x"
        waiting = [socket.recv(), start(receive())]
        await iterations()
        for stream in streams:
            stream.close()
        await asyncio.wait(waiting)
        assert all(each.cancelled() for each in waiting)
        assert socket.closed

    async def receive():
        return await socket.recv()

    aio.run(main())


def test_a_stream_of_a_socket_that_a_poller_watches(aio):
    plain, peer = aio.pair()
    poller = aio.module.Poller()
    poller.register(plain, zmq.POLLIN)

    async def main():
        waiting = poller.poll()
        await iterations()
        stream = aio.stream(plain)
        peer.send(b"x")
        assert await waiting == [(plain, zmq.POLLIN)]
        assert await stream.recv() == b"x"
        waiting = poller.poll()
        await iterations()
        peer.send(b"y")
        assert await waiting == [(plain, zmq.POLLIN)]

    aio.run(main())


def test_two_sockets(aio):
    """One of them is dropped, and the other goes on."""
    plain, peer = aio.pair()
    first, second = aio.module.Socket(plain), aio.module.Socket(plain)

    async def main(first):
        peer.send(b"1")
        assert await first.recv() == b"1"
        waiting = second.recv()
        await iterations()
        first = None
        peer.send(b"2")
        assert await waiting == b"2"

    coroutine = main(first)
    del first
    aio.run(coroutine)


def test_the_stream_is_closed(aio, shared):
    stream, socket, _ = shared

    async def main():
        waiting = [socket.recv(), socket.poll()]
        await iterations()
        stream.close()
        await asyncio.wait(waiting)
        assert all(each.cancelled() for each in waiting)
        with pytest.raises(zmq.ZMQError):
            await socket.recv()

    aio.run(main())


def test_aclose(aio, shared):
    stream, socket, _ = shared

    async def main():
        waiting = [socket.recv(), socket.poll()]
        await iterations()
        await stream.aclose()
        await asyncio.wait(waiting)
        assert all(each.cancelled() for each in waiting)

    aio.run(main())


def test_dump(aio, pair):
    socket, peer = pair

    async def main():
        peer.send(b"x")
        await socket.recv()
        waiting = [socket.recv(), socket.recv()]
        out = io.StringIO()
        zmqstream.dump(file=out)
        assert "PAIR" in out.getvalue()
        assert "2 wait" in out.getvalue()
        for each in waiting:
            each.cancel()

    aio.run(main())
