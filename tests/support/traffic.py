"""Streams and their peers, and what arrives."""

from __future__ import annotations

from support.backends import Backend

# CPython's weak dictionaries answer a lack of memory with a SystemError
OUT_OF_MEMORY = (MemoryError, SystemError)


def numbers(start, stop):
    """Messages of one frame, which tell their order."""
    return [b"%d" % i for i in range(start, stop)]


def listening(backend):
    """A stream that is armed, with its raw socket and its peer."""
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    got = backend.recorder()
    stream.on_recv(got.append)
    peer.send(b"warm")
    backend.wait(got)
    backend.settle()
    got.clear()
    return stream, socket, peer, got


def out_of_memory(backend, error):
    if backend.name == "uvloop" and repr(error) == "KeyError(<TimerHandle>)":
        return True  # it removes a timer from its set, although there was no memory to put it there
    return isinstance(error, OUT_OF_MEMORY)


class Pair:
    """A stream, its peer, and what has become of messages, in a backend of their own."""

    def __init__(self, name):
        self.backend = Backend(name)
        socket, self.peer = self.backend.pair(sndhwm=0, rcvhwm=0)
        self.stream = self.backend.stream(socket)
        self.sequence = 0
        self.sent = []  # of the stream's, as on_send tells
        self.received = self.backend.recorder()
        self.stream.on_recv(self.received.append)
        self.stream.on_send(lambda message, status: self.sent.append((message, status)))
        self.backend.settle()

    def messages(self):
        """Of several shapes, each one new."""
        self.sequence += 1
        name = b"%d" % self.sequence
        return [[name], [name, b"a" * 100, b"b" * 2000, b""], [name] * 20, [b"end", name]]

    def begin(self):
        self.received.clear()
        self.sent.clear()
        self.backend.errors.clear()
        self.given = self.messages()
        self.arriving = self.messages()

    def send(self):
        for message in self.given:
            self.stream.send_multipart(message)

    def arrive(self):
        for message in self.arriving:
            self.peer.send_multipart(message)

    def failures(self, error):
        """How many were raised or reported."""
        for context in self.backend.errors:
            assert out_of_memory(self.backend, context.get("exception", error)), context
        return (error is not None) + len(self.backend.errors)

    def check_received(self, failures):
        """All of them, but for as many as there were errors, and in order; and the stream lives."""
        self.peer.send_multipart([b"last"])
        self.backend.run_until(lambda: self.received and self.received[-1] == [b"last"])
        missing = [message for message in self.arriving if message not in self.received]
        assert self.received[:-1] == [m for m in self.arriving if m not in missing]
        assert len(missing) <= failures
        return len(missing)

    def check_sent(self, failures):
        """Each was sent, or failed with a status, or an error was raised."""
        self.stream.send(b"last")
        self.backend.drained(self.stream)
        arrived = []
        while not arrived or arrived[-1] != [b"last"]:
            arrived.append(self.peer.recv_multipart())
        failed = [message for message, status in self.sent if status is not None]
        missing = [m for m in self.given if m not in arrived and m not in failed]
        assert arrived[:-1] == [m for m in self.given if m in arrived]
        assert len(missing) <= failures
        untold = [m for m in arrived if m not in [message for message, status in self.sent]]
        assert len(untold) <= failures
