"""Messages awaited one by one, iterated over, in batches; and sends that wait for room."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from time import perf_counter_ns
from typing import Any

from .. import climit
from ..harness import Floor, Measure, Work
from ..peers import ASYNC, BLOCKING, OURS, OURS_AWAITED, PEERS, STREAM, C, Streams, streams
from ..sockets import filled_queue, new_context, unbounded_pair
from .flood import WHAT as FLOOD_WHAT
from .flood import measures as floods
from .receive import Shape, receive
from .send import awaited

SMALL = Shape(1, 16)
Read = Callable[[Any, int], Awaitable[int]]  # reads so many messages: when it had the last


def read_queue(peer: Streams, read: Read, n: int) -> float:
    return sum(peer.run(timed(peer, read, part)) for part in SMALL.split(n)) / n


async def timed(peer: Streams, read: Read, n: int) -> int:
    with filled_queue(n, 1, 16) as pull:
        stream = peer.stream(pull)
        start = perf_counter_ns()
        end = await read(stream, n)
        await peer.close(stream)
    return end - start


async def one_by_one(stream: Any, n: int) -> int:
    receive = stream.recv_multipart
    for _ in range(n):
        await receive()
    return perf_counter_ns()


async def iterated(stream: Any, n: int) -> int:
    async for message in stream:
        if len(message) > 1:  # the last
            break
    return perf_counter_ns()


async def in_batches(stream: Any, n: int) -> int:
    done = asyncio.get_running_loop().create_future()

    def callback(messages: list[list[bytes]]) -> None:
        if len(messages[-1]) > 1:  # the last
            done.set_result(perf_counter_ns())

    stream.on_recv_batch(callback)
    return await done


HIGH = 1_000


def paced(peer: Streams, n: int) -> float:
    return peer.run(send_paced(peer, n)) / n


async def send_paced(peer: Streams, n: int) -> int:
    with new_context() as context:
        push, pull = unbounded_pair(context)
        stream = peer.stream(push)
        stream.set_write_buffer_limits(HIGH)
        send, drain = stream.send_multipart, stream.drain
        start = perf_counter_ns()
        for _ in range(n):
            send([b"x" * 16])
            await drain()
        stream.set_write_buffer_limits()
        await drain()
        took = perf_counter_ns() - start
        await peer.close(stream)
        climit.drain(pull, n)
    return took


LOOPS = (OURS, f"{OURS} on uvloop", f"{OURS} on asyncio")


def of_loops(read: Read) -> dict[str, Measure]:
    return {name: Measure(partial(read_queue, streams(name), read)) for name in LOOPS}


def received(*names: str) -> dict[str, Measure]:
    """As in "receive 1 x 16 B"."""
    return {name: Measure(partial(receive, PEERS[name], SMALL)) for name in names}


AWAIT_WHAT = """\
As "receive 1 x 16 B", but the messages are awaited in one coroutine, `await
stream.recv_multipart()` again and again, as often as there are messages; the others likewise."""

FOR_WHAT = """\
As "receive 1 x 16 B", but by `async for message in stream`, in one coroutine; zmq.asyncio, which
has no such thing, by `await socket.recv_multipart()`."""

BATCH_WHAT = """\
As "receive 1 x 16 B", but by on_recv_batch(): up to 256 messages for each call of the callback,
which looks at the last of them only. Beside it, one call for each message."""

PACED_WHAT = f"""\
As "send 1 x 16 B", but with a limit of {HIGH:,} messages for the stream's own queue, and
`await stream.drain()` after every send, in one coroutine; zmq.asyncio by
`await socket.send_multipart()`."""

WORKS = [
    Work(
        "await recv_multipart",
        "per message",
        AWAIT_WHAT,
        {
            **received(C),
            **of_loops(one_by_one),
            **received(BLOCKING, ASYNC, f"{ASYNC} on uvloop"),
        },
        (Floor("time", C), Floor("speed", ASYNC, 25), Floor("speed", BLOCKING)),
    ),
    Work(
        "tcp flood, awaited",
        "per message",
        f'Messages are awaited as in "await recv_multipart".\n{FLOOD_WHAT}',
        floods("tcp", (C, OURS_AWAITED, BLOCKING, ASYNC, f"{ASYNC} on uvloop")),
        tuple(
            Floor("speed", against, least, OURS_AWAITED)
            for against, least in ((C, None), (ASYNC, 12), (BLOCKING, 1))
        ),
    ),
    Work(
        "async for",
        "per message",
        FOR_WHAT,
        {**received(C), **of_loops(iterated), **received(ASYNC)},
        (Floor("time", C), Floor("speed", ASYNC, 30)),
    ),
    Work(
        "on_recv_batch",
        "per message",
        BATCH_WHAT,
        {
            **received(C),
            **of_loops(in_batches),
            f"{OURS}, on_recv": Measure(partial(receive, PEERS[OURS], SMALL)),
            **received(STREAM),
        },
        (Floor("time", C, 2.5), Floor("speed", f"{OURS}, on_recv"), Floor("speed", STREAM)),
    ),
    Work(
        "send, waiting for room",
        "per message",
        PACED_WHAT,
        {
            **{name: Measure(partial(paced, streams(name)), most=1_000_000) for name in LOOPS},
            ASYNC: Measure(partial(awaited, 1, b"x" * 16), most=1_000_000),
        },
        (Floor("speed", ASYNC),),
    ),
]
