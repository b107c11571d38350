"""Messages out. Sent as given: what was given is sent, all of it and in order."""

import array
import json
import pickle
import time

import pytest
import zmq


def test_send_and_send_multipart(backend):
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    stream.send(b"one")
    stream.send_multipart([b"two", b"", b"frames"])
    stream.send_multipart((b"a", b"tuple"))
    assert stream.sending()
    backend.drained(stream)
    assert not stream.sending()
    assert peer.recv_multipart() == [b"one"]
    assert peer.recv_multipart() == [b"two", b"", b"frames"]
    assert peer.recv_multipart() == [b"a", b"tuple"]


def test_nothing_is_sent_during_the_call(backend):
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    stream.send(b"x")
    assert stream.sending()
    with pytest.raises(zmq.Again):
        peer.recv(zmq.DONTWAIT)
    backend.drained(stream)
    assert peer.recv() == b"x"


def test_forms_of_send(backend):
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    stream.send_string("grüße")
    stream.send_unicode("grüße", encoding="latin-1")
    stream.send_json({"a": [1, 2]})
    stream.send_pyobj({"a": {1, 2}})
    stream.send_pyobj((1,), protocol=0)
    backend.drained(stream)
    assert peer.recv() == "grüße".encode()
    assert peer.recv() == "grüße".encode("latin-1")
    assert json.loads(peer.recv()) == {"a": [1, 2]}
    assert pickle.loads(peer.recv()) == {"a": {1, 2}}
    assert pickle.loads(peer.recv()) == (1,)


@pytest.mark.parametrize(
    "frame",
    [
        bytearray(b"abc"),
        memoryview(b"abc"),
        array.array("i", [1, 2, 3]),
        memoryview(array.array("d", [1.5, 2.5])),
        zmq.Frame(b"abc"),
        type("Bytes", (bytes,), {})(b"abc"),
    ],
    ids=lambda frame: type(frame).__name__,
)
@pytest.mark.parametrize("copy", [True, False])
def test_bytes_like_frames(backend, frame, copy):
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    stream.send_multipart([frame, frame], copy=copy)
    backend.drained(stream)
    expected = frame.bytes if isinstance(frame, zmq.Frame) else bytes(memoryview(frame))
    assert peer.recv_multipart() == [expected, expected]


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 40, 3000])
@pytest.mark.parametrize("size", [0, 33, 34, 3000])
def test_shapes_of_messages(backend, count, size):
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    message = [(b"%d-" % i).ljust(size, b".") for i in range(count)]
    stream.send_multipart(message)
    stream.send(b"after")
    backend.drained(stream)
    assert peer.recv_multipart() == message
    assert peer.recv_multipart() == [b"after"]


@pytest.mark.deviates("pyzmq sends whatever the object holds when its turn comes")
def test_what_was_given_is_what_is_sent(backend):
    """Sent as given."""
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    message = [b"a", b"b"]
    stream.send_multipart(message)
    message[0] = b"changed"
    message.append(b"added")
    alone = [b"alone"]
    stream.send_multipart(alone)
    alone.clear()
    buffer = bytearray(b"before")
    stream.send(buffer)
    buffer[:] = b"behind"
    numbers = array.array("B", [1, 2])
    stream.send_multipart([numbers, b"x"])
    numbers[0] = 9
    backend.drained(stream)
    assert peer.recv_multipart() == [b"a", b"b"]
    assert peer.recv_multipart() == [b"alone"]
    assert peer.recv() == b"before"
    assert peer.recv_multipart() == [b"\x01\x02", b"x"]


def test_a_generator_is_a_message(backend):
    if backend.reference:
        pytest.skip("pyzmq wants a sequence")
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    stream.send_multipart(b"%d" % i for i in range(3))
    backend.drained(stream)
    assert peer.recv_multipart() == [b"0", b"1", b"2"]


def test_order_under_backpressure(backend):
    socket, peer = backend.pair(zmq.PUSH, zmq.PULL, sndhwm=5, rcvhwm=5)
    stream = backend.stream(socket)
    for i in range(500):
        stream.send_multipart([b"%d" % i, b"x"])
    for i in range(500):
        if i % 4 == 0:
            backend.settle(2)
        while True:
            try:
                message = peer.recv_multipart(zmq.DONTWAIT)
                break
            except zmq.Again:
                backend.settle(2)
        assert message == [b"%d" % i, b"x"]
    assert not stream.sending()


