"""Two streams on one loop that send a message to and fro, alone or beside idle ones."""

from __future__ import annotations

import asyncio
from functools import partial
from time import perf_counter_ns

import zmq

from .. import climit
from ..harness import OURS, STREAM, C, Floor, Measure, Work
from ..peers import Streams, streams
from ..sockets import new_context

IDLE = (0, 100, 1_000, 10_000)
PAYLOAD = b"x" * 16
C_POLLING = f"{C}, polling"


def in_c(events: bool, n: int) -> float:
    with new_context() as context:
        ping, pong = pair(context)  # held until the context closes them
        return climit.ping_pong(ping, pong, n, PAYLOAD, events) / n


def pair(context: zmq.Context) -> tuple[zmq.Socket, zmq.Socket]:
    ping, pong = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
    ping.bind("inproc://ping-pong")
    pong.connect("inproc://ping-pong")
    return ping, pong


def ping_pong(peer: Streams, idle: int, n: int) -> float:
    return peer.run(round_trips(peer, idle, n)) / n


async def round_trips(peer: Streams, idle: int, trips: int) -> int:
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
                done.set_result(perf_counter_ns())

        pong.on_recv(pong.send_multipart)
        ping.on_recv(returned)
        await asyncio.sleep(0.05)  # what registering left to do is done
        start = perf_counter_ns()
        ping.send_multipart([PAYLOAD])
        end = await done
        await peer.close(ping, pong, *silent)
    return end - start


def idle_stream(peer: Streams, context: zmq.Context, number: int) -> object:
    socket = context.socket(zmq.PULL)
    socket.bind(f"inproc://idle-{number}")
    stream = peer.stream(socket)
    stream.on_recv(print)
    return stream


WHAT = """\
Two streams on one loop, over an inproc PAIR, send one message of 1 x 16 B to and fro; each sends
in its on_recv callback. Alone, and beside up to 10,000 streams with a receiver and nothing to
receive. Timed: from the first send to the last arrival. Not timed: making sockets and streams, and
the loop's first 50 ms. C tries both sockets in turn; "C, polling" does what a loop of any number of
sockets has to: it asks which of them have something, and receives until they have nothing."""


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
            Floor("time", C),
            Floor("time", C_POLLING),
            Floor("speed", STREAM, 10),
            *(
                Floor("time", OURS, 1.10 if idle == IDLE[-1] else None, beside(OURS, idle))
                for idle in IDLE[1:]
            ),
            *(Floor("time", STREAM, None, beside(STREAM, idle)) for idle in IDLE[1:]),
            Floor("speed", beside(STREAM, IDLE[-1]), None, beside(OURS, IDLE[-1])),
        ),
    )
]
