"""Requests and replies, DEALER to ROUTER, with some outstanding."""

from __future__ import annotations

from functools import partial

import zmq

from .. import climit
from ..harness import BLOCKING, OURS, STREAM, C, Figure, Floor, Measure, Work
from ..peers import ASYNC, ZLOOP
from ..sockets import new_context
from .echo import CPU, server


def request(name: str, outstanding: int, n: int) -> Figure:
    with server(name, "router") as (process, endpoint), new_context() as context:
        client = context.socket(zmq.DEALER)
        client.connect(endpoint)
        climit.requests(client, 200, outstanding, b"x" * 16)
        before = int(process.ask())
        took = climit.requests(client, n, outstanding, b"x" * 16)
        cpu = (int(process.ask()) - before) / n
    return Figure(took / n, {CPU: cpu})


WHAT = """\
A client in C, a DEALER, sends requests of 1 x 16 B over tcp to a ROUTER of the implementation in
another process, which sends every message back, and keeps so many outstanding. Timed: all requests
and their replies, after 200 that are not counted. Beside it is the processor time of the server's
process for each, its libzmq's I/O thread included."""

WORKS = [
    Work(
        f"request-reply, {outstanding} outstanding",
        "per request",
        WHAT,
        {
            name: Measure(partial(request, name, outstanding), most=200_000)
            for name in (C, OURS, BLOCKING, ASYNC, STREAM, ZLOOP)
        },
        (
            Floor("time", C),
            *(Floor("speed", name) for name in (STREAM, ZLOOP, BLOCKING)),
        ),
    )
    for outstanding in (1, 10, 100)
]
