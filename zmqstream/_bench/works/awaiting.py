"""Messages awaited one by one, iterated over, in batches; and sends that wait for room."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
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
    OURS,
    OURS_ASYNC,
    OURS_AWAITED,
    PEERS,
    PYOMQ_ASYNC,
    STREAM,
    AsyncRun,
    C,
    Peer,
    Streams,
    streams,
)
from ..sockets import Child, filled_queue, new_context, unbounded_pair
from .flood import BATCH
from .flood import WHAT as FLOOD_WHAT
from .flood import measures as floods
from .receive import Shape, measure
from .send import awaited

SMALL = Shape(1, 16)
SENDER_BUSY = "sender busy %"
Read = Callable[[Any, int], Coroutine[Any, Any, None]]  # reads this number of messages


@contextmanager
def read_queue(peer: Streams, read: Read, n: int) -> Iterator[Job]:
    with peer.on_loop(reading(peer, read, n)) as run:
        yield Job(run)


@asynccontextmanager
async def reading(peer: Streams, read: Read, n: int) -> AsyncIterator[AsyncRun]:
    with filled_queue(n, 1, 16) as pull:
        stream = peer.stream(pull)
        yield lambda: read(stream, n)
        await peer.close(stream)


async def one_by_one(stream: Any, n: int) -> None:
    receive = stream.recv_multipart
    for _ in range(n):
        await receive()


async def iterated(stream: Any, n: int) -> None:
    async for message in stream:
        if len(message) > 1:  # the last
            break


async def in_batches(stream: Any, n: int) -> None:
    done = asyncio.get_running_loop().create_future()

    def callback(messages: list[list[bytes]]) -> None:
        if len(messages[-1]) > 1:  # the last
            done.set_result(None)

    stream.on_recv_batch(callback)
    await done


@contextmanager
def full_pipe(peer: Peer, n: int) -> Iterator[Job]:
    """n messages to a process that receives them in C."""
    took = busy = 0
    with Child("sink") as sink, new_context() as context:
        push = peer.socket(context, zmq.PUSH)
        push.connect(sink.hear())
        with peer.sending(push, n, b"x" * 16) as send:

            def run() -> None:
                nonlocal took, busy
                took, busy = perf_counter_ns(), time.thread_time_ns()
                sink.tell(str(n))
                send()
                busy = time.thread_time_ns() - busy
                assert sink.hear() == "done"
                took = perf_counter_ns() - took

            def after(each: float) -> Figure:
                return Figure(each, {SENDER_BUSY: 100 * busy / took})

            yield Job(run, after)
        push.close()


HIGH = 1_000


@contextmanager
def paced(peer: Streams, n: int) -> Iterator[Job]:
    with peer.on_loop(send_paced(peer, n)) as run:
        yield Job(run)


@asynccontextmanager
async def send_paced(peer: Streams, n: int) -> AsyncIterator[AsyncRun]:
    with new_context() as context:
        push, pull = unbounded_pair(context)
        stream = peer.stream(push)
        stream.set_write_buffer_limits(HIGH)

        async def work() -> None:
            send, drain = stream.send_multipart, stream.drain
            for _ in range(n):
                send([b"x" * 16])
                await drain()
            stream.set_write_buffer_limits()
            await drain()

        yield work
        await peer.close(stream)
        climit.drain(pull, n)


LOOPS = (OURS, f"{OURS} on uvloop", f"{OURS} on asyncio")


def of_loops(read: Read) -> dict[str, Measure]:
    return {
        name: Measure(partial(read_queue, streams(name), read), part=SMALL.queue) for name in LOOPS
    }


def received(*names: str) -> dict[str, Measure]:
    """As in "receive 1 x 16 B"."""
    return {name: measure(PEERS[name], SMALL) for name in names}


AWAIT_WHAT = """\
As "receive 1 x 16 B", but one coroutine calls `await stream.recv_multipart()` as often as there are
messages; the others likewise."""

FOR_WHAT = """\
As "receive 1 x 16 B", but by `async for message in stream`, in one coroutine; zmq.asyncio, which
has no such thing, by `await socket.recv_multipart()`."""

BATCH_WHAT = """\
As "receive 1 x 16 B", but by on_recv_batch(). Each call of the callback gets up to 256 messages,
and the callback checks only the last of them. Beside it, one call for each message."""

FULL_WHAT = """\
Send 1 x 16 B over tcp to a process that receives them in C, with libzmq's default high-water marks.
`await socket.send_multipart()` waits when the pipe is full, and so does a blocking call. Timed:
from the first send until the other process has received everything. "sender busy" is the processor
time of the sender's thread. libzmq's two I/O threads and the receiver need processors too."""

PACED_WHAT = f"""\
As "send 1 x 16 B", but with a limit of {HIGH:,} messages for the stream's own queue. One coroutine
calls `await stream.drain()` after every send; with zmq.asyncio, `await socket.send_multipart()`."""

WORKS = [
    Work(
        "await recv_multipart",
        "per message",
        AWAIT_WHAT,
        {
            **received(C),
            **of_loops(one_by_one),
            **received(OURS_ASYNC, f"{OURS_ASYNC} on uvloop"),
            **received(BLOCKING, ASYNC, f"{ASYNC} on uvloop", AIOZMQ),
        },
        (
            Comparison("time", C),
            Comparison("speed", ASYNC),
            Comparison("speed", BLOCKING),
            Comparison("speed", ASYNC, OURS_ASYNC),
            Comparison("speed", f"{ASYNC} on uvloop", f"{OURS_ASYNC} on uvloop"),
            Comparison("speed", AIOZMQ, OURS_ASYNC),
        ),
        batch=10_000,
    ),
    Work(
        "tcp flood, awaited",
        "per message",
        f'Messages are awaited as in "await recv_multipart".\n{FLOOD_WHAT}',
        floods(
            "tcp",
            (
                *(C, OURS_AWAITED, OURS_ASYNC, f"{OURS_ASYNC} on uvloop"),
                *(BLOCKING, ASYNC, f"{ASYNC} on uvloop", AIOZMQ, PYOMQ_ASYNC),
            ),
        ),
        (
            *(Comparison("speed", against, OURS_AWAITED) for against in (C, ASYNC, BLOCKING)),
            Comparison("speed", ASYNC, OURS_ASYNC),
            Comparison("speed", f"{ASYNC} on uvloop", f"{OURS_ASYNC} on uvloop"),
            *(Comparison("speed", against, OURS_ASYNC) for against in (AIOZMQ, PYOMQ_ASYNC)),
        ),
        batch=BATCH,
    ),
    Work(
        "send over a full pipe",
        "per message",
        FULL_WHAT,
        {
            name: Measure(partial(full_pipe, PEERS[name]), most=1_000_000)
            for name in (
                *(C, OURS_AWAITED, OURS_ASYNC, f"{OURS_ASYNC} on uvloop"),
                *(BLOCKING, ASYNC, f"{ASYNC} on uvloop", PYOMQ_ASYNC),
            )
        },
        (
            *(Comparison("speed", against, OURS_AWAITED) for against in (C, ASYNC, BLOCKING)),
            *(Comparison("speed", against, OURS_ASYNC) for against in (BLOCKING, ASYNC)),
            Comparison("speed", f"{ASYNC} on uvloop", f"{OURS_ASYNC} on uvloop"),
            Comparison("speed", PYOMQ_ASYNC, OURS_ASYNC),
        ),
        batch=BATCH,
    ),
    Work(
        "async for",
        "per message",
        FOR_WHAT,
        {**received(C), **of_loops(iterated), **received(ASYNC)},
        (Comparison("time", C), Comparison("speed", ASYNC)),
        batch=10_000,
    ),
    Work(
        "on_recv_batch",
        "per message",
        BATCH_WHAT,
        {
            **received(C),
            **of_loops(in_batches),
            f"{OURS}, on_recv": measure(PEERS[OURS], SMALL),
            **received(STREAM),
        },
        (
            Comparison("time", C),
            Comparison("speed", f"{OURS}, on_recv"),
            Comparison("speed", STREAM),
        ),
        batch=10_000,
    ),
    Work(
        "send, waiting for room",
        "per message",
        PACED_WHAT,
        {
            **{name: Measure(partial(paced, streams(name)), most=1_000_000) for name in LOOPS},
            ASYNC: Measure(partial(awaited, 1, b"x" * 16), most=1_000_000),
        },
        (Comparison("speed", ASYNC),),
        batch=10_000,
    ),
]
