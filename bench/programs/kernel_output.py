"""Measures how many lines a second a client gets from a Jupyter kernel, with each class in turn.

    python bench/programs/kernel_output.py [--quick] [--rounds N] [--json PATH] [--profile]

shared.py explains the options.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import zmq
from jupyter_client import BlockingKernelClient
from jupyter_client.connect import write_connection_file
from shared import (
    HERE,
    OURS,
    PYTHON,
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

MODULES = {OURS: "zmqstream.stream", STREAM: "zmq.eventloop.zmqstream"}
# Checks the class, and publishes at another port too, which drops no messages. At the first port,
# libzmq drops messages as soon as 1000 of them wait to be sent.
PREPARE = """
import threading

kernel = get_ipython().kernel
assert type(kernel.shell_stream).__module__ == {!r}
ready = threading.Event()

def prepare():
    global port
    kernel.iopub_thread.socket.sndhwm = 0
    port = kernel.iopub_thread.socket.bind_to_random_port("tcp://127.0.0.1")
    ready.set()

kernel.iopub_thread.schedule(prepare)
assert ready.wait(60)
"""
# One write for each line. print() would write the line's end separately, and ipykernel's own flush,
# after 0.2 s, could come between the two writes.
PRINT = "for number in range({}): print(f'{{number}}\\n', end='', flush=True)"


@contextmanager
def kernel(
    implementation: str, environment: dict[str, str] | None = None
) -> Iterator[tuple[psutil.Process, BlockingKernelClient, int]]:
    """A kernel, its client, and a port at which it publishes. The kernel is ended in any case."""
    with tempfile.TemporaryDirectory() as folder:
        file, _ = write_connection_file(str(Path(folder, "kernel.json")))
        process = subprocess.Popen(
            [*PYTHON[implementation], "-m", "ipykernel_launcher", "-f", file],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd=HERE,  # not the checkout, because -m imports from the current folder first
        )
        client = BlockingKernelClient(connection_file=file)
        try:
            client.load_connection_file()
            client.start_channels(hb=False)  # its heartbeat would take a slow start for a death
            client.wait_for_ready(timeout=60)
            prepare = PREPARE.format(MODULES[implementation])
            reply = client.execute_interactive(
                prepare, user_expressions={"port": "port"}, timeout=60
            )["content"]
            assert reply["status"] == "ok", reply
            port = int(reply["user_expressions"]["port"]["data"]["text/plain"])
            yield psutil.Process(process.pid), client, port
        finally:
            client.stop_channels()
            process.kill()
            process.wait()


@contextmanager
def lines(port: int) -> Iterator[zmq.Socket]:
    """A raw socket that receives what the kernel prints, in hardly any time of its own."""
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.rcvhwm = 0
        socket.linger = 0
        socket.subscribe(b"stream.stdout")
        socket.connect(f"tcp://127.0.0.1:{port}")
        first = socket.recv_multipart()
        assert b"iopub_welcome" in first[3], first  # the kernel has our subscription
        yield socket


def print_lines(
    process: psutil.Process, client: BlockingKernelClient, port: int, count: int
) -> Figure:
    with lines(port) as socket:
        before = processor_seconds(process)
        start = time.perf_counter()
        client.execute(PRINT.format(count), silent=True)
        for number in range(count):
            message = socket.recv_multipart()
            assert b'"text": "%d\\n"' % number in message[-1], (number, message)
        seconds = time.perf_counter() - start
        used = processor_seconds(process) - before
    return Figure(seconds * 1e9 / count, {"kernel": used * 1e9 / count})


def measure(implementation: str) -> Callable[[int], Figure]:
    def run(count: int) -> Figure:
        with kernel(implementation) as started:
            return print_lines(*started, count)

    return run


def profile(count: int) -> dict[str, dict[str, float]]:
    with (
        closing(Accounts()) as accounts,
        kernel(STREAM, accounts.environment()) as started,
    ):
        with accounts.during(started[0]) as spent:
            print_lines(*started, count)
        return {"kernel": spent}


WORK = Work(
    name="a kernel prints",
    figure="per line",
    what=(
        "A kernel of ipykernel prints numbers in a loop, with flush=True; from the request to "
        "the last line at a client that counts the messages and does not decode them. Without the "
        "flush ipykernel collects the output of 0.2 s in one message. With it, every line is a "
        "message, and print() waits for the thread that sends it. The kernel is restarted for each "
        "measurement. Beside the time: the processor time of the kernel."
    ),
    measures={name: Measure(whole(measure(name)), 10_000) for name in (OURS, STREAM)},
    comparisons=(Comparison("speed", STREAM),),
)


if __name__ == "__main__":
    main(WORK, profile)
