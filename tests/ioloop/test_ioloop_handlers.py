"""Contract 1: IOLoop.add_handler() for descriptors, objects and ZeroMQ sockets."""

import asyncio
import gc
import os
import socket as sockets
import time

import pytest
import zmq
import zmq.asyncio

from support import TIMEOUT
from support.loops import collect, pair, start, turn
from zmqstream import IOLoop, ZMQStream

pytestmark = pytest.mark.usefixtures("nothing_is_current")
READ, WRITE = IOLoop.READ, IOLoop.WRITE


@pytest.fixture
def loop(io_loop):
    return io_loop


# -- handlers of file descriptors -----------------------------------------------------------------


def test_a_pipe_by_its_number(loop):
    received, sent = os.pipe()
    got = []

    def handler(fd, events):  # one byte a call: level-triggered
        got.append((fd, events, os.read(fd, 1)))
        if len(got) == 3:
            loop.stop()

    loop.add_handler(received, handler, READ)
    os.write(sent, b"abc")
    start(loop)
    assert got == [(received, READ, b"%c" % c) for c in b"abc"]
    loop.remove_handler(received)
    os.write(sent, b"d")
    turn(loop)
    assert len(got) == 3
    loop.remove_handler(received)
    os.close(received)
    os.close(sent)


def test_an_object_with_fileno(loop):
    a, b = sockets.socketpair()
    got = []
    loop.add_handler(a, collect(loop, got, 1), READ | WRITE)
    start(loop)
    assert got[0] == (a, WRITE)
    assert got[0][0] is a
    loop.update_handler(a, READ)
    got.clear()
    turn(loop)
    assert got == []
    b.send(b"x")
    start(loop)
    assert got[0] == (a, READ)
    got.clear()
    loop.update_handler(a.fileno(), WRITE)  # the same handler, by its number
    start(loop)
    assert got[0] == (a, WRITE)
    loop.update_handler(a, IOLoop.NONE)
    got.clear()
    turn(loop)
    assert got == []
    loop.remove_handler(a)
    a.close()
    b.close()


def test_a_handler_removes_itself(loop):
    a, b = sockets.socketpair()
    b.send(b"never read")
    got = []

    def handler(fd, events):
        got.append(events)
        loop.remove_handler(fd)

    loop.add_handler(a, handler, READ | WRITE)
    turn(loop)
    assert len(got) == 1
    loop.add_handler(a, handler, READ)
    turn(loop)
    assert got[1:] == [READ]
    a.close()
    b.close()


def test_handlers_of_what_was_closed_can_be_removed(loop):
    a, b = sockets.socketpair()
    with open(os.devnull) as file:
        fd = os.dup(a.fileno())
        holder = type("Holder", (), {"fileno": lambda self: fd})()
    del file
    loop.add_handler(a, print, READ)
    loop.add_handler(holder, print, READ)
    a.close()
    loop.remove_handler(a)
    loop.remove_handler(holder)
    os.close(fd)
    b.close()
    assert not loop._handlers


def test_a_handler_that_is_there_already(loop, context):
    received, sent = os.pipe()
    socket, _ = pair(context)
    loop.add_handler(received, print, READ)
    loop.add_handler(socket, print, READ)
    for fd in (received, socket):
        with pytest.raises(ValueError, match="twice"):
            loop.add_handler(fd, print, READ)
        loop.remove_handler(fd)
        loop.add_handler(fd, print, READ)
        loop.remove_handler(fd)
    os.close(received)
    os.close(sent)


def test_handlers_that_are_refused(loop, context):
    for fd in ("text", None, object(), 1.5, -1):
        with pytest.raises(TypeError, match="descriptor"):
            loop.add_handler(fd, print, READ)
    received, sent = os.pipe()
    with pytest.raises(TypeError, match="callable"):
        loop.add_handler(received, "not callable", READ)
    with pytest.raises(KeyError):
        loop.update_handler(received, READ)
    closed = context.socket(zmq.PULL)
    closed.close()
    with pytest.raises(zmq.ZMQError) as info:
        loop.add_handler(closed, print, READ)
    assert info.value.errno == zmq.ENOTSOCK
    with pytest.raises(KeyError):
        loop.update_handler(closed, READ)
    loop.remove_handler(closed)
    os.close(received)
    os.close(sent)
    assert not loop._handlers


