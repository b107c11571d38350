"""flush() is exact: flush(flag, limit) is exact."""

import pytest
import zmq

from zmqstream import MessageDropped
from zmqstream.eventloop import reactor_of

IN, OUT, BOTH = zmq.POLLIN, zmq.POLLOUT, zmq.POLLIN | zmq.POLLOUT


def filled(backend, count=10):
    """A stream with `count` messages to receive, and its peer."""
    socket, peer = backend.pair(sndhwm=0, rcvhwm=0)
    for i in range(count):
        peer.send(b"%d" % i)
    stream = backend.stream(socket)
    got = backend.recorder()
    stream.on_recv(got.append)
    return stream, peer, got


def messages(numbers):
    return [[b"%d" % i] for i in numbers]


def test_flush_receives_everything(backend):
    stream, peer, got = filled(backend)
    assert stream.flush() == 10
    assert got == messages(range(10))
    assert stream.flush() == 0


def test_flush_sends_everything(backend):
    stream, peer, got = filled(backend, 0)
    for i in range(10):
        stream.send(b"%d" % i)
    assert stream.flush() == 10
    assert not stream.sending()
    assert [peer.recv() for _ in range(10)] == [b"%d" % i for i in range(10)]


def test_only_the_kinds_in_flag(backend):
    stream, peer, got = filled(backend, 3)
    for i in range(4):
        stream.send(b"%d" % i)
    assert stream.flush(OUT) == 4
    assert got == []
    stream.send(b"4")
    assert stream.flush(IN) == 3
    assert stream.sending()
    assert stream.flush(BOTH) == 1
    assert [peer.recv() for _ in range(5)] == [b"%d" % i for i in range(5)]


def test_truth_of_the_result(backend):
    """ipykernel-like programs ask `while stream.flush(zmq.POLLIN)`."""
    stream, peer, got = filled(backend, 1)
    assert stream.flush(IN)
    assert not stream.flush(IN)
    assert not stream.flush(0)


@pytest.mark.parametrize("limit", [1, 3, 10, 11])
def test_limit(backend, limit):
    stream, peer, got = filled(backend)
    assert stream.flush(limit=limit) == min(limit, 10)
    assert got == messages(range(min(limit, 10)))
    assert stream.flush() == 10 - min(limit, 10)
    assert got == messages(range(10))


@pytest.mark.deviates("pyzmq checks the limit after each pair of a receive and a send")
@pytest.mark.parametrize("limit", range(1, 12))
def test_limit_counts_receives_and_sends_together(backend, limit):
    stream, peer, got = filled(backend, 5)
    sent = []
    stream.on_send(lambda msg, status: sent.append(msg))
    for i in range(5):
        stream.send(b"%d" % i)
    assert stream.flush(limit=limit) == min(limit, 10)
    assert len(got) + len(sent) == min(limit, 10)
    assert stream.flush() == 10 - min(limit, 10)
    assert got == sent == messages(range(5))


@pytest.mark.deviates("pyzmq takes 0 for no limit")
def test_limit_of_none(backend):
    stream, peer, got = filled(backend, 5)
    assert stream.flush(limit=0) == 0
    assert got == []
    with pytest.raises(ValueError, match="-1"):
        stream.flush(limit=-1)
    assert stream.flush(limit=10**30) == 5


def test_what_the_limit_left_is_delivered_by_the_loop(backend):
    stream, peer, got = filled(backend)
    for i in range(10):
        stream.send(b"%d" % i)
    stream.flush(limit=5)
    backend.wait(got, 10)
    assert got == messages(range(10))
    backend.drained(stream)
    assert [peer.recv() for _ in range(10)] == [b"%d" % i for i in range(10)]


@pytest.mark.ours
def test_what_the_limit_left_waits_for_no_sweep(backend, throttled):
    """flush() swallows the edge itself, and knows it."""
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    got = backend.recorder()
    stream.on_recv(got.append)
    peer.send(b"warm")
    backend.wait(got)
    backend.settle()
    before = reactor_of(backend.loop).repaired
    for i in range(10):
        peer.send(b"%d" % i)
    throttled()
    assert stream.flush(limit=5) == 5
    backend.wait(got, 11)
    assert reactor_of(backend.loop).repaired == before


@pytest.mark.deviates("pyzmq waits in flush for a peer that refuses")
def test_what_a_flush_left_to_a_stalled_peer_arrives(backend):
    """It is tried again when the peer has made room, although nothing else is sent."""
    router, peer = backend.router(b"peer", hwm=2)
    stream = backend.stream(router)
    for i in range(20):
        stream.send_multipart([b"peer", b"%d" % i])
    assert 0 < stream.flush(zmq.POLLOUT) < 20
    for i in range(20):
        backend.run_until(lambda: peer.poll(0))
        assert peer.recv() == b"%d" % i
    backend.drained(stream)