def test_order_while_the_queue_grows_and_shrinks(backend):
    """It grows when it is full, wherever its oldest message is then."""
    socket, peer = backend.pair(zmq.PUSH, zmq.PULL, sndhwm=2, rcvhwm=2)
    stream = backend.stream(socket)
    sent = received = 0

    def receive(count):
        nonlocal received
        for _ in range(count):
            backend.run_until(lambda: peer.poll(0))
            assert peer.recv() == b"%d" % received
            received += 1

    for size in (8, 16, 32, 64):
        while sent - received < size:
            stream.send(b"%d" % sent)
            sent += 1
        receive(size // 2)
        assert stream.sending()
    receive(sent - received)
    backend.drained(stream)


def test_queued_before_there_is_a_peer(backend):
    socket = backend.socket(zmq.PUSH)
    stream = backend.stream(socket)
    for i in range(10):
        stream.send(b"%d" % i)
    backend.settle(10)
    assert stream.sending()
    port = stream.bind_to_random_port("tcp://127.0.0.1")
    peer = backend.socket(zmq.PULL, rcvtimeo=20_000)
    peer.connect(f"tcp://127.0.0.1:{port}")
    backend.drained(stream)
    assert [peer.recv() for _ in range(10)] == [b"%d" % i for i in range(10)]


def test_sends_from_a_callback_go_out_in_the_same_iteration(backend):
    """Echoes need no further turn of the loop. (pyzmq needs one for each.)"""
    if backend.reference:
        pytest.skip("pyzmq's sends each take another iteration")
    a, peer = backend.pair()
    b, other_peer = backend.pair()
    stream, other = backend.stream(a), backend.stream(b)
    left = backend.recorder()

    def callback(message):
        stream.send(b"reply")
        other.send(b"to another")
        backend.loop.call_soon(next_iteration)

    def next_iteration():
        left.append((stream.sending(), other.sending()))

    stream.on_recv(callback)
    for i in range(1, 1001):
        began = time.monotonic()
        peer.send(b"x")
        backend.wait(left, i)
        took = time.monotonic() - began
        backend.drained(stream)
        backend.drained(other)
        assert (peer.recv(), other_peer.recv()) == (b"reply", b"to another")
        if took < 0.001:  # or else a turn may have ended by the clock
            break
    assert took < 0.001, "the machine is too slow to tell"
    assert left[-1] == (False, False)


# -- bad input: the error is at the call, and nothing of the message is queued ---------------------


@pytest.mark.deviates("pyzmq logs an error when the message's turn comes")
@pytest.mark.parametrize("bad", ["text", 5, None, 1.5, object(), ["nested"], {b"a": 1}])
@pytest.mark.parametrize("copy", [True, False])
def test_frames_that_cannot_be_sent(backend, bad, copy):
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    with pytest.raises(TypeError, match=rf"frame 2 is {type(bad).__name__}"):
        stream.send_multipart([b"a", b"b", bad, b"d"], copy=copy)
    with pytest.raises(TypeError, match=rf"frame 0 is {type(bad).__name__}"):
        stream.send(bad, copy=copy)
    assert not stream.sending()
    stream.send(b"good")
    backend.drained(stream)
    assert peer.recv_multipart() == [b"good"]


@pytest.mark.deviates("pyzmq logs an error when the message's turn comes")
@pytest.mark.parametrize(
    ("message", "error", "match"),
    [
        ([], ValueError, "at least one frame"),
        (b"bytes", TypeError, "a list of frames, not bytes"),
        ("text", TypeError, "a list of frames, not str"),
        (None, TypeError, "a list of frames, not NoneType"),
        (7, TypeError, "a list of frames, not int"),
    ],
)
def test_messages_that_are_none(backend, message, error, match):
    socket, _ = backend.pair()
    stream = backend.stream(socket)
    with pytest.raises(error, match=match):
        stream.send_multipart(message)
    assert not stream.sending()


@pytest.mark.deviates("pyzmq asserts, or finds out later")
def test_not_callable(backend):
    socket, _ = backend.pair()
    stream = backend.stream(socket)
    for register in (
        stream.on_recv, stream.on_recv_stream, stream.on_send, stream.on_send_stream,
        stream.on_err, stream.set_close_callback, lambda c: stream.send(b"x", callback=c),
        lambda c: stream.send_multipart([b"x"], callback=c),
    ):  # fmt: skip
        for kind in (TypeError, AssertionError):
            with pytest.raises(kind, match="callable"):
                register("not callable")
    assert not stream.sending()
    assert not stream.receiving()


@pytest.mark.deviates("pyzmq finds out when the message's turn comes")
def test_track_needs_a_tracked_frame(backend):
    socket, _ = backend.pair()
    stream = backend.stream(socket)
    with pytest.raises(ValueError, match=r"frame 1.*not a tracked message"):
        stream.send_multipart([b"x", zmq.Frame(b"y" * 100_000)], copy=False, track=True)
    assert not stream.sending()


def test_send_string_wants_a_str(backend):
    stream = backend.stream(backend.socket(zmq.PUSH))
    with pytest.raises(TypeError):
        stream.send_string(b"bytes")


@pytest.mark.ours
def test_unknown_keywords_are_told(backend):
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    with pytest.warns(RuntimeWarning, match="colour"):
        stream.send_multipart([b"x"], colour="red")
    with pytest.warns(RuntimeWarning, match="colour"):
        stream.send(b"y", colour="red")
    backend.drained(stream)
    assert (peer.recv(), peer.recv()) == (b"x", b"y")