def test_a_handler_that_can_only_be_added_in_part_is_not_added(loop, monkeypatch):
    reader, writer = os.pipe()
    refused = OSError("no more")

    def refuse(*args):
        raise refused

    with monkeypatch.context() as patch:
        patch.setattr(type(loop.asyncio_loop), "add_writer", refuse, raising=False)
        with pytest.raises(OSError, match="no more"):
            loop.add_handler(reader, lambda *args: pytest.fail("not added"), READ | WRITE)
    os.write(writer, b"x")
    turn(loop)
    assert not loop.asyncio_loop.remove_reader(reader)
    got = []
    loop.add_handler(reader, collect(loop, got, 1), READ)
    start(loop)
    loop.remove_handler(reader)
    os.close(reader)
    os.close(writer)


def test_split_fd_and_close_fd(loop, context):
    """For subclasses, as Tornado's."""
    received, sent = os.pipe()
    a, b = sockets.socketpair()
    socket, _ = pair(context)
    assert loop.split_fd(received) == (received, received)
    assert loop.split_fd(a) == (a.fileno(), a)
    assert loop.split_fd(socket) == (socket, socket)
    for fd in (received, a, socket):
        loop.close_fd(fd)
        loop.close_fd(fd)
    with pytest.raises(OSError):
        os.fstat(received)
    assert a.fileno() == -1
    assert socket.closed
    os.close(sent)
    b.close()


def test_an_error_of_a_handler(loop):
    received, sent = os.pipe()
    got = []

    def handler(fd, events):
        got.append(os.read(fd, 1))
        if len(got) == 2:
            loop.stop()
        raise LookupError(got[-1])

    loop.add_handler(received, handler, READ)
    os.write(sent, b"ab")
    start(loop)
    loop.remove_handler(received)
    assert [(type(e), e.args) for e in loop.errors] == [
        (LookupError, (b"a",)),
        (LookupError, (b"b",)),
    ]
    loop.errors.clear()
    os.close(received)
    os.close(sent)


# -- handlers of ZeroMQ sockets -------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["inproc://x", "tcp://127.0.0.1:*"])
def test_a_zmq_socket_is_level_triggered(loop, context, transport):
    socket, peer = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    socket.bind(transport)
    peer.connect(socket.last_endpoint.decode())
    got = []

    def handler(socket, events):  # one message a call
        got.append((socket, events, socket.recv()))
        if len(got) == 10:
            loop.stop()

    for i in range(5):
        peer.send(b"%d" % i)
    loop.add_handler(socket, handler, READ)
    loop.add_callback(lambda: [peer.send(b"%d" % i) for i in range(5, 10)])
    start(loop)
    assert got == [(socket, READ, b"%d" % i) for i in range(10)]
    assert got[0][0] is socket
    loop.remove_handler(socket)
    peer.send(b"more")
    assert socket.poll(TIMEOUT * 1000)
    turn(loop)
    assert len(got) == 10
    loop.remove_handler(socket)
    assert not socket.closed


def test_a_zmq_socket_that_can_be_written(loop, context):
    socket = context.socket(zmq.PUSH)
    socket.bind("inproc://x")
    got = []
    loop.add_handler(socket, collect(loop, got, 2), WRITE)
    turn(loop)
    assert got == []
    peer = context.socket(zmq.PULL)
    peer.connect(socket.last_endpoint.decode())
    start(loop)
    assert set(got) == {(socket, WRITE)}
    loop.update_handler(socket, IOLoop.NONE)
    got.clear()
    turn(loop)
    assert got == []
    loop.update_handler(socket, READ | WRITE)
    start(loop)
    assert set(got) == {(socket, WRITE)}
    loop.remove_handler(socket)


def test_update_handler_of_a_zmq_socket(loop, context):
    socket, peer = pair(context)
    peer.send(b"x")
    assert socket.poll(TIMEOUT * 1000)
    got = []
    loop.add_handler(socket, collect(loop, got, 1), IOLoop.NONE)
    turn(loop)
    assert got == []
    loop.update_handler(socket, READ | WRITE)
    start(loop)
    assert got[0] == (socket, READ | WRITE)
    loop.update_handler(socket, READ)
    got.clear()
    start(loop)
    assert got[0] == (socket, READ)
    loop.remove_handler(socket)


def test_a_zmq_handler_removes_itself(loop, context):
    socket, peer = pair(context)
    peer.send(b"never read")
    got = []

    def handler(socket, events):
        got.append(events)
        loop.remove_handler(socket)

    loop.add_handler(socket, handler, READ | WRITE)
    turn(loop)
    assert len(got) == 1
    loop.add_handler(socket, handler, READ)
    turn(loop)
    assert got[1:] == [READ]


