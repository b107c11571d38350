"""poll() of a socket, and Poller."""

import asyncio
import os
import socket as sockets

import pytest
import zmq

from support.coroutines import iterations, start

BOTH = zmq.POLLIN | zmq.POLLOUT


def test_poll(aio, pair):
    socket, peer = pair

    async def main():
        assert await socket.poll(0) == 0
        assert await socket.poll(1) == 0
        assert await socket.poll(1.5) == 0
        assert await socket.poll(flags=BOTH) == zmq.POLLOUT
        waiting = [socket.poll(), socket.poll(None), socket.poll(-1), start(poll(10_000))]
        await iterations()
        peer.send(b"x")
        for each in waiting:
            events = await each
            assert events == zmq.POLLIN
            assert type(events) is int
        assert await socket.poll(flags=BOTH) == BOTH
        assert await socket.poll(0) == zmq.POLLIN
        assert await socket.recv() == b"x"

    async def poll(timeout):
        return await socket.poll(timeout)

    aio.run(main())


def test_poll_for_room(aio):
    socket, peer, rest = aio.full()

    async def main():
        waiting = socket.poll(flags=zmq.POLLOUT)
        await iterations()
        assert not waiting.done()
        rest()
        assert await waiting == zmq.POLLOUT

    aio.run(main())


def test_cancelled_poll(aio, pair):
    socket, peer = pair

    async def main():
        first, second = socket.poll(10_000), socket.poll(10_000)
        task = start(poll())
        await iterations()
        assert first.cancel()
        task.cancel()
        peer.send(b"x")
        assert await second == zmq.POLLIN
        assert first.cancelled()

    async def poll():
        await socket.poll()

    aio.run(main())


def test_poll_and_receive(aio, pair):
    """Each waiter gets what it waits for, in any order of arrival."""
    socket, peer = pair

    async def main():
        first = socket.poll()
        message = socket.recv()
        last = socket.poll()
        await iterations()
        peer.send(b"1")
        assert await message == b"1"
        assert await first == zmq.POLLIN
        peer.send(b"2")
        await last
        assert await socket.recv() == b"2"

    aio.run(main())


# -- Poller ----------------------------------------------------------------------------------------


class Kind:
    """Something that a Poller watches, and a way to make it readable."""

    def __init__(self, aio, kind):
        self.close = lambda: None
        self.returned = None  # in poll()'s result
        if kind == "ours":
            self.watched, peer = aio.aio_pair()
            self.wake, self.read = lambda: peer.send(b"x"), lambda: self.watched.recv(zmq.NOBLOCK)
        elif kind == "plain":
            self.watched, peer = aio.pair()
            self.wake, self.read = lambda: peer.send(b"x"), self.watched.recv
        else:
            first, second = sockets.socketpair()
            self.watched = first if kind == "object" else first.fileno()
            self.wake, self.read = lambda: second.send(b"x"), lambda: first.recv(1)

            def close():
                first.close()
                second.close()

            self.close = close
            self.returned = first.fileno()
        if self.returned is None:
            self.returned = self.watched


@pytest.fixture
def kinds(aio):
    made = []

    def make(kind):
        made.append(Kind(aio, kind))
        return made[-1]

    yield make
    for each in made:
        each.close()


KINDS = ["ours", "plain", "object", "descriptor"]


@pytest.mark.parametrize("kind", KINDS)
def test_poller(aio, kinds, kind):
    kind, other = kinds(kind), kinds("ours")
    poller = aio.module.Poller()
    poller.register(other.watched, zmq.POLLIN)
    poller.register(kind.returned, zmq.POLLIN)

    async def main():
        for _ in range(2):
            assert await poller.poll(0) == []
            assert await poller.poll(1) == []
            waiting = start(poll())
            await iterations()
            assert not waiting.done()
            kind.wake()
            assert await waiting == [(kind.returned, zmq.POLLIN)]
            assert await poller.poll(0) == [(kind.returned, zmq.POLLIN)]
            assert await poller.poll(None) == [(kind.returned, zmq.POLLIN)]
            other.wake()
            both = [(other.watched, zmq.POLLIN), (kind.returned, zmq.POLLIN)]
            assert dict(await poller.poll(0)) == dict(both)
            kind.read()
            other.read()

    async def poll():
        return await poller.poll()

    aio.run(main())


@pytest.mark.differs("of two readers of a descriptor only the last one is called")
@pytest.mark.parametrize("kind", KINDS)
def test_two_pollers(aio, kinds, kind):
    """They wait at the same time, one is cancelled, and the other is woken all the same."""
    kind = kinds(kind)
    first, second = aio.module.Poller(), aio.module.Poller()
    first.register(kind.returned, zmq.POLLIN)
    second.register(kind.returned, zmq.POLLIN)

    async def main():
        for _ in range(2):
            waiting = [first.poll(), second.poll(10_000), first.poll()]
            await iterations()
            waiting[0].cancel()
            kind.wake()
            for each in waiting[1:]:
                assert await each == [(kind.returned, zmq.POLLIN)]
            kind.read()

    aio.run(main())


def test_a_poller_for_room(aio, kinds):
    socket, peer, rest = aio.full()
    poller = aio.module.Poller()
    poller.register(socket, BOTH)

    async def main():
        waiting = poller.poll()
        await iterations()
        assert not waiting.done()
        rest()
        assert await waiting == [(socket, zmq.POLLOUT)]
        assert [type(events) for _, events in await poller.poll()] == [int]

    aio.run(main())


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs /proc")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", ["cancelled", "over", "ready"])
def test_nothing_is_left(aio, kinds, kind, end):
    """No descriptor and no watcher."""
    kind = kinds(kind)
    poller = aio.module.Poller()
    poller.register(kind.returned, zmq.POLLIN)

    async def main():
        counts = []
        for _ in range(3):
            waiting = poller.poll(1 if end == "over" else 10_000)
            await iterations(2)
            if end == "cancelled":
                waiting.cancel()
            elif end == "ready":
                kind.wake()
            await asyncio.wait([waiting])
            if end == "ready":
                kind.read()
            counts.append(len(os.listdir("/proc/self/fd")))
        assert counts[0] == counts[1] == counts[2]

    aio.run(main())


def test_pyzmqs_own_poller(aio):
    """It takes these sockets."""
    socket, peer = aio.aio_pair()
    poller = zmq.asyncio.Poller()
    poller.register(socket, zmq.POLLIN)

    async def main():
        for _ in range(2):
            waiting = poller.poll(10_000)
            await iterations()
            peer.send(b"x")
            assert await waiting == [(socket, zmq.POLLIN)]
            assert await socket.recv() == b"x"
        waiting = poller.poll(10_000)
        await iterations()
        waiting.cancel()
        peer.send(b"x")
        assert await socket.recv() == b"x"

    aio.run(main())


@pytest.mark.differs("it polls standard input instead")
def test_poll_of_a_closed_socket(aio, pair):
    socket, _ = pair
    poller = aio.module.Poller()
    poller.register(socket, zmq.POLLIN)

    async def main():
        socket.close()
        future = poller.poll(0)
        with pytest.raises(zmq.ZMQError) as error:
            await future
        assert error.value.errno == zmq.ENOTSOCK

    aio.run(main())
