"""Receiving, and flushing, a queue that was filled beforehand."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from time import perf_counter_ns

import zmq

from .. import climit
from ..harness import BLOCKING, OURS, STREAM, C, Floor, Measure, Work
from ..sockets import filled_queue
from ..streams import KINDS, Kind


@dataclass(frozen=True)
class Shape:
    """What waits in the queue. More than `queue` messages come in several queues, for memory."""

    frames: int
    size: int
    copy: bool = True
    queue: int = 4_000_000

    def split(self, n: int) -> list[int]:
        return [min(self.queue, n - done) for done in range(0, n, self.queue)]

    def check_last(self, message: list[bytes] | list[zmq.Frame]) -> None:
        assert [len(frame) for frame in message] == [self.size] * (self.frames + 1)


def in_c(shape: Shape, n: int) -> float:
    total = 0
    for messages in shape.split(n):
        with filled_queue(messages, shape.frames, shape.size) as pull:
            total += climit.receive(pull, messages, zmq.DONTWAIT)
    return total / n


def blocking(shape: Shape, n: int) -> float:
    total = 0
    copy = shape.copy
    for messages in shape.split(n):
        with filled_queue(messages, shape.frames, shape.size) as pull:
            receive = pull.recv_multipart
            start = perf_counter_ns()
            for _ in range(messages):
                message = receive(copy=copy)
            total += perf_counter_ns() - start
            shape.check_last(message)
    return total / n


def on_recv(kind: Kind, shape: Shape, n: int) -> float:
    return sum(kind.run(receive_queue(kind, shape, messages)) for messages in shape.split(n)) / n


async def receive_queue(kind: Kind, shape: Shape, messages: int) -> int:
    done = asyncio.get_running_loop().create_future()
    frames = shape.frames

    def callback(message: list) -> None:
        if len(message) > frames:
            done.set_result((perf_counter_ns(), message))

    with filled_queue(messages, shape.frames, shape.size) as pull:
        stream = kind.stream(pull)
        start = perf_counter_ns()
        stream.on_recv(callback, copy=shape.copy)
        end, last_message = await done
        await kind.close(stream)
    shape.check_last(last_message)
    return end - start


def flush(kind: Kind, shape: Shape, n: int) -> float:
    return kind.run(flush_queue(kind, shape, n)) / n


async def flush_queue(kind: Kind, shape: Shape, messages: int) -> int:
    counted = 0

    def count(message: list) -> None:
        nonlocal counted
        counted += 1

    with filled_queue(messages, shape.frames, shape.size) as pull:
        stream = kind.stream(pull)
        stream.on_recv(count)
        left = messages
        start = perf_counter_ns()
        while left:
            left -= stream.flush(limit=100)
        end = perf_counter_ns()
        await kind.close(stream)
    assert counted == messages
    return end - start


WHAT = """\
Receive messages that wait in an inproc PULL's queue, filled beforehand by its PUSH, both without
a high-water mark. Timed: from on_recv() to the callback of the last message, the loop's work and
its start included; for the blocking calls and C, the loop of calls. Not timed: filling, and
making sockets, streams and loops. One callback a message, the same function for both classes; it
looks whether the message is the last, which has a frame more, and keeps nothing. C receives into
one zmq_msg_t. Implementations get different numbers of messages, so that each round takes some
tenths of a second."""


def work(name: str, shape: Shape, sizes: dict[str, int], *floors: Floor) -> Work:
    measures = {
        C: Measure(partial(in_c, shape), sizes[C]),
        OURS: Measure(partial(on_recv, KINDS[OURS], shape), sizes[OURS]),
        BLOCKING: Measure(partial(blocking, shape), sizes[BLOCKING]),
        STREAM: Measure(partial(on_recv, KINDS[STREAM], shape), sizes[STREAM]),
    }
    return Work(name, "per message", WHAT, measures, floors)


SMALL = {C: 4_000_000, OURS: 2_000_000, BLOCKING: 200_000, STREAM: 20_000}
THREE = {C: 2_000_000, OURS: 1_000_000, BLOCKING: 100_000, STREAM: 20_000}
KIBI = {C: 2_000_000, OURS: 1_000_000, BLOCKING: 200_000, STREAM: 20_000}
LARGE = {C: 100_000, OURS: 100_000, BLOCKING: 50_000, STREAM: 10_000}

FLUSH_WHAT = """\
Flush a queue filled as in "receive 1 x 16 B", with flush(limit=100) called again and again in a
coroutine, the loop getting no turn between. Timed: the calls of flush, the callback's included.
The callback counts, and keeps nothing."""

WORKS = [
    work(
        "receive 1 x 16 B",
        Shape(frames=1, size=16),
        SMALL,
        Floor("speed", STREAM, 90),
        Floor("time", C, 3.5),
        Floor("speed", BLOCKING),
    ),
    work(
        "receive 3 x 16 B",
        Shape(frames=3, size=16),
        THREE,
        Floor("speed", STREAM, 45),
        Floor("time", C),
        Floor("speed", BLOCKING),
    ),
    work(
        "receive 1 x 1 KiB",
        Shape(frames=1, size=1024, queue=200_000),
        KIBI,
        Floor("speed", STREAM),
        Floor("time", C),
        Floor("speed", BLOCKING),
    ),
    work(
        "receive 1 x 64 KiB, copy=False",
        Shape(frames=1, size=65536, copy=False, queue=2_000),
        LARGE,
        Floor("speed", STREAM, 20),
        Floor("time", C),
        Floor("speed", BLOCKING),
    ),
    Work(
        "flush(limit=100)",
        "per message",
        FLUSH_WHAT,
        {
            OURS: Measure(partial(flush, KINDS[OURS], Shape(1, 16)), 1_000_000),
            STREAM: Measure(partial(flush, KINDS[STREAM], Shape(1, 16)), 50_000),
        },
        (Floor("speed", STREAM),),
    ),
]
