"""The end in every state of a stream: its context is terminated by another thread, its
socket is closed behind its back. (Idle streams:
test_closed_elsewhere.py.)"""

import threading

import pytest
import zmq

from support import TIMEOUT

kept_waiting = pytest.mark.deviates("pyzmq's streams keep the context waiting for ever")


class Termination:
    """Another thread that terminates the backend's context, and what its streams tell of it."""

    def __init__(self, backend):
        self.backend = backend
        self.closed, self.errors = backend.recorder(), []
        self.thread = threading.Thread(target=backend.context.term)

    def watch(self, stream):
        stream.set_close_callback(lambda: self.closed.append(stream))
        stream.on_err(self.errors.append)
        return stream

    def begin(self):
        """Returns when the context is being terminated: from now on libzmq refuses everything."""
        canary = self.backend.socket(zmq.PULL)  # the youngest, which libzmq tells last
        self.thread.start()
        while True:
            try:
                canary.getsockopt(zmq.EVENTS)
            except zmq.ContextTerminated:
                canary.close()
                return

    def check(self, *streams, wait=True):
        """Each stream is closed, was told once, and lets the context go."""
        if wait:
            self.backend.wait(self.closed, len(streams))
        self.thread.join(TIMEOUT)
        assert not self.thread.is_alive()
        self.backend.settle()
        assert sorted(map(id, self.closed)) == sorted(map(id, streams))
        assert [type(error) for error in self.errors] == [zmq.ContextTerminated] * len(streams)
        for stream in streams:
            assert stream.closed()
            with pytest.raises(OSError, match="Stream is closed"):
                stream.send(b"x")


class Outside:
    """A context for peers: in that of the streams, they would keep it waiting, too."""

    def __init__(self):
        self.context = zmq.Context()
        self.sockets = []

    def socket(self, kind):
        self.sockets.append(self.context.socket(kind))
        self.sockets[-1].rcvhwm = self.sockets[-1].sndhwm = 0
        return self.sockets[-1]


@pytest.fixture
def outside():
    outside = Outside()
    yield outside
    outside.context.destroy(linger=0)


def flood(backend, outside, count=5000):
    """A socket to which `count` messages come, over tcp."""
    socket = backend.socket(zmq.PULL, rcvhwm=0)
    socket.bind("tcp://127.0.0.1:*")
    feeder = outside.socket(zmq.PUSH)
    feeder.connect(socket.last_endpoint.decode())
    for i in range(count):
        feeder.send(b"%d" % i)
    return socket


@kept_waiting
@pytest.mark.parametrize("what", ["nothing", "send", "flush", "pause", "raise"])
def test_context_terminated_in_a_callback_under_flood(backend, outside, what, expected_log):
    """What came before is delivered in order, nothing after; whatever the callback then does."""
    termination = Termination(backend)
    stream = termination.watch(backend.stream(flood(backend, outside)))
    neighbour = termination.watch(backend.stream(backend.socket(zmq.DEALER)))
    got = []

    def callback(message):
        got.append(int(message[0]))
        if len(got) == 100:
            termination.begin()
            if what == "send":
                neighbour.send(b"x")
            elif what == "flush":
                neighbour.flush()
            elif what == "pause":
                stream.on_recv(None)
            elif what == "raise":
                raise ValueError

    stream.on_recv(callback)
    termination.check(stream, neighbour)
    # libzmq may have handed over a few more until it looked at its mailbox
    assert 100 <= len(got) < 5000
    assert got == list(range(len(got)))
    backend.expect_errors(*[ValueError] * (what == "raise"))
    if what == "send":
        expected_log("1 queued messages")


@kept_waiting
def test_context_terminated_while_many_streams_are_busy(backend, outside):
    termination = Termination(backend)
    count = 0

    def callback(message):
        nonlocal count
        count += 1
        if count == 500:
            termination.begin()

    streams = [termination.watch(backend.stream(flood(backend, outside, 500))) for _ in range(4)]
    streams += [termination.watch(backend.stream(backend.socket(zmq.SUB))) for _ in range(20)]
    for stream in streams:
        stream.on_recv(callback)
    termination.check(*streams)
    assert 500 <= count < 2000


@kept_waiting
def test_context_terminated_in_on_send(backend, outside, expected_log):
    termination = Termination(backend)
    socket = backend.socket(zmq.PUSH, sndhwm=0)
    peer = outside.socket(zmq.PULL)
    peer.bind("tcp://127.0.0.1:*")
    socket.connect(peer.last_endpoint.decode())
    stream = termination.watch(backend.stream(socket))
    sent = []

    def callback(message, status):
        sent.append(message)
        if len(sent) == 10:
            termination.begin()

    stream.on_send(callback)
    for i in range(5000):
        stream.send(b"%d" % i)
    termination.check(stream)
    assert 10 <= len(sent) < 5000
    [record] = expected_log("queued messages")
    assert f" {5000 - len(sent)} queued" in record.getMessage()


@kept_waiting
def test_context_terminated_in_a_flush(backend, outside):
    termination = Termination(backend)
    stream = termination.watch(backend.stream(flood(backend, outside, 1000)))
    got = []

    def callback(message):
        got.append(message)
        if len(got) == 10:
            termination.begin()

    stream.on_recv(callback)
    while not stream.closed():
        assert stream.flush(limit=500) <= 500
    termination.check(stream, wait=False)
    assert 10 <= len(got) < 1000


