"""Never deaf: what has arrived is delivered, whatever was done before.

`throttled()` waits out libzmq's command throttle before each raw call: see conftest.py. Nothing
here runs a timer that would wake the loop and hide a lost edge: `backend.wait` only waits for the
messages.
"""

import asyncio
import socket as sockets
import time

import pytest
import zmq

from support.traffic import listening


def touch_send(socket):
    socket.send(b"raw", zmq.DONTWAIT)


def touch_events(socket):
    socket.getsockopt(zmq.EVENTS)


def touch_poll(socket):
    socket.poll(0)


def touch_poller(socket):
    poller = zmq.Poller()
    poller.register(socket, zmq.POLLIN | zmq.POLLOUT)
    poller.poll(0)


def touch_shadow(socket):
    shadow = zmq.Socket(shadow=socket.underlying)
    shadow.send(b"raw", zmq.DONTWAIT)


def touch_recv(socket):
    """Takes a message, and leaves the others."""
    socket.recv(zmq.DONTWAIT)


TOUCHES = [touch_send, touch_recv, touch_events, touch_poll, touch_poller, touch_shadow]

deaf = pytest.mark.deviates("pyzmq's stream is deaf after that")


@pytest.fixture(params=TOUCHES, ids=lambda touch: touch.__name__)
def touch(request):
    return request.param


def arrive(peer, touch, message):
    """`message` arrives, and before it what a raw receive takes."""
    if touch is touch_recv:
        peer.send(b"for the raw receive")
    peer.send(message)


@deaf
def test_touched_between_two_runs(backend, touch, others, throttled):
    stream, socket, peer, got = listening(backend)
    for _ in range(3):
        throttled()
        arrive(peer, touch, b"x")
        touch(socket)
        backend.wait(got)
        got.clear()


@deaf
def test_touched_in_a_timer(backend, touch, others, throttled):
    stream, socket, peer, got = listening(backend)

    def timer():
        throttled()
        arrive(peer, touch, b"x")
        touch(socket)

    backend.loop.call_later(0.001, timer)
    backend.wait(got)


@deaf
def test_touched_in_a_task(backend, touch, others, throttled):
    stream, socket, peer, got = listening(backend)

    async def main():
        await asyncio.sleep(0)
        throttled()
        arrive(peer, touch, b"x")
        touch(socket)

    task = backend.loop.create_task(main())
    backend.wait(got)
    backend.run(asyncio.wait([task]))


@deaf
def test_touched_in_its_own_callback(backend, touch, others, throttled):
    stream, socket, peer, got = listening(backend)

    def callback(message):
        got.append(message)
        if len(got) == 1:
            throttled()
            arrive(peer, touch, b"second")
            touch(socket)

    stream.on_recv(callback)
    peer.send(b"first")
    backend.wait(got, 2)
    assert got == [[b"first"], [b"second"]]


@deaf
def test_touched_in_another_streams_callback(backend, touch, others, throttled):
    stream, socket, peer, got = listening(backend)
    other, _, other_peer, _ = listening(backend)

    def callback(message):
        throttled()
        arrive(peer, touch, b"x")
        touch(socket)

    other.on_recv(callback)
    other_peer.send(b"go")
    backend.wait(got)


@deaf
def test_touched_in_on_send(backend, touch, others, throttled):
    stream, socket, peer, got = listening(backend)

    def callback(msg, status):
        throttled()
        arrive(peer, touch, b"x")
        touch(socket)

    stream.send(b"go", callback=callback)
    backend.wait(got)


@deaf
def test_touched_in_a_coroutine_callback(backend, touch, others, throttled):
    stream, socket, peer, got = listening(backend)

    async def callback(message):
        got.append(message)
        await asyncio.sleep(0)
        if len(got) == 1:
            throttled()
            arrive(peer, touch, b"second")
            touch(socket)

    stream.on_recv(callback)
    peer.send(b"first")
    backend.wait(got, 2)


