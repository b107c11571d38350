"""Close loses as little as possible: close() loses as little as libzmq allows."""

import asyncio
import gc
import os
import weakref

import pytest
import zmq


@pytest.mark.deviates("pyzmq drops what is queued")
def test_queued_messages_are_handed_over(backend):
    socket, peer = backend.pair(transport="tcp", sndhwm=0, rcvhwm=0)
    stream = backend.stream(socket)
    socket.linger = 10_000
    for i in range(1000):
        stream.send_multipart([b"%d" % i, b"x"])
    stream.close()
    assert [peer.recv_multipart() for _ in range(1000)] == [[b"%d" % i, b"x"] for i in range(1000)]


@pytest.mark.deviates("pyzmq drops what is queued")
def test_linger_of_close_applies_to_them(backend):
    socket, peer = backend.pair(transport="tcp")
    stream = backend.stream(socket)
    stream.send(b"x")
    stream.close(linger=10_000)
    assert peer.recv() == b"x"


@pytest.mark.deviates("pyzmq drops what is queued")
def test_queued_messages_are_handed_to_a_peer_that_has_just_come(backend):
    """libzmq itself looks for new peers at most once in a millisecond when it sends."""
    for _ in range(20):
        socket, peer = backend.socket(zmq.PUSH), backend.socket(zmq.PULL, rcvtimeo=20_000)
        socket.bind(backend.address())
        stream = backend.stream(socket)
        stream.send(b"x")
        assert stream.flush() == 0
        peer.connect(socket.last_endpoint.decode())
        stream.close()
        assert peer.recv() == b"x"


@pytest.mark.deviates("pyzmq drops what is queued without a word")
def test_what_cannot_be_handed_over_is_reported(backend, expected_log):
    socket = backend.socket(zmq.PUSH)
    stream = backend.stream(socket)
    for _ in range(7):
        stream.send(b"x")
    stream.close()
    [record] = expected_log("7 queued messages")
    assert "ZMQStream(zmq.PUSH)" in record.getMessage()


@pytest.mark.ours
def test_messages_for_refusing_peers_are_reported(backend, expected_log):
    router, peer = backend.router(b"there", hwm=1)
    stream = backend.stream(router)
    for i in range(10):
        stream.send_multipart([b"there", b"%d" % i])
    stream.send_multipart([b"nobody", b"x"])
    backend.settle()
    expected_log("could not be sent")  # nobody
    taken = 0
    while peer.poll(0):
        peer.recv()
        taken += 1
    stream.close()
    [record] = expected_log("queued messages")
    lost = int(record.getMessage().split(": ")[1].split()[0])
    while peer.poll(100):
        peer.recv()
        taken += 1
    assert 0 < lost < 10
    assert taken + lost == 10


def test_close_is_idempotent_and_calls_its_callback_once(backend):
    stream = backend.stream(backend.socket(zmq.PULL))
    socket = stream.socket
    calls = []
    stream.set_close_callback(lambda: calls.append(1))
    stream.close()
    stream.close()
    assert calls == [1]
    assert stream.closed()
    assert socket.closed
    assert stream.socket is None


def test_use_after_close(backend):
    stream = backend.stream(backend.socket(zmq.PAIR))
    stream.close()
    for use in (
        lambda: stream.on_recv(print), lambda: stream.on_send(print), lambda: stream.send(b"x"),
        lambda: stream.send_multipart([b"x"]), lambda: stream.send_json(1), stream.flush,
        lambda: stream.send_string("x"), lambda: stream.send_pyobj(1),
        lambda: stream.on_recv_stream(print), lambda: stream.on_send_stream(print),
        stream.stop_on_recv,
    ):  # fmt: skip
        with pytest.raises(OSError, match="Stream is closed"):
            use()
    assert not stream.sending() or backend.reference
    assert stream.closed()
    stream.close()


@pytest.mark.ours
def test_socket_methods_after_close(backend):
    stream = backend.stream(backend.socket(zmq.PAIR))
    stream.close()
    for name in ("bind", "connect", "getsockopt", "setsockopt", "unbind", "get"):
        with pytest.raises(OSError, match="Stream is closed"):
            getattr(stream, name)


def test_close_in_its_own_callback(backend):
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    got = backend.recorder()

    def callback(message):
        stream.close()
        got.append(message)

    stream.on_recv(callback)
    for _ in range(5):
        peer.send(b"x")
    backend.wait(got)
    backend.settle()
    assert got == [[b"x"]]


def test_close_in_on_send(backend):
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    sent = backend.recorder()

    def callback(msg, status):
        stream.close()
        sent.append(msg)

    stream.on_send(callback)
    stream.send(b"1")
    stream.send(b"2")
    backend.wait(sent)
    backend.settle()
    assert sent == [[b"1"]]


