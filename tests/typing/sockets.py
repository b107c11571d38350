"""What type checkers say about zmqstream.asyncio. Checked, never run: docs/testing.md."""

import asyncio
from typing import Any

import zmq
import zmq.asyncio
from typing_extensions import assert_type

import zmqstream.asyncio


def takes_pyzmqs(context: zmq.asyncio.Context, socket: zmq.asyncio.Socket) -> None: ...


async def awaited(context: zmqstream.asyncio.Context, copy: bool) -> None:
    socket = context.socket(zmq.REQ)
    assert_type(socket, zmqstream.asyncio.Socket)
    takes_pyzmqs(context, socket)
    assert_type(await socket.recv(), bytes)
    assert_type(await socket.recv(copy=False), zmq.Frame)
    assert_type(await socket.recv(copy=copy), bytes | zmq.Frame)
    assert_type(await socket.recv_multipart(), list[bytes])
    assert_type(await socket.recv_multipart(copy=False), list[zmq.Frame])
    assert_type(await socket.send(b"x"), zmq.MessageTracker | None)
    assert_type(await socket.send_multipart([b"x"]), zmq.MessageTracker | None)
    assert_type(await socket.poll(10), int)
    assert_type(socket.recv(zmq.NOBLOCK).result(), bytes)
    assert_type(socket.poll(), asyncio.Future[int])
    assert_type(socket.stats().messages_in, int)
    poller = zmqstream.asyncio.Poller()
    poller.register(socket, zmq.POLLIN)
    assert_type(await poller.poll(1.5), list[tuple[Any, int]])
