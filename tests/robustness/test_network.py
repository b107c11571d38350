"""The contract across a network that is slow, loses packets, or is gone for a while.

Two hosts, each a network namespace and a process. The cable is pulled for half a
second, on one of our own loops and one of asyncio's; for 5 s and on every loop with

    ZMQSTREAM_NETWORK=long pytest tests/robustness/test_network.py
"""

import os
import time

import pytest
import zmq

from support import TIMEOUT
from support.backends import IMPLEMENTATIONS, Backend, set_environment
from support.children import results
from support.network import ADDRESSES, Network, Unavailable

LONG = os.environ.get("ZMQSTREAM_NETWORK") == "long"
OUTAGE = 5.0 if LONG else 0.5  # seconds
BACKENDS = (
    [name for name in IMPLEMENTATIONS if name != "pyzmq"] if LONG else ["own-epoll", "guest-epoll"]
)
ENDPOINT = f"tcp://{ADDRESSES[1]}:5555"
TICK = 0.02  # seconds

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here"),
    pytest.mark.parametrize("name", BACKENDS),
]


@pytest.fixture
def network(name, monkeypatch):
    set_environment(name, monkeypatch.setenv)

    def make(**conditions):
        try:
            made = Network(**conditions)
        except Unavailable as error:
            pytest.skip(str(error))
        networks.append(made)
        return made

    networks = []
    yield make
    for made in networks:
        made.__exit__()


def bound(name, kind, callback, **options):
    """On the second host: a stream that calls `callback(stream, message)` until b"end" came."""

    def child():
        backend = Backend(name)
        socket = backend.socket(kind, **options)
        socket.bind(ENDPOINT)
        stream = backend.stream(socket)
        got = backend.recorder()

        def on_recv(message):
            callback(stream, message)
            got.append(message[-1])

        stream.on_recv(on_recv)
        backend.run_until(lambda: got[-1:] == [b"end"])
        backend.drained(stream)
        socket.linger = 1000 * TIMEOUT  # the last echo has a way to go
        stream.close()
        backend.close()
        assert backend.errors == []
        return got

    return child


def echo(stream, message):
    stream.send_multipart(message)


class Host:
    """On the first host: a DEALER's stream, and what came back."""

    def __init__(self, name, **options):
        self.backend = Backend(name)
        self.socket = self.backend.socket(zmq.DEALER, routing_id=b"host", **options)
        self.events = self.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self.socket.connect(ENDPOINT)
        self.stream = self.backend.stream(self.socket)
        self.got = self.backend.recorder()
        self.stream.on_recv(lambda message: self.got.append(message[0]))
        self.sent = []

    def send(self, count, size=0):
        for _ in range(count):
            self.stream.send_multipart([b"%d" % len(self.sent), bytes(size)])
            self.sent.append(b"%d" % len(self.sent))

    def tick(self):
        """Do something now and then, until `self.timer` is cancelled."""
        self.ticks += 1
        if self.ticks == 3:  # what there was to do at once has been done
            self.idle_since = time.monotonic(), time.thread_time()
        self.send(1)
        self.timer = self.backend.loop.call_later(TICK, self.tick)

    def outage(self, network):
        """Sends go on while the cable is pulled. The loop is neither blocked nor spins."""
        over = self.backend.recorder()
        self.ticks = 0
        network.pull()
        self.send(2000, 1000)  # more than fits anywhere but in the stream's queue
        self.tick()
        self.backend.loop.call_later(OUTAGE, lambda: over.append(1))
        self.backend.wait(over)
        self.timer.cancel()
        # who is blocked has no ticks, and who spins uses all of the time
        assert self.ticks > OUTAGE / TICK / 4
        clock, used = self.idle_since
        assert time.thread_time() - used < (time.monotonic() - clock) / 2
        assert self.stream.sending()
        network.put_back()

    def finish(self, echoed=True):
        self.stream.send_multipart([b"end", b"end"])
        self.backend.drained(self.stream)
        if echoed:
            # A ROUTER that has an echo left when its peer goes keeps it for as long as it lingers.
            # And this host goes with us: who does not know, as a FIN was lost, is never told.
            self.backend.run_until(lambda: self.got[-1:] == [b"end"])
        self.socket.disable_monitor()
        self.events.close()
        self.socket.linger = 1000 * TIMEOUT
        self.stream.close()
        self.backend.close()
        assert self.backend.errors == []


def test_latency_and_loss(name, network):
    """Both directions: everything arrives, once and in order."""
    network = network(delay=0.005, jitter=0.002, loss=0.02)

    def child():
        host = Host(name, sndhwm=10, rcvhwm=10)
        host.send(300, 1000)
        host.backend.wait(host.got, len(host.sent))
        assert host.got == host.sent
        host.finish()

    other = network.fork(1, bound(name, zmq.ROUTER, echo, router_mandatory=1, sndhwm=10, rcvhwm=10))
    assert len(results(network.fork(0, child), other)[1]) == 301


def test_a_cable_that_is_pulled(name, network):
    """Nobody notices, but that it is late: TCP waits. Everything arrives, once and in order."""
    network = network(delay=0.001)

    def child():
        host = Host(name, sndhwm=10, rcvhwm=10)
        host.send(100)
        host.backend.wait(host.got, 100)
        host.outage(network)
        host.backend.wait(host.got, len(host.sent))  # without a timer that would wake the loop
        assert host.got == host.sent
        assert not host.events.poll(0)
        host.finish()

    other = network.fork(1, bound(name, zmq.ROUTER, echo, router_mandatory=1, sndhwm=10, rcvhwm=10))
    results(network.fork(0, child), other)


def test_a_connection_that_is_lost(name, network):
    """TCP gives up, and libzmq connects again. What is sent from then on arrives, in order.

    (What had left libzmq before is lost: ZeroMQ repeats nothing.)
    """
    network = network(delay=0.001)
    first = 100

    def child():
        host = Host(name, sndhwm=10, tcp_maxrt=500, connect_timeout=300, reconnect_ivl=20)
        host.send(first)
        host.backend.wait(host.got, first)
        network.pull()
        host.send(1)
        host.backend.run_until(lambda: host.events.poll(0))  # disconnected
        assert host.sent.pop() == b"%d" % first
        host.outage(network)
        host.finish(echoed=False)
        return host.sent

    numbers = []

    def collect(stream, message):
        numbers.append(message[0])
        if len(numbers) <= first:
            echo(stream, message)

    def other():
        bound(name, zmq.DEALER, collect, rcvhwm=10)()
        return numbers

    other = network.fork(1, other)
    sent, got = results(network.fork(0, child), other)
    assert got == [*sent, b"end"]
