"""An exception stays with its message: an exception of a callback stays with its message."""

import asyncio

import pytest
import zmq

import zmqstream
from support.traffic import listening


@pytest.mark.deviates("pyzmq is deaf after an exception with a backlog")
@pytest.mark.parametrize("backlog", [1, 2, 100, 1000])
def test_exceptions_with_a_backlog(backend, others, backlog):
    """An exception stays with its message."""
    socket, peer = backend.pair(rcvhwm=0, sndhwm=0)
    stream = backend.stream(socket)
    got = backend.recorder()

    def callback(message):
        got.append(int(message[0]))
        if got[-1] % 3 == 0:
            raise ValueError(got[-1])

    stream.on_recv(callback)
    for i in range(backlog):
        peer.send(b"%d" % i)
    backend.wait(got, backlog)
    assert got == list(range(backlog))
    found = backend.expect_errors(*[ValueError] * len(range(0, backlog, 3)))
    assert [context["exception"].args[0] for context in found] == list(range(0, backlog, 3))
    assert all(context["stream"] is stream for context in found)
    assert all(repr(stream).partition(" at ")[0] in context["message"] for context in found)


@pytest.mark.deviates("pyzmq reports it in three log records")
@pytest.mark.parametrize(
    "error", [ValueError, asyncio.CancelledError, GeneratorExit, BaseException, StopIteration]
)
def test_an_exception_is_reported_once(backend, error):
    stream, socket, peer, got = listening(backend)

    def callback(message):
        got.append(message)
        if message == [b"bad"]:
            raise error

    stream.on_recv(callback)
    peer.send(b"bad")
    peer.send(b"good")
    backend.wait(got, 2)
    backend.settle()
    backend.expect_errors(error)


@pytest.mark.deviates("pyzmq reports it in three log records")
def test_exceptions_of_on_send_and_on_err(backend):
    router = backend.socket(zmq.ROUTER, router_mandatory=1)
    stream = backend.stream(router)
    sent = backend.recorder()

    def on_send(msg, status):
        sent.append(status.errno)
        raise ValueError("on_send")

    def on_err(error):
        raise KeyError("on_err")

    stream.on_send(on_send)
    stream.on_err(on_err)
    for _ in range(2):
        stream.send_multipart([b"nobody", b"x"])
    backend.wait(sent, 2)
    assert sent == [zmq.EHOSTUNREACH] * 2
    backend.expect_errors(KeyError, ValueError, KeyError, ValueError)


@pytest.mark.deviates("pyzmq's callback and the loop report it, and its stream is deaf afterwards")
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("kind", ["on_recv", "on_send"])
def test_leaving_the_loop(backend, error, kind, others):
    """The messages that waited are delivered when the loop runs again."""
    stream, socket, peer, got = listening(backend)
    neighbour, _, neighbour_peer, neighbour_got = listening(backend)

    def callback(message, status=None):
        got.append(message)
        if len(got) == 3:
            raise error

    if kind == "on_recv":
        stream.on_recv(callback)
    else:
        stream.on_send(callback)
    for i in range(10):
        peer.send(b"%d" % i) if kind == "on_recv" else stream.send(b"%d" % i)
        neighbour_peer.send(b"%d" % i)
    with pytest.raises(error):
        backend.loop.run_forever()
    backend.wait(got, 10)
    backend.wait(neighbour_got, 10)
    assert got == neighbour_got == [[b"%d" % i] for i in range(10)]


@pytest.mark.ours
def test_a_subclass_whose_repr_fails(backend):
    """Its callbacks' exceptions are reported all the same, and the loop goes on."""

    class Named(zmqstream.ZMQStream):
        def __repr__(self):
            return f"<Named {self.socket.last_endpoint}>"  # None when it is closed

    socket, peer = backend.pair()
    near, far = backend.pair()
    stream = backend.stream(socket, Named)
    got = backend.recorder()
    backend.stream(near).on_recv(got.append)

    def callback(message):
        stream.close()
        raise ValueError("callback")

    stream.on_recv(callback)
    peer.send(b"x")
    backend.run_until(stream.closed)
    far.send(b"y")
    backend.wait(got)
    [found] = backend.expect_errors(ValueError)
    assert "Named" in found["message"] or "ZMQStream" in found["message"]
