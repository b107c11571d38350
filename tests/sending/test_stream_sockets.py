"""Every send has an outcome, on STREAM sockets: a client that does not read holds up no other.

libzmq refuses messages client by client there, as a ROUTER with ROUTER_MANDATORY does.
"""

import asyncio
import re
import socket

import pytest
import zmq

from support import TIMEOUT
from support.coroutines import start
from zmqstream import MessageExpired

pytestmark = pytest.mark.deviates("pyzmq waits in send(), and the loop with it")

SIZE = 100_000  # bytes: a few such messages fill all buffers on the way
MANY = 40
BUFFER = (
    400_000  # bytes in the kernel, at each end; much smaller ones wait for delayed acknowledgments
)


class Client:
    """A TCP client of a STREAM socket, which begins to read when it is told to."""

    def __init__(self, server):
        port = int(server.last_endpoint.rpartition(b":")[2])
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self.socket.settimeout(TIMEOUT)
        self.socket.connect(("127.0.0.1", port))
        self.name, empty = server.recv_multipart()
        assert empty == b""
        self.socket.setblocking(False)
        self.received = b""

    def read(self):
        """What has come so far."""
        while True:
            try:
                data = self.socket.recv(1 << 20)
            except BlockingIOError:
                return self.received
            if not data:
                return self.received
            self.received += data


@pytest.fixture
def stalled_and_good(backend):
    """A stream, and two clients of its socket. What is sent to the first waits."""
    server = backend.socket(zmq.STREAM, sndhwm=2, sndbuf=BUFFER, rcvtimeo=TIMEOUT * 1000)
    server.bind("tcp://127.0.0.1:*")
    clients = Client(server), Client(server)
    yield (backend.stream(server), *clients)
    for client in clients:
        client.socket.close()


def block(i):
    return b"%06d" % i + bytes(SIZE - 6)


def send_many(stream, client, **kwargs):
    for i in range(MANY):
        stream.send_multipart([client.name, block(i)], **kwargs)


def until_some_wait(backend, stream):
    """Until libzmq and the network have what they take."""
    sizes = [-1]

    def steady():
        sizes.append(stream.get_write_buffer_size())
        return len(sizes) > 20 and len(set(sizes[-20:])) == 1

    backend.run_until(steady)
    assert 0 < sizes[-1] < MANY


def test_a_client_that_does_not_read_holds_up_no_other(backend, stalled_and_good):
    """Others have theirs at once; and it has its own, in order, when it reads."""
    stream, stalled, good = stalled_and_good
    send_many(stream, stalled)
    for i in range(10):
        stream.send_multipart([good.name, b"hello %d." % i])
    backend.run_until(lambda: good.read().endswith(b"hello 9."))
    assert good.received == b"".join(b"hello %d." % i for i in range(10))
    assert stream.sending()
    backend.run_until(lambda: len(stalled.read()) == MANY * SIZE)
    assert stalled.received == b"".join(block(i) for i in range(MANY))
    backend.drained(stream)


def test_two_clients_that_do_not_read(backend, stalled_and_good):
    """They take turns when they read, and neither waits for the other."""
    stream, first, second = stalled_and_good
    send_many(stream, first)
    send_many(stream, second)
    backend.run_until(lambda: len(second.read()) == MANY * SIZE)
    assert stream.sending()
    backend.run_until(lambda: len(first.read()) == MANY * SIZE)
    assert first.received == second.received


def test_asend_to_a_client_that_does_not_read_holds_up_no_other(backend, stalled_and_good):
    stream, stalled, good = stalled_and_good

    async def main():
        waiting = [start(stream.asend_multipart([stalled.name, block(i)])) for i in range(MANY)]
        for i in range(10):
            await stream.asend_multipart([good.name, b"hello %d." % i])
        while not good.read().endswith(b"hello 9."):
            await asyncio.sleep(0.002)
        assert not waiting[-1].done()
        while not waiting[-1].done():
            stalled.read()
            await asyncio.sleep(0.002)
        await asyncio.gather(*waiting)

    backend.run(main())
    backend.run_until(lambda: len(stalled.read()) == MANY * SIZE)
    assert stalled.received == b"".join(block(i) for i in range(MANY))


