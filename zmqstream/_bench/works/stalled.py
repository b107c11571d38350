"""How late a timer is while a ROUTER's stream has messages for peers that take none."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from time import perf_counter

import zmq

from ..figures import quantile
from ..harness import OURS, Figure, Measure, Work, whole
from ..peers import Streams, streams
from ..sockets import Child, endpoint_of, new_context, new_endpoint

PERIOD = 0.001
HEALTHY = 4
QUEUED = 400  # messages of 1,000 bytes for each stalled peer: more than sockets take
ROOM = 10  # libzmq's high-water mark


def lateness(peer: Streams, stalled: int, n: int) -> Figure:
    with new_endpoint("ipc") as endpoint, new_context() as context:
        router = context.socket(zmq.ROUTER)
        router.router_mandatory = True
        router.sndhwm = ROOM
        router.bind(endpoint)
        with Child("echo", endpoint_of(router), str(HEALTHY), str(stalled)) as child:
            assert child.hear() == "ready"
            try:
                late = [1e9 * seconds for seconds in peer.run(ticks(peer, router, stalled, n))]
            finally:  # before the child is killed: libzmq 4.3.5 may hang if peers go meanwhile
                context.destroy(linger=0)
    return Figure(quantile(late, 0.999), {"p50": quantile(late, 0.50), "max": max(late)})


@contextmanager
def quiet() -> Iterator[None]:
    logger = logging.getLogger("zmqstream")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


async def ticks(peer: Streams, router: zmq.Socket, stalled: int, n: int) -> list[float]:
    """How late each of n ticks was, in seconds."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    late: list[float] = []
    peers = [router.recv_multipart() for _ in range(HEALTHY + stalled)]
    stream = peer.stream(router)
    echoes = 0

    def again(message: list[bytes]) -> None:
        nonlocal echoes
        echoes += 1
        stream.send_multipart(message)

    def tick() -> None:
        nonlocal due
        late.append(perf_counter() - due)
        if len(late) == n:
            done.set_result(None)
        else:
            due = perf_counter() + PERIOD
            loop.call_later(PERIOD, tick)

    for address, kind in peers:
        for _ in range(1 if kind == b"healthy" else QUEUED):
            stream.send_multipart([address, bytes(1000)])
    stream.on_recv(again)
    due = perf_counter() + PERIOD  # uvloop's own time has milliseconds
    loop.call_later(PERIOD, tick)
    await done
    waiting = stream.get_write_buffer_size()
    with quiet():  # of what it could not hand over
        stream.close(linger=0)
    assert echoes > n / 10, "healthy peers were not served"
    assert waiting >= stalled * QUEUED / 10, "the stalled peers took what they got"
    return late


WHAT = """\
A loop has a timer of 1 ms, which each tick sets again, and a stream on a ROUTER socket with
ROUTER_MANDATORY. Four peers in another process send back what they get, as fast as they can. The
other peers, as many as the name says, take nothing, and for each of them 400 messages of 1,000
bytes wait in the stream. All are connected over ipc. The figure is the p99.9 of how late a round's
ticks were. asyncio's timers are up to 1 ms late, because epoll counts milliseconds. (pyzmq's
ZMQStream waits in its send for the first peer without room, so its timer never comes.)"""

NAMES = (OURS, f"{OURS} on asyncio", f"{OURS} on uvloop")

WORKS = [
    Work(
        f"1 ms timer, {count} stalled peers, p99.9",
        "late",
        WHAT,
        {name: Measure(whole(partial(lateness, streams(name), count)), 2_000) for name in NAMES},
    )
    for count in (0, 1, 50)
]
