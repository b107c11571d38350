"""Over tcp, between two processes: an echo, and a flood."""

from __future__ import annotations

import asyncio
from functools import partial
from time import perf_counter_ns

import zmq

from .. import climit
from ..harness import BLOCKING, OURS, STREAM, C, Figure, Floor, Measure, Work, quantile
from ..sockets import Child, new_context
from ..streams import KINDS, OTHER_LOOPS, Kind, on

PAYLOAD = b"x" * 16


def echo(implementation: str, n: int) -> Figure:
    with Child("echo", implementation) as server, new_context() as context:
        client = context.socket(zmq.DEALER)
        client.connect(server.hear())
        climit.round_trips(client, 200, PAYLOAD)
        trips = climit.round_trips(client, n, PAYLOAD)
    return Figure(quantile(trips, 0.50), {"p99": quantile(trips, 0.99)})


def flood_in_c(n: int) -> float:
    with new_context() as context:
        pull = context.socket(zmq.PULL)
        with flooding(pull, n) as sender:
            start = perf_counter_ns()
            sender.tell("go")
            climit.receive(pull, n)
            return (perf_counter_ns() - start) / n


def flood_blocking(n: int) -> float:
    with new_context() as context:
        pull = context.socket(zmq.PULL)
        with flooding(pull, n) as sender:
            receive = pull.recv_multipart
            start = perf_counter_ns()
            sender.tell("go")
            for _ in range(n):
                receive()
            return (perf_counter_ns() - start) / n


def flood_stream(kind: Kind, n: int) -> float:
    return kind.run(flooded(kind, n)) / n


async def flooded(kind: Kind, n: int) -> int:
    done = asyncio.get_running_loop().create_future()

    def callback(message: list[bytes]) -> None:
        if len(message) > 1:  # the last
            done.set_result(perf_counter_ns())

    with new_context() as context:
        pull = context.socket(zmq.PULL)
        with flooding(pull, n) as sender:
            stream = kind.stream(pull)
            stream.on_recv(callback)
            await asyncio.sleep(0.01)
            start = perf_counter_ns()
            sender.tell("go")
            end = await done
            await kind.close(stream)
    return end - start


def flooding(pull: zmq.Socket, n: int) -> Child:
    """A process that will flood `pull` when told so: it is connected, and has shown it."""
    pull.bind("tcp://127.0.0.1:*")
    sender = Child("flood", pull.last_endpoint.decode(), str(n))
    try:
        sender.hear()
        assert pull.recv() == b"hello"
    except BaseException:
        sender.__exit__()
        raise
    return sender


ECHO_WHAT = """\
A client in C sends 1 x 16 B over tcp to an echo server in another process and waits for it to
come back: DEALER to DEALER, the client always the same, the server of the implementation. Timed:
each round trip, in C, after 200 that are not counted. The figure is the median (p50) of a round's
trips; p99 is beside it. The streams' servers are `stream.on_recv(stream.send_multipart)`."""

FLOOD_WHAT = """\
A sender in C in another process floods a PULL over tcp with 1 x 16 B, with libzmq's default
high-water marks, and stays connected until everything has arrived. Timed: from telling it to
begin, on a connection that works, to the last message; that includes some 0.1 ms until the first.
The streams have one callback a message, the same function; it looks whether it is the last, which
has two frames, and keeps nothing. The sender and libzmq's two I/O threads want processors besides
the receiver: with fewer than four, this measures also how well they share."""

OTHERS_WHAT = """\
The tcp flood of 1 x 16 B on loops that are not zmqstream's. Both classes are made in a coroutine
that runs there, and find the loop."""

OTHERS = [on(name, loop) for loop in OTHER_LOOPS for name in (OURS, STREAM)]
OF_OWN = {"uvloop": 0.75, "asyncio": 0.6, "Tornado": 0.6}  # how much of the rate on our own loop

WORKS = [
    Work(
        "tcp echo, p50",
        "per round trip",
        ECHO_WHAT,
        {name: Measure(partial(echo, name), 10_000) for name in (C, OURS, BLOCKING, STREAM)},
        (Floor("time", C, 1.10), Floor("speed", BLOCKING), Floor("speed", STREAM)),
    ),
    Work(
        "tcp flood 1 x 16 B",
        "per message",
        FLOOD_WHAT,
        {
            C: Measure(flood_in_c, 2_000_000),
            OURS: Measure(partial(flood_stream, KINDS[OURS]), 2_000_000),
            BLOCKING: Measure(flood_blocking, 400_000),
            STREAM: Measure(partial(flood_stream, KINDS[STREAM]), 20_000),
        },
        (Floor("speed", STREAM, 45), Floor("speed", C, 0.6), Floor("speed", BLOCKING)),
    ),
    Work(
        "tcp flood on other loops",
        "per message",
        OTHERS_WHAT,
        {OURS: Measure(partial(flood_stream, KINDS[OURS]), 2_000_000)}
        | {
            kind.name: Measure(
                partial(flood_stream, kind), 20_000 if kind.name.startswith(STREAM) else 2_000_000
            )
            for kind in OTHERS
        },
        tuple(
            floor
            for loop in OTHER_LOOPS
            for floor in (
                Floor("speed", OURS, OF_OWN[loop], f"{OURS} on {loop}"),
                Floor("speed", f"{STREAM} on {loop}", 30, f"{OURS} on {loop}"),
            )
        ),
    ),
]
