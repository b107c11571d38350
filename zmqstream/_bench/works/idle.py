"""Two streams on one loop that send a message to and fro, alone or beside idle ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import zmq

from .. import climit
from ..harness import OURS, STREAM, C, Comparison, Job, Measure, Work
from ..peers import AsyncRun, Streams, streams
from ..sockets import new_context

IDLE = (0, 100, 1_000, 10_000)
PAYLOAD = b"x" * 16
C_POLLING = f"{C}, polling"


@contextmanager
def in_c(events: bool, n: int) -> Iterator[Job]:
    with new_context() as context:
        ping, pong = pair(context)
        yield Job(lambda: climit.ping_pong(ping, pong, n, PAYLOAD, events))


def pair(context: zmq.Context) -> tuple[zmq.Socket, zmq.Socket]:
    ping, pong = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
    ping.bind("inproc://ping-pong")
    pong.connect("inproc://ping-pong")
    return ping, pong


@contextmanager
def ping_pong(peer: Streams, idle: int, n: int) -> Iterator[Job]:
    with peer.on_loop(round_trips(peer, idle, n)) as run:
        yield Job(run)


@asynccontextmanager
async def round_trips(peer: Streams, idle: int, trips: int) -> AsyncIterator[AsyncRun]:
    done = asyncio.get_running_loop().create_future()
    left = trips

    with new_context(max_sockets=idle + 10) as context:
        silent = [idle_stream(peer, context, number) for number in range(idle)]
        ping, pong = map(peer.stream, pair(context))

        def returned(message: list[bytes]) -> None:
            nonlocal left
            left -= 1
            if left:
                ping.send_multipart(message)
            else:
                done.set_result(None)

        pong.on_recv(pong.send_multipart)
        ping.on_recv(returned)
        await asyncio.sleep(0.05)  # what registering left to do is done

        async def work() -> None:
            ping.send_multipart([PAYLOAD])
            await done

        yield work
        await peer.close(ping, pong, *silent)


def idle_stream(peer: Streams, context: zmq.Context, number: int) -> object:
    socket = context.socket(zmq.PULL)
    socket.bind(f"inproc://idle-{number}")
    stream = peer.stream(socket)
    stream.on_recv(print)
    return stream


WHAT = """\
Two streams on one loop send one message of 1 x 16 B to and fro over inproc PAIR sockets. Each sends
in its on_recv callback. They are alone, or beside up to 10,000 streams that have a callback and
nothing to receive. Timed: from the first send to the last arrival. Not timed: creating sockets and
streams, and the loop's first 50 ms. C tries both sockets in turn. "C, polling" does what a loop for
any number of sockets must do: it asks which sockets have messages, and receives until they have
none."""


def beside(name: str, idle: int) -> str:
    return f"{name}, {idle:,} idle" if idle else name


WORKS = [
    Work(
        "ping-pong beside idle streams",
        "per round trip",
        WHAT,
        {
            C: Measure(partial(in_c, False)),
            C_POLLING: Measure(partial(in_c, True), peer=C),
            **{
                beside(name, idle): Measure(
                    partial(ping_pong, streams(name), idle),
                    n=20_000 if name == OURS else 2_000,
                    quick=idle <= 1_000,
                )
                for idle in IDLE
                for name in (OURS, STREAM)
            },
        },
        (
            Comparison("time", C),
            Comparison("time", C_POLLING),
            Comparison("speed", STREAM),
            *(
                Comparison("time", name, beside(name, i))
                for name in (OURS, STREAM)
                for i in IDLE[1:]
            ),
            Comparison("speed", beside(STREAM, IDLE[-1]), beside(OURS, IDLE[-1])),
        ),
        batch=2_000,
    )
]
