"""Streams on shadows of sockets, and on those of zmq.asyncio."""

import warnings

import pytest
import zmq
import zmq.asyncio

from support import TIMEOUT


@pytest.mark.parametrize("how", ["shadow=socket", "shadow=address", "Socket.shadow"])
def test_a_stream_on_a_shadow(backend, how):
    socket, peer = backend.pair()
    if how == "shadow=socket":
        shadow = zmq.Socket(shadow=socket)
    elif how == "shadow=address":
        shadow = zmq.Socket(shadow=socket.underlying)
    else:
        shadow = zmq.Socket.shadow(socket.underlying)
    stream = backend.stream(shadow)
    assert stream.socket is shadow
    got = backend.recorder()
    stream.on_recv(got.append)
    peer.send(b"in")
    assert backend.wait(got) == [[b"in"]]
    stream.send(b"out")
    backend.drained(stream)
    assert peer.recv() == b"out"
    stream.close()
    assert stream.closed()
    assert socket.closed  # there is one libzmq socket behind them


def test_a_stream_on_an_asyncio_socket(backend):
    """jupyter_client 7, which gives its streams asyncio sockets."""
    socket, peer = backend.pair()
    asyncio_socket = zmq.asyncio.Socket(shadow=socket)
    with pytest.warns(RuntimeWarning):
        stream = backend.stream(asyncio_socket)
    assert type(stream.socket) is zmq.Socket
    assert stream.socket.underlying == socket.underlying
    got = backend.recorder()
    stream.on_recv(got.append)
    peer.send_multipart([b"plain", b"bytes"])
    assert backend.wait(got) == [[b"plain", b"bytes"]]


def test_the_shadowed_socket_is_closed_elsewhere(backend, expected_log):
    """pyzmq 25.0.1 mended this, for jupyter_client 7: messages wait, and the socket is gone."""
    socket, peer = backend.pair(zmq.PULL, zmq.PUSH, transport="tcp")
    shadow = zmq.Socket.shadow(socket)
    stream = backend.stream(shadow)
    for i in range(10):
        peer.send(b"%d" % i)
    assert socket.recv() == b"0"
    assert socket.poll(TIMEOUT * 1000)  # another has come
    got = []
    stream.on_recv(got.append)
    socket.close()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        backend.settle(20)
        assert stream.closed()
        stream.close()
    assert got == []
    assert any("after closing socket" in str(warning.message) for warning in caught)
    expected_log("closed socket")
