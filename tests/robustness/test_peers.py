"""Peers cannot crash a stream: they send garbage, break off or are killed in mid-message."""

import os
import random
import signal
import struct
import time

import pytest
import zmq

from support import zmtp
from support.backends import Backend
from support.children import fork, result_unless_libzmq_aborts


def bound(backend, kind, **options):
    socket = backend.socket(kind, **options)
    socket.bind("tcp://127.0.0.1:*")
    return socket, socket.last_endpoint.decode()


def connected(backend, kind, endpoint, **options):
    socket = backend.socket(kind, **options)
    socket.rcvtimeo = socket.sndtimeo = 20_000
    socket.connect(endpoint)
    return socket


@pytest.fixture
def dial():
    """Raw peers, hung up in the end."""
    peers = []

    def dial(*args):
        peers.append(zmtp.Peer(*args))
        return peers[-1]

    yield dial
    for peer in peers:
        peer.close()


# -- garbage on the port --------------------------------------------------------------------------

noise = random.Random(1).randbytes

# (what is sent, whether libzmq hangs up)
GARBAGE = {
    "nothing": (b"", False),
    "half a greeting": (zmtp.GREETING[:5], False),
    "a greeting": (zmtp.GREETING, False),
    "random bytes": (noise(4096), False),  # a peer of ZMTP 1.0, which had no handshake
    "ones": (b"\xff" * 4096, True),
    "zeros": (bytes(4096), True),
    "HTTP": (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 10, False),  # likewise
    "another mechanism": (zmtp.GREETING.replace(b"NULL", b"NONE") + bytes(64), True),
    "no READY": (zmtp.GREETING + zmtp.frame(b"x" * 40), True),
    "half a READY": (zmtp.GREETING + zmtp.ready(b"PUSH")[:-5] + bytes(300), True),
    "a READY that is too long": (zmtp.GREETING + zmtp.ready(b"PUSH" * 90), True),
    "another kind of socket": (zmtp.GREETING + zmtp.ready(b"PULL"), True),
    "an unknown command": (
        zmtp.GREETING + zmtp.ready(b"PUSH") + zmtp.frame(b"\x05WRONG" + noise(20), command=True),
        True,
    ),
    "a huge frame": (
        zmtp.GREETING + zmtp.ready(b"PUSH") + struct.pack(">BQ", 2, 2**63 - 1) + noise(1000),
        True,
    ),
    "a frame of 2**64 - 1": (
        zmtp.GREETING + zmtp.ready(b"PUSH") + b"\x02" + b"\xff" * 8 + noise(1000),
        True,
    ),
    "unknown flags": (zmtp.GREETING + zmtp.ready(b"PUSH") + b"\xf8\x05abcde" * 20, True),
}


def test_garbage_on_the_port(backend, dial):
    """It disturbs no other peer, and what libzmq takes for messages are messages."""
    socket, endpoint = bound(backend, zmq.PULL)
    stream = backend.stream(socket)
    got = backend.recorder()
    stream.on_recv(got.append)
    good = connected(backend, zmq.PUSH, endpoint)
    peers = []
    for i, (data, ends) in enumerate(GARBAGE.values()):
        peer = dial(endpoint)
        peer.send(data)
        good.send_multipart([b"good", b"%d" % i])
        if ends:
            peer.wait_for_the_end()
        else:
            peers.append(peer)
    backend.run_until(lambda: [b"good", b"%d" % i] in got)
    for peer in peers:
        peer.abort()
    good.send_multipart([b"good", b"last"])
    backend.run_until(lambda: [b"good", b"last"] in got)
    expected = [b"%d" % i for i in range(len(GARBAGE))] + [b"last"]
    assert [message[1] for message in got if message[0] == b"good"] == expected
    assert all(type(frame) is bytes for message in got for frame in message)


# -- broken off in mid-message --------------------------------------------------------------------


