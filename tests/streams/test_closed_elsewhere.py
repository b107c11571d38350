"""Idle streams: the socket is closed behind their back, or the context ends."""

import os
import threading
import time

import pytest
import zmq

# -- the raw socket is closed behind our back -----------------------------------------------------


@pytest.mark.ours
@pytest.mark.parametrize("notice", ["closed", "close", "send", "on_recv", "flush"])
def test_socket_closed_directly(backend, notice):
    """A closed socket does no harm."""
    socket, _ = backend.pair()
    stream = backend.stream(socket)
    stream.on_recv(print)
    backend.settle()
    calls = []
    stream.set_close_callback(lambda: calls.append(1))
    socket.close()
    with pytest.warns(UserWarning, match="closed directly"):
        if notice == "closed":
            assert stream.closed()
        elif notice == "close":
            stream.close()
        else:
            args = {"send": [b"x"], "on_recv": [print], "flush": []}[notice]
            with pytest.raises(OSError, match="closed directly"):
                getattr(stream, notice)(*args)
    assert stream.closed()
    assert calls == [1]


@pytest.mark.ours
def test_socket_closed_directly_in_a_callback(backend, expected_log):
    """The loop finds it: that is also logged, as Python shows a warning but once."""
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    got = backend.recorder()

    def callback(message):
        socket.close()
        got.append(message)

    stream.on_recv(callback)
    peer.send(b"1")
    peer.send(b"2")
    backend.wait(got)
    backend.settle()
    assert got == [[b"1"]]
    assert stream.closed()
    backend.expect_errors(UserWarning)  # warnings are errors in these tests
    assert len(expected_log("is attached to a closed socket")) == 1


def test_filters_for_the_warning_find_ours_too(backend):
    socket, _ = backend.pair()
    stream = backend.stream(socket)
    fd = socket.FD
    socket.close()
    with pytest.warns(UserWarning, match=f"^Unregistering FD {fd} after closing socket"):
        stream.close()


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="looks at /proc")
def test_its_descriptor_is_let_go_before_it_is_closed(backend):
    """A closed socket does no harm: its descriptor's number is used again at once."""
    reader, writer = os.pipe()
    got = backend.recorder()
    taken = []

    class Socket(zmq.Socket):
        def close(self, linger=None):
            fd = None if self.closed else self.FD
            super().close(linger)
            if fd is not None:
                gone = time.monotonic() + 20
                while os.path.exists(f"/proc/self/fd/{fd}"):  # a thread of libzmq's closes it
                    assert time.monotonic() < gone
                taken.append(os.dup2(reader, fd))
                backend.loop.add_reader(fd, lambda: got.append(os.read(fd, 1)))

    socket = Socket(backend.context, zmq.PULL)
    stream = backend.stream(socket)
    stream.on_recv(print)
    backend.settle()
    stream.close()
    os.write(writer, b"x")
    backend.wait(got)
    backend.loop.remove_reader(taken[0])
    for fd in (reader, writer, *taken):
        os.close(fd)


@pytest.mark.deviates("pyzmq's new stream then gets nothing")
@pytest.mark.filterwarnings("ignore:.*closed directly")
def test_descriptor_used_again(backend, expected_log):
    """The old stream's end must not take the new stream's descriptor away."""
    for _ in range(5):
        socket, peer = backend.pair()
        old = backend.stream(socket)
        old.on_recv(print)
        backend.settle()
        socket.close()
        peer.close()
        candidates = [backend.pair() for _ in range(8)]
        streams = []
        got = backend.recorder()
        for new, _ in candidates:
            stream = backend.stream(new)
            stream.on_recv(got.append)
            streams.append(stream)
        old.close()
        for _, new_peer in candidates:
            new_peer.send(b"x")
        backend.wait(got, len(candidates))
        for stream in streams:
            stream.close()
    expected_log("is attached to a closed socket", at_least=0)  # where the number was used again


# -- the context is terminated --------------------------------------------------------------------


@pytest.mark.deviates("pyzmq's streams keep the context waiting for ever")
@pytest.mark.parametrize("receiver", [True, False])
def test_context_terminated_by_another_thread(backend, receiver):
    """context.term() returns."""
    streams = [backend.stream(backend.socket(kind)) for kind in (zmq.PULL, zmq.PUB, zmq.DEALER)]
    closed, errors = backend.recorder(), backend.recorder()
    for stream in streams:
        if receiver:
            stream.on_recv(print)
        stream.on_err(errors.append)
        stream.set_close_callback(lambda: closed.append(1))
    thread = threading.Thread(target=backend.context.term)
    backend.loop.call_later(0.01, thread.start)
    backend.wait(closed, 3)
    thread.join(20)
    assert not thread.is_alive()
    assert all(stream.closed() for stream in streams)
    assert [type(e) for e in errors] == [zmq.ContextTerminated] * 3
    for stream in streams:
        stream.close()


@pytest.mark.deviates("pyzmq's streams keep the context waiting for ever")
def test_context_terminated_while_it_sends(backend, expected_log):
    socket = backend.socket(zmq.PUSH)
    stream = backend.stream(socket)
    closed = backend.recorder()
    stream.set_close_callback(lambda: closed.append(1))
    for _ in range(3):
        stream.send(b"x")
    backend.settle()
    thread = threading.Thread(target=backend.context.term)
    thread.start()
    backend.wait(closed)
    thread.join(20)
    assert not thread.is_alive()
    expected_log("3 queued messages")


@pytest.mark.ours
@pytest.mark.parametrize("use", ["flush", "send", "close", "KeyboardInterrupt"])
def test_on_err_may_do_anything_when_the_context_ends(backend, use):
    """It is told after the stream let go of the context."""
    stream = backend.stream(backend.socket(zmq.DEALER))
    errors, closed = backend.recorder(), []

    def on_err(error):
        errors.append(error)
        if use == "KeyboardInterrupt":
            raise KeyboardInterrupt
        getattr(stream, use)(*[b"x"] * (use == "send"))

    stream.on_recv(print)
    stream.on_err(on_err)
    stream.set_close_callback(lambda: closed.append(1))
    thread = threading.Thread(target=backend.context.term)
    thread.start()
    if use == "KeyboardInterrupt":
        with pytest.raises(KeyboardInterrupt):
            backend.loop.run_forever()
    else:
        backend.wait(errors)
    thread.join(20)
    assert not thread.is_alive()
    assert [type(e) for e in errors] == [zmq.ContextTerminated]
    assert closed == [1]
    backend.expect_errors(*[OSError] * (use in ("flush", "send")))


def test_context_destroyed(backend):
    socket, _ = backend.pair()
    stream = backend.stream(socket)
    backend.context.destroy(linger=0)
    if backend.reference:
        stream.close()
        return
    with pytest.warns(UserWarning, match="closed directly"):
        stream.close()
