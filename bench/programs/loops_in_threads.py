#!/usr/bin/env python3
"""Loops in 1, 2 and N threads, each with its own sockets: how much more do they receive together?

    python bench/programs/loops_in_threads.py
    PYTHON_GIL=1 python bench/programs/loops_in_threads.py    # a free-threaded Python, with the GIL

Each loop receives a queue that was filled before, with a callback in Python. The threads start
together. A round measures each number of threads once, so that all meet the same machine. The table
has the best round of each.

The last column is the processor time that a message takes. If loops do not disturb each other, it
is the same for any number of them, also if the processors are busy with other programs.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import zmq

import zmqstream


class Receiver:
    """A loop with a stream whose queue is full."""

    def __init__(self, context: zmq.Context, count: int) -> None:
        self.loop = zmqstream.EventLoop()
        socket, self.peer = context.socket(zmq.PULL), context.socket(zmq.PUSH)
        socket.set_hwm(0)
        self.peer.set_hwm(0)
        address = f"inproc://{id(self)}"
        socket.bind(address)
        self.peer.connect(address)
        for _ in range(count):
            self.peer.send(b"x" * 16)
        self.stream = zmqstream.ZMQStream(socket, self.loop)
        self.stream.on_recv(self.callback(count))

    def callback(self, count: int) -> Callable[[list[bytes]], None]:
        left = count
        stop = self.loop.stop

        def callback(message: list[bytes]) -> None:
            nonlocal left
            left -= 1
            if not left:
                stop()

        return callback

    def close(self) -> None:
        self.stream.close()
        self.peer.close()
        self.loop.close()


class Figures(NamedTuple):
    rate: float  # messages a second, of all threads
    cost: float  # seconds of processor time a message


def measure(threads: int, count: int) -> Figures:
    together = threading.Barrier(threads)
    began, ended, used = [], [], []

    def run(context: zmq.Context) -> None:
        receiver = Receiver(context, count)
        together.wait()
        began.append(time.perf_counter())
        processor = time.thread_time()
        receiver.loop.run_forever()
        used.append(time.thread_time() - processor)
        ended.append(time.perf_counter())
        receiver.close()

    with zmq.Context() as context:
        running = [threading.Thread(target=run, args=(context,)) for _ in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
    messages = threads * count
    return Figures(messages / (max(ended) - min(began)), sum(used) / messages)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--messages", type=int, default=300_000, help="of each loop")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    numbers = sorted({1, 2, os.cpu_count() or 1})
    found: dict[int, list[Figures]] = {threads: [] for threads in numbers}
    for _ in range(options.rounds):
        for threads in numbers:
            found[threads].append(measure(threads, options.messages))
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    print(f"Python {sys.version.split()[0]}, {'with' if gil else 'without'} the GIL\n")
    print("| loops in threads | messages/s | against one | processor time a message |")
    print("|---|---:|---:|---:|")
    one = max(each.rate for each in found[1])
    for threads in numbers:
        rate = max(each.rate for each in found[threads])
        cost = min(each.cost for each in found[threads]) * 1e9
        print(f"| {threads} | {rate:,.0f} | {rate / one:.2f} x | {cost:.0f} ns |")


if __name__ == "__main__":
    main()
