"""An echo over tcp, between two processes: how long a round trip takes, and costs its server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import zmq

from .. import climit
from ..figures import curve, quantile
from ..harness import Comparison, Figure, Job, Measure, Work
from ..peers import (
    BLOCKING,
    OURS_ASYNC,
    PYOMQ,
    PYOMQ_ASYNC,
    PYOMQ_STREAM,
    STREAM,
    ZLOOP,
    C,
    Zloop,
)
from ..sockets import Child, Process, new_context
from .receive import ALL

PAYLOAD = b"x" * 16
ENDPOINT = "tcp://127.0.0.1:*"
QUANTILES = {"p90": 0.90, "p99": 0.99, "p99.9": 0.999}
CPU = "server's CPU"


@contextmanager
def server(name: str, kind: str) -> Iterator[tuple[Process, str]]:
    """A process that echoes, and its endpoint."""
    if name == ZLOOP:
        with Process(Zloop.program(), kind, ENDPOINT) as process:
            process.hear()  # libzmq's version
            yield process, process.hear()
    else:
        with Child("serve", name, kind, ENDPOINT) as process:
            yield process, process.hear()


@contextmanager
def echo(name: str, n: int) -> Iterator[Job]:
    with server(name, "dealer") as (process, endpoint), new_context() as context:
        client = context.socket(zmq.DEALER)
        client.connect(endpoint)
        climit.round_trips(client, 200, PAYLOAD)
        before = int(process.ask())
        trips: list[int] = []

        def after(each: float) -> Figure:
            more = {key: quantile(trips, part) for key, part in QUANTILES.items()}
            more[CPU] = (int(process.ask()) - before) / n
            return Figure(quantile(trips, 0.50), more, curve(trips))

        yield Job(lambda: trips.extend(climit.round_trips(client, n, PAYLOAD)), after)


WHAT = """\
A client in C sends 1 x 16 B over tcp to an echo server in another process, and waits for the
answer. Both have DEALER sockets. The client is always the same; the server is the implementation.
Timed: each round trip, in C, after 200 that are not counted. The figure is the median (p50) of a
round's trips. Beside it are p90, p99 and p99.9, and the processor time for each trip in the
server's process, which includes libzmq's I/O thread. The servers of the streams are
`stream.on_recv(stream.send_multipart)`."""

WORKS = [
    Work(
        "tcp echo, p50",
        "per round trip",
        WHAT,
        {
            name: Measure(partial(echo, name), 4_000)
            for name in (
                *ALL,
                OURS_ASYNC,
                f"{OURS_ASYNC} on uvloop",
                PYOMQ,
                PYOMQ_ASYNC,
                PYOMQ_STREAM,
                ZLOOP,
            )
        },
        (
            Comparison("time", C),
            Comparison("time", C, of="p99"),
            Comparison("time", STREAM, of=CPU),
            Comparison("time", C, of=CPU),
            Comparison("speed", STREAM),
            Comparison("speed", BLOCKING),
        ),
        batch=1_000,
        curve="quantiles of a round's trips",
    ),
]