@pytest.mark.ours
def test_context_terminated_while_a_peer_refuses(backend, outside, expected_log):
    termination = Termination(backend)
    router = backend.socket(zmq.ROUTER, router_mandatory=1, sndhwm=1)
    router.bind("tcp://127.0.0.1:*")
    peer = outside.socket(zmq.DEALER)
    peer.rcvhwm = 1
    peer.connect(router.last_endpoint.decode())
    peer.send(b"hello")
    name, _ = router.recv_multipart()
    stream = termination.watch(backend.stream(router))
    sent = []
    stream.on_send(lambda message, status: sent.append(status))
    large = b"x" * 1_000_000
    for _ in range(50):
        stream.send_multipart([name, large])
    backend.settle(20)
    assert stream.sending()
    termination.begin()
    termination.check(stream)
    [record] = expected_log("queued messages")
    assert f" {50 - len(sent)} queued" in record.getMessage()


@kept_waiting
def test_the_streams_of_another_context_go_on(backend, outside):
    termination = Termination(backend)
    stream = termination.watch(backend.stream(backend.socket(zmq.PULL)))
    stream.on_recv(print)
    a, b = outside.socket(zmq.PAIR), outside.socket(zmq.PAIR)
    a.bind("inproc://other")
    b.connect("inproc://other")
    other = backend.stream(a)
    got = backend.recorder()
    other.on_recv(got.append)
    b.send(b"before")
    backend.wait(got)
    termination.begin()
    b.send(b"meanwhile")
    termination.check(stream)
    b.send(b"after")
    backend.wait(got, 3)
    other.close()


# -- the socket is closed behind the stream's back ------------------------------------------------


def close_in_backlog(backend, stream, socket, peer):
    """READY: by a neighbour's callback, while messages wait for the stream."""
    other, other_peer = backend.pair()
    neighbour = backend.stream(other)
    neighbour.on_recv(lambda message: socket.close())
    other_peer.send(b"go")
    for _ in range(10):
        peer.send(b"x")


def close_in_on_send(backend, stream, socket, peer):
    stream.send(b"1", callback=lambda message, status: socket.close())


def close_in_on_send_of_many(backend, stream, socket, peer):
    """With more in the queue, which are lost."""
    stream.send(b"1", callback=lambda message, status: socket.close())
    stream.send(b"2")
    stream.send(b"3")


def close_in_flush(backend, stream, socket, peer):
    stream.on_recv(lambda message: socket.close())
    peer.send(b"1")
    peer.send(b"2")
    assert stream.flush() == 1


def close_in_a_callback_that_raises(backend, stream, socket, peer):
    def callback(message):
        socket.close()
        raise ValueError

    stream.on_recv(callback)
    peer.send(b"1")


def close_in_a_coroutine(backend, stream, socket, peer):
    async def callback(message):
        socket.close()

    stream.on_recv(callback)
    peer.send(b"1")
    backend.settle(10)
    stream.closed()


STATES = [
    close_in_backlog, close_in_on_send, close_in_on_send_of_many, close_in_flush,
    close_in_a_callback_that_raises, close_in_a_coroutine,
]  # fmt: skip


@pytest.mark.ours
@pytest.mark.filterwarnings("ignore:.*closed directly")
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__[6:])
def test_socket_closed_directly(backend, state, expected_log):
    """Noticed, told, without harm: the neighbours go on, and the descriptor can be used again."""
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    calls, told = [], backend.recorder()
    stream.set_close_callback(lambda: calls.append(1))
    stream.on_recv(print)
    neighbours = [backend.pair() for _ in range(3)]
    got = backend.recorder()
    for near, _ in neighbours:
        backend.stream(near).on_recv(got.append)
    backend.settle()
    state(backend, stream, socket, peer)
    backend.run_until(lambda: calls)
    assert stream.closed()
    assert calls == [1]
    assert told == []
    new, new_peer = backend.pair()  # its descriptor has the number that was just let go
    backend.stream(new).on_recv(got.append)
    for far in [far for _, far in neighbours] + [new_peer]:
        far.send(b"x")
    backend.wait(got, 4)
    stream.close()
    # of a coroutine nobody is told when it ends: the question whether it is closed may come first
    expected_log("is attached to a closed socket", at_least=state is not close_in_a_coroutine)
    if state is close_in_on_send_of_many:
        expected_log("2 queued messages")
    if state is close_in_a_callback_that_raises:
        backend.expect_errors(ValueError)


@pytest.mark.ours
@pytest.mark.filterwarnings("ignore:.*closed directly")
@pytest.mark.parametrize("waiting", ["queued", "parked", "parts"])
def test_socket_closed_directly_with_messages_to_send(backend, waiting, expected_log):
    """They are lost, and how many is told."""
    if waiting == "parked":
        socket, _ = backend.router(b"peer", hwm=1)
        message = [b"peer", b"x"]
    else:
        socket = backend.socket(zmq.PUSH)
        message = [b"x"]
    stream = backend.stream(socket)
    sent = []
    stream.on_send(lambda message, status: sent.append(status))
    for _ in range(9):
        stream.send_multipart(message)
    if waiting == "parts":
        stream.send(b"x", flags=zmq.SNDMORE)
    backend.settle()
    assert stream.sending()
    socket.close()
    assert stream.closed()
    [record] = expected_log("queued messages")
    lost = 9 - len(sent) + (waiting == "parts")
    assert f" {lost} queued" in record.getMessage()


@pytest.mark.ours
@pytest.mark.filterwarnings("ignore:.*closed directly")
def test_closed_directly_while_it_is_tried_again_and_again(backend, expected_log):
    """A stream that is tried by the clock: the clock must let it go."""
    socket, _ = backend.router(b"peer", hwm=1)
    stream = backend.stream(socket)
    closed = backend.recorder()
    stream.set_close_callback(lambda: closed.append(1))
    for _ in range(20):
        stream.send_multipart([b"peer", b"x"])
    backend.settle()
    socket.close()
    backend.wait(closed)  # nobody asks the stream: its next attempt finds out
    expected_log("is attached to a closed socket")
    expected_log("queued messages")
