"""Sending into a queue without limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from time import perf_counter_ns
from typing import Any

from .. import climit
from ..harness import BLOCKING, OURS, STREAM, C, Floor, Measure, Work
from ..peers import ASYNC, PEERS, Streams, streams
from ..sockets import new_context, unbounded_pair
from .receive import size_of


def in_c(frames: int, data: bytes, n: int) -> float:
    with new_context() as context:
        push, pull = unbounded_pair(context)
        took = climit.send(push, n, frames, data)
        climit.drain(pull, n)
    return took / n


def blocking(frames: int, data: bytes, n: int) -> float:
    with new_context() as context:
        push, pull = unbounded_pair(context)
        send = push.send_multipart
        start = perf_counter_ns()
        for _ in range(n):
            send([data] * frames)
        took = perf_counter_ns() - start
        climit.drain(pull, n)
    return took / n


def awaited(frames: int, data: bytes, n: int) -> float:
    return PEERS[ASYNC].run(sent_awaiting(frames, data, n)) / n


async def sent_awaiting(frames: int, data: bytes, n: int) -> int:
    import zmq.asyncio

    with new_context() as context:
        push, pull = unbounded_pair(context)
        send = zmq.asyncio.Socket(shadow=push).send_multipart
        start = perf_counter_ns()
        for _ in range(n):
            await send([data] * frames)
        took = perf_counter_ns() - start
        climit.drain(pull, n)
    return took


SendAll = Callable[[Any, int, bytes, int, Any], None]


def on_stream(peer: Streams, send_all: SendAll, frames: int, data: bytes, n: int) -> float:
    return peer.run(drained(peer, send_all, frames, data, n)) / n


async def drained(peer: Streams, send_all: SendAll, frames: int, data: bytes, n: int) -> int:
    done = asyncio.get_running_loop().create_future()
    with new_context() as context:
        push, pull = unbounded_pair(context)
        stream = peer.stream(push)
        start = perf_counter_ns()
        send_all(stream, frames, data, n, done)
        end = await done
        assert not stream.sending()
        await peer.close(stream)
        climit.drain(pull, n)
    return end - start


def told_of_last(stream: Any, frames: int, data: bytes, n: int, done: asyncio.Future[int]) -> None:
    """A callback for the last message alone. (pyzmq's would be called for the first.)"""
    send = stream.send_multipart
    for _ in range(n - 1):
        send([data] * frames)
    send([data] * frames, callback=lambda message, status: done.set_result(perf_counter_ns()))


def told_of_each(stream: Any, frames: int, data: bytes, n: int, done: asyncio.Future[int]) -> None:
    """on_send() with a counter."""
    left = n

    def count(message: list, status: object) -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set_result(perf_counter_ns())

    stream.on_send(count)
    send = stream.send_multipart
    for _ in range(n):
        send([data] * frames)


WHAT = """\
Send messages over an inproc PUSH whose PULL has no high-water mark and does not read meanwhile.
Timed: n calls of send_multipart() in a row and, for the streams, the loop's draining until the last
message was handed to libzmq; the list of frames is made anew for each call. Not timed: making
sockets, streams and loops, and counting what arrived. pyzmq's ZMQStream calls a function for every
message it has sent, a do-nothing one if none is registered, so there a counter registered with
on_send() tells the end (some 50 ns of its many thousands); zmqstream has a callback for the last
message."""

EACH_WHAT = """\
As "send 1 x 16 B", but with the same counter registered with on_send() on both classes."""


def work(frames: int, size: int, limit: float | None, stream: float | None) -> Work:
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
        (Floor("time", C, limit), Floor("speed", STREAM, stream), Floor("speed", BLOCKING)),
        plot=("sent", size) if frames == 1 else None,
    )


WORKS = [
    work(1, 16, 3.5, 80),
    work(3, 16, None, None),
    work(1, 1024, None, None),
    work(1, 65536, None, None),
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
        (Floor("speed", STREAM),),
    ),
]
