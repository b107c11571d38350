"""One end of a socket: it sends, receives or echoes, and counts.

What waits is bounded: a sender queues a batch at most beyond what libzmq takes, a receiver holds
what came in one turn.
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
    "pub": zmq.XPUB,  # a PUB that hears of subscriptions
    "sub": zmq.SUB,
    "echo": zmq.ROUTER,
}

BATCH = 1000  # messages
BATCH_BYTES = 4 << 20
UNCOPIED = 1 << 16  # bytes: libzmq takes these and more as they are
BURST = 0.05  # seconds: with --rate, a delay of more is not made up for
GRACE = 1000  # milliseconds for what is under way when a signal comes


def open_socket(context: zmq.Context[Any], options: argparse.Namespace) -> zmq.Socket[bytes]:
    socket: zmq.Socket[bytes] = context.socket(TYPES[options.command])
    try:
        if options.command == "pub":
            socket.setsockopt(zmq.XPUB_VERBOSER, 1)  # each subscription, and each one's end
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
    """The command, to its end, and its stream is closed."""
    traffic = Traffic(zmqstream.ZMQStream(socket), options)
    try:
        work = traffic.send() if options.command in SENDERS else traffic.receive()
        await traffic.ending.wait(work, traffic.tell_rates(), traffic.time_out())
    finally:
        traffic.close()
    return traffic


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


class Traffic:
    """A stream that is sent to, or received from, and how much of that there was."""

    def __init__(self, stream: zmqstream.ZMQStream, options: argparse.Namespace) -> None:
        self.stream = stream
        self.options = options
        self.meter = meter.Meter(self.count)
        self.ending = ending.Ending()
        self.time_is_up = False
        self.batch: list[list[bytes]] = []  # what came in this turn
        self.received_messages = self.received_bytes = 0  # before it
        stream.on_err(lambda error: self.ending.end(Failure(f"the socket failed: {error}")))

    def close(self) -> None:
        """The end of the stream. What libzmq has taken is on its way, and has been counted."""
        self.ending.default()
        if self.batch:
            self.received_batch()
        self.stream.close(GRACE if self.ending.signal else None)
        self.meter.look()

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

    async def tell_rates(self) -> None:
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
        self.received(message[1:])  # without the address

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
        self.meter.look()
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
        most = 1  # the first alone: its time counts
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
        """What is to be sent: lists of a bounded number."""
        if self.options.stdin:
            async for batch in lines.lines_of_stdin():
                yield batch
            return
        payload = b"x" * self.options.size
        number = max(1, min(BATCH, BATCH_BYTES // max(1, len(payload))))
        while True:
            yield [payload] * number

    async def hand_over(self, messages: list[list[bytes]]) -> None:
        """Send these, and return when libzmq has taken them all."""
        self.all_sent.clear()
        last = len(messages) - 1
        for i, message in enumerate(messages):
            # what is big is not copied: bytes do not change
            copy = len(message[-1]) < UNCOPIED
            callback = self.last_is_sent if i == last else None
            self.stream.send_multipart(message, copy=copy, callback=callback)
        await self.all_sent.wait()
        self.meter.look()

    def last_is_sent(self, message: list[bytes], status: Any) -> None:
        self.all_sent.set()  # or it has failed: on_err hears of that

    async def subscriptions(self, wanted: int) -> None:
        """Count subscriptions, and return when there are so many."""
        there = 0
        reached = asyncio.Event()

        def received(message: list[bytes]) -> None:
            nonlocal there
            kind = message[0][:1]
            there += (kind == b"\1") - (kind == b"\0")
            if there >= wanted:
                reached.set()

        self.stream.on_recv(received)
        if wanted:
            await reached.wait()


class Pace:
    """At most `rate` messages in a second, as evenly as the loop's timers allow."""

    def __init__(self, rate: float | None) -> None:
        self.rate = rate
        self.next = time.monotonic()  # when the next message is due

    async def take(self, wanted: int) -> int:
        """How many of these may go now: 1 at least, and it waits until that is due."""
        if self.rate is None:
            return wanted
        self.next = max(self.next, time.monotonic() - BURST)
        while (late := time.monotonic() - self.next) < 0:
            await asyncio.sleep(-late)
        number = min(wanted, 1 + int(late * self.rate))
        self.next += number / self.rate
        return number