def test_a_zmq_handler_replaces_itself(loop, context):
    socket, peer = pair(context)
    peer.send(b"x")
    got = []

    def handler(socket, events):
        loop.remove_handler(socket)
        loop.add_handler(socket, collect(loop, got, 1), READ)

    loop.add_handler(socket, handler, READ)
    start(loop)
    assert got[0] == (socket, READ)
    loop.remove_handler(socket)


def test_a_zmq_handler_closes_its_socket(loop, context):
    socket, peer = pair(context)
    peer.send(b"x")
    got = []

    def handler(socket, events):
        got.append(events)
        loop.remove_handler(socket)
        socket.close()

    loop.add_handler(socket, handler, READ)
    turn(loop)
    assert got == [READ]


def test_a_zmq_socket_closed_under_its_handler(loop, context):
    socket, peer = pair(context)
    other, other_peer = pair(context)
    got = []
    loop.add_handler(socket, lambda *args: socket.close(), READ)
    loop.add_handler(other, collect(loop, got, 1), READ)
    peer.send(b"x")
    other_peer.send(b"y")
    start(loop)
    turn(loop)
    [error] = loop.errors
    assert isinstance(error, zmq.ZMQError)
    assert error.errno == zmq.ENOTSOCK
    loop.errors.clear()
    with pytest.raises(zmq.ZMQError):
        loop.update_handler(socket, READ)
    loop.remove_handler(socket)
    gc.collect()
    turn(loop)
    loop.remove_handler(other)


def test_a_zmq_socket_whose_loop_was_closed(context):
    socket, peer = pair(context)
    loop = IOLoop(make_current=False)
    loop.add_handler(socket, lambda *args: pytest.fail("closed"), READ)
    peer.send(b"x")
    loop.asyncio_loop.close()
    loop.remove_handler(socket)
    assert socket.recv() == b"x"


def test_an_error_of_a_zmq_handler(loop, context):
    socket, peer = pair(context)
    got = []

    def handler(socket, events):
        got.append(socket.recv())
        if len(got) == 2:
            loop.stop()
        raise LookupError(got[-1])

    loop.add_handler(socket, handler, READ)
    peer.send(b"a")
    peer.send(b"b")
    start(loop)
    assert [e.args for e in loop.errors] == [(b"a",), (b"b",)]
    loop.errors.clear()
    loop.remove_handler(socket)


def test_a_zmq_handler_that_is_a_coroutine_function(loop, context):
    socket, peer = pair(context)
    got = []

    async def handler(socket, events):
        try:
            message = socket.recv(zmq.DONTWAIT)
        except zmq.Again:  # a call that was made before the other had read it
            return
        await asyncio.sleep(0)
        got.append(message)
        if len(got) == 3:
            loop.stop()

    loop.add_handler(socket, handler, READ)
    for i in range(3):
        peer.send(b"%d" % i)
    start(loop)
    loop.remove_handler(socket)
    assert got == [b"0", b"1", b"2"]


def test_a_handler_of_an_asyncio_socket(loop, context):
    socket = context.socket(zmq.PULL, socket_class=zmq.asyncio.Socket)
    socket.bind("inproc://x")
    peer = context.socket(zmq.PUSH)
    peer.connect("inproc://x")
    peer.send(b"x")
    got = []
    loop.add_handler(socket, collect(loop, got, 1), READ)
    start(loop)
    assert got[0] == (socket, READ)
    loop.remove_handler(socket)


def test_a_socket_with_a_stream_gets_no_handler(loop, context):
    socket, _ = pair(context)
    stream = ZMQStream(socket, loop)
    with pytest.raises(ValueError, match="already"):
        loop.add_handler(socket, print, READ)
    stream.close()
    loop.remove_handler(socket)


def test_a_swallowed_edge_under_a_handler(loop, context):
    """Never deaf, for handlers too: level-triggered, whatever else touches the socket."""
    socket, peer = pair(context)
    got = []

    def handler(socket, events):
        got.append(socket.recv())
        loop.stop()

    loop.add_handler(socket, handler, READ)
    turn(loop)

    def swallow():
        peer.send(b"x")
        end = time.monotonic() + 0.005
        while time.monotonic() < end:  # libzmq looks at its mailbox once a millisecond
            pass
        socket.send(b"this look at the mailbox takes the edge")

    loop.add_callback(swallow)
    start(loop)
    assert got == [b"x"]
    loop.remove_handler(socket)