@pytest.mark.ours
def test_what_a_flush_left_to_a_stalled_peer_arrives_though_nothing_tells_of_room(
    backend, throttled
):
    router, peer = backend.router(b"peer", hwm=2)
    stream = backend.stream(router)
    for i in range(8):
        stream.send_multipart([b"peer", b"%d" % i])
    left = 8 - stream.flush(zmq.POLLOUT)
    assert left > 0
    backend.settle()
    assert [peer.recv() for _ in range(8 - left)] == [b"%d" % i for i in range(8 - left)]
    throttled()
    router.getsockopt(zmq.EVENTS)  # swallows that the peer has room
    backend.run_until(lambda: peer.poll(0))
    assert peer.recv() == b"%d" % (8 - left)


def test_without_a_receiver_messages_are_dropped(backend):
    stream, peer, got = filled(backend)
    stream.on_recv(None)
    assert stream.flush(limit=4) == 4
    stream.on_recv(got.append)
    backend.wait(got, 6)
    assert got == messages(range(4, 10))


@pytest.mark.deviates("pyzmq drops what comes after on_recv(None) in a flush")
def test_pause_in_a_flush_drops_nothing(backend):
    stream, peer, got = filled(backend)

    def pause(message):
        got.append(message)
        if len(got) == 3:
            stream.on_recv(None)

    stream.on_recv(pause)
    assert stream.flush() == 3
    stream.on_recv(got.append)
    assert stream.flush() == 7
    assert got == messages(range(10))


def test_replaced_callback_in_a_flush(backend):
    stream, peer, got = filled(backend, 4)
    old, new = [], []

    def callback(message):
        old.append(message)
        stream.on_recv(new.append)

    stream.on_recv(callback)
    assert stream.flush() == 4
    assert (old, new) == (messages([0]), messages([1, 2, 3]))


def test_multipart_and_frames(backend):
    stream, peer, got = filled(backend, 0)
    stream.on_recv(got.append, copy=False)
    peer.send_multipart([b"a", b"b", b"c"])
    assert stream.flush() == 1
    assert [f.bytes for f in got[0]] == [b"a", b"b", b"c"]


def test_on_recv_stream_in_a_flush(backend):
    stream, peer, got = filled(backend, 1)
    stream.on_recv_stream(lambda stream, msg: got.append((stream, msg)))
    assert stream.flush() == 1
    assert got == [(stream, [b"0"])]


@pytest.mark.ours
def test_slow_callbacks_in_a_flush_are_logged_in_debug_mode(backend, expected_log, monkeypatch):
    monkeypatch.setenv("ZMQSTREAM_DEBUG", "1")
    backend.loop.slow_callback_duration = 0
    stream, _peer, got = filled(backend, 1)
    stream.on_recv(got.append)
    assert stream.flush() == 1
    expected_log("the on_recv callback took ")


@pytest.mark.ours
def test_a_flush_tells_of_what_was_dropped(backend):
    """It has an outcome already, and counts as nothing that the flush has handled."""
    stream = backend.stream(backend.socket(zmq.PUSH))
    stream.set_write_buffer_limits(1, policy="drop_oldest")
    told = []
    stream.on_send(lambda message, status: told.append((message, type(status))))
    stream.send(b"1")
    stream.send(b"2")
    assert told == []
    assert stream.flush(zmq.POLLIN) == 0
    assert told == []
    assert stream.flush(zmq.POLLOUT) == 0
    assert told == [([b"1"], MessageDropped)]


@pytest.mark.deviates("pyzmq's flush in a callback of flush never returns")
def test_flush_in_a_callback_of_flush(backend):
    stream, peer, got = filled(backend)
    counts = []

    def callback(message):
        got.append(message)
        counts.append(stream.flush(limit=2) if len(got) < 4 else 0)

    stream.on_recv(callback)
    total = stream.flush()
    assert got == messages(range(10))
    assert total + sum(counts) == 10


@pytest.mark.deviates("pyzmq's flush in a callback of flush never returns")
def test_flush_in_on_send(backend):
    stream, peer, got = filled(backend, 3)
    sent = []

    def on_send(msg, status):
        sent.append(msg)
        stream.flush()

    stream.on_send(on_send)
    for i in range(5):
        stream.send(b"%d" % i)
    stream.flush()
    assert sent == messages(range(5))
    assert got == messages(range(3))


