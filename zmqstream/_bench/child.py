"""The process at the other end of a connection.

    child.py serve PEER dealer|router ENDPOINT   prints its endpoint, sends back what it gets, and
                                                 answers each line with its processor time, in ns
    child.py flood ENDPOINT SOCKETS              connects so many PUSH, sends "hello" on each and
                                                 prints "ready"; for each "MESSAGES FRAMES SIZE" it
                                                 floods, and prints how long that took, and how much
                                                 of it the sockets had no room, in ns
    child.py sink                                binds a PULL and prints its endpoint; for each line
                                                 receives so many messages in C, and prints "done"
    child.py echo ENDPOINT HEALTHY STALLED       connects so many DEALERs, which send "healthy" or
                                                 "stalled", and prints "ready"; the healthy echo,
                                                 the others take nothing

It ends when its stdin ends, or after a time limit.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import zmq

from . import climit
from .harness import TIME_LIMIT
from .peers import PEERS
from .sockets import endpoint_of, new_context


def serve(name: str, kind: str, endpoint: str) -> None:
    peer = PEERS[name]
    socket = peer.socket(zmq.Context(), {"dealer": zmq.DEALER, "router": zmq.ROUTER}[kind])
    socket.bind(endpoint)
    print(endpoint_of(socket), flush=True)
    threading.Thread(target=answer, daemon=True).start()
    peer.serve(socket)


def answer() -> None:
    for _ in sys.stdin:
        print(time.process_time_ns(), flush=True)
    os._exit(0)  # the main thread may be blocked in libzmq


def flood(endpoint: str, count: int) -> None:
    with new_context() as context:
        sockets = [context.socket(zmq.PUSH) for _ in range(count)]
        for socket in sockets:
            socket.connect(endpoint)
            socket.send(b"hello")
        print("ready", flush=True)
        for line in sys.stdin:  # stays connected, because a disconnect would drop unread messages
            messages, frames, size = map(int, line.split())
            took, waited = climit.flood(sockets, messages, frames, b"x" * size)
            print(took, waited, flush=True)


def sink() -> None:
    with new_context() as context:
        pull = context.socket(zmq.PULL)
        pull.bind("tcp://127.0.0.1:*")
        print(endpoint_of(pull), flush=True)
        for line in sys.stdin:
            climit.receive(pull, int(line))
            print("done", flush=True)


def echo(endpoint: str, healthy: int, stalled: int) -> None:
    with new_context() as context:
        poller = zmq.Poller()
        kept = []
        for kind in [b"healthy"] * healthy + [b"stalled"] * stalled:
            socket = context.socket(zmq.DEALER)
            socket.rcvhwm = 1 if kind == b"stalled" else 1000
            socket.connect(endpoint)
            socket.send(kind)
            kept.append(socket)
            if kind == b"healthy":
                poller.register(socket, zmq.POLLIN)
        print("ready", flush=True)
        while True:
            for socket, _ in poller.poll():
                socket.send(socket.recv())


if __name__ == "__main__":
    if hasattr(signal, "alarm"):
        signal.alarm(TIME_LIMIT)  # the default action: end the process, even inside libzmq
    role, *arguments = sys.argv[1:]
    if role == "serve":
        serve(*arguments)
    elif role == "flood":
        flood(arguments[0], int(arguments[1]))
    elif role == "sink":
        sink()
    elif role == "echo":
        echo(arguments[0], int(arguments[1]), int(arguments[2]))
    else:
        sys.exit(f"unknown role: {role}")
