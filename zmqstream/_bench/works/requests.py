"""Requests and replies, DEALER to ROUTER, with some outstanding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import zmq

from .. import climit
from ..harness import BLOCKING, OURS, STREAM, C, Comparison, Figure, Job, Measure, Work
from ..peers import ASYNC, OURS_ASYNC, ZLOOP
from ..sockets import new_context
from .echo import CPU, server


@contextmanager
def request(name: str, outstanding: int, n: int) -> Iterator[Job]:
    with server(name, "router") as (process, endpoint), new_context() as context:
        client = context.socket(zmq.DEALER)
        client.connect(endpoint)
        climit.requests(client, 200, outstanding, b"x" * 16)
        before = int(process.ask())

        def after(each: float) -> Figure:
            return Figure(each, {CPU: (int(process.ask()) - before) / n})

        yield Job(lambda: climit.requests(client, n, outstanding, b"x" * 16), after)


WHAT = """\
A client in C sends requests of 1 x 16 B over tcp from a DEALER socket, and keeps as many of them
outstanding as the name says. The server, a ROUTER of the implementation in another process, sends
every message back. Timed: all requests and their replies, after 200 that are not counted. Beside it
is the processor time for each request in the server's process, which includes libzmq's I/O
thread."""

WORKS = [
    Work(
        f"request-reply, {outstanding} outstanding",
        "per request",
        WHAT,
        {
            name: Measure(partial(request, name, outstanding), most=200_000)
            for name in (
                *(C, OURS, OURS_ASYNC, f"{OURS_ASYNC} on uvloop", BLOCKING),
                *(ASYNC, f"{ASYNC} on uvloop", STREAM, ZLOOP),
            )
        },
        (
            Comparison("time", C),
            *(Comparison("speed", name) for name in (STREAM, ZLOOP, BLOCKING)),
            Comparison("speed", ASYNC, OURS_ASYNC),
            Comparison("time", ASYNC, OURS_ASYNC, of=CPU),
            Comparison("speed", f"{ASYNC} on uvloop", f"{OURS_ASYNC} on uvloop"),
        ),
        batch=1_000 if outstanding == 1 else 10_000,
    )
    for outstanding in (1, 10, 100)
]
