"""Sending into a queue without limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from time import perf_counter_ns
from typing import Any

import zmq

from .. import climit
from ..harness import BLOCKING, OURS, STREAM, C, Floor, Measure, Work
from ..sockets import new_context, unbounded_pair
from ..streams import KINDS, Kind

PAYLOAD = b"x" * 16


def in_c(n: int) -> float:
    with new_context() as context:
        push, pull = unbounded_pair(context)
        took = climit.send(push, n, 1, PAYLOAD)
        check_arrived(pull, n)
    return took / n


def blocking(n: int) -> float:
    with new_context() as context:
        push, pull = unbounded_pair(context)
        send = push.send_multipart
        start = perf_counter_ns()
        for _ in range(n):
            send([PAYLOAD])
        took = perf_counter_ns() - start
        check_arrived(pull, n)
    return took / n


def on_stream(kind: Kind, send_all: Callable[[Any, int, Any], None], n: int) -> float:
    return kind.run(drained(kind, send_all, n)) / n


async def drained(kind: Kind, send_all: Callable[[Any, int, Any], None], n: int) -> int:
    done = asyncio.get_running_loop().create_future()
    with new_context() as context:
        push, pull = unbounded_pair(context)
        stream = kind.stream(push)
        start = perf_counter_ns()
        send_all(stream, n, done)
        end = await done
        assert not stream.sending()
        await kind.close(stream)
        check_arrived(pull, n)
    return end - start


def told_of_last(stream: Any, n: int, done: asyncio.Future[int]) -> None:
    """A callback for the last message alone. (pyzmq's would be called for the first.)"""
    send = stream.send_multipart
    for _ in range(n - 1):
        send([PAYLOAD])
    send([PAYLOAD], callback=lambda message, status: done.set_result(perf_counter_ns()))


def told_of_each(stream: Any, n: int, done: asyncio.Future[int]) -> None:
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
        send([PAYLOAD])


def check_arrived(pull: zmq.Socket, n: int) -> None:
    climit.receive(pull, n, zmq.DONTWAIT)
    assert not pull.poll(0)


WHAT = """\
Send messages of 1 x 16 B over an inproc PUSH whose PULL has no high-water mark and does not read
meanwhile. Timed: n calls of send_multipart() in a row and, for the streams, the loop's draining
until the last message was handed to libzmq; the list of one frame is made anew for each call.
Not timed: making sockets, streams and loops, and counting what arrived. pyzmq's ZMQStream calls a
function for every message it has sent, a do-nothing one if none is registered, so there a counter
registered with on_send() tells the end (some 50 ns of its many thousands); zmqstream has a callback
for the last message."""

EACH_WHAT = """\
As "send 1 x 16 B", but with the same counter registered with on_send() on both classes."""

WORKS = [
    Work(
        "send 1 x 16 B",
        "per message",
        WHAT,
        {
            C: Measure(in_c, 2_000_000),
            OURS: Measure(partial(on_stream, KINDS[OURS], told_of_last), 1_000_000),
            BLOCKING: Measure(blocking, 200_000),
            STREAM: Measure(partial(on_stream, KINDS[STREAM], told_of_each), 20_000),
        },
        (Floor("speed", STREAM, 80), Floor("time", C, 4), Floor("speed", BLOCKING)),
    ),
    Work(
        "send 1 x 16 B, with on_send",
        "per message",
        EACH_WHAT,
        {
            OURS: Measure(partial(on_stream, KINDS[OURS], told_of_each), 500_000),
            STREAM: Measure(partial(on_stream, KINDS[STREAM], told_of_each), 20_000),
        },
        (Floor("speed", STREAM),),
    ),
]
