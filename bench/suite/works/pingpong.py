"""Two streams on one loop that send a message to and fro, alone or beside idle ones."""

from __future__ import annotations

import asyncio
from functools import partial
from time import perf_counter_ns

import zmq

from ..harness import OURS, STREAM, Floor, Measure, Work
from ..sockets import new_context
from ..streams import KINDS, Kind

IDLE = 4_000
PAYLOAD = b"x" * 16


def ping_pong(kind: Kind, idle: int, n: int) -> float:
    return kind.run(round_trips(kind, idle, n)) / n


async def round_trips(kind: Kind, idle: int, trips: int) -> int:
    done = asyncio.get_running_loop().create_future()
    left = trips

    with new_context(max_sockets=idle + 10) as context:
        streams = [idle_stream(kind, context, number) for number in range(idle)]
        sockets = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        sockets[0].bind("inproc://ping-pong")
        sockets[1].connect("inproc://ping-pong")
        ping, pong = map(kind.stream, sockets)

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
        await kind.close(ping, pong, *streams)
    return end - start


def idle_stream(kind: Kind, context: zmq.Context, number: int) -> object:
    socket = context.socket(zmq.PULL)
    socket.bind(f"inproc://idle-{number}")
    stream = kind.stream(socket)
    stream.on_recv(print)
    return stream


WHAT = """\
Two streams on one loop, over an inproc PAIR, send one message of 1 x 16 B to and fro; each sends
in its on_recv callback. Alone, and beside 4,000 streams with a receiver and nothing to receive.
Timed: from the first send to the last arrival. Not timed: making sockets and streams, and the
loop's first 50 ms."""

ours_idle = f"{OURS}, {IDLE:,} idle"
stream_idle = f"{STREAM}, {IDLE:,} idle"

WORKS = [
    Work(
        "ping-pong",
        "per round trip",
        WHAT,
        {
            OURS: Measure(partial(ping_pong, KINDS[OURS], 0), 50_000),
            STREAM: Measure(partial(ping_pong, KINDS[STREAM], 0), 5_000),
            ours_idle: Measure(partial(ping_pong, KINDS[OURS], IDLE), 50_000),
            stream_idle: Measure(partial(ping_pong, KINDS[STREAM], IDLE), 5_000),
        },
        (
            Floor("speed", STREAM, 10),
            Floor("speed", stream_idle, subject=ours_idle),
            Floor("time", OURS, 1.15, subject=ours_idle),
            Floor("time", STREAM, subject=stream_idle),
        ),
    )
]
