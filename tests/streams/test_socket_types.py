"""Sockets of every type, with the options that change how a type behaves.

Most other tests use PUSH and PULL, DEALER and ROUTER, or PAIR. Here, every type does what those
tests do. Messages arrive whatever has touched the socket, in a flush and for coroutines, too.
Messages are sent in order, and close() hands them over.
"""

import asyncio
import threading

import pytest
import zmq

from support import TIMEOUT


class Link:
    """A stream's socket of one type, and its peer."""

    kind = other = None
    options = ()  # those that are set
    receives = sends = True
    many = True  # whether several messages can wait to be received
    prefix = ()  # frames before the payload, as the stream sends and receives them

    def __init__(self, backend):
        self.backend = backend
        self.socket = backend.socket(self.kind, **dict.fromkeys(self.options, 1))
        self.peer = self.new_peer()
        self.join()
        self.stream = backend.stream(self.socket)
        self.meet()

    def new_peer(self):
        peer = self.backend.socket(self.other)
        peer.rcvtimeo = peer.sndtimeo = TIMEOUT * 1000
        if self.prefix:
            (peer.routing_id,) = self.prefix
        return peer

    def join(self):
        self.peer.bind(self.backend.address())
        self.socket.connect(self.peer.last_endpoint.decode())

    def meet(self):
        """Exchange what must come before the first message."""

    def wrap(self, payload):
        return [*self.prefix, payload]

    def payload(self, frames):
        assert tuple(frames[:-1]) == self.prefix
        return frames[-1]

    def give(self, payload):
        """Have the peer send a message to the stream."""
        self.peer.send(payload)

    def take(self):
        """Receive a message of the stream."""
        return self.peer.recv()


class Pair(Link):
    kind = other = zmq.PAIR


class Push(Link):
    kind, other, receives = zmq.PUSH, zmq.PULL, False


class PushImmediate(Push):
    options = ("immediate",)


class Pull(Link):
    kind, other, sends = zmq.PULL, zmq.PUSH, False


class PullConflate(Pull):
    options, many = ("conflate",), False


class Pub(Link):
    kind, other, receives = zmq.PUB, zmq.XSUB, False

    def meet(self):
        self.peer.send(b"\1")
        assert self.socket.poll(TIMEOUT * 1000, zmq.POLLOUT)
        self.socket.getsockopt(zmq.EVENTS)  # which reads the subscription


class PubNoDrop(Pub):
    options = ("xpub_nodrop",)


class Sub(Link):
    kind, other, sends = zmq.SUB, zmq.XPUB, False

    def meet(self):
        self.stream.setsockopt(zmq.SUBSCRIBE, b"")
        assert self.peer.recv() == b"\1"


class SubConflate(Sub):
    options, many = ("conflate",), False


class XPub(Link):
    """It receives what its peer sends as any other message, and subscriptions."""

    kind, other = zmq.XPUB, zmq.XSUB

    def meet(self):
        self.peer.send(b"\1")
        assert self.socket.poll(TIMEOUT * 1000)
        assert self.socket.recv() == b"\1"


class XPubManual(XPub):
    options = ("xpub_manual",)

    def meet(self):
        super().meet()
        self.stream.setsockopt(zmq.SUBSCRIBE, b"")  # for the peer whose request was read last


class XPubVerbose(XPub):
    options = ("xpub_verbose",)


class XSub(Link):
    kind, other = zmq.XSUB, zmq.XPUB

    def meet(self):
        self.socket.send(b"\1")
        assert self.peer.recv() == b"\1"


class Dealer(Link):
    kind = other = zmq.DEALER


class DealerConflate(Dealer):
    options, many, sends = ("conflate",), False, False


class Router(Link):
    kind, other, prefix = zmq.ROUTER, zmq.DEALER, (b"peer",)

    def meet(self):
        self.peer.send(b"hello")
        assert self.socket.recv_multipart() == [b"peer", b"hello"]


class RouterHandover(Router):
    """A peer of the same name has taken the first one's place."""

    options = ("router_handover",)

    def join(self):
        self.socket.bind(self.backend.address())
        self.peer.connect(self.socket.last_endpoint.decode())

    def meet(self):
        super().meet()
        self.peer = self.new_peer()
        self.peer.connect(self.socket.last_endpoint.decode())
        super().meet()


class RouterMandatory(Router):
    options = ("router_mandatory",)


class Req(Link):
    kind, other, many = zmq.REQ, zmq.REP, False

    def give(self, payload):
        self.stream.send(b"request")
        self.backend.drained(self.stream)
        assert self.peer.recv() == b"request"
        self.peer.send(payload)

    def take(self):
        payload = self.peer.recv()
        self.peer.send(b"answer")
        assert self.socket.poll(TIMEOUT * 1000)
        assert self.socket.recv() == b"answer"
        return payload


