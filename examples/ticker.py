#!/usr/bin/env python3
"""A ticker, and subscribers that are too slow for it.

    python ticker.py publish --count 100000
    python ticker.py subscribe                        # sees everything, if it can
    python ticker.py subscribe --seconds 0.1          # a slow one: 0.1 s for each tick
    python ticker.py subscribe --seconds 0.1 --latest # a slow one that is never late

Three queues lie between them, and each has a limit: --hwm messages in the publisher's socket for
each subscriber, as many in the subscriber's socket, and the kernel's TCP buffers, which are small
here. If they are full, PUB drops messages for that subscriber only. A slow subscriber then sees old
prices, with gaps. With --latest, it reads all messages at once and keeps the newest tick of each
symbol, so it is always up to date. Its limit is the number of symbols.

A tick is [symbol, number, price, padding]. The last message is [symbol, b"end", count].
"""

from __future__ import annotations

import argparse
import asyncio
import sys

import zmq

import zmqstream

SYMBOLS = [b"AAA", b"BBB", b"CCC", b"DDD"]
TCP_BUFFER = 1 << 14  # bytes; larger buffers would hold many ticks and hide the effect


async def publish(options):
    """Wait for subscribers, publish, and end when they have gone."""
    with zmq.Context() as context:
        socket = context.socket(zmq.XPUB)
        socket.sndhwm = options.hwm
        socket.sndbuf = TCP_BUFFER
        socket.xpub_verboser = True  # report each subscription and its end
        stream = zmqstream.ZMQStream(socket)
        stream.bind(options.address)
        print("listening on", stream.socket.last_endpoint.decode(), flush=True)

        subscribers = 0
        changed = asyncio.Event()

        def subscription(msg):
            nonlocal subscribers
            if msg[0][1:] == b"":  # to everything; each subscriber has one
                subscribers += 1 if msg[0][:1] == b"\x01" else -1
                changed.set()

        stream.on_recv(subscription)
        while subscribers < options.subscribers:
            await changed.wait()
            changed.clear()

        padding = bytes(options.size)
        for number in range(options.count):
            symbol = SYMBOLS[number % len(SYMBOLS)]
            stream.send_multipart([symbol, b"%d" % number, b"%d" % (number % 97), padding])
            if number % options.burst == options.burst - 1:
                await asyncio.sleep(options.interval)
        while subscribers > 0:  # repeat it, because PUB may drop it too
            stream.send_multipart([b"", b"end", b"%d" % options.count])
            await asyncio.sleep(0.01)
        stream.close(linger=0)
        print(f"published {options.count}", flush=True)


class Subscriber:
    def __init__(self, stream):
        self.stream = stream
        self.seen = self.missed = self.next = self.handled = 0
        self.end = asyncio.Event()

    def count(self, msg):
        """Count a tick, and dropped ticks before it. False if `msg` is the last message."""
        _, number, *rest = msg
        if number == b"end":
            self.missed += int(rest[0]) - self.next
            self.stream.on_recv(None)
            self.end.set()
            return False
        self.seen += 1
        self.missed += int(number) - self.next
        self.next = int(number) + 1
        return True

    async def finish(self):
        """Handle the messages that have been read."""


class InOrder(Subscriber):
    """Handles one tick after the other. The others wait in the socket."""

    def __init__(self, stream, seconds):
        super().__init__(stream)
        self.seconds = seconds
        stream.on_recv(self.received)

    def received(self, msg):
        if self.count(msg):
            self.handled += 1
            if self.seconds:
                self.stream.on_recv(None)  # until this one is done
                again = asyncio.get_running_loop().call_later
                again(self.seconds, self.stream.on_recv, self.received)


class Latest(Subscriber):
    """Handles the latest tick of each symbol."""

    def __init__(self, stream, seconds):
        super().__init__(stream)
        self.seconds = seconds
        self.latest = {}
        self.news = asyncio.Event()
        self.task = asyncio.ensure_future(self.handle())
        stream.on_recv(self.received)

    def received(self, msg):
        if self.count(msg):
            self.latest[msg[0]] = msg
            self.news.set()

    async def handle(self):
        while self.latest or not self.end.is_set():
            await self.news.wait()
            self.news.clear()
            for symbol in list(self.latest):
                del self.latest[symbol]
                self.handled += 1
                await asyncio.sleep(self.seconds)

    async def finish(self):
        self.news.set()
        await self.task


async def subscribe(options):
    with zmq.Context() as context:
        socket = context.socket(zmq.SUB)
        socket.rcvhwm = options.hwm
        socket.rcvbuf = TCP_BUFFER
        stream = zmqstream.ZMQStream(socket)
        stream.subscribe(b"")
        subscriber = (Latest if options.latest else InOrder)(stream, options.seconds)
        stream.connect(options.address)
        await subscriber.end.wait()
        stream.close()
        await subscriber.finish()
        print(f"{subscriber.seen} seen, {subscriber.missed} missed, {subscriber.handled} handled")


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--address", default="tcp://127.0.0.1:5577")
    parser.add_argument("--hwm", type=int, default=1000, help="limit of each queue, in messages")
    parts = parser.add_subparsers(dest="part", required=True)
    part = parts.add_parser("publish")
    part.add_argument("--count", type=int, default=100_000, help="how many ticks")
    part.add_argument("--size", type=int, default=100, help="bytes in a tick")
    part.add_argument("--burst", type=int, default=50, help="ticks at a time")
    part.add_argument("--interval", type=float, default=0.005, help="seconds between bursts")
    part.add_argument("--subscribers", type=int, default=1, help="subscribers to wait for")
    part = parts.add_parser("subscribe")
    part.add_argument("--seconds", type=float, default=0, help="seconds that a tick takes")
    part.add_argument("--latest", action="store_true", help="only the newest tick of each symbol")
    options = parser.parse_args(arguments)
    zmqstream.run({"publish": publish, "subscribe": subscribe}[options.part](options))


if __name__ == "__main__":
    sys.exit(main())
