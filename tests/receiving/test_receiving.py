"""Messages in. Nothing lost, doubled or reordered: whole, in order, once."""

import sys

import pytest
import zmq


def test_messages_are_lists_of_bytes(backend):
    socket, peer = backend.pair()
    got = backend.recorder()
    backend.stream(socket).on_recv(got.append)
    peer.send(b"alone")
    peer.send_multipart([b"a", b"", b"c" * 1000])
    backend.wait(got, 2)
    assert got == [[b"alone"], [b"a", b"", b"c" * 1000]]
    assert all(type(m) is list and all(type(f) is bytes for f in m) for m in got)


@pytest.mark.parametrize("size", [0, 1, 29, 33, 34, 35, 8192, 100_000, 5_000_000])
def test_frames_of_any_size(backend, size):
    socket, peer = backend.pair(transport="tcp")
    got = backend.recorder()
    backend.stream(socket).on_recv(got.append)
    frame = bytes(range(256)) * (size // 256 + 1)
    peer.send_multipart([frame[:size], b"end"])
    backend.wait(got)
    assert got == [[frame[:size], b"end"]]


@pytest.mark.parametrize("count", [2, 15, 16, 17, 100, 5000])
def test_many_frames(backend, count):
    socket, peer = backend.pair()
    got = backend.recorder()
    backend.stream(socket).on_recv(got.append)
    message = [b"%d" % i for i in range(count)]
    peer.send_multipart(message)
    backend.wait(got)
    assert got == [message]


def test_copy_false_gives_frames(backend):
    socket, peer = backend.pair()
    got = backend.recorder()
    backend.stream(socket).on_recv(got.append, copy=False)
    big = b"x" * 70_000
    peer.send_multipart([b"small", big])
    peer.send(b"next")
    backend.wait(got, 2)
    small, large = got[0]
    assert type(small) is zmq.Frame
    assert (small.bytes, large.bytes) == (b"small", big)
    assert (small.more, large.more) == (True, False)
    assert bytes(small.buffer) == b"small"
    assert large.get(zmq.MORE) == 0
    assert len(large) == len(big)
    assert got[1][0].bytes == b"next"


def test_frames_carry_their_metadata(backend):
    socket, peer = backend.pair(transport="tcp")
    got = backend.recorder()
    backend.stream(socket).on_recv(got.append, copy=False)
    peer.send(b"x")
    backend.wait(got)
    assert got[0][0].get("Peer-Address") == "127.0.0.1"


def test_received_frames_can_be_sent_on(backend):
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    stream.on_recv(stream.send_multipart, copy=False)
    peer.send_multipart([b"a", b"b" * 10_000])
    backend.drained_echo = backend.recorder()
    stream.on_send(lambda msg, status: backend.drained_echo.append(msg))
    backend.wait(backend.drained_echo)
    assert peer.recv_multipart() == [b"a", b"b" * 10_000]


def test_order_and_number_of_a_flood(backend):
    socket, peer = backend.pair(transport="tcp", rcvhwm=0, sndhwm=0)
    got = backend.recorder()
    backend.stream(socket).on_recv(got.append)
    count = 300 if backend.reference else 20_000
    for i in range(count):
        peer.send_multipart([b"%d" % i, b"x"])
    backend.wait(got, count)
    assert got == [[b"%d" % i, b"x"] for i in range(count)]


def test_messages_from_before_the_stream_and_the_callback(backend):
    socket, peer = backend.pair()
    for i in range(5):
        peer.send(b"%d" % i)
    stream = backend.stream(socket)
    backend.settle()
    got = backend.recorder()
    stream.on_recv(got.append)
    backend.wait(got, 5)
    assert got == [[b"%d" % i] for i in range(5)]


def test_messages_that_come_between_two_runs_of_the_loop(backend):
    socket, peer = backend.pair()
    got = backend.recorder()
    backend.stream(socket).on_recv(got.append)
    for i in range(3):
        peer.send(b"%d" % i)
        backend.wait(got, i + 1)
    assert got == [[b"0"], [b"1"], [b"2"]]


def test_on_recv_stream_gets_the_stream(backend):
    got = backend.recorder()
    pairs = [backend.pair() for _ in range(3)]
    streams = [backend.stream(socket) for socket, _ in pairs]
    for stream in streams:
        stream.on_recv_stream(lambda stream, msg: got.append((stream, msg)))
    for i, (_, peer) in enumerate(pairs):
        peer.send(b"%d" % i)
    backend.wait(got, 3)
    assert sorted(got, key=lambda g: g[1]) == [(s, [b"%d" % i]) for i, s in enumerate(streams)]


def test_receiving_tells_whether_there_is_a_callback(backend):
    stream = backend.stream(backend.socket(zmq.PULL))
    assert not stream.receiving()
    stream.on_recv(print)
    assert stream.receiving()
    stream.stop_on_recv()
    assert not stream.receiving()
    stream.on_recv_stream(print)
    assert stream.receiving()
    stream.on_recv_stream(None)
    assert not stream.receiving()


def test_a_message_the_user_keeps_is_not_touched_again(backend):
    """Our core uses the list of a message again if nobody kept it."""
    socket, peer = backend.pair()
    kept = backend.recorder()
    backend.stream(socket).on_recv(kept.append)
    for i in range(10):
        peer.send(b"%d" % i)
    backend.wait(kept, 10)
    assert len({id(message) for message in kept}) == 10
    assert kept == [[b"%d" % i] for i in range(10)]


def test_callbacks_may_change_their_message(backend):
    socket, peer = backend.pair()
    seen = backend.recorder()
    changes = iter([list.clear, lambda m: m.append(b"more"), lambda m: m.__setitem__(0, None), len])

    def callback(message):
        seen.append(list(message))
        next(changes, len)(message)

    backend.stream(socket).on_recv(callback)
    for i in range(6):
        peer.send(b"%d" % i)
    backend.wait(seen, 6)
    assert seen == [[b"%d" % i] for i in range(6)]


@pytest.mark.ours
def test_no_reference_to_a_message_is_kept(backend):
    """Nothing leaks: no reference is kept until the next message, or the turn's end."""
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    counts = backend.recorder()
    frame = None

    def callback(message):
        nonlocal frame
        frame = message[0]
        stream.send(b"x", callback=count)  # called right after this callback, in the same turn

    def count(msg, status):
        counts.append(sys.getrefcount(frame))

    stream.on_recv(callback)
    for _ in range(4):
        peer.send(b"x" * 100)
    backend.wait(counts, 4)
    assert counts == [2] * 4  # `frame`, and getrefcount's argument


def test_bound_methods_partials_and_builtins(backend):
    import functools

    class Receiver:
        def __init__(self):
            self.got = backend.recorder()

        def receive(self, message):
            self.got.append(message)

    receiver = Receiver()
    for callback in (
        receiver.receive,
        functools.partial(Receiver.receive, receiver),
        receiver.got.append,
        lambda message: receiver.got.append(message),
    ):
        socket, peer = backend.pair()
        backend.stream(socket).on_recv(callback)
        peer.send(b"x")
        before = len(receiver.got)
        backend.wait(receiver.got, before + 1)
    assert receiver.got == [[b"x"]] * 4
