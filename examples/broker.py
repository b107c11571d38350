#!/usr/bin/env python3
"""A broker that is fair to its clients, however many requests one of them sends.

    python broker.py serve                                    # the broker
    python broker.py work                                     # a worker; as many as you like
    python broker.py ask one two three                        # a client with three requests

A ROUTER socket is fair to its peers only if the broker reads it without delay. A broker that reads
while all workers are busy has one queue for all clients. A client with 10,000 requests then delays
the others. So this broker has a queue for each client and serves the clients in turn. It answers
"busy" to a request that exceeds --limit.

A worker asks for one request at a time. If a worker does not answer within --patience seconds, the
broker gives the request to another worker, because the first one may have died. So two workers may
work on one request, and the client gets one answer.

A request is [number, frame...], and its answer is [number, status, frame...]. The status is "ok" or
"busy".
"""

from __future__ import annotations

import argparse
import asyncio
from collections import deque

import zmq
from ending import interrupted

import zmqstream

READY = b"ready"


class Broker:
    def __init__(
        self, context: zmq.Context, clients: str, workers: str, limit: int, patience: float
    ) -> None:
        self.limit = limit
        self.patience = patience
        self.waiting: dict[bytes, deque[list[bytes]]] = {}  # by client, the next one first
        self.idle: dict[bytes, None] = {}  # workers, in the order in which they asked
        self.given: dict[bytes, tuple[float, bytes, list[bytes]]] = {}  # to workers

        self.clients = zmqstream.ZMQStream(context.socket(zmq.ROUTER))
        self.clients.on_recv(self.requested)
        self.clients.bind(clients)

        socket = context.socket(zmq.ROUTER)
        socket.router_mandatory = True  # a worker that has gone is an error
        self.workers = zmqstream.ZMQStream(socket)
        self.workers.on_recv(self.heard)
        self.workers.bind(workers)

        self.clock = asyncio.get_running_loop().time
        self.timer = zmqstream.PeriodicCallback(self.look, patience * 1000 / 4)
        self.timer.start()

    def requested(self, msg: list[bytes]) -> None:
        client, *request = msg
        queue = self.waiting.setdefault(client, deque())
        if len(queue) >= self.limit:
            self.clients.send_multipart([client, request[0], b"busy"])
            return
        queue.append(request)
        self.distribute()

    def heard(self, msg: list[bytes]) -> None:
        """A worker is ready, or ready again: then with [READY, client, answer...]."""
        worker, ready, *answer = msg
        if ready != READY:
            return  # not a worker
        if worker in self.given:
            _, client, request = self.given[worker]
            if answer[:2] == [client, request[0]]:
                del self.given[worker]
                self.clients.send_multipart(answer)
            else:  # the answer is too late, or the worker has restarted
                self.give_back(worker)
        self.idle[worker] = None
        self.distribute()

    def distribute(self) -> None:
        while self.idle and self.waiting:
            worker = next(iter(self.idle))
            del self.idle[worker]
            client = next(iter(self.waiting))
            queue = self.waiting.pop(client)
            request = queue.popleft()
            if queue:
                self.waiting[client] = queue  # behind the others
            self.given[worker] = (self.clock() + self.patience, client, request)
            self.workers.send_multipart([worker, client, *request], callback=self.sent)

    def sent(self, msg: list[bytes], error: zmq.ZMQError | None) -> None:
        if error is not None and msg[0] in self.given:
            self.give_back(msg[0])  # the worker has gone

    def look(self) -> None:
        now = self.clock()
        for worker, (deadline, *_) in list(self.given.items()):
            if now > deadline:
                self.give_back(worker)

    def give_back(self, worker: bytes) -> None:
        """Put the request back. It is still this client's turn."""
        _, client, request = self.given.pop(worker)
        queue = self.waiting.pop(client, deque())
        queue.appendleft(request)
        self.waiting = {client: queue, **self.waiting}
        self.distribute()

    def close(self) -> None:
        self.timer.stop()
        self.clients.close(linger=1000)
        self.workers.close(linger=1000)


async def serve(options: argparse.Namespace) -> None:
    with zmq.Context() as context:
        broker = Broker(context, options.clients, options.workers, options.limit, options.patience)
        for stream in (broker.clients, broker.workers):
            print("listening on", stream.socket.last_endpoint.decode(), flush=True)
        await interrupted()
        broker.close()


async def work(options: argparse.Namespace) -> None:
    with zmq.Context() as context:
        stream = zmqstream.ZMQStream(context.socket(zmq.DEALER))

        async def requested(msg):
            client, number, *words = msg
            await asyncio.sleep(options.seconds)  # the work
            answer = [word.upper() for word in words]
            stream.send_multipart([READY, client, number, b"ok", *answer])

        stream.on_recv(requested)
        stream.connect(options.workers)
        stream.send(READY)
        print("working for", options.workers, flush=True)
        await interrupted()
        stream.close(linger=1000)


async def ask(options: argparse.Namespace) -> int:
    with zmq.Context() as context:
        stream = zmqstream.ZMQStream(context.socket(zmq.DEALER))
        answers: asyncio.Queue[list[bytes]] = asyncio.Queue()
        stream.on_recv(answers.put_nowait)
        stream.connect(options.clients)
        for number, word in enumerate(options.words):
            stream.send_multipart([b"%d" % number, word.encode()])
        refused = 0
        for _ in options.words:
            number, status, *words = await answers.get()
            refused += status == b"busy"
            print(number.decode(), status.decode(), *(word.decode() for word in words))
        stream.close()
        return 1 if refused else 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", default="tcp://127.0.0.1:5570", help="address for clients")
    parser.add_argument("--workers", default="tcp://127.0.0.1:5571", help="address for workers")
    parts = parser.add_subparsers(dest="part", required=True)
    part = parts.add_parser("serve")
    part.add_argument("--limit", type=int, default=1000, help="queued requests of a client")
    part.add_argument("--patience", type=float, default=10, help="seconds to wait for a worker")
    part = parts.add_parser("work")
    part.add_argument("--seconds", type=float, default=0, help="seconds that each request takes")
    part = parts.add_parser("ask")
    part.add_argument("words", nargs="+")
    options = parser.parse_args(arguments)
    return zmqstream.run({"serve": serve, "work": work, "ask": ask}[options.part](options)) or 0


if __name__ == "__main__":
    raise SystemExit(main())
