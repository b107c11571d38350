"""How long importing takes, in fresh processes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from ..harness import OURS, STREAM, Comparison, Job, Measure, Work
from ..sockets import Process

SCRIPT = """
import zmq
print("ready", flush=True)
input()
import {module}
print("done", flush=True)
"""


@contextmanager
def importing(module: str, n: int) -> Iterator[Job]:
    """n processes that import zmq, and then, when they are asked, `module`."""
    with ExitStack() as stack:
        command = [sys.executable, "-c", SCRIPT.format(module=module)]
        processes = [stack.enter_context(Process(*command)) for _ in range(n)]
        for process in processes:
            assert process.hear() == "ready"

        def run() -> None:
            for process in processes:
                assert process.ask() == "done"

        yield Job(run)


WHAT = """\
A fresh process imports zmq, and then, timed, `zmqstream` or pyzmq's `zmq.eventloop.zmqstream`. A
round has 10 processes, one after another. zmqstream imports asyncio when the first loop is created;
pyzmq's module imports asyncio and Tornado at once."""

WORKS = [
    Work(
        "import",
        "beyond import zmq",
        WHAT,
        {
            OURS: Measure(partial(importing, "zmqstream"), 10),
            f"{OURS} and its loop": Measure(partial(importing, "zmqstream.ioloop"), 10),
            STREAM: Measure(partial(importing, "zmq.eventloop.zmqstream"), 10),
        },
        (Comparison("speed", STREAM),),
        batch=10,
    ),
]