def test_flush_in_a_callback_of_the_loop(backend):
    stream, peer, got = filled(backend, 100)

    def callback(message):
        got.append(message)
        if len(got) == 1:
            assert stream.flush(limit=50) == 50

    stream.on_recv(callback)
    backend.wait(got, 100)
    assert got == messages(range(100))


def test_flush_of_another_stream(backend):
    stream, peer, got = filled(backend, 100)
    other, other_peer, other_got = filled(backend, 1)

    def callback(message):
        other_got.append(message)
        stream.flush(limit=30)

    other.on_recv(callback)
    backend.wait(got, 100)
    backend.wait(other_got)
    assert got == messages(range(100))


@pytest.mark.deviates("pyzmq logs the exception as well")
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_exceptions_reach_the_caller_and_the_rest_stays(backend, error):
    stream, peer, got = filled(backend)

    def callback(message):
        got.append(message)
        if len(got) in (3, 5):
            raise error("from a callback")

    stream.on_recv(callback)
    with pytest.raises(error, match="from a callback"):
        stream.flush()
    assert got == messages(range(3))
    with pytest.raises(error, match="from a callback"):
        stream.flush(limit=4)
    assert got == messages(range(5))
    backend.wait(got, 10)
    assert got == messages(range(10))


@pytest.mark.deviates("pyzmq logs the exception as well")
def test_exceptions_of_on_send_reach_the_caller(backend):
    stream, peer, got = filled(backend, 0)

    def on_send(msg, status):
        if msg == [b"1"]:
            raise ValueError("from on_send")

    stream.on_send(on_send)
    for i in range(4):
        stream.send(b"%d" % i)
    with pytest.raises(ValueError, match="from on_send"):
        stream.flush()
    assert stream.sending()
    backend.drained(stream)
    assert [peer.recv() for _ in range(4)] == [b"%d" % i for i in range(4)]


def test_flush_does_not_wait_for_room(backend):
    socket = backend.socket(zmq.PUSH)
    stream = backend.stream(socket)
    stream.send(b"nobody there")
    assert stream.flush() == 0
    assert stream.sending()


def test_flush_of_a_closed_stream(backend):
    stream, peer, got = filled(backend)
    stream.close()
    with pytest.raises(OSError, match="Stream is closed"):
        stream.flush()


def test_close_in_a_flush(backend):
    stream, peer, got = filled(backend)

    def callback(message):
        got.append(message)
        stream.close()

    stream.on_recv(callback)
    assert stream.flush() == 1
    assert got == messages([0])
    assert stream.closed()


@pytest.mark.ours
def test_flush_after_its_loop_was_closed(backend):
    stream, peer, got = filled(backend, 4)
    stream.send(b"x")
    backend.loop.close()
    assert stream.flush() == 5
    assert got == messages(range(4))
    stream.close()


def test_flush_to_a_peer_that_has_just_come(backend):
    """libzmq itself looks for new peers at most once in a millisecond when it sends."""
    for _ in range(20):
        socket, peer = backend.socket(zmq.PUSH), backend.socket(zmq.PULL)
        socket.bind(backend.address())
        stream = backend.stream(socket)
        stream.send(b"x")
        assert stream.flush() == 0
        peer.connect(socket.last_endpoint.decode())
        assert stream.flush() == 1
        assert peer.recv() == b"x"


@pytest.mark.ours
def test_close_in_on_send_in_a_flush_counts(backend):
    stream, peer, got = filled(backend, 0)
    stream.send(b"1", callback=lambda msg, status: stream.close())
    stream.send(b"2")
    assert stream.flush() == 1


@pytest.mark.deviates("pyzmq waits for POLLOUT")
@pytest.mark.parametrize("kind", ["REP", "ROUTER"])
@pytest.mark.parametrize("how", ["limit", "exception"])
def test_what_would_fail_is_not_forgotten(backend, kind, how):
    """POLLOUT never shows for these, and still each has its outcome."""
    socket = backend.socket(getattr(zmq, kind))
    if kind == "ROUTER":
        socket.router_mandatory = True
    stream = backend.stream(socket)
    told = backend.recorder()

    def on_send(msg, status):
        told.append(status.errno)
        if how == "exception" and len(told) == 1:
            raise KeyboardInterrupt

    stream.on_send(on_send)
    for _ in range(5):
        stream.send_multipart([b"nobody", b"x"])
    if how == "limit":
        assert stream.flush(limit=1) == 1
    else:
        with pytest.raises(KeyboardInterrupt):
            backend.loop.run_forever()
    backend.wait(told, 5)
    assert told == [zmq.EHOSTUNREACH if kind == "ROUTER" else zmq.EFSM] * 5