class ReqRelaxed(Req):
    """Each request takes the place of the one before, whose answer is dropped."""

    options = (
        "req_relaxed",
        "req_correlate",
    )

    def give(self, payload):
        for i in range(3):
            self.stream.send(b"%d" % i)
        self.backend.drained(self.stream)
        for i in range(3):
            assert self.peer.recv() == b"%d" % i
            self.peer.send(payload if i == 2 else b"late")


class Rep(Link):
    kind, other, many, sends = zmq.REP, zmq.REQ, False, False

    def give(self, payload):
        if self.stream.receiving() and getattr(self, "given", False):
            self.stream.send(b"answer")  # to the request before
            self.backend.drained(self.stream)
            self.peer.recv()
        self.given = True
        self.peer.send(payload)


class RepThatAnswers(Rep):
    receives, sends = False, True

    def meet(self):
        self.peer.send(b"request")
        assert self.socket.poll(TIMEOUT * 1000)
        self.socket.recv()

    def take(self):
        payload = self.peer.recv()
        self.meet()
        return payload


class Stream(Link):
    """A TCP peer. Messages have no bounds, so only one is under way."""

    kind = other = zmq.STREAM
    many = False

    def join(self):
        self.socket.bind("tcp://127.0.0.1:*")
        self.peer.connect(self.socket.last_endpoint.decode())

    def meet(self):
        self.peer_id, empty = self.peer.recv_multipart()
        assert self.socket.poll(TIMEOUT * 1000)
        name, empty = self.socket.recv_multipart()
        assert empty == b""
        self.prefix = (name,)

    def give(self, payload):
        self.peer.send_multipart([self.peer_id, payload])

    def take(self):
        return self.peer.recv_multipart()[1]


class Curve(Dealer):
    """Encrypted. A client with a wrong key tries to come in all the time."""

    def join(self):
        public, secret = zmq.curve_keypair()
        self.socket.curve_server = True
        self.socket.curve_publickey, self.socket.curve_secretkey = public, secret
        self.socket.bind("tcp://127.0.0.1:*")
        endpoint = self.socket.last_endpoint.decode()
        self.intruder = self.backend.socket(zmq.DEALER, reconnect_ivl=1)
        for client in (self.intruder, self.peer):
            client.curve_publickey, client.curve_secretkey = zmq.curve_keypair()
            client.curve_serverkey = public if client is self.peer else zmq.curve_keypair()[0]
            client.connect(endpoint)
        self.intruder.send(b"never")

    def meet(self):
        self.peer.send(b"hello")
        assert self.socket.poll(TIMEOUT * 1000)
        assert self.socket.recv() == b"hello"


LINKS = (
    Pair, Push, PushImmediate, Pull, PullConflate, Pub, PubNoDrop, Sub, SubConflate, XPub,
    XPubManual, XPubVerbose, XSub, Dealer, DealerConflate, Router, RouterHandover, RouterMandatory,
    Req, ReqRelaxed, Rep, RepThatAnswers, Stream, Curve,
)  # fmt: skip

receivers = pytest.mark.parametrize("kind", [link for link in LINKS if link.receives])
queues = pytest.mark.parametrize("kind", [link for link in LINKS if link.receives and link.many])
senders = pytest.mark.parametrize("kind", [link for link in LINKS if link.sends])


# -- receiving -------------------------------------------------------------------------------------


def pause(stream):
    callback = stream.seen.append
    stream.on_recv(None)
    stream.on_recv(callback)


TOUCHES = {
    "nothing": lambda stream: None,
    "events": lambda stream: stream.socket.getsockopt(zmq.EVENTS),
    "poll": lambda stream: stream.socket.poll(0),
    "events of a shadow": lambda stream: zmq.Socket(shadow=stream.socket).EVENTS,
    "pause": pause,
    "flush": lambda stream: stream.flush(),
    "flush of sends": lambda stream: stream.flush(zmq.POLLOUT),
}


@receivers
@pytest.mark.deviates("pyzmq is deaf after some of it")
def test_received_whatever_touches_the_socket(backend, kind, throttled):
    link = kind(backend)
    got = link.stream.seen = backend.recorder()
    link.stream.on_recv(got.append)
    backend.settle()
    for number, touch in enumerate([touch for touch in TOUCHES.values() for _ in range(2)]):
        if number % 2:
            throttled()
            touch(link.stream)
        link.give(b"%d" % number)
        if not number % 2:
            throttled()
            touch(link.stream)
        backend.wait(got, number + 1)
    assert [link.payload(frames) for frames in got] == [b"%d" % i for i in range(len(got))]


@receivers
@pytest.mark.ours
def test_received_by_a_coroutine(backend, kind):
    link = kind(backend)

    async def main():
        return await link.stream.recv_multipart()

    for number in range(3):
        link.stream.on_recv(None)
        if kind.other == zmq.REQ and number:
            link.stream.send(b"answer")
            backend.drained(link.stream)
            link.peer.recv()
            link.given = False
        link.give(b"%d" % number)
        assert link.payload(backend.run(main())) == b"%d" % number


