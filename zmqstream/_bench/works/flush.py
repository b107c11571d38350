"""Flushing a queue that was filled beforehand."""

from __future__ import annotations

from functools import partial
from time import perf_counter_ns

from ..harness import OURS, STREAM, Floor, Measure, Work
from ..peers import Streams, streams
from ..sockets import filled_queue


def flush(peer: Streams, limit: int | None, n: int) -> float:
    return peer.run(flush_queue(peer, limit, n)) / n


async def flush_queue(peer: Streams, limit: int | None, messages: int) -> int:
    counted = 0

    def count(message: list) -> None:
        nonlocal counted
        counted += 1

    with filled_queue(messages, 1, 16) as pull:
        stream = peer.stream(pull)
        stream.on_recv(count)
        left = messages
        start = perf_counter_ns()
        while left:
            left -= stream.flush(limit=limit)
        end = perf_counter_ns()
        await peer.close(stream)
    assert counted == messages
    return end - start


WHAT = """\
Flush a queue filled as in "receive 1 x 16 B", by flush() with a limit, called again and again in a
coroutine, the loop getting no turn between. Timed: the calls of flush, the callback's included.
The callback counts, and keeps nothing."""

WORKS = [
    Work(
        f"flush(limit={limit})",
        "per message",
        WHAT,
        {
            name: Measure(partial(flush, streams(name), limit), most=1_000_000)
            for name in (OURS, STREAM)
        },
        (Floor("speed", STREAM),),
    )
    for limit in (1, 100, None)
]
