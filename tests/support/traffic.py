"""Streams, their peers, and the messages that arrive."""

from __future__ import annotations

from support.backends import Backend

# CPython's weak dictionaries raise SystemError if there is no memory
OUT_OF_MEMORY = (MemoryError, SystemError)


def numbers(start, stop):
    """Numbered messages of one frame."""
    return [b"%d" % i for i in range(start, stop)]


def listening(backend):
    """An armed stream, its raw socket, and its peer."""
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
        return True  # uvloop removes a timer from a set to which it could not add it without memory
    return isinstance(error, OUT_OF_MEMORY)


class Pair:
    """A stream and its peer in a new backend, and the outcomes of their messages."""

    def __init__(self, name):
        self.backend = Backend(name)
        socket, self.peer = self.backend.pair(sndhwm=0, rcvhwm=0)
        self.stream = self.backend.stream(socket)
        self.sequence = 0
        self.sent = []  # messages of the stream, as reported to on_send()
        self.received = self.backend.recorder()
        self.stream.on_recv(self.received.append)
        self.stream.on_send(lambda message, status: self.sent.append((message, status)))
        self.backend.settle()

    def messages(self):
        """New messages of several shapes."""
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
        """The number of these errors that were raised or reported."""
        for context in self.backend.errors:
            assert out_of_memory(self.backend, context.get("exception", error)), context
        return (error is not None) + len(self.backend.errors)

    def check_received(self, failures):
        """Check that at most `failures` messages are missing, and that the order is kept."""
        self.peer.send_multipart([b"last"])
        self.backend.run_until(lambda: self.received and self.received[-1] == [b"last"])
        missing = [message for message in self.arriving if message not in self.received]
        assert self.received[:-1] == [m for m in self.arriving if m not in missing]
        assert len(missing) <= failures
        return len(missing)

    def check_sent(self, failures):
        """Check that each message was sent or failed with a status, or that an error was raised."""
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