@queues
@pytest.mark.deviates("pyzmq's limit counts otherwise")
def test_flush_is_exact(backend, kind):
    link = kind(backend)
    got = []
    link.stream.on_recv(got.append)
    for number in range(5):
        link.give(b"%d" % number)
    assert link.socket.poll(TIMEOUT * 1000)
    while len(got) < 5:
        before = len(got)
        handled = link.stream.flush(zmq.POLLIN, limit=2)
        assert handled == len(got) - before <= 2
    assert [link.payload(frames) for frames in got] == [b"%d" % i for i in range(5)]
    assert link.stream.flush() == 0


# -- sending ---------------------------------------------------------------------------------------


@senders
def test_sent_in_order(backend, kind):
    """Each message with its outcome, also from another thread."""
    link = kind(backend)
    outcomes = backend.recorder()
    link.stream.on_send(lambda message, status: outcomes.append(message))
    one_by_one = kind.kind in (zmq.REQ, zmq.REP, zmq.STREAM)
    for number in range(4):
        message = link.wrap(b"%d" % number)
        if number < 2 or backend.reference:
            link.stream.send_multipart(message)
        else:
            thread = threading.Thread(target=link.stream.send_multipart, args=(message,))
            thread.start()
            thread.join()
        if one_by_one:
            backend.wait(outcomes, number + 1)
            assert link.take() == b"%d" % number
    backend.wait(outcomes, 4)
    assert list(outcomes) == [link.wrap(b"%d" % number) for number in range(4)]
    if not one_by_one:
        assert [link.take() for _ in range(4)] == [b"%d" % number for number in range(4)]


@senders
@pytest.mark.deviates("pyzmq's close() loses what is queued")
def test_handed_over_by_close(backend, kind):
    link = kind(backend)
    link.stream.send_multipart(link.wrap(b"last"))
    link.stream.close(linger=TIMEOUT * 1000)
    assert link.peer.poll(TIMEOUT * 1000)
    assert link.peer.recv_multipart()[-1] == b"last"


@senders
@pytest.mark.ours
def test_awaited_sends(backend, kind):
    link = kind(backend)

    async def main():
        await asyncio.wait_for(link.stream.asend_multipart(link.wrap(b"x")), TIMEOUT)

    for _ in range(3):
        backend.run(main())
        assert link.take() == b"x"


# -- the end ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", LINKS)
@pytest.mark.deviates("pyzmq's stream does not notice, and term() waits for its socket")
def test_the_context_is_terminated(backend, kind):
    """In another thread, while messages wait on both sides."""
    link = kind(backend)
    if kind.receives:
        link.give(b"x")
        link.stream.on_recv(lambda message: None)
    elif kind.sends:
        link.stream.send_multipart(link.wrap(b"x"))
        backend.drained(link.stream)
    link.peer.close(linger=0)
    for socket in backend.sockets:
        if socket is not link.socket:
            socket.close(linger=0)
    term = backend.loop.run_in_executor(None, backend.context.term)
    backend.run(asyncio.wait_for(term, TIMEOUT))
    assert link.stream.closed()


# -- what only some types do -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", [PullConflate, SubConflate, DealerConflate])
def test_conflate_delivers_the_last_message(backend, kind):
    link = kind(backend)
    for number in range(10):
        link.give(b"%d" % number)
    got = backend.recorder()
    link.stream.on_recv(got.append)
    backend.wait(got)
    backend.settle()
    assert got[-1] == [b"9"]
    assert len(got) <= 2  # inproc: one may be with the reader already


@pytest.mark.ours
def test_immediate_queues_until_there_is_a_peer(backend):
    """libzmq takes nothing for a connection that is not there, and the stream keeps it."""
    stream = backend.stream(backend.socket(zmq.PUSH, immediate=1, reconnect_ivl=1))
    reserved = backend.socket(zmq.PULL)
    port = reserved.bind_to_random_port("tcp://127.0.0.1")
    reserved.unbind(f"tcp://127.0.0.1:{port}")
    stream.connect(f"tcp://127.0.0.1:{port}")
    for number in range(5):
        stream.send(b"%d" % number)
    backend.settle()
    assert stream.get_write_buffer_size() > 0
    peer = backend.socket(zmq.PULL, rcvtimeo=TIMEOUT * 1000)
    backend.run_until(lambda: bound(peer, port))
    backend.drained(stream)
    assert [peer.recv() for _ in range(5)] == [b"%d" % number for number in range(5)]


def bound(socket, port):
    """Whether the port could be bound: libzmq gives one back in its own time."""
    try:
        socket.bind(f"tcp://127.0.0.1:{port}")
    except zmq.ZMQError:
        return False
    return True


def test_a_wrong_key_is_never_let_in(backend):
    link = Curve(backend)
    got = backend.recorder()
    link.stream.on_recv(got.append)
    for number in range(3):
        link.give(b"%d" % number)
        backend.wait(got, number + 1)
    assert list(got) == [[b"0"], [b"1"], [b"2"]]
