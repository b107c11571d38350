"""Sending into a queue without limit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

from .. import climit
from ..harness import BLOCKING, OURS, STREAM, C, Comparison, Job, Measure, Work
from ..peers import ASYNC, PEERS, AsyncRun, Streams, streams
from ..sockets import new_context, unbounded_pair
from .receive import size_of


@contextmanager
def in_c(frames: int, data: bytes, n: int) -> Iterator[Job]:
    with new_context() as context:
        push, pull = unbounded_pair(context)
        yield Job(lambda: climit.send(push, n, frames, data))
        climit.drain(pull, n)


@contextmanager
def blocking(frames: int, data: bytes, n: int) -> Iterator[Job]:
    with new_context() as context:
        push, pull = unbounded_pair(context)

        def run() -> None:
            send = push.send_multipart
            for _ in range(n):
                send([data] * frames)

        yield Job(run)
        climit.drain(pull, n)


@contextmanager
def awaited(frames: int, data: bytes, n: int) -> Iterator[Job]:
    with PEERS[ASYNC].on_loop(sent_awaiting(frames, data, n)) as run:
        yield Job(run)


@asynccontextmanager
async def sent_awaiting(frames: int, data: bytes, n: int) -> AsyncIterator[AsyncRun]:
    import zmq.asyncio

    with new_context() as context:
        push, pull = unbounded_pair(context)
        send = zmq.asyncio.Socket(shadow=push).send_multipart

        async def work() -> None:
            for _ in range(n):
                await send([data] * frames)

        yield work
        climit.drain(pull, n)


SendAll = Callable[[Any, int, bytes, int, Any], None]


@contextmanager
def on_stream(peer: Streams, send_all: SendAll, frames: int, data: bytes, n: int) -> Iterator[Job]:
    with peer.on_loop(drained(peer, send_all, frames, data, n)) as run:
        yield Job(run)


@asynccontextmanager
async def drained(
    peer: Streams, send_all: SendAll, frames: int, data: bytes, n: int
) -> AsyncIterator[AsyncRun]:
    done = asyncio.get_running_loop().create_future()
    with new_context() as context:
        push, pull = unbounded_pair(context)
        stream = peer.stream(push)

        async def work() -> None:
            send_all(stream, frames, data, n, done)
            await done

        yield work
        assert not stream.sending()
        await peer.close(stream)
        climit.drain(pull, n)


def told_of_last(stream: Any, frames: int, data: bytes, n: int, done: asyncio.Future[None]) -> None:
    """A callback for the last message alone. (pyzmq's would be called for the first.)"""
    send = stream.send_multipart
    for _ in range(n - 1):
        send([data] * frames)
    send([data] * frames, callback=lambda message, status: done.set_result(None))


def told_of_each(stream: Any, frames: int, data: bytes, n: int, done: asyncio.Future[None]) -> None:
    """on_send() with a counter."""
    left = n

    def count(message: list, status: object) -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set_result(None)

    stream.on_send(count)
    send = stream.send_multipart
    for _ in range(n):
        send([data] * frames)


WHAT = """\
Send messages over an inproc PUSH socket. Its PULL has no high-water mark, and does not read
meanwhile. Timed: the calls of send_multipart(), each with a new list of frames, and, for the
streams, running the loop until the last message was handed to libzmq. Not timed: creating sockets,
streams and loops, and counting what arrived. zmqstream reports the end to a callback of the last
message. pyzmq's ZMQStream calls a function for every message that it has sent, a do-nothing one if
none is registered, so there a counter registered with on_send() notices the end. It takes some
50 ns of the many thousands."""

EACH_WHAT = """\
As "send 1 x 16 B", but both classes have the same counter registered with on_send()."""


def work(frames: int, size: int) -> Work:
    data = b"x" * size
    most = min(1_000_000, 200_000_000 // (frames * max(64, size)))
    return Work(
        f"send {frames} x {size_of(size)}",
        "per message",
        WHAT,
        {
            C: Measure(partial(in_c, frames, data), most=most),
            OURS: Measure(partial(on_stream, streams(OURS), told_of_last, frames, data), most=most),
            BLOCKING: Measure(partial(blocking, frames, data), most=most),
            ASYNC: Measure(partial(awaited, frames, data), most=most),
            STREAM: Measure(
                partial(on_stream, streams(STREAM), told_of_each, frames, data), most=most
            ),
        },
        (Comparison("time", C), Comparison("speed", STREAM), Comparison("speed", BLOCKING)),
        plot=("sent", size) if frames == 1 else None,
        batch=min(10_000, most),
    )


WORKS = [
    work(1, 16),
    work(3, 16),
    work(1, 1024),
    work(1, 65536),
    Work(
        "send 1 x 16 B, with on_send",
        "per message",
        EACH_WHAT,
        {
            name: Measure(
                partial(on_stream, streams(name), told_of_each, 1, b"x" * 16), most=1_000_000
            )
            for name in (OURS, STREAM)
        },
        (Comparison("speed", STREAM),),
        batch=10_000,
    ),
]
