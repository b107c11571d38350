"""Promise 1: what has arrived is delivered, whatever was done before.

`throttled()` waits out libzmq's command throttle before each raw call: see conftest.py. Nothing
here runs a timer that would wake the loop and hide a lost edge: `home.wait` only waits for the
messages.
"""

import asyncio
import time

import pytest
import zmq

import zmqstream
from zmqstream.eventloop import reactor_of
from zmqstream.stats import LoopStats


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


@pytest.fixture(params=["alone", "with many"])
def others(home, request):
    """Idle streams beside: more than the eight that are swept before each sleep."""
    if request.param == "alone":
        return []
    streams = []
    for _ in range(100):
        stream = home.stream(home.socket(zmq.PULL))
        stream.on_recv(print)
        streams.append(stream)
    return streams


def listening(home):
    """A stream that is armed, with its raw socket and its peer."""
    socket, peer = home.pair()
    stream = home.stream(socket)
    got = home.recorder()
    stream.on_recv(got.append)
    peer.send(b"warm")
    home.wait(got)
    home.settle()
    got.clear()
    return stream, socket, peer, got


def arrive(peer, touch, message):
    """`message` arrives, and before it what a raw receive takes."""
    if touch is touch_recv:
        peer.send(b"for the raw receive")
    peer.send(message)


@deaf
def test_touched_between_two_runs(home, touch, others, throttled):
    stream, socket, peer, got = listening(home)
    for _ in range(3):
        throttled()
        arrive(peer, touch, b"x")
        touch(socket)
        home.wait(got)
        got.clear()


@deaf
def test_touched_in_a_timer(home, touch, others, throttled):
    stream, socket, peer, got = listening(home)

    def timer():
        throttled()
        arrive(peer, touch, b"x")
        touch(socket)

    home.loop.call_later(0.001, timer)
    home.wait(got)


@deaf
def test_touched_in_a_task(home, touch, others, throttled):
    stream, socket, peer, got = listening(home)

    async def main():
        await asyncio.sleep(0)
        throttled()
        arrive(peer, touch, b"x")
        touch(socket)

    task = home.loop.create_task(main())
    home.wait(got)
    home.run(asyncio.wait([task]))


@deaf
def test_touched_in_its_own_callback(home, touch, others, throttled):
    stream, socket, peer, got = listening(home)

    def callback(message):
        got.append(message)
        if len(got) == 1:
            throttled()
            arrive(peer, touch, b"second")
            touch(socket)

    stream.on_recv(callback)
    peer.send(b"first")
    home.wait(got, 2)
    assert got == [[b"first"], [b"second"]]


@deaf
def test_touched_in_another_streams_callback(home, touch, others, throttled):
    stream, socket, peer, got = listening(home)
    other, _, other_peer, _ = listening(home)

    def callback(message):
        throttled()
        arrive(peer, touch, b"x")
        touch(socket)

    other.on_recv(callback)
    other_peer.send(b"go")
    home.wait(got)


@deaf
def test_touched_in_on_send(home, touch, others, throttled):
    stream, socket, peer, got = listening(home)

    def callback(msg, status):
        throttled()
        arrive(peer, touch, b"x")
        touch(socket)

    stream.send(b"go", callback=callback)
    home.wait(got)


@deaf
def test_touched_in_a_coroutine_callback(home, touch, others, throttled):
    stream, socket, peer, got = listening(home)

    async def callback(message):
        got.append(message)
        await asyncio.sleep(0)
        if len(got) == 1:
            throttled()
            arrive(peer, touch, b"second")
            touch(socket)

    stream.on_recv(callback)
    peer.send(b"first")
    home.wait(got, 2)


@deaf
def test_touched_through_the_stream(home, others, throttled):
    """ipykernel's way: `stream.socket`, and the methods that are the socket's."""
    stream, socket, peer, got = listening(home)
    for touch in (
        lambda: stream.getsockopt(zmq.EVENTS),
        lambda: stream.socket.send(b"raw"),
        lambda: stream.socket.poll(0),
        lambda: stream.get(zmq.EVENTS),
        lambda: stream.setsockopt(zmq.LINGER, 0),
        lambda: stream.connect(home.address("inproc")),
    ):
        throttled()
        peer.send(b"x")
        touch()
        home.wait(got)
        got.clear()


@deaf
def test_touched_through_the_stream_is_repaired_at_once(home, others, throttled):
    """Whoever takes `stream.socket` is looked after before the next sweep of all, however many."""
    stream, socket, peer, got = listening(home)
    at_once = 0
    for _ in range(7):
        events = home.recorder()
        stream.on_recv(lambda message, events=events: events.append("message"))

        def touch(events=events):
            throttled()
            peer.send(b"x")
            stream.socket.getsockopt(zmq.EVENTS)
            home.loop.call_later(0.002, events.append, "timer")

        home.loop.call_soon(touch)
        home.wait(events, 2)
        at_once += events[0] == "message"
    assert at_once >= 5


