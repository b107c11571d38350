"""Idle costs nothing: on loops that are ours, programs do not wake up; on others, only to sweep.

Counted is how often the thread has waited, while nothing happens. ZMQSTREAM_TEST_SECONDS makes it
longer than the part of a second that it is by default.
"""

import asyncio
import os
import time

import pytest
import zmq

import zmqstream
from support.children import count_waits

SECONDS = float(os.environ.get("ZMQSTREAM_TEST_SECONDS", "0.2"))
SWEEPS = 25  # a second, as a guest
RETRIES = 100  # a second, for what no event tells

pytestmark = [
    pytest.mark.ours,
    pytest.mark.skipif(count_waits is None, reason="counts context switches"),
]


def check_idle(backend, at_home=0, guest=SWEEPS):
    """Nothing happens: so many wake-ups a second at home, and as a guest."""
    a_full_sweep = 0.06

    def wake_ups():
        seen = backend.recorder()
        cpu = []

        def look():
            cpu.append(time.thread_time())
            seen.append(count_waits())

        backend.loop.call_later(a_full_sweep, look)
        backend.loop.call_later(a_full_sweep + SECONDS, look)
        backend.wait(seen, 2)
        assert cpu[1] - cpu[0] < SECONDS / 2, "it spins"  # which is not waiting
        return seen[1] - seen[0]

    pace = at_home if backend.at_home else guest
    # The timer that ends it, a sweep after the one that began it, and what the machine does. A busy
    # machine adds some of its own, now and then.
    assert any(wake_ups() <= 3 + pace * SECONDS for _ in range(5))


def quiet(backend, count, kind=zmq.PULL):
    """Streams that have a receiver and nothing to receive."""
    streams = []
    for _ in range(count):
        stream = backend.stream(backend.socket(kind))
        stream.on_recv(print)
        streams.append(stream)
    return streams


@pytest.mark.parametrize("count", [1, 8, 300])
def test_streams_without_peers(backend, count):
    quiet(backend, count)
    check_idle(backend)


def test_a_handler_that_was_removed(backend):
    """A message waits in its socket, for nobody."""
    quiet(backend, 1)
    facade = zmqstream.IOLoop(make_current=False, asyncio_loop=backend.loop)
    socket, peer = backend.pair()
    got = backend.recorder()

    def handler(socket, events):
        got.append(socket.recv())

    facade.add_handler(socket, handler, facade.READ)
    peer.send(b"1")
    backend.wait(got)
    backend.settle()
    facade.remove_handler(socket)
    peer.send(b"2")
    check_idle(backend)
    facade.add_handler(socket, handler, facade.READ)
    backend.wait(got, 2)
    facade.remove_handler(socket)
    assert got == [b"1", b"2"]


def test_after_everything(backend, expected_log):
    """Peers that left, messages that nobody takes, a flood, raw use of sockets, exceptions."""
    quiet(backend, 10)
    # peers that left
    for transport in ("inproc", "tcp"):
        socket, peer = backend.pair(transport=transport)
        got = backend.recorder()
        backend.stream(socket).on_recv(got.append)
        peer.send(b"x")
        backend.wait(got)
        peer.close()
    # messages that nobody takes
    waiting = []
    for kind in (zmq.PUSH, zmq.DEALER, zmq.REQ):
        waiting.append(backend.stream(backend.socket(kind, sndhwm=10)))
        for _ in range(100):
            waiting[-1].send(b"x")
    full, reader = backend.pair(zmq.PUSH, zmq.PULL, sndhwm=1, rcvhwm=1)
    waiting.append(backend.stream(full))
    for _ in range(100):
        waiting[-1].send(b"x")
    # messages that nobody wants
    unread, writer = backend.pair()
    backend.stream(unread)
    writer.send(b"x")
    # a flood, an exception, and raw use
    socket, peer = backend.pair(sndhwm=0, rcvhwm=0)
    stream = backend.stream(socket)
    got = backend.recorder()

    def callback(message):
        got.append(message)
        if len(got) == 100:
            raise ValueError

    stream.on_recv(callback)
    for _ in range(2000):
        peer.send(b"x")
    backend.wait(got, 2000)
    stream.socket.getsockopt(zmq.EVENTS)
    stream.socket.poll(0)
    stream.flush()
    stream.on_recv(None)
    stream.on_recv(got.append)
    check_idle(backend)
    backend.expect_errors(ValueError)
    for stream in waiting:
        assert stream.sending()
        stream.close()
    expected_log("queued messages")


def test_a_peer_that_refuses_costs_no_more_than_its_attempts(backend, expected_log):
    """No event tells when it has room."""
    router, _ = backend.router(b"peer", hwm=1)
    stream = backend.stream(router)
    for _ in range(1000):
        stream.send_multipart([b"peer", b"x"])
    check_idle(backend, at_home=RETRIES, guest=SWEEPS + RETRIES)
    assert stream.sending()
    stream.close()
    expected_log("queued messages")


def test_a_callback_that_is_idle_itself(backend):
    """Coroutines that wait, and a timer far away."""
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    started = backend.recorder()
    release = backend.loop.create_future()

    async def callback(message):
        started.append(message)
        await asyncio.wait([release])

    stream.on_recv(callback)
    backend.loop.call_later(3600, print)
    for _ in range(5):
        peer.send(b"x")
    backend.wait(started, 5)
    check_idle(backend)
    release.set_result(None)
    backend.settle()
