"""Receiving a queue that was filled beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from ..harness import Comparison, Job, Measure, Work
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
        """How many messages wait at once."""
        return max(100, min(2_000_000, MEMORY // (self.frames * max(64, self.size))))


@contextmanager
def receive(peer: Peer, shape: Shape, n: int) -> Iterator[Job]:
    last = None
    with (
        filled_queue(n, shape.frames, shape.size) as pull,
        peer.receiving(pull, n, shape.frames, shape.copy) as received,
    ):

        def run() -> None:
            nonlocal last
            last = received()

        yield Job(run)
    if last is not None:
        assert [len(frame) for frame in last] == [shape.size] * (shape.frames + 1)


def measure(peer: Peer, shape: Shape) -> Measure:
    return Measure(
        partial(receive, peer, shape), most=min(4_000_000, 10 * shape.queue), part=shape.queue
    )


WHAT = """\
Receive messages that wait in the queue of an inproc PULL socket. Its PUSH has filled the queue
beforehand; neither socket has a high-water mark. Timed: registering the callback, and running the
loop until the callback got the last message; for the blocking and awaited calls and for C, the
calls. Not timed: filling the queue, and creating sockets, streams and loops. All classes of streams
call the same function once for each message. It checks whether the message is the last one, which
has one more frame, and keeps nothing. C receives into one zmq_msg_t. Rounds take a quarter of a
second, so implementations receive different numbers of messages."""

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


def work(frames: int, size: int, copy: bool, names: tuple[str, ...]) -> Work:
    shape = Shape(frames, size, copy)
    title = f"receive {frames} x {size_of(size)}" + ("" if copy else ", copy=False")
    return Work(
        title,
        "per message",
        WHAT,
        {name: measure(PEERS[name], shape) for name in names},
        (Comparison("time", C), Comparison("speed", STREAM), Comparison("speed", BLOCKING)),
        plot=("copied" if copy else "not copied", size) if frames == 1 else None,
        batch=min(10_000, shape.queue),
    )


SIZES = (0, 16, 256, 1024, 65536, 1 << 20)
SHAPES = [
    *((frames, 16, True) for frames in (1, 3, 10)),
    *((1, size, True) for size in SIZES if size != 16),
    *((1, size, False) for size in SIZES if size),
]

WORKS = [work(*shape, ALL if shape == (1, 16, True) else MAIN) for shape in SHAPES]