@pytest.mark.ours
def test_touched_while_a_sweep_is_under_way(home, others, throttled, expected_log):
    """It finds a socket that was closed, and the close callback touches one that it saw before."""
    closed = home.socket(zmq.PULL)
    of_closed = home.stream(closed)  # the oldest is seen last
    of_closed.on_recv(print)
    for _ in range(10):
        home.stream(home.socket(zmq.PULL)).on_recv(print)
    stream, socket, peer, got = listening(home)

    def callback():
        throttled()
        peer.send(b"x")
        touch_events(socket)

    of_closed.set_close_callback(callback)
    closed.close()
    home.wait(got)
    home.expect_errors(UserWarning)  # that it was closed directly
    expected_log("is attached to a closed socket")


@deaf
def test_raw_receive_leaves_the_others(home, others, throttled):
    stream, socket, peer, got = listening(home)
    throttled()
    for i in range(5):
        peer.send(b"%d" % i)
    assert socket.recv() == b"0"
    home.wait(got, 4)
    assert got == [[b"%d" % i] for i in range(1, 5)]


@deaf
def test_touched_while_sends_wait(home, others, throttled):
    """The edge of POLLOUT can be swallowed, too."""
    socket, peer = home.pair(zmq.PUSH, zmq.PULL, sndhwm=2, rcvhwm=2)
    stream = home.stream(socket)
    sent = home.recorder()
    stream.on_send(lambda msg, status: sent.append(int(msg[0])))
    for i in range(20):
        stream.send(b"%d" % i)
    home.settle(20)
    assert 0 < len(sent) < 20
    while len(sent) < 20:
        before = len(sent)
        received = 0
        while peer.poll(0):
            peer.recv()
            received += 1
        throttled()
        socket.getsockopt(zmq.EVENTS)
        home.wait(sent, before + 1)
    assert sent == list(range(20))


@deaf
def test_touched_in_a_busy_loop(home, others, throttled):
    """The loop never sleeps here, and still nobody is forgotten."""
    stream, socket, peer, got = listening(home)
    flooded, feeder = home.pair(rcvhwm=0, sndhwm=0)
    busy = home.stream(flooded)
    count = 0

    def again(message):
        nonlocal count
        count += 1
        feeder.send(b"x")

    busy.on_recv(again)
    for _ in range(2000):
        feeder.send(b"x")
    home.loop.call_later(0.005, lambda: (throttled(), peer.send(b"y"), touch_events(socket)))
    home.wait(got)
    assert count


@pytest.mark.ours
def test_few_streams_are_looked_at_before_the_loop_sleeps(home, throttled):
    """And not only because the last sweep was long ago."""
    if not home.name.startswith("own"):
        pytest.skip("on somebody else's loop they are looked at by the clock")
    stream, socket, peer, _ = listening(home)
    after, before = home.recorder(), []

    def sleeps():
        return LoopStats(*reactor_of(home.loop).stats()).sleeps

    def touch():
        peer.send(b"x")
        throttled()
        socket.getsockopt(zmq.EVENTS)
        before.append(sleeps())

    def on_recv(message):
        if len(before) < 5:
            home.loop.call_soon(touch)
        after.append(sleeps())

    stream.on_recv(on_recv)
    home.loop.call_soon(touch)
    home.wait(after, 5)
    assert after == before


@deaf
def test_late_by_less_than_100_ms(home, others, throttled):
    stream, socket, peer, got = listening(home)
    late = []
    for _ in range(5):
        throttled()
        peer.send(b"x")
        touch_events(socket)
        start = time.perf_counter()
        home.wait(got)
        late.append(time.perf_counter() - start)
        got.clear()
    assert sorted(late)[2] < 0.1


# -- without raw sockets --------------------------------------------------------------------------


def test_paused_and_back(home, others):
    stream, socket, peer, got = listening(home)
    for _ in range(3):
        stream.on_recv(None)
        home.settle()
        peer.send(b"x")
        home.settle()
        stream.on_recv(got.append)
        home.wait(got)
        got.clear()


@pytest.mark.deviates("pyzmq is deaf after an exception with a backlog")
@pytest.mark.parametrize("backlog", [1, 2, 100, 1000])
def test_exceptions_with_a_backlog(home, others, backlog):
    """Promise 6."""
    socket, peer = home.pair(rcvhwm=0, sndhwm=0)
    stream = home.stream(socket)
    got = home.recorder()

    def callback(message):
        got.append(int(message[0]))
        if got[-1] % 3 == 0:
            raise ValueError(got[-1])

    stream.on_recv(callback)
    for i in range(backlog):
        peer.send(b"%d" % i)
    home.wait(got, backlog)
    assert got == list(range(backlog))
    found = home.expect_errors(*[ValueError] * len(range(0, backlog, 3)))
    assert [context["exception"].args[0] for context in found] == list(range(0, backlog, 3))
    assert all(context["stream"] is stream for context in found)
    assert all(repr(stream).partition(" at ")[0] in context["message"] for context in found)