@pytest.mark.parametrize("how", ["reset", "closed"])
@pytest.mark.parametrize("copy", [True, False])
def test_a_peer_that_breaks_off_in_mid_message(backend, dial, how, copy):
    """Nothing of the message arrives; what came before does; other peers are not disturbed."""
    socket, endpoint = bound(backend, zmq.ROUTER)
    stream = backend.stream(socket)
    got = backend.recorder()

    def callback(message):
        got.append([frame if copy else bytes(frame) for frame in message])

    stream.on_recv(callback, copy=copy)
    good = connected(backend, zmq.DEALER, endpoint, routing_id=b"good")
    for turn in range(5):
        peer = dial(endpoint, b"DEALER", b"bad%d" % turn)
        peer.send(zmtp.frames([b"whole", b"%d" % turn, b""]))
        backend.run_until(lambda turn=turn: len(got) > 2 * turn)  # before a reset can drop it
        half = zmtp.frames([b"cut", b"", b"y" * 1000, b"end"])[: (8, 20, 500, 1015, 1019)[turn]]
        peer.send(half)
        good.send_multipart([b"%d" % turn, b"z"])
        backend.run_until(lambda turn=turn: len(got) > 2 * turn + 1)
        if how == "reset":
            peer.abort()
        else:
            peer.close()
    good.send_multipart([b"last", b""])
    backend.run_until(lambda: got[-1][1:] == [b"last", b""])
    assert [m[1:] for m in got if m[0] != b"good"] == [[b"whole", b"%d" % i, b""] for i in range(5)]
    assert [m[1:] for m in got if m[0] == b"good"] == [
        *([b"%d" % i, b"z"] for i in range(5)), [b"last", b""],
    ]  # fmt: skip


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_peer_that_is_killed_while_it_sends(backend):
    """Every message that arrives is whole, and they are in order."""
    socket, endpoint = bound(backend, zmq.PULL)
    stream = backend.stream(socket)
    numbers = {}

    def callback(message):
        name, number, *rest = message
        assert rest == [b"%s.%d" % (number, i) for i in range(300)]
        numbers.setdefault(name, []).append(int(number))

    stream.on_recv(callback)

    def child():
        push = zmq.Context().socket(zmq.PUSH)
        push.connect(endpoint)
        name = b"%d" % os.getpid()
        number = 0
        while True:
            rest = [b"%d.%d" % (number, i) for i in range(300)]
            push.send_multipart([name, b"%d" % number, *rest])
            number += 1

    good = connected(backend, zmq.PUSH, endpoint, sndhwm=0)
    for round in range(3):
        victim = fork(child)
        name = b"%d" % victim.pid
        backend.run_until(lambda name=name: len(numbers.get(name, [])) > 50)
        os.kill(victim.pid, signal.SIGKILL)
        os.waitpid(victim.pid, 0)
        os.close(victim.reader)
        good.send_multipart([b"good", b"%d" % round, *(b"%d.%d" % (round, i) for i in range(300))])
        backend.run_until(lambda round=round: len(numbers.get(b"good", [])) == round + 1)
    assert len(numbers) == 4
    for got in numbers.values():
        assert got == list(range(len(got)))


def test_a_peer_that_is_gone_while_messages_are_sent_to_it(backend, dial):
    """Those that it did not take go to the one that stays, each whole and once."""
    # little is on its way at a time, so that most wait in the queue when the bad one goes
    socket, endpoint = bound(backend, zmq.PUSH, sndhwm=100, sndbuf=10_000)
    stream = backend.stream(socket)
    bad = dial(endpoint, b"PULL")  # it does not read
    good = connected(backend, zmq.PULL, endpoint, rcvhwm=100, rcvbuf=10_000)
    for i in range(2000):
        stream.send_multipart([b"%d" % i, b"x" * 2000, b"%d" % i])
    backend.run_until(lambda: good.poll(0))
    backend.settle(20)
    assert stream.sending()
    bad.abort()
    got = []

    def last():
        while good.poll(0):
            got.append(good.recv_multipart())
        return got and got[-1][0] == b"1999"

    backend.run_until(last)
    assert not stream.sending()
    assert not good.poll(50)
    numbers = [int(message[0]) for message in got]
    assert all(message == [message[0], b"x" * 2000, message[0]] for message in got)
    assert numbers == sorted(set(numbers))
    # libzmq had handed the bad one no more than its high-water mark, and what the network holds
    assert len(numbers) >= 1000


