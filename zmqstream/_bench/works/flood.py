"""A process, or a thread in C, floods another: over tcp, ipc and inproc, and from many peers."""

from __future__ import annotations

import threading
import time
from functools import partial
from time import perf_counter_ns
from typing import Any

import zmq

from .. import climit
from ..harness import Figure, Floor, Measure, Work
from ..peers import (
    AIOZMQ,
    ASYNC,
    BLOCKING,
    OURS,
    PEERS,
    PYOMQ,
    PYOMQ_ASYNC,
    PYOMQ_STREAM,
    STREAM,
    ZLOOP,
    C,
    Peer,
    Zloop,
)
from ..sockets import Child, Process, endpoint_of, new_context, new_endpoint
from .receive import ALL

SIZE = 16
WAITED = "sender waited %"
BUSY = "receiver busy %"


def figure(n: int, took: int, waited: int, busy: int) -> Figure:
    return Figure(took / n, {WAITED: 100 * waited / took, BUSY: 100 * busy / took})


def flood(transport: str, senders: int, peer: Peer, n: int) -> Figure:
    """n messages from a process with so many sockets."""
    n = max(n, senders)
    with new_endpoint(transport) as endpoint, new_context() as context:
        pull = peer.socket(context, zmq.PULL)
        pull.bind(endpoint)
        with Child("flood", endpoint_of(pull), str(senders)) as sender:
            assert sender.hear() == "ready"
            start = busy = 0

            def go() -> None:
                nonlocal start, busy
                start, busy = perf_counter_ns(), time.thread_time_ns()
                sender.tell(f"{n} 1 {SIZE}")

            # each sender's "hello" is a message like any other, and may come late
            end, _ = peer.receive(pull, n + senders, 1, True, go, senders)
            busy = time.thread_time_ns() - busy
            _, waited = map(int, sender.hear().split())
    return figure(n, end - start, waited, busy)


def flood_zloop(transport: str, n: int) -> Figure:
    with (
        new_endpoint(transport) as endpoint,
        Process(Zloop.program(), "flood", endpoint) as receiver,
    ):
        receiver.hear()  # libzmq's version
        with Child("flood", receiver.hear(), "1") as sender:
            assert sender.hear() == "ready"
            start = perf_counter_ns()
            sender.tell(f"{n} 1 {SIZE}")
            busy = int(receiver.hear())
            end = perf_counter_ns()
            _, waited = map(int, sender.hear().split())
    return figure(n, end - start, waited, busy)


def flood_inproc(peer: Peer, n: int) -> Figure:
    """n messages from a thread, which holds no GIL while it sends."""
    sent: list[Any] = []
    with new_context() as context:
        push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
        pull.bind("inproc://flood")
        push.connect("inproc://flood")
        told = threading.Event()

        def send() -> None:
            told.wait()
            sent.append(climit.flood([push], n, 1, b"x" * SIZE))

        thread = threading.Thread(target=send, daemon=True)  # a time limit may leave it waiting
        thread.start()
        start = busy = 0

        def go() -> None:
            nonlocal start, busy
            start, busy = perf_counter_ns(), time.thread_time_ns()
            told.set()

        end, _ = peer.receive(pull, n, 1, True, go)
        busy = time.thread_time_ns() - busy
        thread.join()
    return figure(n, end - start, sent[0][1], busy)


WHAT = """\
A sender in C floods a PULL with 1 x 16 B, with libzmq's default high-water marks: over tcp and ipc
from another process, over inproc from a thread. It stays connected until everything has arrived.
Timed: from telling it to begin, on a connection that works, to the last message; that includes some
0.1 ms until the first. The streams have one callback a message, the same function; it looks whether
it is the last, which has two frames, and keeps nothing. czmq's zloop, in a process of its own, uses
the libzmq that it was built with, which is another one.

"sender waited" is how much of the time its socket had no room: a sender that hardly waited was the
limit. "receiver busy" is the processor time of the receiver's thread: where neither is near 100 %,
the limit is libzmq's two I/O threads, or that all of them share too few processors."""

PYOMQS = (PYOMQ, PYOMQ_ASYNC, PYOMQ_STREAM)


def measures(transport: str, names: tuple[str, ...]) -> dict[str, Measure]:
    return {
        name: Measure(
            partial(flood_zloop, transport)
            if name == ZLOOP
            else partial(flood, transport, 1, PEERS[name]),
            most=1_000_000,
        )
        for name in names
    }


OTHERS = tuple(
    floor
    for loop, part in (("uvloop", 0.75), ("asyncio", 0.6), ("Tornado", 0.6))
    for floor in (
        Floor("speed", OURS, part, f"{OURS} on {loop}"),
        Floor("speed", STREAM + {"asyncio": ""}.get(loop, f" on {loop}"), 30, f"{OURS} on {loop}"),
    )
)

WORKS = [
    Work(
        "tcp flood 1 x 16 B",
        "per message",
        WHAT,
        measures("tcp", (*ALL, *PYOMQS, ZLOOP)),
        (
            Floor("speed", C, 0.7),
            Floor("speed", STREAM, 50),
            Floor("speed", ZLOOP, 3),
            Floor("speed", PYOMQ, 1.5),
            *(Floor("speed", name) for name in (BLOCKING, ASYNC, AIOZMQ)),
            *OTHERS,
        ),
    ),
    Work(
        "ipc flood 1 x 16 B",
        "per message",
        WHAT,
        measures("ipc", (C, OURS, BLOCKING, STREAM, ZLOOP)),
        tuple(Floor("speed", name) for name in (C, STREAM, ZLOOP, BLOCKING)),
    ),
    Work(
        "inproc flood 1 x 16 B",
        "per message",
        WHAT,
        {
            name: Measure(partial(flood_inproc, PEERS[name]), most=1_000_000)
            for name in (C, OURS, BLOCKING, STREAM)
        },
        tuple(Floor("speed", name) for name in (C, STREAM, BLOCKING)),
    ),
]
