"""The process at the other end of a tcp connection.

    child.py echo IMPLEMENTATION     prints its endpoint, and sends back what it gets
    child.py flood ENDPOINT N        prints "ready"; when told "go", sends N messages of 16 B,
                                     the last of two frames

It is killed when it is not needed any more, and ends itself after a time.
"""

from __future__ import annotations

import asyncio
import signal
import sys

import zmq

from . import climit
from .harness import BLOCKING, TIME_LIMIT, C
from .streams import KINDS, Kind


def echo(implementation: str) -> None:
    socket = zmq.Context().socket(zmq.DEALER)
    socket.bind("tcp://127.0.0.1:*")
    print(socket.last_endpoint.decode(), flush=True)
    if implementation == C:
        climit.echo(socket)
    elif implementation == BLOCKING:
        while True:
            socket.send_multipart(socket.recv_multipart())
    else:
        kind = KINDS[implementation]
        kind.run(echo_stream(kind, socket))


async def echo_stream(kind: Kind, socket: zmq.Socket) -> None:
    stream = kind.stream(socket)
    stream.on_recv(stream.send_multipart)
    await asyncio.get_running_loop().create_future()


def flood(endpoint: str, messages: int) -> None:
    socket = zmq.Context().socket(zmq.PUSH)
    socket.connect(endpoint)
    socket.send(b"hello")
    print("ready", flush=True)
    sys.stdin.readline()
    climit.send(socket, messages - 1, 1, b"x" * 16)
    climit.send(socket, 1, 2, b"x" * 16)
    sys.stdin.readline()  # stay connected: who hangs up takes unread messages along


if __name__ == "__main__":
    signal.alarm(TIME_LIMIT)  # the default action: end the process, even inside libzmq
    role, *arguments = sys.argv[1:]
    if role == "echo":
        echo(arguments[0])
    elif role == "flood":
        flood(arguments[0], int(arguments[1]))
    else:
        sys.exit(f"unknown role: {role}")
