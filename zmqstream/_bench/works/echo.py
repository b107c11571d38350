"""An echo over tcp, between two processes: how long a round trip takes, and costs its server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import zmq

from .. import climit
from ..figures import curve, quantile
from ..harness import Figure, Floor, Measure, Work
from ..peers import (
    BLOCKING,
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


def echo(name: str, n: int) -> Figure:
    with server(name, "dealer") as (process, endpoint), new_context() as context:
        client = context.socket(zmq.DEALER)
        client.connect(endpoint)
        climit.round_trips(client, 200, PAYLOAD)
        before = int(process.ask())
        trips = climit.round_trips(client, n, PAYLOAD)
        cpu = (int(process.ask()) - before) / n
    more = {key: quantile(trips, part) for key, part in QUANTILES.items()}
    return Figure(quantile(trips, 0.50), {**more, CPU: cpu}, curve(trips))


WHAT = """\
A client in C sends 1 x 16 B over tcp to an echo server in another process and waits for it to
come back: DEALER to DEALER, the client always the same, the server of the implementation. Timed:
each round trip, in C, after 200 that are not counted. The figure is the median (p50) of a round's
trips; p90, p99 and p99.9 are beside it, and the processor time that the server's process took for
each, its libzmq's I/O thread included. The streams' servers are
`stream.on_recv(stream.send_multipart)`."""

WORKS = [
    Work(
        "tcp echo, p50",
        "per round trip",
        WHAT,
        {
            name: Measure(partial(echo, name), 4_000)
            for name in (*ALL, PYOMQ, PYOMQ_ASYNC, PYOMQ_STREAM, ZLOOP)
        },
        (
            Floor("time", C, 1.10),
            Floor("time", C, 1.15, of="p99"),
            Floor("time", STREAM, 0.4, of=CPU),
            Floor("time", C, of=CPU),
            Floor("speed", STREAM),
            Floor("speed", BLOCKING),
        ),
        curve="quantiles of a round's trips",
    ),
]
