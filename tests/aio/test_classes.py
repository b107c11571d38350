"""The classes are pyzmq's, and can be used in all ways in which those are."""

import asyncio

import pytest
import zmq
import zmq._future
import zmq.asyncio
import zmq.auth.asyncio

import zmqstream.asyncio
from support import TIMEOUT
from support.coroutines import iterations, start


def test_classes(aio):
    module = aio.module
    context = module.Context()
    socket = context.socket(zmq.PULL)
    assert type(socket) is module.Socket
    for kind in (zmq.Socket, zmq.asyncio.Socket, zmq._future._AsyncSocket):
        assert isinstance(socket, kind)
    assert isinstance(context, zmq.asyncio.Context)
    assert isinstance(module.Poller(), zmq.asyncio.Poller)
    with socket:
        pass
    assert socket.closed
    context.term()


def test_instances_are_of_their_own():
    ours = zmqstream.asyncio.Context.instance()
    assert type(ours) is zmqstream.asyncio.Context
    assert zmqstream.asyncio.Context.instance() is ours
    assert type(zmq.asyncio.Context.instance()) is zmq.asyncio.Context
    assert type(zmq.Context.instance()) is zmq.Context
    ours.term()


def from_a_context(aio):
    return aio.module.Socket(aio.context, zmq.PULL)


def from_a_socket(aio):
    return aio.module.Socket(aio.socket(zmq.PULL))


def from_socket(aio):
    return aio.module.Socket.from_socket(aio.socket(zmq.PULL))


def shadow(aio):
    return aio.module.Socket.shadow(aio.socket(zmq.PULL))


def shadow_of_an_address(aio):
    return aio.module.Socket.shadow(aio.socket(zmq.PULL).underlying)


def context_of_a_context(aio):
    return aio.module.Context(aio.context).socket(zmq.PULL)


def shadow_context(aio):
    return aio.module.Context.shadow(aio.context).socket(zmq.PULL)


def socket_class(aio):
    return aio.context.socket(zmq.PULL, socket_class=aio.module.Socket)


MAKERS = [from_a_context, from_a_socket, from_socket, shadow, shadow_of_an_address]
MAKERS += [context_of_a_context, shadow_context, socket_class]


@pytest.mark.parametrize("make", MAKERS)
def test_ways_to_make_one(aio, make):
    socket = make(aio)
    socket.linger = 0
    peer = aio.socket(zmq.PUSH)
    peer.bind(aio.address())
    socket.connect(peer.last_endpoint.decode())

    async def main():
        for _ in range(2):
            waiting = start(asyncio.wait_for(socket.recv_multipart(), TIMEOUT))
            await iterations()
            peer.send(b"x")
            assert await waiting == [b"x"]

    aio.run(main())
    socket.close()


def test_io_loop_argument(aio):
    with pytest.warns(DeprecationWarning, match="io_loop"):
        socket = aio.module.Socket(aio.context, zmq.PULL, io_loop=aio.loop)
    socket.close()


def test_subclasses(aio):
    class Upper(aio.module.Socket):
        sent = ()

        def send(self, data, *args, **kwargs):
            self.sent += (data,)
            return super().send(data.upper(), *args, **kwargs)

        async def recv_multipart(self, *args, **kwargs):
            return [frame.upper() for frame in await super().recv_multipart(*args, **kwargs)]

        def _deserialize(self, recvd, load):
            return super()._deserialize(recvd, lambda data: ("loaded", load(data)))

    class Context(aio.module.Context):
        _socket_class = Upper

    context = Context.shadow(aio.context)
    socket = context.socket(zmq.PAIR)
    assert type(socket) is Upper
    peer = aio.socket(zmq.PAIR, rcvtimeo=TIMEOUT * 1000)
    peer.bind(aio.address())
    socket.connect(peer.last_endpoint.decode())

    async def main():
        await socket.send_string("abc")
        assert peer.recv() == b"ABC"
        assert socket.sent == (b"abc",)
        peer.send(b"def")
        assert await socket.recv_multipart() == [b"DEF"]
        waiting = socket.recv_string()
        await iterations()
        peer.send(b"ghi")
        assert await waiting == ("loaded", "ghi")

    aio.run(main())
    socket.close()


def test_options(aio, pair):
    socket, _ = pair
    socket.sndhwm = 7
    assert socket.sndhwm == socket.get(zmq.SNDHWM) == socket.getsockopt(zmq.SNDHWM) == 7
    socket.setsockopt(zmq.LINGER, 3)
    assert socket.linger == 3
    assert isinstance(socket.FD, int)
    with pytest.raises(AttributeError):
        socket.nonsense = 1


def test_subscribe(aio):
    socket = aio.aio_socket(zmq.SUB)
    peer = aio.socket(zmq.XPUB, rcvtimeo=TIMEOUT * 1000)
    peer.bind(aio.address())
    socket.connect(peer.last_endpoint.decode())

    async def main():
        waiting = socket.recv()
        socket.subscribe("a")
        assert await asyncio.to_thread(peer.recv) == b"\1a"
        peer.send(b"b")
        peer.send(b"ab")
        assert await waiting == b"ab"

    aio.run(main())


def test_monitor(aio):
    socket = aio.module.Context.shadow(aio.context).socket(zmq.PULL)
    peer = aio.socket(zmq.PUSH)

    async def main():
        monitor = socket.get_monitor_socket(zmq.EVENT_LISTENING)
        socket.bind("tcp://127.0.0.1:*")
        _, address = await monitor.recv_multipart()
        assert address == socket.last_endpoint
        peer.connect(address.decode())
        socket.disable_monitor()
        monitor.close()
        socket.close()

    aio.run(main())


def test_authenticator(aio):
    server, client = aio.aio_socket(zmq.PULL), aio.socket(zmq.PUSH)
    context = aio.module.Context.shadow(aio.context)

    async def main():
        authenticator = zmq.auth.asyncio.AsyncioAuthenticator(context)
        authenticator.start()
        authenticator.configure_plain(passwords={"user": "secret"})
        server.plain_server = True
        server.bind("tcp://127.0.0.1:*")
        client.plain_username, client.plain_password = b"user", b"secret"
        client.connect(server.last_endpoint.decode())
        client.send(b"x")
        assert await server.recv() == b"x"
        authenticator.stop()

    aio.run(main())


def test_a_loop_without_readers(aio):
    """pyzmq's own methods are used."""
    socket, peer = aio.aio_pair()

    async def main():
        peer.send(b"x")
        assert await socket.recv() == b"x"
        assert await socket.send(b"y") is None
        assert peer.recv() == b"y"
        assert await socket.poll(0) == 0

    class Proactor(asyncio.SelectorEventLoop):
        pass

    asyncio_has_one = hasattr(asyncio, "ProactorEventLoop")
    before = getattr(asyncio, "ProactorEventLoop", None)
    asyncio.ProactorEventLoop = Proactor
    loop = Proactor()
    try:
        loop.run_until_complete(main())
        assert getattr(socket, "_stream", None) is None
    finally:
        loop.close()
        if asyncio_has_one:
            asyncio.ProactorEventLoop = before
        else:
            del asyncio.ProactorEventLoop