def test_flush_with_a_client_that_does_not_read(backend, stalled_and_good):
    """It hands over what others take, and does not wait."""
    stream, stalled, good = stalled_and_good
    send_many(stream, stalled)
    stream.send_multipart([good.name, b"hello"])
    handled = stream.flush(zmq.POLLOUT)
    left = stream.get_write_buffer_size()
    assert 0 < left < MANY
    assert handled == MANY + 1 - left
    backend.run_until(lambda: good.read() == b"hello")
    backend.run_until(lambda: stream.flush(zmq.POLLOUT) == 0 or stalled.read() is None)
    backend.run_until(lambda: len(stalled.read()) == MANY * SIZE)


@pytest.mark.parametrize("how", ["close", "aclose"])
def test_close_with_a_client_that_does_not_read(backend, stalled_and_good, how, expected_log):
    """Others have what was sent to them; what waits for it is counted as lost."""
    stream, stalled, good = stalled_and_good
    send_many(stream, stalled)
    until_some_wait(backend, stream)
    stream.send_multipart([good.name, b"hello"])
    if how == "close":
        stream.close(linger=TIMEOUT * 1000)
    else:
        backend.run(stream.aclose(0.01, linger=TIMEOUT * 1000))
    [record] = expected_log("could not be handed to libzmq")
    waiting = int(re.search(r"(\d+) queued messages", record.getMessage())[1])
    assert 0 < waiting < MANY
    backend.run_until(lambda: good.read() == b"hello")
    # what libzmq had taken arrives, too: else the context would wait for it
    backend.run_until(lambda: len(stalled.read()) == (MANY - waiting) * SIZE)


def test_timeouts_of_messages_to_a_client_that_does_not_read(backend, stalled_and_good):
    """They expire by themselves, and others are sent in time."""
    stream, stalled, good = stalled_and_good
    outcomes = backend.recorder()
    send_many(stream, stalled)
    until_some_wait(backend, stream)

    def told(message, status):
        outcomes.append((message[0], type(status)))

    for _ in range(3):
        stream.send_multipart([stalled.name, b"late"], callback=told, timeout=0.02)
    stream.send_multipart([good.name, b"hello"], callback=told, timeout=TIMEOUT)
    backend.wait(outcomes, 4)
    assert outcomes == [
        (good.name, type(None)), *[(stalled.name, MessageExpired)] * 3,
    ]  # fmt: skip
    backend.run_until(lambda: good.read() == b"hello")
    backend.run_until(lambda: len(stalled.read()) == MANY * SIZE)
    assert b"late" not in stalled.received
    send_many(stream, stalled)
    with pytest.raises(MessageExpired):
        backend.run(stream.asend_multipart([stalled.name, b"late"], timeout=0.02))
    stalled.received = b""
    backend.run_until(lambda: len(stalled.read()) == MANY * SIZE)


def test_a_client_that_hangs_up_while_messages_wait_for_it(backend, stalled_and_good):
    """Each of them fails; others are sent."""
    stream, stalled, good = stalled_and_good
    failed = backend.recorder()
    send_many(stream, stalled)
    until_some_wait(backend, stream)
    waiting = stream.get_write_buffer_size()
    stream.on_recv(lambda message: None)  # libzmq ends the connection when its end is received
    stream.on_send(lambda message, status: failed.append(getattr(status, "errno", None)))
    stalled.socket.close()
    backend.wait(failed, waiting)
    assert failed.count(zmq.EHOSTUNREACH) > waiting // 2  # libzmq took some before it saw the end
    stream.send_multipart([good.name, b"hello"])
    backend.run_until(lambda: good.read() == b"hello")