def test_close_in_another_streams_callback(backend):
    pairs = [backend.pair() for _ in range(5)]
    streams = [backend.stream(socket) for socket, _ in pairs]
    got = backend.recorder()

    def close_all(message):
        for stream in streams:
            stream.close()
        got.append(message)

    for stream in streams:
        stream.on_recv(close_all)
    for _, peer in pairs:
        peer.send(b"x")
    backend.wait(got)
    backend.settle()
    assert got == [[b"x"]]
    assert all(stream.closed() for stream in streams)


def test_close_callback_may_open_a_new_stream(backend):
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    got = backend.recorder()

    def again():
        new_socket, new_peer = backend.pair()
        backend.stream(new_socket).on_recv(got.append)
        new_peer.send(b"x")

    stream.set_close_callback(again)
    stream.close()
    backend.wait(got)
    assert got == [[b"x"]]


@pytest.mark.deviates("pyzmq's close() raises what its callback raises")
def test_exception_of_the_close_callback(backend):
    stream = backend.stream(backend.socket(zmq.PULL))

    def fail():
        raise ValueError("close")

    stream.set_close_callback(fail)
    stream.close()
    [context] = backend.expect_errors(ValueError)
    assert context["stream"] is stream


@pytest.mark.ours
def test_no_other_callback_runs_afterwards(backend, expected_log):
    socket = backend.socket(zmq.PUSH)
    stream = backend.stream(socket)
    calls = []
    stream.on_send(lambda *args: calls.append("send"))
    stream.on_err(lambda *args: calls.append("err"))
    stream.send(b"x", callback=lambda *args: calls.append("own"))
    stream.set_close_callback(lambda: calls.append("close"))
    stream.close()
    backend.settle()
    assert calls == ["close"]
    expected_log("1 queued messages")


@pytest.mark.ours
def test_linger_must_be_a_number(backend):
    stream = backend.stream(backend.socket(zmq.PULL))
    with pytest.raises(TypeError, match="linger"):
        stream.close(linger="long")
    with pytest.raises(OverflowError):
        stream.close(linger=2**40)
    assert not stream.closed()


# -- what is left ---------------------------------------------------------------------------------


@pytest.mark.ours
def test_streams_are_collected_after_close(backend):
    """Nothing leaks."""
    references = []
    for _ in range(20):
        socket, peer = backend.pair()
        stream = backend.stream(socket)
        stream.on_recv(lambda message, stream=stream: None)
        stream.send(b"x", callback=lambda *args, stream=stream: None)
        stream.flush()
        stream.socket.getsockopt(zmq.EVENTS)
        references.append(weakref.ref(stream))
        stream.close()
        backend.streams.remove(stream)
    del stream
    backend.settle()
    gc.collect()
    assert [reference() for reference in references] == [None] * 20


@pytest.mark.ours
@pytest.mark.parametrize(
    "register",
    ["on_recv", "on_recv_stream", "on_recv_batch", "on_send", "on_send_stream", "on_err",
     "on_drain", "set_close_callback"],
)  # fmt: skip
def test_a_closed_stream_keeps_no_callback(backend, register):
    socket, _peer = backend.pair()
    stream = backend.stream(socket)

    def callback(*args):
        pass

    reference = weakref.ref(callback)
    getattr(stream, register)(callback)
    del callback
    stream.close()
    gc.collect()
    assert reference() is None


@pytest.mark.ours
def test_an_open_stream_is_kept_by_its_loop(backend):
    socket, peer = backend.pair()
    got = backend.recorder()
    stream = backend.stream(socket)
    stream.on_recv(got.append)
    reference = weakref.ref(stream)
    del stream
    backend.streams.clear()
    gc.collect()
    peer.send(b"x")
    backend.wait(got)
    reference().close()


@pytest.mark.ours
def test_descriptors_do_not_leak(backend):
    def open_fds():
        return len(os.listdir("/proc/self/fd"))

    def cycle():
        for _ in range(10):
            socket, peer = backend.pair()
            stream = backend.stream(socket)
            stream.on_recv(print)
            backend.settle(1)
            stream.close()
            peer.close()
            backend.streams.clear()
            backend.sockets.clear()

    cycle()
    keeper = zmq.Context()  # closing is asynchronous: a fresh context's term waits for its sockets
    keeper.term()
    backend.run_until(lambda: True)
    before = open_fds()
    for _ in range(5):
        cycle()
    backend.run_until(lambda: open_fds() <= before + 2)


@pytest.mark.ours
def test_a_closed_loop_orphans_its_streams(backend):
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    got = []
    stream.on_recv(got.append)
    backend.loop.close()
    for use in (lambda: stream.send(b"x"), lambda: stream.on_recv(print)):
        with pytest.raises(RuntimeError, match="closed"):
            use()
    assert not stream.sending()
    peer.send(b"x")
    assert stream.flush() == 1
    assert got == [[b"x"]]
    stream.close()
    assert stream.closed()


@pytest.mark.ours
def test_tasks_of_coroutine_callbacks_go_on_after_close(backend):
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    done = backend.recorder()

    async def callback(message):
        stream.close()
        await asyncio.sleep(0)
        done.append(message)

    stream.on_recv(callback)
    peer.send(b"x")
    backend.wait(done)
    assert done == [[b"x"]]
