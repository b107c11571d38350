"""A process, or a thread in C, floods another: over tcp, ipc and inproc, and from many peers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from time import perf_counter_ns
from typing import Any

import zmq

from .. import climit
from ..harness import Comparison, Figure, Job, Measure, Work
from ..peers import (
    AIOZMQ,
    ASYNC,
    BLOCKING,
    OTHER_LOOPS,
    OURS,
    PEERS,
    PYOMQ,
    PYOMQ_ASYNC,
    PYOMQ_STREAM,
    STREAM,
    ZLOOP,
    C,
    Peer,
    Run,
    Zloop,
)
from ..sockets import Child, Process, endpoint_of, new_context, new_endpoint
from .receive import ALL

SIZE = 16
WAITED = "sender waited %"
BUSY = "receiver busy %"


def flooded(begin: Callable[[], object], received: Run, waited: Callable[[], int]) -> Job:
    """Start the sender, receive everything, and measure how busy that keeps this thread.

    `waited()` is how long the sender had no room, in nanoseconds.
    """
    took = busy = 0

    def run() -> None:
        nonlocal took, busy
        took, busy = perf_counter_ns(), time.thread_time_ns()
        begin()
        received()
        took, busy = perf_counter_ns() - took, time.thread_time_ns() - busy

    def after(each: float) -> Figure:
        return Figure(each, {WAITED: 100 * waited() / took, BUSY: 100 * busy / took})

    return Job(run, after)


@contextmanager
def flood(transport: str, senders: int, peer: Peer, n: int) -> Iterator[Job]:
    """n messages from a process with so many sockets."""
    n = max(n, senders)
    with new_endpoint(transport) as endpoint, new_context() as context:
        pull = peer.socket(context, zmq.PULL)
        pull.bind(endpoint)
        with Child("flood", endpoint_of(pull), str(senders)) as sender:
            assert sender.hear() == "ready"
            # each sender's "hello" is a message like any other, and may come late
            with peer.receiving(pull, n + senders, 1, True, senders) as received:
                yield flooded(
                    lambda: sender.tell(f"{n} 1 {SIZE}"),
                    received,
                    lambda: int(sender.hear().split()[1]),
                )


@contextmanager
def flood_zloop(transport: str, n: int) -> Iterator[Job]:
    with (
        new_endpoint(transport) as endpoint,
        Process(Zloop.program(), "flood", endpoint) as receiver,
    ):
        receiver.hear()  # libzmq's version
        with Child("flood", receiver.hear(), "1") as sender:
            assert sender.hear() == "ready"
            took = busy = 0

            def run() -> None:
                nonlocal took, busy
                took = perf_counter_ns()
                sender.tell(f"{n} 1 {SIZE}")
                busy = int(receiver.hear())
                took = perf_counter_ns() - took

            def after(each: float) -> Figure:
                waited = int(sender.hear().split()[1])
                return Figure(each, {WAITED: 100 * waited / took, BUSY: 100 * busy / took})

            yield Job(run, after)


@contextmanager
def flood_inproc(peer: Peer, n: int) -> Iterator[Job]:
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

        def waited() -> int:
            thread.join()
            return sent[0][1]

        with peer.receiving(pull, n, 1, True) as received:
            yield flooded(told.set, received, waited)


WHAT = """\
A sender in C floods a PULL socket with 1 x 16 B, with libzmq's default high-water marks. Over tcp
and ipc the sender is another process, over inproc a thread. It stays connected until everything has
arrived. Timed: from telling the sender to begin, on a connection that works, to the last message.
That includes some 0.1 ms until the first one. All streams call the same function once for each
message. It checks whether the message is the last one, which has two frames, and keeps nothing.
czmq's zloop runs in a process of its own, and uses the libzmq that it was built with.

"sender waited" is the part of the time in which the sender's socket had no room. A sender that
hardly waited was the limit. "receiver busy" is the processor time of the receiver's thread. If
neither is near 100 %, the limit is libzmq's two I/O threads, or too few processors for all."""

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
    comparison
    for loop in OTHER_LOOPS
    for comparison in (
        Comparison("speed", OURS, f"{OURS} on {loop}"),
        Comparison("speed", STREAM + {"asyncio": ""}.get(loop, f" on {loop}"), f"{OURS} on {loop}"),
    )
)
BATCH = 50_000

WORKS = [
    Work(
        "tcp flood 1 x 16 B",
        "per message",
        WHAT,
        measures("tcp", (*ALL, *PYOMQS, ZLOOP)),
        (
            *(
                Comparison("speed", name)
                for name in (C, STREAM, ZLOOP, PYOMQ, BLOCKING, ASYNC, AIOZMQ)
            ),
            *OTHERS,
        ),
        batch=BATCH,
    ),
    Work(
        "ipc flood 1 x 16 B",
        "per message",
        WHAT,
        measures("ipc", (C, OURS, BLOCKING, STREAM, ZLOOP)),
        tuple(Comparison("speed", name) for name in (C, STREAM, ZLOOP, BLOCKING)),
        batch=BATCH,
    ),
    Work(
        "inproc flood 1 x 16 B",
        "per message",
        WHAT,
        {
            name: Measure(partial(flood_inproc, PEERS[name]), most=1_000_000)
            for name in (C, OURS, BLOCKING, STREAM)
        },
        tuple(Comparison("speed", name) for name in (C, STREAM, BLOCKING)),
        batch=BATCH,
    ),
]
