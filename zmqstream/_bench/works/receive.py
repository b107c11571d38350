"""Receiving a queue that was filled beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from time import perf_counter_ns

from ..harness import Floor, Measure, Work
from ..peers import (
    AIOZMQ,
    ASYNC,
    BLOCKING,
    OTHER_LOOPS,
    OURS,
    PEERS,
    STREAM,
    C,
    Peer,
)
from ..sockets import filled_queue

MEMORY = 200_000_000  # bytes that wait in a queue, at most


@dataclass(frozen=True)
class Shape:
    frames: int
    size: int
    copy: bool = True

    @property
    def queue(self) -> int:
        """How many messages wait at once: more come in several queues."""
        return max(100, min(2_000_000, MEMORY // (self.frames * max(64, self.size))))

    def split(self, n: int) -> list[int]:
        return [min(self.queue, n - done) for done in range(0, n, self.queue)]


def receive(peer: Peer, shape: Shape, n: int) -> float:
    total = 0
    for messages in shape.split(n):
        start = 0

        def go() -> None:
            nonlocal start
            start = perf_counter_ns()

        with filled_queue(messages, shape.frames, shape.size) as pull:
            end, last = peer.receive(pull, messages, shape.frames, shape.copy, go)
        total += end - start
        if last is not None:
            assert [len(frame) for frame in last] == [shape.size] * (shape.frames + 1)
    return total / n


WHAT = """\
Receive messages that wait in an inproc PULL's queue, filled beforehand by its PUSH, both without
a high-water mark. Timed: from registering the receiver to the callback of the last message, the
loop's work and its start included; for the blocking and awaited calls and C, the loop of calls. Not
timed: filling, and making sockets, streams and loops. One callback a message, the same function
for all classes of streams; it looks whether the message is the last, which has a frame more, and
keeps nothing. C receives into one zmq_msg_t. A round takes a quarter of a second: implementations
get different numbers of messages."""

MAIN = (C, OURS, BLOCKING, STREAM)
ALL = (
    C,
    OURS,
    *(f"{OURS} on {loop}" for loop in OTHER_LOOPS),
    BLOCKING,
    ASYNC,
    f"{ASYNC} on uvloop",
    STREAM,
    *(f"{STREAM} on {loop}" for loop in ("uvloop", "Tornado")),
    AIOZMQ,
)


def size_of(size: int) -> str:
    for unit, bytes_ in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= bytes_:
            return f"{size // bytes_} {unit}"
    return f"{size} B"


def work(frames: int, size: int, copy: bool, names: tuple[str, ...], *floors: Floor) -> Work:
    shape = Shape(frames, size, copy)
    title = f"receive {frames} x {size_of(size)}" + ("" if copy else ", copy=False")
    return Work(
        title,
        "per message",
        WHAT,
        {
            name: Measure(
                partial(receive, PEERS[name], shape), most=min(4_000_000, 10 * shape.queue)
            )
            for name in names
        },
        floors,
        plot=("copied" if copy else "not copied", size) if frames == 1 else None,
    )


REQUIRED = {  # frames, size, copy: at most so much of C's time, at least so much of pyzmq's speed
    (1, 16, True): (3.0, 90),
    (3, 16, True): (2.2, 45),
    (1, 65536, False): (None, 20),
}


def floors(frames: int, size: int, copy: bool) -> tuple[Floor, ...]:
    limit, stream = REQUIRED.get((frames, size, copy), (None, None))
    return Floor("time", C, limit), Floor("speed", STREAM, stream), Floor("speed", BLOCKING)


SIZES = (0, 16, 256, 1024, 65536, 1 << 20)
SHAPES = [
    *((frames, 16, True) for frames in (1, 3, 10)),
    *((1, size, True) for size in SIZES if size != 16),
    *((1, size, False) for size in SIZES if size),
]

WORKS = [work(*shape, ALL if shape == (1, 16, True) else MAIN, *floors(*shape)) for shape in SHAPES]