@deaf
def test_touched_through_the_stream(backend, others, throttled):
    """ipykernel's way: `stream.socket`, and the methods that are the socket's."""
    stream, socket, peer, got = listening(backend)
    for touch in (
        lambda: stream.getsockopt(zmq.EVENTS),
        lambda: stream.socket.send(b"raw"),
        lambda: stream.socket.poll(0),
        lambda: stream.get(zmq.EVENTS),
        lambda: stream.setsockopt(zmq.LINGER, 0),
        lambda: stream.connect(backend.address("inproc")),
    ):
        throttled()
        peer.send(b"x")
        touch()
        backend.wait(got)
        got.clear()


@deaf
def test_touched_through_the_stream_is_repaired_at_once(backend, others, throttled):
    """Whoever takes `stream.socket` is looked after before the next sweep of all, however many."""
    stream, socket, peer, got = listening(backend)
    at_once = 0
    for _ in range(7):
        events = backend.recorder()
        stream.on_recv(lambda message, events=events: events.append("message"))

        def touch(events=events):
            throttled()
            peer.send(b"x")
            stream.socket.getsockopt(zmq.EVENTS)
            backend.loop.call_later(0.002, events.append, "timer")

        backend.loop.call_soon(touch)
        backend.wait(events, 2)
        at_once += events[0] == "message"
    assert at_once >= 5


@pytest.mark.ours
def test_touched_while_a_sweep_is_under_way(backend, others, throttled, expected_log):
    """It finds a socket that was closed, and the close callback touches one that it saw before."""
    closed = backend.socket(zmq.PULL)
    of_closed = backend.stream(closed)  # the oldest is seen last
    of_closed.on_recv(print)
    for _ in range(10):
        backend.stream(backend.socket(zmq.PULL)).on_recv(print)
    stream, socket, peer, got = listening(backend)

    def callback():
        throttled()
        peer.send(b"x")
        touch_events(socket)

    of_closed.set_close_callback(callback)
    closed.close()
    backend.wait(got)
    backend.expect_errors(UserWarning)  # that it was closed directly
    expected_log("is attached to a closed socket")


@deaf
def test_raw_receive_leaves_the_others(backend, others, throttled):
    stream, socket, peer, got = listening(backend)
    throttled()
    for i in range(5):
        peer.send(b"%d" % i)
    assert socket.recv() == b"0"
    backend.wait(got, 4)
    assert got == [[b"%d" % i] for i in range(1, 5)]


@deaf
def test_touched_while_sends_wait(backend, others, throttled):
    """The edge of POLLOUT can be swallowed, too."""
    socket, peer = backend.pair(zmq.PUSH, zmq.PULL, sndhwm=2, rcvhwm=2)
    stream = backend.stream(socket)
    sent = backend.recorder()
    stream.on_send(lambda msg, status: sent.append(int(msg[0])))
    for i in range(20):
        stream.send(b"%d" % i)
    backend.settle(20)
    assert 0 < len(sent) < 20
    while len(sent) < 20:
        before = len(sent)
        received = 0
        while peer.poll(0):
            peer.recv()
            received += 1
        throttled()
        socket.getsockopt(zmq.EVENTS)
        backend.wait(sent, before + 1)
    assert sent == list(range(20))


@deaf
def test_touched_in_a_busy_loop(backend, others, throttled):
    """The loop never sleeps here, and still nobody is forgotten."""
    stream, socket, peer, got = listening(backend)
    flooded, feeder = backend.pair(rcvhwm=0, sndhwm=0)
    busy = backend.stream(flooded)
    count = 0

    def again(message):
        nonlocal count
        count += 1
        feeder.send(b"x")

    busy.on_recv(again)
    for _ in range(2000):
        feeder.send(b"x")
    backend.loop.call_later(0.005, lambda: (throttled(), peer.send(b"y"), touch_events(socket)))
    backend.wait(got)
    assert count


