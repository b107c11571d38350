"""How late a timer is while a stream, or a socket, is flooded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from itertools import pairwise
from time import perf_counter
from typing import Any

from ..figures import quantile
from ..harness import OURS, STREAM, Comparison, Figure, Measure, Work, whole
from ..peers import ASYNC, OURS_ASYNC, PEERS, Async, OnLoop, Streams
from ..sockets import filled_queue

PERIOD = 0.010
BUSY = 20e-6


Flood = Callable[[OnLoop, Any, Callable[[Any], None]], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def given(peer: OnLoop, pull: Any, busy: Callable[[Any], None]) -> AsyncIterator[None]:
    """A stream gives its messages to a callback."""
    assert isinstance(peer, Streams)
    stream = peer.stream(pull)
    stream.on_recv(busy)
    yield
    await peer.close(stream)


@asynccontextmanager
async def repeated(
    step: Callable[[], Awaitable[Any]], busy: Callable[[Any], None]
) -> AsyncIterator[None]:
    """A task awaits `step` again and again."""

    async def forever() -> None:
        while True:
            busy(await step())

    task = asyncio.ensure_future(forever())
    yield
    task.cancel()
    await asyncio.wait([task])


def awaited(
    peer: OnLoop, pull: Any, busy: Callable[[Any], None]
) -> AbstractAsyncContextManager[None]:
    """A task awaits the messages one by one."""
    assert isinstance(peer, Async)
    return repeated(peer.awaitable(pull).recv_multipart, busy)


def nothing(
    peer: OnLoop, pull: Any, busy: Callable[[Any], None]
) -> AbstractAsyncContextManager[None]:
    """A task is as busy, and receives nothing."""
    return repeated(partial(asyncio.sleep, 0), busy)


def lateness(peer: OnLoop, flood: Flood, n: int) -> Figure:
    late = [seconds * 1e9 for seconds in peer.run(ticks(peer, flood, n))]
    return Figure(quantile(late, 0.99), {"p50": quantile(late, 0.50), "max": max(late)})


async def ticks(peer: OnLoop, flood: Flood, n: int) -> list[float]:
    """How late each of n ticks was, in seconds."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    late: list[float] = []
    received = 0
    at_ticks = [0]  # `received`, tick by tick

    def busy(message: list[bytes] | None) -> None:
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
        async with flood(peer, pull, busy):
            due = loop.time() + PERIOD
            loop.call_at(due, tick)
            await done
    # not by how many: what a loaded machine lets it do is not the question
    flooded = received < waiting and all(a < b for a, b in pairwise(at_ticks))
    assert flooded or peer.name == ASYNC, "it was not flooded all the time"
    return late


WHAT = """\
A loop has a timer that is due every 10 ms, at times fixed beforehand. A stream on the loop always
has waiting messages (1 x 16 B, inproc), and its callback is busy for 20 us. Measured: how late each
tick was. The figure is the p99 of a round's ticks; p50 and the maximum are beside it. asyncio's own
timers are up to 1 ms late, because epoll counts milliseconds."""

AWAITED_WHAT = """\
As "10 ms timer under flood, p99", but a task awaits the messages one by one, and is busy for 20 us
after each. zmq.asyncio's task lets no timer run before the queue is empty. A task that receives
nothing, and lets the loop go round each time, shows how late the machine itself makes a timer."""

NOTHING = f"{ASYNC}, without messages"


def measured(name: str, flood: Flood, n: int = 200) -> Measure:
    peer = PEERS[name]
    assert isinstance(peer, OnLoop)
    return Measure(whole(partial(lateness, peer, flood)), n)


WORKS = [
    Work(
        "10 ms timer under flood, p99",
        "late",
        WHAT,
        {name: measured(name, given) for name in (OURS, STREAM)},
        (Comparison("time", STREAM),),
    ),
    Work(
        "10 ms timer under an awaited flood, p99",
        "late",
        AWAITED_WHAT,
        {
            NOTHING: measured(ASYNC, nothing),
            **{name: measured(name, awaited) for name in (OURS_ASYNC, f"{OURS_ASYNC} on uvloop")},
            ASYNC: measured(ASYNC, awaited, 20),
        },
        (Comparison("time", NOTHING, OURS_ASYNC), Comparison("time", ASYNC, OURS_ASYNC)),
    ),
]
