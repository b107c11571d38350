"""A peer that speaks ZMTP 3.0 over a plain TCP socket, and may stop anywhere.

See https://rfc.zeromq.org/spec/23/.
"""

from __future__ import annotations

import socket
import struct

TIMEOUT = 20  # seconds

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)


def frame(body, more=False, command=False):
    """The bytes of a frame on the wire."""
    flags = (1 if more else 0) | (4 if command else 0)
    if len(body) < 256:
        return struct.pack(">BB", flags, len(body)) + body
    return struct.pack(">BQ", flags | 2, len(body)) + body


def frames(parts):
    """The bytes of a message on the wire."""
    return b"".join(frame(part, more=i + 1 < len(parts)) for i, part in enumerate(parts))


def ready(kind, identity=b""):
    """The command that ends the handshake."""
    body = b"\x05READY"
    for name, value in ((b"Socket-Type", kind), (b"Identity", identity)):
        body += struct.pack(">B", len(name)) + name + struct.pack(">I", len(value)) + value
    return frame(body, command=True)


class Peer:
    """A connection to `endpoint`, which is tcp://address:port."""

    def __init__(self, endpoint, kind=None, identity=b""):
        address, _, port = endpoint.removeprefix("tcp://").rpartition(":")
        self.tcp = socket.create_connection((address, int(port)), TIMEOUT)
        self.tcp.settimeout(TIMEOUT)
        self.tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if kind is not None:
            self.send(GREETING)
            self.receive(len(GREETING))
            self.send(ready(kind, identity))
            self.receive(self.receive(2)[1])

    def send(self, data):
        self.tcp.sendall(data)

    def receive(self, count):
        data = b""
        while len(data) < count:
            more = self.tcp.recv(count - len(data))
            assert more, "the connection has ended"
            data += more
        return data

    def wait_for_the_end(self):
        """Wait until the other side closes the connection."""
        try:
            while self.tcp.recv(4096):
                pass
        except ConnectionError:
            pass
        self.tcp.close()

    def shutdown(self):
        """Close the connection for all processes that share it."""
        self.tcp.shutdown(socket.SHUT_RDWR)

    def abort(self):
        """Close the connection like a process that is killed, with a reset for unread data."""
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.tcp.close()

    def close(self):
        self.tcp.close()
