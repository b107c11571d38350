"""Flushing a queue that was filled beforehand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

from ..harness import OURS, STREAM, Comparison, Job, Measure, Work
from ..peers import AsyncRun, Streams, streams
from ..sockets import filled_queue


@contextmanager
def flush(peer: Streams, limit: int | None, n: int) -> Iterator[Job]:
    with peer.on_loop(flush_queue(peer, limit, n)) as run:
        yield Job(run)


@asynccontextmanager
async def flush_queue(peer: Streams, limit: int | None, messages: int) -> AsyncIterator[AsyncRun]:
    counted = 0

    def count(message: list) -> None:
        nonlocal counted
        counted += 1

    with filled_queue(messages, 1, 16) as pull:
        stream = peer.stream(pull)

        async def work() -> None:
            stream.on_recv(count)  # the loop has no iteration between this and the flushes
            left = messages
            while left:
                left -= stream.flush(limit=limit)

        yield work
        await peer.close(stream)
    assert counted == messages


WHAT = """\
Flush a queue that was filled as in "receive 1 x 16 B". A coroutine calls on_recv(), and then
flush() with a limit until the queue is empty; the loop gets no turn in between. Timed: these calls,
which include the callback. The callback counts, and keeps nothing."""

WORKS = [
    Work(
        f"flush(limit={limit})",
        "per message",
        WHAT,
        {
            name: Measure(partial(flush, streams(name), limit), most=1_000_000)
            for name in (OURS, STREAM)
        },
        (Comparison("speed", STREAM),),
        batch=10_000,
    )
    for limit in (1, 100, None)
]
