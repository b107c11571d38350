"""How late a timer is while a stream is flooded."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import pairwise
from time import perf_counter

from ..figures import quantile
from ..harness import OURS, STREAM, Comparison, Figure, Measure, Work, whole
from ..peers import Streams, streams
from ..sockets import filled_queue

PERIOD = 0.010
BUSY = 20e-6


def lateness(peer: Streams, n: int) -> Figure:
    late = [seconds * 1e9 for seconds in peer.run(ticks(peer, n))]
    return Figure(quantile(late, 0.99), {"p50": quantile(late, 0.50), "max": max(late)})


async def ticks(peer: Streams, n: int) -> list[float]:
    """How late each of n ticks was, in seconds."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    late: list[float] = []
    received = 0
    at_ticks = [0]  # `received`, tick by tick

    def busy(message: list[bytes]) -> None:
        nonlocal received
        received += 1
        end = perf_counter() + BUSY
        while perf_counter() < end:
            pass

    def tick() -> None:
        nonlocal due
        late.append(loop.time() - due)
        at_ticks.append(received)
        if len(late) == n:
            done.set_result(None)
        else:
            due += PERIOD  # whenever this one came: being late makes the next ones late, too
            loop.call_at(due, tick)

    waiting = int(n * PERIOD / BUSY * 1.5) + 10_000
    with filled_queue(waiting, 1, 16) as pull:
        stream = peer.stream(pull)
        stream.on_recv(busy)
        due = loop.time() + PERIOD
        loop.call_at(due, tick)
        await done
        await peer.close(stream)
    # not by how many: what a loaded machine lets it do is not the question
    flooded = received < waiting and all(a < b for a, b in pairwise(at_ticks))
    assert flooded, "it was not flooded all the time"
    return late


WHAT = """\
A loop has a timer that is due every 10 ms, at times fixed beforehand. A stream on the loop always
has waiting messages (1 x 16 B, inproc), and its callback is busy for 20 us. Measured: how late each
tick was. The figure is the p99 of a round's ticks; p50 and the maximum are beside it. asyncio's own
timers are up to 1 ms late, because epoll counts milliseconds."""

WORKS = [
    Work(
        "10 ms timer under flood, p99",
        "late",
        WHAT,
        {name: Measure(whole(partial(lateness, streams(name))), 200) for name in (OURS, STREAM)},
        (Comparison("time", STREAM),),
    )
]
