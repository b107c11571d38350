"""Measures how long a Jupyter kernel takes to execute an empty cell, with each class in turn.

    python bench/programs/kernel_execute.py [--quick] [--rounds N] [--json PATH] [--profile]

shared.py explains the options.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing

import psutil
from jupyter_client import BlockingKernelClient
from kernel_output import kernel
from shared import (
    OURS,
    STREAM,
    Accounts,
    Comparison,
    Figure,
    Measure,
    Work,
    main,
    processor_seconds,
    whole,
)


def execute_cells(process: psutil.Process, client: BlockingKernelClient, count: int) -> Figure:
    before = processor_seconds(process)
    start = time.perf_counter()
    for _ in range(count):
        request = client.execute("pass")
        reply = client.get_shell_msg(timeout=60)
        assert reply["parent_header"]["msg_id"] == request, reply
        while client.get_iopub_msg(timeout=60)["content"].get("execution_state") != "idle":
            pass
    seconds = time.perf_counter() - start
    used = processor_seconds(process) - before
    return Figure(seconds * 1e9 / count, {"kernel": used * 1e9 / count})


def measure(implementation: str) -> Callable[[int], Figure]:
    def run(count: int) -> Figure:
        with kernel(implementation) as (process, client, _):
            execute_cells(process, client, 20)  # the first are slower
            return execute_cells(process, client, count)

    return run


def profile(count: int) -> dict[str, dict[str, float]]:
    with (
        closing(Accounts()) as accounts,
        kernel(STREAM, accounts.environment()) as (process, client, _),
    ):
        with accounts.during(process) as spent:
            execute_cells(process, client, count)
        return {"kernel": spent}


WORK = Work(
    name="a kernel executes",
    figure="per cell",
    what=(
        "A client sends `pass` to a kernel of ipykernel, and waits for the reply and for the "
        "kernel's state `idle`, before it sends the next. The kernel is restarted for each "
        "measurement. Beside the time: the processor time of the kernel."
    ),
    measures={name: Measure(whole(measure(name)), 300) for name in (OURS, STREAM)},
    comparisons=(Comparison("speed", STREAM),),
)


if __name__ == "__main__":
    main(WORK, profile)
