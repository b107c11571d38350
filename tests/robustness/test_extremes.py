"""The contract at its extremes: as many frames, as large ones, as many messages
that nobody takes as a program may come across."""

import asyncio

import pytest
import zmq

MANY = [b"%d" % i for i in range(100_000)]
HUGE = 256 << 20  # bytes


@pytest.mark.any_loop
@pytest.mark.parametrize("copy", [True, False])
def test_a_hundred_thousand_frames(backend, copy):
    """In both directions, as one message."""
    own = backend.name == "own-epoll"
    if not (own or copy):
        pytest.skip("what takes time here is the same on every loop")
    socket, peer = backend.pair(transport="tcp" if own else "inproc")
    stream = backend.stream(socket)
    got = backend.recorder()
    stream.on_recv(got.append, copy=copy)
    message = MANY
    stream.send_multipart(message, copy=copy)
    stream.send(b"after")
    backend.drained(stream)
    assert peer.recv_multipart() == message
    assert peer.recv() == b"after"
    peer.send_multipart(message)
    peer.send(b"after")
    backend.wait(got, 2)
    if not copy:
        got[:] = [[frame.bytes for frame in message] for message in got]
    assert got == [message, [b"after"]]


@pytest.mark.parametrize("transport", ["inproc", "tcp"])
def test_nothing_but_empty_frames(backend, transport):
    socket, peer = backend.pair(transport=transport)
    stream = backend.stream(socket)
    got = backend.recorder()
    stream.on_recv(got.append)
    for count in (1, 2, 16, 17, 1000):
        stream.send_multipart([b""] * count)
        peer.send_multipart([b""] * count)
        backend.wait(got)
        backend.drained(stream)
        assert got == [[b""] * count]
        assert peer.recv_multipart() == [b""] * count
        got.clear()


@pytest.mark.any_loop
@pytest.mark.parametrize("transport", ["inproc", "tcp"])
def test_a_huge_frame(backend, transport):
    """In both directions, between others; the loop is not blocked meanwhile."""
    if backend.name != "own-epoll":
        pytest.skip("what takes time here is the same on every loop")
    copy = transport == "tcp"
    socket, peer = backend.pair(transport=transport)
    stream = backend.stream(socket)
    got, ticks = backend.recorder(), []
    stream.on_recv(got.append, copy=copy)
    huge = bytes(range(256)) * (HUGE >> 8)

    async def tick():
        while True:
            ticks.append(len(got))
            await asyncio.sleep(0.005)

    task = backend.loop.create_task(tick())
    peer.send(b"before")
    peer.send(huge, copy=False)
    peer.send(b"after")
    backend.wait(got, 3)
    task.cancel()
    if transport == "tcp":
        assert ticks.count(1) > 2  # while it was under way
    assert [len(message) for message in got] == [1, 1, 1]
    assert bytes(got[0][0]) == b"before"
    assert (got[1][0] if copy else got[1][0].buffer) == huge
    assert bytes(got[2][0]) == b"after"
    got.clear()
    stream.send_multipart([b"x", huge, b"y"], copy=not copy)
    backend.drained(stream)
    frames = peer.recv_multipart(copy=False)
    assert [frame.bytes for frame in (frames[0], frames[2])] == [b"x", b"y"]
    assert frames[1].buffer == huge


# -- messages that nobody takes -------------------------------------------------------------------


@pytest.mark.ours
@pytest.mark.parametrize("kind", [zmq.PUSH, zmq.DEALER, zmq.REQ], ids=["PUSH", "DEALER", "REQ"])
def test_no_peer(backend, kind):
    """Nothing is sent, and sending() says so; with a peer, all is sent in order."""
    stream = backend.stream(backend.socket(kind, sndhwm=10))
    sent = backend.recorder()
    stream.on_send(lambda message, status: sent.append(status))
    count = 1 if kind == zmq.REQ else 1000
    for i in range(count):
        stream.send(b"%d" % i)
    backend.settle(10)
    assert sent == []
    assert stream.sending()
    other = {zmq.PUSH: zmq.PULL, zmq.DEALER: zmq.DEALER, zmq.REQ: zmq.REP}[kind]
    peer = backend.socket(other, rcvhwm=0, rcvtimeo=20_000)
    peer.bind(backend.address())
    stream.connect(peer.last_endpoint.decode())
    backend.wait(sent, count)
    assert sent == [None] * count
    assert [int(peer.recv()) for _ in range(count)] == list(range(count))
    assert not stream.sending()


