"""Many peers: fan-in from up to 100 senders, fan-out to 100 subscribers."""

from __future__ import annotations

import asyncio
from functools import partial
from time import perf_counter_ns

import zmq

from .. import climit
from ..harness import BLOCKING, OURS, STREAM, C, Floor, Measure, Work
from ..peers import ASYNC, PEERS, Streams, streams
from ..sockets import new_context
from .flood import flood

SUBSCRIBERS = 100


def sockets(context: zmq.Context) -> tuple[zmq.Socket, list[zmq.Socket]]:
    publisher = context.socket(zmq.PUB)
    publisher.hwm = 0
    publisher.bind("inproc://news")
    subscribers = []
    for _ in range(SUBSCRIBERS):
        subscriber = context.socket(zmq.SUB)
        subscriber.hwm = 0
        subscriber.connect("inproc://news")
        subscriber.subscribe(b"")
        subscribers.append(subscriber)
    publisher.get(zmq.EVENTS)  # takes in the subscriptions
    return publisher, subscribers


def in_c(n: int) -> float:
    with new_context() as context:
        publisher, subscribers = sockets(context)
        took = climit.send(publisher, n, 1, b"x" * 16)
        for subscriber in subscribers:
            took += climit.receive(subscriber, n, zmq.DONTWAIT)
    return took / n


def blocking(n: int) -> float:
    with new_context() as context:
        publisher, subscribers = sockets(context)
        start = perf_counter_ns()
        for _ in range(n):
            publisher.send_multipart([b"x" * 16])
        for subscriber in subscribers:
            receive = subscriber.recv_multipart
            for _ in range(n):
                receive()
        return (perf_counter_ns() - start) / n


def awaited(n: int) -> float:
    return PEERS[ASYNC].run(await_all(n)) / n


async def await_all(n: int) -> int:
    import zmq.asyncio

    with new_context() as context:
        publisher, subscribers = sockets(context)
        send = zmq.asyncio.Socket(shadow=publisher).send_multipart

        async def read(subscriber: zmq.Socket) -> None:
            receive = zmq.asyncio.Socket(shadow=subscriber).recv_multipart
            for _ in range(n):
                await receive()

        start = perf_counter_ns()
        tasks = [asyncio.create_task(read(subscriber)) for subscriber in subscribers]
        for _ in range(n):
            await send([b"x" * 16])
        await asyncio.gather(*tasks)
        return perf_counter_ns() - start


def on_streams(peer: Streams, n: int) -> float:
    return peer.run(publish(peer, n)) / n


async def publish(peer: Streams, n: int) -> int:
    done = asyncio.get_running_loop().create_future()
    left = n * SUBSCRIBERS

    def count(message: list[bytes]) -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set_result(perf_counter_ns())

    with new_context() as context:
        publisher, subscribers = sockets(context)
        readers = [peer.stream(subscriber) for subscriber in subscribers]
        for reader in readers:
            reader.on_recv(count)
        stream = peer.stream(publisher)
        await asyncio.sleep(0.01)  # what registering left to do is done
        start = perf_counter_ns()
        for _ in range(n):
            stream.send_multipart([b"x" * 16])
        end = await done
        await peer.close(stream, *readers)
    return end - start


IN_WHAT = """\
The tcp flood (see there), from so many sockets of one process that send in turn."""

OUT_WHAT = f"""\
A PUB sends 1 x 16 B to {SUBSCRIBERS} SUBs, inproc, without high-water marks. All of them are on
one loop, or are read one after another by the blocking calls and C; with zmq.asyncio each has a
task. Timed: from the first send until each of the {SUBSCRIBERS} has received everything. The
callback, one function for all streams, counts, and keeps nothing."""

WORKS = [
    *(
        Work(
            f"fan-in from {senders}",
            "per message",
            IN_WHAT,
            {
                name: Measure(partial(flood, "tcp", senders, PEERS[name]), most=1_000_000)
                for name in (C, OURS, BLOCKING, STREAM)
            },
            tuple(Floor("speed", name) for name in (C, STREAM, BLOCKING)),
        )
        for senders in (1, 10, 100)
    ),
    Work(
        f"fan-out to {SUBSCRIBERS}",
        "per message published",
        OUT_WHAT,
        {
            C: Measure(in_c, most=20_000),
            OURS: Measure(partial(on_streams, streams(OURS)), most=20_000),
            BLOCKING: Measure(blocking, most=20_000),
            ASYNC: Measure(awaited, most=20_000),
            STREAM: Measure(partial(on_streams, streams(STREAM)), most=20_000),
        },
        tuple(Floor("speed", name) for name in (C, STREAM, BLOCKING)),
    ),
]
