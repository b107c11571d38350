"""Any thread may send, also while the stream is closed.

Each message is sent, counted as lost, or refused."""

import itertools
import re
import sys
import threading

import pytest
import zmq

THREADS = 4

pytestmark = pytest.mark.deviates("pyzmq's send is not thread-safe")


@pytest.fixture(autouse=True)
def _threads_take_turns():
    """Between any two bytecodes."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


class Senders:
    """Threads that send until they are refused, and count what was accepted."""

    def __init__(self, stream, send):
        self.stream, self.send = stream, send
        self.accepted = [0] * THREADS
        self.enough = threading.Event()
        self.wrong = []
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(THREADS)]

    def run(self, which):
        try:
            for number in itertools.count():
                try:
                    self.send(self.stream, which, number)
                except OSError as error:
                    if "Stream is closed" not in str(error):
                        raise
                    return
                self.accepted[which] += 1
                if number == 200:
                    self.enough.set()
        except BaseException as error:
            self.wrong.append(error)

    def start(self):
        for thread in self.threads:
            thread.start()

    def join(self):
        for thread in self.threads:
            thread.join(20)
            assert not thread.is_alive()
        assert self.wrong == []


def send_bytes(stream, which, number):
    stream.send(b"%d %d" % (which, number))


def send_multipart(stream, which, number):
    stream.send_multipart([b"%d %d" % (which, number), b"x"])


def send_with_callback(stream, which, number):
    stream.send(b"%d %d" % (which, number), callback=lambda message, status: None)


def send_buffer(stream, which, number):
    stream.send(bytearray(b"%d %d" % (which, number)), copy=False, track=True)


KINDS = [send_bytes, send_multipart, send_with_callback, send_buffer]


def lost(caplog):
    """How many messages close() has told of; the records are taken away."""
    found = [re.search(r"(\d+) queued messages", record.getMessage()) for record in caplog.records]
    for records in (caplog.handler.records, caplog.get_records("call")):
        records[:] = [r for r in records if "queued messages" not in r.getMessage()]
    return sum(int(match[1]) for match in found if match)


@pytest.mark.any_loop
@pytest.mark.parametrize("send", KINDS, ids=lambda send: send.__name__)
@pytest.mark.parametrize("room", [0, 20], ids=["room", "no room"])
@pytest.mark.parametrize("where", ["loop", "outside"])
def test_sends_while_the_stream_is_closed(backend, send, room, where, caplog):
    """What was accepted is what has arrived and what close() tells of, message by message."""
    socket, peer = backend.pair(zmq.PUSH, zmq.PULL, sndhwm=room, rcvhwm=room)
    stream = backend.stream(socket)
    senders = Senders(stream, send)
    closed = backend.recorder()
    stream.set_close_callback(lambda: closed.append(1))
    senders.start()
    if where == "loop":

        def close_when_enough():
            if senders.enough.is_set():
                stream.close(linger=10_000)
            else:
                backend.loop.call_later(0.001, close_when_enough)

        backend.loop.call_soon(close_when_enough)
        backend.wait(closed)
    else:
        senders.enough.wait(20)
        stream.close(linger=10_000)
    senders.join()
    arrived = [[] for _ in range(THREADS)]
    while peer.poll(0):
        which, number = peer.recv_multipart()[0].split()
        arrived[int(which)].append(int(number))
    # libzmq hands over to the receiving side in batches: ask it until there is no more
    for numbers in arrived:
        assert numbers == list(range(len(numbers)))
    assert sum(map(len, arrived)) + lost(caplog) == sum(senders.accepted)
    if room:
        assert sum(map(len, arrived)) < sum(senders.accepted)


@pytest.mark.ours
def test_sends_while_the_loop_is_closed(backend):
    """They are refused with an error that says so, or stay in the queue."""
    socket, peer = backend.pair(zmq.PUSH, zmq.PULL, sndhwm=0, rcvhwm=0)
    stream = backend.stream(socket)
    accepted, errors = [0] * THREADS, []
    begun = threading.Barrier(THREADS + 1)

    def run(which):
        begun.wait()
        while True:
            try:
                stream.send(b"x")
            except RuntimeError as error:
                errors.append(str(error))
                return
            accepted[which] += 1

    threads = [threading.Thread(target=run, args=(i,)) for i in range(THREADS)]
    for thread in threads:
        thread.start()
    begun.wait()
    backend.settle(5)
    backend.loop.close()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert all("closed" in error for error in errors)
    stream.close()
    arrived = 0
    while peer.poll(0):
        peer.recv()
        arrived += 1
    assert arrived == sum(accepted)


@pytest.mark.ours
def test_sends_from_threads_during_floods_and_flushes(backend):
    """With receives, flushes and pauses in the loop's thread at the same time."""
    socket, peer = backend.pair(sndhwm=0, rcvhwm=0)
    stream = backend.stream(socket)
    got, count = backend.recorder(), 500

    def callback(message):
        got.append(int(message[0]))
        if len(got) % 7 == 0:
            stream.flush(limit=3)
        if len(got) % 11 == 0:
            stream.on_recv(callback)

    def send(which):
        for number in range(count):
            stream.send_multipart([b"%d %d" % (which, number)])

    stream.on_recv(callback)
    threads = [threading.Thread(target=send, args=(i,)) for i in range(THREADS)]
    for i in range(2000):
        peer.send(b"%d" % i)
    for thread in threads:
        thread.start()
    backend.wait(got, 2000)
    for thread in threads:
        thread.join(20)
    backend.drained(stream)
    assert got == list(range(2000))
    arrived = [[] for _ in range(THREADS)]
    for _ in range(THREADS * count):
        which, number = peer.recv().split()
        arrived[int(which)].append(int(number))
    assert arrived == [list(range(count))] * THREADS