@pytest.mark.deviates("pyzmq waits for POLLOUT, and sends the second when the answer has come")
def test_two_requests_of_a_req(backend):
    """The second fails, at once and told; the first gets its answer."""
    socket, peer = backend.pair(zmq.REQ, zmq.REP)
    stream = backend.stream(socket)
    got, sent = backend.recorder(), backend.recorder()
    stream.on_recv(got.append)
    stream.on_send(lambda message, status: sent.append((message, getattr(status, "errno", None))))
    stream.send(b"first")
    stream.send(b"second")
    backend.wait(sent, 2)
    assert sent == [([b"first"], None), ([b"second"], zmq.EFSM)]
    assert peer.recv() == b"first"
    peer.send(b"answer")
    backend.wait(got)
    stream.send(b"third")
    backend.wait(sent, 3)
    assert sent[2] == ([b"third"], None)
    assert peer.recv() == b"third"


# -- a ROUTER with ROUTER_MANDATORY ---------------------------------------------------------------


class Router:
    """A stream on one, and peers that have said hello."""

    def __init__(self, backend, transport, names):
        self.backend = backend
        router, *peers = backend.router(*names, hwm=2, transport=transport)
        self.peers = dict(zip(names, peers, strict=True))
        self.stream = backend.stream(router)
        self.outcomes = {}
        self.stream.on_send(self.told)

    def told(self, message, status):
        self.outcomes.setdefault(message[0], []).append(
            (int(message[1]), getattr(status, "errno", None))
        )

    def take(self, name):
        """What has arrived at a peer."""
        got = []
        while self.peers[name].poll(0):
            got.append(int(self.peers[name].recv_multipart()[0]))
        return got


@pytest.mark.deviates("pyzmq lets one refused peer stop the loop")
@pytest.mark.parametrize("transport", ["inproc", "tcp"])
def test_unknown_and_stalled_peers_among_healthy_ones(backend, transport):
    """Healthy ones get theirs meanwhile; unknown ones are told; the stalled wait, in order."""
    stalled = [b"stalled-%d" % i for i in range(3)]
    healthy = [b"healthy-%d" % i for i in range(3)]
    router = Router(backend, transport, stalled + healthy)
    stream = router.stream
    count = 60
    body = b"x" * (200_000 if transport == "tcp" else 10)  # more than the network holds
    got = {name: [] for name in stalled + healthy}
    turns = 0

    async def main():
        nonlocal turns
        for i in range(count):
            for name in (*stalled, b"unknown", *healthy):
                stream.send_multipart([name, b"%d" % i, body])
        while any(len(got[name]) < count for name in healthy):
            turns += 1
            await asyncio.sleep(0)
            for name in healthy:
                got[name] += router.take(name)

    backend.run(main())
    for name in healthy:
        assert got[name] == list(range(count))
        assert router.outcomes[name] == [(i, None) for i in range(count)]
    backend.run_until(lambda: len(router.outcomes.get(b"unknown", [])) == count)
    assert router.outcomes[b"unknown"] == [(i, zmq.EHOSTUNREACH) for i in range(count)]
    assert stream.sending()
    for name in stalled:
        assert len(router.outcomes.get(name, [])) < count
    while any(len(got[name]) < count for name in stalled):
        backend.settle(2)
        for name in stalled:
            got[name] += router.take(name)
    backend.drained(stream)
    for name in stalled:
        assert got[name] == list(range(count))
        assert router.outcomes[name] == [(i, None) for i in range(count)]


@pytest.mark.ours
def test_many_messages_for_a_stalled_peer_stop_no_iteration(backend, expected_log):
    """A turn hands over, or parks, so many messages as its budget allows, and not all at once."""
    router = Router(backend, "inproc", [b"stalled", b"healthy"])
    stream = router.stream
    total = 20_000
    for i in range(total):
        stream.send_multipart([b"stalled", b"%d" % i])
    iterations = 0

    async def main():
        nonlocal iterations
        stream.send_multipart([b"healthy", b"0"])
        while not router.take(b"healthy"):
            iterations += 1
            await asyncio.sleep(0)

    backend.run(main())
    assert iterations >= 5
    stream.close()
    expected_log("queued messages")
