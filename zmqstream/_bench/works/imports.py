"""How long importing takes, in fresh processes."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from functools import partial

from ..harness import OURS, STREAM, Floor, Measure, Work
from ..sockets import ROOT

SCRIPT = """
import time, zmq
start = time.perf_counter_ns()
import {module}
print(time.perf_counter_ns() - start)
"""


def importing(module: str, n: int) -> float:
    """The median of n processes, in ns."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    command = [sys.executable, "-c", SCRIPT.format(module=module)]
    environment = {**os.environ, "PYTHONPATH": path}
    return statistics.median(
        int(subprocess.check_output(command, env=environment, cwd=ROOT)) for _ in range(n)
    )


WHAT = """\
A fresh process imports zmq and then, timed, `zmqstream`, or pyzmq's `zmq.eventloop.zmqstream`. A
round's figure is the median of 10 processes. zmqstream leaves asyncio for the first loop; pyzmq's
module imports it, and Tornado."""

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
        (Floor("limit", bound=30e6), Floor("speed", STREAM)),
    ),
]