@pytest.mark.deviates("pyzmq reports it in three log records")
@pytest.mark.parametrize(
    "error", [ValueError, asyncio.CancelledError, GeneratorExit, BaseException, StopIteration]
)
def test_an_exception_is_reported_once(home, error):
    stream, socket, peer, got = listening(home)

    def callback(message):
        got.append(message)
        if message == [b"bad"]:
            raise error

    stream.on_recv(callback)
    peer.send(b"bad")
    peer.send(b"good")
    home.wait(got, 2)
    home.settle()
    home.expect_errors(error)


@pytest.mark.deviates("pyzmq reports it in three log records")
def test_exceptions_of_on_send_and_on_err(home):
    router = home.socket(zmq.ROUTER, router_mandatory=1)
    stream = home.stream(router)
    sent = home.recorder()

    def on_send(msg, status):
        sent.append(status.errno)
        raise ValueError("on_send")

    def on_err(error):
        raise KeyError("on_err")

    stream.on_send(on_send)
    stream.on_err(on_err)
    for _ in range(2):
        stream.send_multipart([b"nobody", b"x"])
    home.wait(sent, 2)
    assert sent == [zmq.EHOSTUNREACH] * 2
    home.expect_errors(KeyError, ValueError, KeyError, ValueError)


@pytest.mark.deviates("pyzmq's callback and the loop report it, and its stream is deaf afterwards")
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("kind", ["on_recv", "on_send"])
def test_leaving_the_loop(home, error, kind, others):
    """Promise 6: what was waiting is delivered when the loop runs again."""
    stream, socket, peer, got = listening(home)
    neighbour, _, neighbour_peer, neighbour_got = listening(home)

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
        home.loop.run_forever()
    home.wait(got, 10)
    home.wait(neighbour_got, 10)
    assert got == neighbour_got == [[b"%d" % i] for i in range(10)]


@pytest.mark.deviates("pyzmq asks for nothing but its own")
def test_messages_that_come_while_idle(home, others):
    """No receiver, no queue: the descriptor fires once, and must fire again later."""
    socket, peer = home.pair()
    stream = home.stream(socket)
    home.settle()
    for _ in range(3):
        peer.send(b"x")
        home.settle()
    got = home.recorder()
    stream.on_recv(got.append)
    home.wait(got, 3)
    peer.send(b"y")
    home.wait(got, 4)


def test_req_and_rep_take_turns(home):
    """A socket that may not receive now must not be forgotten, nor spin."""
    a, b = home.socket(zmq.REQ), home.socket(zmq.REP)
    b.bind(home.address())
    a.connect(b.last_endpoint.decode())
    client, server = home.stream(a), home.stream(b)
    got = home.recorder()

    def answer(message):
        server.send_multipart([b"re", *message])

    def ask_again(message):
        got.append(message)
        if len(got) < 20:
            client.send(b"%d" % len(got))

    server.on_recv(answer)
    client.on_recv(ask_again)
    client.send(b"0")
    home.wait(got, 20)
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
def test_kinds_of_sockets(home, kind, other, transport):
    socket, peer = home.pair(kind, other, transport)
    stream = home.stream(socket)
    if kind == zmq.SUB:
        stream.setsockopt(zmq.SUBSCRIBE, b"")
        assert peer.recv() == b"\x01"
    elif kind == zmq.XSUB:
        stream.send(b"\x01")
        home.drained(stream)
        assert peer.recv() == b"\x01"
    got = home.recorder()
    stream.on_recv(got.append)
    for i in range(5):
        peer.send_multipart([b"%d" % i, b"x"])
    home.wait(got, 5)
    assert [message[-2:] for message in got] == [[b"%d" % i, b"x"] for i in range(5)]


@pytest.mark.ours
def test_on_recv_of_a_socket_that_cannot_receive(home):
    stream = home.stream(home.socket(zmq.PUSH))
    stream.on_recv(print)
    home.settle()
    assert stream.receiving()
    assert not stream.flush()


@pytest.mark.ours
def test_a_subclass_whose_repr_fails(home):
    """Its callbacks' exceptions are reported all the same, and the loop goes on."""

    class Named(zmqstream.ZMQStream):
        def __repr__(self):
            return f"<Named {self.socket.last_endpoint}>"  # None when it is closed

    socket, peer = home.pair()
    near, far = home.pair()
    stream = home.stream(socket, Named)
    got = home.recorder()
    home.stream(near).on_recv(got.append)

    def callback(message):
        stream.close()
        raise ValueError("callback")

    stream.on_recv(callback)
    peer.send(b"x")
    home.run_until(stream.closed)
    far.send(b"y")
    home.wait(got)
    [found] = home.expect_errors(ValueError)
    assert "Named" in found["message"] or "ZMQStream" in found["message"]
