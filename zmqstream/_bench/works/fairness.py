"""Two floods on one loop: whether they share it."""

from __future__ import annotations

import asyncio
from functools import partial
from time import perf_counter_ns

from ..harness import OURS, STREAM, Comparison, Figure, Measure, Work, whole
from ..peers import Streams, streams
from ..sockets import filled_queue


def share(peer: Streams, n: int) -> Figure:
    return peer.run(two_floods(peer, n))


async def two_floods(peer: Streams, n: int) -> Figure:
    done = asyncio.get_running_loop().create_future()
    counts = [0, 0]
    turn, since, longest = -1, perf_counter_ns(), 0

    def receiver(own: int):
        def count(message: list[bytes]) -> None:
            nonlocal turn, since, longest
            counts[own] += 1
            if turn != own:
                now = perf_counter_ns()
                longest = max(longest, now - since)
                turn, since = own, now
            if len(message) > 1 and not done.done():
                done.set_result(None)

        return count

    with filled_queue(n, 1, 16) as first, filled_queue(n, 1, 16) as second:
        both = [peer.stream(first), peer.stream(second)]
        since = perf_counter_ns()
        for own, stream in enumerate(both):
            stream.on_recv(receiver(own))
        await done
        at_end = list(counts)
        await peer.close(*both)
    return Figure(longest, {"less by %": 100 * (1 - min(at_end) / max(at_end))})


WHAT = """\
Two streams are on one loop. Each has a queue of n waiting messages of 1 x 16 B, inproc. The figure
is the longest time in which one of them got messages and the other got none, until the first of
them has received everything. Beside it is how much less the other has received by then."""

WORKS = [
    Work(
        "two floods, longest wait",
        "for the other",
        WHAT,
        {
            OURS: Measure(whole(partial(share, streams(OURS))), 500_000),
            STREAM: Measure(whole(partial(share, streams(STREAM))), 10_000),
        },
        (Comparison("time", STREAM),),
    )
]
