#!/usr/bin/env python3
"""Threads send into one stream without pause: is any message lost, doubled or reordered?

    python tools/thread_soak.py                                # 8 threads, 8 million messages
    python tools/thread_soak.py --threads 2 --messages 100000

The stream's loop runs in the main thread. Another loop, in a thread of its own, receives. It checks
that it gets each thread's messages once and in order. A free-threaded Python does this without the
GIL. Exits with 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time

import zmq

import zmqstream

MOST_QUEUED = 100_000  # a thread waits while more are queued, as memory is finite


def send(stream: zmqstream.ZMQStream, name: int, count: int) -> None:
    for number in range(count):
        if number % 1000 == 0:
            while stream.get_write_buffer_size() > MOST_QUEUED:
                time.sleep(0.001)
        stream.send(b"%d %d" % (name, number))


class Receiver:
    """Receives in a thread and a loop of its own."""

    def __init__(self, context: zmq.Context, threads: int, each: int) -> None:
        self.socket = context.socket(zmq.PULL)
        self.socket.bind("inproc://soak")
        self.next = [0] * threads
        self.wrong: list[str] = []
        self.left = threads * each
        self.all_there = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        loop = zmqstream.IOLoop()
        stream = zmqstream.ZMQStream(self.socket, loop)

        def callback(message: list[bytes]) -> None:
            name, number = map(int, message[0].split())
            if number != self.next[name]:
                self.wrong.append(f"thread {name}: {number} where {self.next[name]} was due")
            self.next[name] = number + 1
            self.left -= 1
            if self.left == 0:
                loop.stop()

        stream.on_recv(callback)
        loop.start()
        stream.close()
        loop.close()
        self.all_there.set()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--messages", type=int, default=8_000_000, help="of all threads")
    parser.add_argument("--seconds", type=float, default=3600, help="how long it may take")
    options = parser.parse_args()
    each = options.messages // options.threads
    began = time.monotonic()
    with zmq.Context() as context:
        receiver = Receiver(context, options.threads, each)
        receiver.thread.start()
        loop = zmqstream.IOLoop()
        socket = context.socket(zmq.PUSH)
        socket.connect("inproc://soak")
        stream = zmqstream.ZMQStream(socket, loop)
        senders = [
            threading.Thread(target=send, args=(stream, name, each), daemon=True)
            for name in range(options.threads)
        ]

        def look() -> None:
            late = time.monotonic() > began + options.seconds
            if late or receiver.all_there.is_set() or receiver.wrong:
                loop.stop()
            else:
                loop.call_later(0.1, look)

        look()
        for thread in senders:
            thread.start()
        loop.start()
        took = time.monotonic() - began
        gil = getattr(sys, "_is_gil_enabled", lambda: True)()
        print(
            f"{options.threads} threads, {sum(receiver.next):,} messages in {took:.1f} s, "
            f"{'with' if gil else 'without'} the GIL: "
            f"{receiver.left:,} missing, {len(receiver.wrong)} out of order"
        )
        print(*receiver.wrong[:10], sep="\n", end="")
        good = receiver.left == 0 and not receiver.wrong
        if not good:
            sys.stdout.flush()
            os._exit(1)  # threads still send
        for thread in senders:
            thread.join()
        receiver.thread.join()
        stream.close()
        loop.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
