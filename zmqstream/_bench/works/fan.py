"""Many peers: fan-in from up to 100 senders, fan-out to 100 subscribers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from functools import partial

import zmq

from .. import climit
from ..harness import BLOCKING, OURS, STREAM, C, Comparison, Job, Measure, Work
from ..peers import ASYNC, PEERS, AsyncRun, OnLoop, Streams, streams
from ..sockets import new_context
from .flood import BATCH, flood

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


@contextmanager
def in_c(n: int) -> Iterator[Job]:
    with new_context() as context:
        publisher, subscribers = sockets(context)

        def run() -> None:
            climit.send(publisher, n, 1, b"x" * 16)
            for subscriber in subscribers:
                climit.receive(subscriber, n, zmq.DONTWAIT)

        yield Job(run)


@contextmanager
def blocking(n: int) -> Iterator[Job]:
    with new_context() as context:
        publisher, subscribers = sockets(context)

        def run() -> None:
            for _ in range(n):
                publisher.send_multipart([b"x" * 16])
            for subscriber in subscribers:
                receive = subscriber.recv_multipart
                for _ in range(n):
                    receive()

        yield Job(run)


@contextmanager
def on_loop(peer: OnLoop, prepare: AbstractAsyncContextManager[AsyncRun]) -> Iterator[Job]:
    with peer.on_loop(prepare) as run:
        yield Job(run)


@asynccontextmanager
async def await_all(n: int) -> AsyncIterator[AsyncRun]:
    import zmq.asyncio

    with new_context() as context:
        publisher, subscribers = sockets(context)
        send = zmq.asyncio.Socket(shadow=publisher).send_multipart

        async def read(subscriber: zmq.Socket) -> None:
            receive = zmq.asyncio.Socket(shadow=subscriber).recv_multipart
            for _ in range(n):
                await receive()

        async def work() -> None:
            tasks = [asyncio.create_task(read(subscriber)) for subscriber in subscribers]
            for _ in range(n):
                await send([b"x" * 16])
            await asyncio.gather(*tasks)

        yield work


@asynccontextmanager
async def publish(peer: Streams, n: int) -> AsyncIterator[AsyncRun]:
    done = asyncio.get_running_loop().create_future()
    left = n * SUBSCRIBERS

    def count(message: list[bytes]) -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set_result(None)

    with new_context() as context:
        publisher, subscribers = sockets(context)
        readers = [peer.stream(subscriber) for subscriber in subscribers]
        for reader in readers:
            reader.on_recv(count)
        stream = peer.stream(publisher)
        await asyncio.sleep(0.01)  # what registering left to do is done

        async def work() -> None:
            for _ in range(n):
                stream.send_multipart([b"x" * 16])
            await done

        yield work
        await peer.close(stream, *readers)


def on_streams(peer: Streams, n: int) -> AbstractContextManager[Job]:
    return on_loop(peer, publish(peer, n))


def awaited(n: int) -> AbstractContextManager[Job]:
    return on_loop(PEERS[ASYNC], await_all(n))


IN_WHAT = """\
The tcp flood (see there), from as many sockets as the name says. They are in one process, and send
in turn."""

OUT_WHAT = f"""\
A PUB socket sends 1 x 16 B to {SUBSCRIBERS} SUB sockets over inproc, without high-water marks. All
streams are on one loop. The blocking calls and C read one socket after another; with zmq.asyncio
each socket has a task. Timed: from the first send until all {SUBSCRIBERS} have received everything.
The callback is one function for all streams. It counts, and keeps nothing."""

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
            tuple(Comparison("speed", name) for name in (C, STREAM, BLOCKING)),
            batch=BATCH,
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
        tuple(Comparison("speed", name) for name in (C, STREAM, BLOCKING)),
        batch=200,
    ),
]
