#!/usr/bin/env python3
"""A server that uses all processors: a ROUTER in front of workers, each with a loop of its own.

    python cores.py serve                                # a thread for each processor
    python cores.py serve --processes                    # a process for each processor
    python cores.py ask README.md LICENSE                # which words are the most frequent?

Threads use several processors only in a free-threaded Python (python3.14t). With the GIL they take
turns on one processor, so use processes there. The program is the same otherwise.

A worker says that it is ready, gets a request, and sends the answer. Then it is ready again. So no
request waits for a busy worker while another one is idle. On Ctrl-C or SIGTERM, the server takes no
new requests, answers those that it has, and ends its workers.

A request is [name, text], and its answer is [name, words].
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import multiprocessing
import os
import pathlib
import signal
import threading
from collections.abc import Callable, Iterator

import zmq
from ending import interrupted

import zmqstream

READY, END = b"ready", b"end"


# -- a worker --------------------------------------------------------------------------------------


def most_frequent(text: bytes) -> bytes:
    """The work: it needs a processor, and holds the GIL if there is one."""
    words = collections.Counter(text.lower().split()).most_common(3)
    return b", ".join(b"%s %d" % each for each in words)


async def answer_requests(context: zmq.Context, address: str) -> None:
    async with zmqstream.ZMQStream(context.socket(zmq.DEALER)) as stream:
        stream.connect(address)
        stream.send(READY)
        async for message in stream:
            if message == [END]:
                break
            client, name, text = message
            stream.send_multipart([client, name, most_frequent(text)])


def work(context: zmq.Context, address: str) -> None:
    """A thread's work: it has a loop and a stream of its own, and shares the context."""
    zmqstream.run(answer_requests(context, address))


def work_in_process(address: str) -> None:
    """A process's work: it has a context of its own, too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends its workers
    with zmq.Context() as context:
        work(context, address)


@contextlib.contextmanager
def running(workers: list[threading.Thread] | list[multiprocessing.Process]) -> Iterator[None]:
    for worker in workers:
        worker.start()
    yield
    for worker in workers:
        worker.join()


# -- the server ------------------------------------------------------------------------------------


class Server:
    """Gives each request to a worker that is ready."""

    def __init__(self, context: zmq.Context, clients: str, workers: str, count: int) -> None:
        self.count = count
        self.idle: collections.deque[bytes] = collections.deque()  # workers
        self.waiting: collections.deque[list[bytes]] = collections.deque()  # requests
        self.answered = 0
        self.all_idle = asyncio.Event()
        self.clients = self.router(context, clients, self.requested)
        self.workers = self.router(context, workers, self.heard)

    def router(
        self, context: zmq.Context, address: str, callback: Callable[[list[bytes]], None]
    ) -> zmqstream.ZMQStream:
        stream = zmqstream.ZMQStream(context.socket(zmq.ROUTER))
        stream.on_recv(callback)
        stream.bind(address)
        return stream

    def requested(self, msg: list[bytes]) -> None:
        self.waiting.append(msg)
        self.distribute()

    def heard(self, msg: list[bytes]) -> None:
        worker, *answer = msg
        if answer != [READY]:
            self.clients.send_multipart(answer)
            self.answered += 1
        self.idle.append(worker)
        self.distribute()

    def distribute(self) -> None:
        self.all_idle.clear()
        while self.idle and self.waiting:
            self.workers.send_multipart([self.idle.popleft(), *self.waiting.popleft()])
        if len(self.idle) == self.count:
            self.all_idle.set()

    async def aclose(self) -> None:
        """Take no more requests, answer those that are here, and end the workers."""
        self.clients.on_recv(None)
        await self.all_idle.wait()
        for worker in self.idle:
            self.workers.send_multipart([worker, END])
        await self.workers.aclose(linger=1000)
        await self.clients.aclose(linger=1000)


async def serve(options: argparse.Namespace) -> None:
    with zmq.Context() as context:
        inside = "tcp://127.0.0.1:*" if options.processes else "inproc://workers"
        server = Server(context, options.clients, inside, options.workers)
        print("listening on", server.clients.socket.last_endpoint.decode(), flush=True)
        address = server.workers.socket.last_endpoint.decode()
        if options.processes:
            kind = multiprocessing.get_context("spawn")
            workers = [
                kind.Process(target=work_in_process, args=(address,))
                for _ in range(options.workers)
            ]
        else:
            workers = [
                threading.Thread(target=work, args=(context, address))
                for _ in range(options.workers)
            ]
        with running(workers):
            await interrupted()
            await server.aclose()
        print("answered", server.answered, flush=True)


# -- a client --------------------------------------------------------------------------------------


async def ask(options: argparse.Namespace) -> None:
    with zmq.Context() as context:
        async with zmqstream.ZMQStream(context.socket(zmq.DEALER)) as stream:
            stream.connect(options.clients)
            for name in options.files:
                stream.send_multipart([name.encode(), pathlib.Path(name).read_bytes()])
            for _ in options.files:
                name, words = await stream.recv_multipart()
                print(f"{name.decode()}: {words.decode()}")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", default="tcp://127.0.0.1:5575", help="address for clients")
    parts = parser.add_subparsers(dest="part", required=True)
    part = parts.add_parser("serve")
    part.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="how many")
    kind = part.add_mutually_exclusive_group()
    kind.add_argument("--threads", action="store_true", help="the default")
    kind.add_argument("--processes", action="store_true", help="for Pythons with the GIL")
    part = parts.add_parser("ask")
    part.add_argument("files", nargs="+")
    options = parser.parse_args(arguments)
    zmqstream.run({"serve": serve, "ask": ask}[options.part](options))


if __name__ == "__main__":
    main()
