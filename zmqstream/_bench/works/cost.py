"""What a stream costs: time to make and to close it, and memory."""

from __future__ import annotations

import json
import sys
from functools import partial

from ..harness import OURS, STREAM, Figure, Floor, Measure, Work
from ..sockets import Process

SCRIPT = """
import asyncio, gc, json, sys, time, zmq
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
    start = time.perf_counter_ns()
    for number, socket in enumerate(sockets):
        stream = made[number] = peer.stream(socket)
        stream.on_recv(print)
    made_in = time.perf_counter_ns() - start
    await asyncio.sleep(0.05)
    await asyncio.sleep(0.05)
    memory = resident() - before
    start = time.perf_counter_ns()
    for stream in made:
        stream.on_recv(None)
        stream.close()
    closed_in = time.perf_counter_ns() - start
    print(json.dumps([made_in / n, closed_in / n, memory / n]), flush=True)

peer = streams(sys.argv[1])
peer.run(main(peer, int(sys.argv[2])))
"""
STREAMS = 5_000


def cost(name: str, n: int) -> tuple[float, float, float]:
    """Nanoseconds to make a stream, and to close it; bytes."""
    with Process(sys.executable, "-c", SCRIPT, name, str(n)) as process:
        made, closed, memory = json.loads(process.hear())
    return made, closed, memory


def time_of(name: str, n: int) -> Figure:
    made, closed, _ = cost(name, n)
    return Figure(made, {"close": closed})


def memory_of(name: str, n: int) -> float:
    return cost(name, max(n, 1_000))[2]  # fewer do not show: memory comes in pages


WHAT = f"""\
{STREAMS:,} streams with an on_recv callback, on PULL sockets made beforehand, in a fresh process.
Timed: making them and on_recv(); beside it, on_recv(None) and close(), which closes the socket."""

MEMORY_WHAT = f"""\
What the resident memory of a fresh process grows by, by {STREAMS:,} streams with an on_recv
callback on sockets made beforehand and looked at, after the loop has run; for each. What the kernel
has for them is not in it."""

WORKS = [
    Work(
        "make a stream",
        "each",
        WHAT,
        {name: Measure(partial(time_of, name), STREAMS) for name in (OURS, STREAM)},
        (Floor("speed", STREAM), Floor("speed", STREAM, of="close")),
    ),
    Work(
        "memory of a stream",
        "beyond its socket",
        MEMORY_WHAT,
        {name: Measure(partial(memory_of, name), STREAMS) for name in (OURS, STREAM)},
        (Floor("limit", bound=1536), Floor("time", STREAM)),
        unit="B",
    ),
]