# -- gone between two frames of a send ------------------------------------------------------------


def send_while_the_peer_goes(backend, dial, kind, message):
    """A stream and its endpoint, where libzmq has refused `message` between two of its frames.

    libzmq looks at what its threads tell it about each millisecond: the message needs far longer.
    """
    begun, ready = os.pipe()
    for _ in range(50):
        socket, endpoint = bound(backend, kind, sndhwm=0)
        stream = backend.stream(socket)
        bad = dial(endpoint, zmq.SocketType(kind).name.encode())
        backend.run_until(lambda socket=socket: socket.poll(0, zmq.POLLOUT))  # it is the first peer
        if kind != zmq.PAIR:
            good = connected(backend, kind, endpoint, rcvhwm=0)
            good.send(b"here")
            backend.run_until(lambda stream=stream: stream.flush(zmq.POLLIN))
        stream.send_multipart(message)

        def child(bad=bad):
            os.write(ready, b"x")
            end = time.perf_counter() + 0.001
            while time.perf_counter() < end:
                pass
            bad.shutdown()

        other = fork(child)
        os.read(begun, 1)
        handled = stream.flush(zmq.POLLOUT)
        other.result()
        if handled == 0:
            assert stream.sending()
            os.close(begun)
            os.close(ready)
            if kind == zmq.PAIR:
                backend.run_until(lambda socket=socket: not socket.poll(0, zmq.POLLOUT))
                good = connected(backend, kind, endpoint, rcvhwm=0)
            return stream, good
        stream.close()
    raise AssertionError("the peer never went in mid-message")


@pytest.mark.ours
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("kind", [zmq.PAIR, zmq.DEALER], ids=["PAIR", "DEALER"])
def test_a_peer_that_goes_between_two_frames(backend, kind):
    """The peer that stays, or comes, gets this message and the next ones, whole and once."""
    frames = [b"%d" % i for i in range(25_000)]

    def in_child():
        own = Backend(backend.name)
        stream, good = send_while_the_peer_goes(own, zmtp.Peer, kind, [b"first", *frames])
        stream.send_multipart([b"second", b"x"])
        stream.send_multipart([b"third", *frames])
        stream.send(b"last")
        own.drained(stream)
        got = [good.recv_multipart() for _ in range(4)]
        assert not good.poll(0)
        own.close()
        assert own.errors == []
        return got

    got = result_unless_libzmq_aborts(in_child)
    assert [(message[0], len(message)) for message in got] == [
        (b"first", 25_001), (b"second", 2), (b"third", 25_001), (b"last", 1),
    ]  # fmt: skip
    assert got[0][1:] == got[2][1:] == frames


# -- what is too large ----------------------------------------------------------------------------


def test_a_message_beyond_maxmsgsize(backend, dial):
    """Who sends it is hung up on, and it does not arrive. What came before does; others go on."""
    socket, endpoint = bound(backend, zmq.PULL, maxmsgsize=1000)
    stream = backend.stream(socket)
    got = backend.recorder()
    stream.on_recv(got.append)
    good = connected(backend, zmq.PUSH, endpoint)
    for size in (1001, 100_000_000):
        bad = dial(endpoint, b"PUSH")
        bad.send(zmtp.frames([b"small", b"y" * 1000]))
        backend.run_until(lambda: got and got[-1][0] == b"small")
        bad.send(zmtp.frame(b"first", more=True) + zmtp.frame(b"x" * size)[:500])
        bad.wait_for_the_end()
        good.send(b"%d" % size)
        backend.run_until(lambda size=size: got[-1] == [b"%d" % size])
    assert [message[0] for message in got] == [b"small", b"1001", b"small", b"100000000"]