@deaf
@pytest.mark.parametrize("others", [0, 20])
def test_touched_between_the_poll_and_the_turn(backend, throttled, others):
    """As by a reader that sends through a shadow: the message comes in the same iteration."""
    stream, socket, peer, got = listening(backend)
    for _ in range(others):
        listening(backend)
    first, second = sockets.socketpair()
    order = []
    stream.on_recv(lambda message: (order.append("message"), got.append(message)))

    def reader():
        first.recv(1)
        throttled()
        touch_events(socket)
        backend.loop.call_soon(order.append, "the next iteration")

    def both_at_once():
        second.send(b"x")  # first, so that the loop comes to the reader first
        peer.send(b"x")

    backend.loop.add_reader(first, reader)
    backend.loop.call_soon(both_at_once)
    backend.wait(got)
    backend.settle()
    backend.loop.remove_reader(first)
    first.close()
    second.close()
    assert order == ["message", "the next iteration"]


@deaf
def test_late_by_less_than_100_ms(backend, others, throttled):
    stream, socket, peer, got = listening(backend)
    late = []
    for _ in range(5):
        throttled()
        peer.send(b"x")
        touch_events(socket)
        start = time.perf_counter()
        backend.wait(got)
        late.append(time.perf_counter() - start)
        got.clear()
    assert sorted(late)[2] < 0.1


# -- without raw sockets --------------------------------------------------------------------------


def test_paused_and_back(backend, others):
    stream, socket, peer, got = listening(backend)
    for _ in range(3):
        stream.on_recv(None)
        backend.settle()
        peer.send(b"x")
        backend.settle()
        stream.on_recv(got.append)
        backend.wait(got)
        got.clear()


@pytest.mark.deviates("pyzmq asks for nothing but its own")
def test_messages_that_come_while_idle(backend, others):
    """No receiver, no queue: the descriptor fires once, and must fire again later."""
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    backend.settle()
    for _ in range(3):
        peer.send(b"x")
        backend.settle()
    got = backend.recorder()
    stream.on_recv(got.append)
    backend.wait(got, 3)
    peer.send(b"y")
    backend.wait(got, 4)


def test_req_and_rep_take_turns(backend):
    """A socket that may not receive now must not be forgotten, nor spin."""
    a, b = backend.socket(zmq.REQ), backend.socket(zmq.REP)
    b.bind(backend.address())
    a.connect(b.last_endpoint.decode())
    client, server = backend.stream(a), backend.stream(b)
    got = backend.recorder()

    def answer(message):
        server.send_multipart([b"re", *message])

    def ask_again(message):
        got.append(message)
        if len(got) < 20:
            client.send(b"%d" % len(got))

    server.on_recv(answer)
    client.on_recv(ask_again)
    client.send(b"0")
    backend.wait(got, 20)
    assert got == [[b"re", b"%d" % i] for i in range(20)]


@pytest.mark.parametrize(
    ("kind", "other"),
    [
        (zmq.PULL, zmq.PUSH), (zmq.PAIR, zmq.PAIR), (zmq.DEALER, zmq.DEALER),
        (zmq.ROUTER, zmq.DEALER), (zmq.SUB, zmq.XPUB), (zmq.XSUB, zmq.XPUB),
    ],
    ids=lambda kind: zmq.SocketType(kind).name,
)  # fmt: skip
@pytest.mark.parametrize("transport", ["inproc", "tcp"])
def test_kinds_of_sockets(backend, kind, other, transport):
    socket, peer = backend.pair(kind, other, transport)
    stream = backend.stream(socket)
    if kind == zmq.SUB:
        stream.setsockopt(zmq.SUBSCRIBE, b"")
        assert peer.recv() == b"\x01"
    elif kind == zmq.XSUB:
        stream.send(b"\x01")
        backend.drained(stream)
        assert peer.recv() == b"\x01"
    got = backend.recorder()
    stream.on_recv(got.append)
    for i in range(5):
        peer.send_multipart([b"%d" % i, b"x"])
    backend.wait(got, 5)
    assert [message[-2:] for message in got] == [[b"%d" % i, b"x"] for i in range(5)]


@pytest.mark.ours
def test_on_recv_of_a_socket_that_cannot_receive(backend):
    stream = backend.stream(backend.socket(zmq.PUSH))
    stream.on_recv(print)
    backend.settle()
    assert stream.receiving()
    assert not stream.flush()
