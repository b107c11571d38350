"""Receives a flood over TCP from another process, with pyzmq's ZMQStream and with zmqstream's.

The program and the callback are the same; only the class and its loop differ. The sender is a loop
in C, so the sender does not limit the receiver.
"""

from __future__ import annotations

import array
import asyncio
import multiprocessing
import os
import platform
import sys
import time

import zmq

import zmqstream
from zmqstream._bench import climit
from zmqstream._bench.peers import Streams, streams

SECONDS = 4.0  # a short flood is measured first, and the flood is sized to take this long


def send(endpoint: str, orders: multiprocessing.connection.Connection) -> None:
    """The sender's process: sends a flood of numbered messages for each count that it receives."""
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        socket.connect(endpoint)
        while count := orders.recv():
            climit.send_numbered(socket, count)


async def receive(peer: Streams, count: int) -> tuple[float, bool]:
    """Seconds for `count` messages, and whether all of them arrived in order."""
    with zmq.Context() as context:
        socket = context.socket(zmq.PULL)
        socket.bind("tcp://127.0.0.1:*")
        orders, theirs = multiprocessing.Pipe()
        endpoint = socket.last_endpoint.decode()
        sender = multiprocessing.get_context("spawn").Process(target=send, args=(endpoint, theirs))
        sender.start()
        try:
            stream = peer.stream(socket)
            await flood(stream, orders, 1)  # connects, and imports all modules
            seconds, received = await flood(stream, orders, count)
            stream.on_recv(None)
            # pyzmq's closed stream would log an error for events that it has scheduled.
            await asyncio.sleep(0.01)
            stream.close()
        finally:
            orders.send(0)
            sender.join(5)
            sender.kill()
    numbers = array.array("q", received)[::2]
    return seconds, numbers == array.array("q", range(count))


async def flood(stream, orders, count: int) -> tuple[float, bytearray]:
    """Seconds for `count` messages, and their content."""
    received = bytearray()
    done = asyncio.get_running_loop().create_future()

    def callback(message: list[bytes]) -> None:
        received.extend(message[0])
        if len(message) > 1:  # the last message
            done.set_result(time.perf_counter())

    stream.on_recv(callback)
    start = time.perf_counter()
    orders.send(count)
    return await done - start, received


def measure(name: str, guess: int) -> float:
    peer = streams(name)
    print(f"{name}: warming up ...", flush=True)
    seconds, _ = peer.run(receive(peer, guess))
    count = max(guess, int(guess * SECONDS / seconds))
    print(f"{name}: receiving {count:,} messages of 16 bytes ...", flush=True)
    seconds, in_order = peer.run(receive(peer, count))
    if not in_order:
        sys.exit(f"{name}: messages were lost, doubled or out of order")
    rate = count / seconds
    print(
        f"{name}: {rate:,.0f} messages/s ({seconds:.1f} s), every message arrived, in order",
        flush=True,
    )
    return rate


def main() -> None:
    print(
        f"A flood over TCP between two processes. Python {platform.python_version()}, "
        f"pyzmq {zmq.pyzmq_version()}, libzmq {zmq.zmq_version()}, "
        f"zmqstream {zmqstream.__version__}, {os.cpu_count()} CPUs."
    )
    theirs = measure("pyzmq ZMQStream", 20_000)
    ours = measure("zmqstream", 500_000)
    print(f"zmqstream is {ours / theirs:.0f} times as fast.")


if __name__ == "__main__":
    main()
