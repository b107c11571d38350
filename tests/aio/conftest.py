"""The fixture `aio`: asynchronous sockets of ours on each kind of loop, and pyzmq's."""

import asyncio
import logging
import types

import pytest
import zmq
import zmq.asyncio

import zmqstream.asyncio
from support import TIMEOUT
from support.backends import Backend, set_environment, unexpected_records

LOOPS = ("own-epoll", "asyncio", "guest-epoll", "uvloop")


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "differs(why): zmqstream.asyncio differs from zmq.asyncio, which is not tested"
    )


class Aio(Backend):
    """A loop, and the module whose sockets are tested."""

    def __init__(self, name):
        super().__init__("asyncio" if name == "pyzmq" else name)
        self.reference = name == "pyzmq"
        self.module = zmq.asyncio if self.reference else zmqstream.asyncio

    def aio_socket(self, kind, **options):
        socket = self.module.Socket(self.context, kind)
        socket.linger = 0
        for option, value in options.items():
            socket.set(getattr(zmq, option.upper()), value)
        self.sockets.append(socket)
        return socket

    def aio_pair(self, kind=zmq.PAIR, other=None, transport="inproc", **options):
        """Two connected sockets, the first asynchronous, the second plain."""
        first = self.aio_socket(kind, **options)
        second = self.socket(kind if other is None else other, **options)
        second.bind(self.address(transport))
        first.connect(second.last_endpoint.decode())
        second.rcvtimeo = second.sndtimeo = TIMEOUT * 1000
        return first, second

    def full(self, kind=zmq.PUSH, other=zmq.PULL):
        """An asynchronous socket whose pipe is full, and a function that reads its peer."""
        socket, peer = self.aio_pair(kind, other, sndhwm=1, rcvhwm=1)
        sent = 0
        while True:
            try:
                zmq.Socket.send(socket, b"before", zmq.DONTWAIT)
            except zmq.Again:
                break
            sent += 1

        def rest():
            """What has come since the socket was full."""
            for _ in range(sent):
                assert peer.recv() == b"before"

        return socket, peer, rest


@pytest.fixture(params=[*LOOPS, "pyzmq"])
def aio(request, monkeypatch, caplog):
    name = request.param
    marker = request.node.get_closest_marker("differs")
    if name == "pyzmq" and marker:
        pytest.skip(f"differs from zmq.asyncio: {marker.args[0]}")
    set_environment("asyncio" if name == "pyzmq" else name, monkeypatch.setenv)
    aio = Aio(name)
    caplog.set_level(logging.WARNING)
    yield aio
    aio.close()
    assert aio.errors == [], "the test did not expect this report to the loop"
    assert unexpected_records(caplog) == [], "the test did not expect this log record"


@pytest.fixture
def pair(aio):
    return aio.aio_pair(sndhwm=0, rcvhwm=0)


async def _wait_for(socket):
    return await asyncio.wait_for(socket.recv_multipart(), TIMEOUT)


async def _gather(socket):
    return (await asyncio.gather(socket.recv_multipart()))[0]


async def _wait(socket):
    done, _ = await asyncio.wait([socket.recv_multipart()])
    return done.pop().result()


async def _await(socket):
    return await socket.recv_multipart()


async def _callback(socket):
    got = asyncio.Queue()
    socket.recv_multipart().add_done_callback(got.put_nowait)
    return (await got.get()).result()


async def _shield(socket):
    return await asyncio.shield(socket.recv_multipart())


async def _twice(socket):
    future = socket.recv_multipart()

    async def other():
        return await future

    first, second = await asyncio.gather(other(), other())
    assert first is second
    return first


@pytest.fixture(params=[_await, _wait_for, _gather, _wait, _callback, _shield, _twice])
def receive(request):
    """A way to wait for a message."""
    return types.SimpleNamespace(way=request.param).way
