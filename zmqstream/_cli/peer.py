"""Runs push, pull, pub, sub and echo: one stream that sends, receives or echoes, and counts.

Memory is bounded. A sender queues at most one batch beyond the messages that libzmq accepts. A
receiver holds the messages of one turn.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncGenerator
from typing import Any

import zmq

import zmqstream
from zmqstream._cli import Failure, ending, endpoints, frames, lines, meter, say

SENDERS = ("push", "pub")
TYPES = {
    "push": zmq.PUSH,
    "pull": zmq.PULL,
    "pub": zmq.XPUB,  # a PUB that receives subscriptions
    "sub": zmq.SUB,
    "echo": zmq.ROUTER,
}

BATCH = 1000  # messages
BATCH_BYTES = 4 << 20
UNCOPIED = 1 << 16  # bytes: frames of this size or more are sent without a copy
BURST = 0.05  # seconds: with --rate, a longer delay is not caught up
GRACE = 1000  # milliseconds: LINGER after a signal


def open_socket(context: zmq.Context[Any], options: argparse.Namespace) -> zmq.Socket[bytes]:
    socket: zmq.Socket[bytes] = context.socket(TYPES[options.command])
    try:
        if options.command == "pub":
            socket.setsockopt(zmq.XPUB_VERBOSER, 1)  # report every subscription and its end
        if options.command == "sub":
            for topic in options.topic or [""]:
                socket.subscribe(os.fsencode(topic))
        for endpoint in options.bind:
            endpoints.attach(socket, "bind", endpoint)
            bound = socket.getsockopt_string(zmq.LAST_ENDPOINT)
            if bound != endpoint and not options.quiet:
                say(f"bound to {bound}")
        for endpoint in options.connect:
            endpoints.attach(socket, "connect", endpoint)
    except BaseException:
        socket.close(0)
        raise
    return socket


async def run(socket: zmq.Socket[bytes], options: argparse.Namespace) -> Traffic:
    """Run the command to its end, and close its stream."""
    traffic = Traffic(zmqstream.ZMQStream(socket), options)
    try:
        work = traffic.send() if options.command in SENDERS else traffic.receive()
        await traffic.ending.wait(work, traffic.report_rates(), traffic.time_out())
    finally:
        traffic.close()
    return traffic


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


class Traffic:
    """A command's stream, and the counts of the messages that it has sent or received."""

    def __init__(self, stream: zmqstream.ZMQStream, options: argparse.Namespace) -> None:
        self.stream = stream
        self.options = options
        self.meter = meter.Meter(self.count)
        self.ending = ending.Ending()
        self.time_is_up = False
        self.batch: list[list[bytes]] = []  # the messages received in this turn
        self.received_messages = self.received_bytes = 0  # in the turns before
        stream.on_err(lambda error: self.ending.end(Failure(f"the socket failed: {error}")))

    def close(self) -> None:
        """Close the stream. The counts include the messages that libzmq has accepted."""
        self.ending.default()
        if self.batch:
            self.received_batch()
        self.stream.close(GRACE if self.ending.signal else None)
        self.meter.update()

    def count(self) -> tuple[int, int]:
        stats = self.stream.stats()
        if self.options.command in SENDERS:
            return stats.messages_out, stats.bytes_out
        return self.received_messages, self.received_bytes

    async def time_out(self) -> None:
        if self.options.duration is None:
            await forever()
        await asyncio.sleep(self.options.duration)
        self.time_is_up = True

    async def report_rates(self) -> None:
        interval = self.options.interval
        if not interval or self.options.quiet:
            await forever()
        while True:
            await asyncio.sleep(interval)
            if rates := self.meter.rates():
                say(rates)

    # -- receiving -------------------------------------------------------------------------------

    async def receive(self) -> None:
        echo = self.options.command == "echo"
        self.stream.on_recv(self.received_to_echo if echo else self.received)
        await forever()

    def received_to_echo(self, message: list[bytes]) -> None:
        self.stream.send_multipart(message)
        self.received(message[1:])  # without the routing id

    def received(self, message: list[bytes]) -> None:
        batch = self.batch
        if not batch:
            if not self.received_messages:
                self.meter.begin()
            self.ending.loop.call_soon(self.received_batch)
        batch.append(message)
        if self.received_messages + len(batch) == self.options.count:
            self.stream.on_recv(None)

    def received_batch(self) -> None:
        batch, self.batch = self.batch, []
        self.received_messages += len(batch)
        self.received_bytes += sum([len(frame) for message in batch for frame in message])
        self.meter.update()
        how = getattr(self.options, "print", None)
        if how:
            self.ending.write("".join([frames.line(message, how) for message in batch]))
        if self.received_messages == self.options.count:
            self.ending.end()

    # -- sending ---------------------------------------------------------------------------------

    async def send(self) -> None:
        self.all_sent = asyncio.Event()
        if self.options.command == "pub":
            await self.subscriptions(self.options.wait)
        pace = Pace(self.options.rate)
        topic = getattr(self.options, "topic", None)
        head = [] if topic is None else [os.fsencode(topic)]
        left = self.options.count or sys.maxsize
        most = 1  # the first message is sent alone, because the time starts with it
        async with contextlib.aclosing(self.payloads()) as batches:
            async for batch in batches:
                while batch and left:
                    number = await pace.take(min(len(batch), left, most))
                    await self.hand_over([[*head, payload] for payload in batch[:number]])
                    del batch[:number]
                    if most == 1:
                        self.meter.begin()
                        most = BATCH
                    left -= number
                if not left:
                    break

    async def payloads(self) -> AsyncGenerator[list[bytes], None]:
        """Yield lists of payloads. The number of payloads in a list is bounded."""
        if self.options.stdin:
            async for batch in lines.lines_of_stdin():
                yield batch
            return
        payload = b"x" * self.options.size
        number = max(1, min(BATCH, BATCH_BYTES // max(1, len(payload))))
        while True:
            yield [payload] * number

    async def hand_over(self, messages: list[list[bytes]]) -> None:
        """Send these messages, and return when libzmq has accepted them all."""
        self.all_sent.clear()
        last = len(messages) - 1
        for i, message in enumerate(messages):
            # Large bytes objects need no copy, because they are immutable.
            copy = len(message[-1]) < UNCOPIED
            callback = self.last_is_sent if i == last else None
            self.stream.send_multipart(message, copy=copy, callback=callback)
        await self.all_sent.wait()
        self.meter.update()

    def last_is_sent(self, message: list[bytes], status: Any) -> None:
        self.all_sent.set()  # also if the send failed, which on_err() reports

    async def subscriptions(self, wanted: int) -> None:
        """Count subscriptions, and return when there are `wanted`."""
        present = 0
        reached = asyncio.Event()

        def received(message: list[bytes]) -> None:
            nonlocal present
            kind = message[0][:1]
            present += (kind == b"\1") - (kind == b"\0")
            if present >= wanted:
                reached.set()

        self.stream.on_recv(received)
        if wanted:
            await reached.wait()


class Pace:
    """Allows at most `rate` messages a second, as evenly as the loop's timers can."""

    def __init__(self, rate: float | None) -> None:
        self.rate = rate
        self.next = time.monotonic()  # when the next message is due

    async def take(self, wanted: int) -> int:
        """Wait until a message is due. Returns how many of `wanted` messages may be sent now."""
        if self.rate is None:
            return wanted
        self.next = max(self.next, time.monotonic() - BURST)
        while (late := time.monotonic() - self.next) < 0:
            await asyncio.sleep(-late)
        number = min(wanted, 1 + int(late * self.rate))
        self.next += number / self.rate
        return number
