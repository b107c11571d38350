"""What a stream costs: time to create and to close it, and memory."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from time import perf_counter_ns
from typing import Any

import zmq

from ..harness import OURS, STREAM, Comparison, Figure, Job, Measure, Work, whole
from ..peers import AsyncRun, Streams, streams
from ..sockets import Process, new_context

STREAMS = 5_000


@contextmanager
def create(peer: Streams, n: int) -> Iterator[Job]:
    made: list[Any] = []

    def after(each: float) -> Figure:
        start = perf_counter_ns()
        for stream in made:
            stream.on_recv(None)
            stream.close()
        return Figure(each, {"close": (perf_counter_ns() - start) / n})

    with peer.on_loop(created(peer, n, made)) as run:
        yield Job(run, after)


@asynccontextmanager
async def created(peer: Streams, n: int, made: list[Any]) -> AsyncIterator[AsyncRun]:
    with new_context(n + 10) as context:
        sockets = [context.socket(zmq.PULL) for _ in range(n)]
        for socket in sockets:
            socket.fd, socket.events  # noqa: B018  what a socket creates once

        async def work() -> None:
            for socket in sockets:
                stream = peer.stream(socket)
                stream.on_recv(print)
                made.append(stream)

        yield work


SCRIPT = """
import asyncio, gc, sys, zmq
from zmqstream._bench.peers import streams
from zmqstream._bench.sockets import allow_descriptors

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

async def main(peer, n):
    allow_descriptors(n + 100)
    context = zmq.Context()
    context.set(zmq.MAX_SOCKETS, n + 10)
    peer.stream(context.socket(zmq.PULL)).on_recv(print)  # what is made once is there
    sockets = [context.socket(zmq.PULL) for _ in range(n)]
    for socket in sockets:
        socket.fd, socket.events  # what a socket makes once
    made = [None] * n
    gc.collect()
    before = resident()
    for number, socket in enumerate(sockets):
        stream = made[number] = peer.stream(socket)
        stream.on_recv(print)
    await asyncio.sleep(0.05)
    await asyncio.sleep(0.05)
    print((resident() - before) / n, flush=True)

peer = streams(sys.argv[1])
peer.run(main(peer, int(sys.argv[2])))
"""


def memory(name: str, n: int) -> float:
    n = max(n, 1_000)  # fewer do not show: memory comes in pages
    with Process(sys.executable, "-c", SCRIPT, name, str(n)) as process:
        return float(process.hear())


WHAT = f"""\
{STREAMS:,} streams with an on_recv callback, on PULL sockets that were created beforehand. Timed:
creating the streams and calling on_recv(). Beside it is the time of on_recv(None) and close(),
which closes the socket."""

MEMORY_WHAT = f"""\
The growth of the resident memory of a fresh process by {STREAMS:,} streams with an on_recv
callback, for each of them, after the loop has run. Their sockets were created and used beforehand.
The kernel's memory for them is not included."""

WORKS = [
    Work(
        "make a stream",
        "each",
        WHAT,
        {name: Measure(partial(create, streams(name)), STREAMS) for name in (OURS, STREAM)},
        (Comparison("speed", STREAM), Comparison("speed", STREAM, of="close")),
        batch=1_000,
    ),
    Work(
        "memory of a stream",
        "beyond its socket",
        MEMORY_WHAT,
        {name: Measure(whole(partial(memory, name)), STREAMS) for name in (OURS, STREAM)},
        (Comparison("time", STREAM),),
        unit="B",
    ),
]
