#!/usr/bin/env python3
"""File transfer with credit-based flow: the receiver says how much may be under way.

    python transfer.py serve FOLDER
    python transfer.py fetch NAME [--to FILE]

The server sends a chunk for each credit, and nothing else: a slow client has no more than --credit
chunks in queues and buffers, and one that has gone costs nothing. (A server that sends all that it
has fills its memory at the pace of its disk.) The client gives a new credit for each chunk that it
has written.

A credit is [name, offset, size], the answer [offset, b"", chunk] or [offset, error]. The server
keeps no state of its clients: it can be started again in the middle of a transfer, as a client
asks anew after some seconds of silence.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import sys
from pathlib import Path

import zmq
from ending import interrupted

import zmqstream

LARGEST = 1 << 20  # bytes in a chunk


def chunk_of(folder, name, offset, size):
    """What a credit asks for. OSError and ValueError say what is wrong with it."""
    path = (folder / name.decode()).resolve()
    if not path.is_relative_to(folder):
        raise ValueError("the name leads out of the folder")
    with open(path, "rb") as file:
        file.seek(int(offset))
        return file.read(min(int(size), LARGEST))


async def serve(options):
    folder = Path(options.folder).resolve(strict=True)
    with zmq.Context() as context:
        stream = zmqstream.ZMQStream(context.socket(zmq.ROUTER))

        def asked(msg):
            client, name, offset, size = msg
            try:
                answer = [b"", chunk_of(folder, name, offset, size)]
            except (OSError, ValueError) as error:
                answer = [str(getattr(error, "strerror", None) or error).encode()]
            # without a copy: a chunk is libzmq's own memory until it has been sent
            stream.send_multipart([client, offset, *answer], copy=False)

        stream.on_recv(asked)
        stream.bind(options.address)
        print("listening on", stream.socket.last_endpoint.decode(), flush=True)
        await interrupted()
        stream.close(linger=0)


async def fetch(options):
    """Raises OSError if the server refuses, TimeoutError if it is silent."""
    with zmq.Context() as context:
        stream = zmqstream.ZMQStream(context.socket(zmq.DEALER))
        try:
            stream.connect(options.address)
            with open(options.to or Path(options.name).name, "wb") as file:
                await Transfer(stream, options, file).whole()
        finally:
            stream.close(linger=0)


class Transfer:
    def __init__(self, stream, options, file):
        self.stream = stream
        self.options = options
        self.file = file
        self.asked = 0  # up to this offset
        self.done = asyncio.get_running_loop().create_future()
        stream.on_recv(self.received)

    async def whole(self):
        for attempt in range(1 + self.options.retries):
            self.asked = self.file.tell()
            for _ in range(self.options.credit):
                self.give_credit()
            before = None
            while not self.done.done() and self.file.tell() != before:
                before = self.file.tell()
                await asyncio.wait([self.done], timeout=self.options.timeout)
            if self.done.done():
                return self.done.result()
            print(f"silence after {before} bytes, attempt {attempt + 1}", file=sys.stderr)
        raise TimeoutError(f"nothing from {self.options.address}")

    def give_credit(self):
        name, size = self.options.name.encode(), self.options.chunk
        self.stream.send_multipart([name, b"%d" % self.asked, b"%d" % size])
        self.asked += size

    def received(self, msg):
        offset, error, *chunk = msg
        if self.done.done():
            return  # for credits beyond the end of the file
        if error:
            self.done.set_exception(OSError(error.decode()))
        elif int(offset) == self.file.tell():  # else it was asked for again, and came twice
            self.file.write(chunk[0])
            if len(chunk[0]) == self.options.chunk:
                self.give_credit()
            else:
                self.done.set_result(None)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--address", default="tcp://127.0.0.1:5573")
    parts = parser.add_subparsers(dest="part", required=True)
    parts.add_parser("serve").add_argument("folder")
    part = parts.add_parser("fetch")
    part.add_argument("name")
    part.add_argument("--to", help="the file to write; by default of the same name, here")
    part.add_argument("--credit", type=int, default=10, help="chunks under way")
    part.add_argument("--chunk", type=int, default=1 << 16, help="bytes, at most 1 MiB")
    part.add_argument("--timeout", type=float, default=5, help="seconds of silence until a retry")
    part.add_argument("--retries", type=int, default=3)
    options = parser.parse_args(arguments)
    if options.part == "serve":
        zmqstream.run(serve(options))
        return 0
    if not 0 < options.chunk <= LARGEST or options.credit < 1:
        parser.error(f"--chunk must be 1 to {LARGEST}, --credit at least 1")
    try:
        zmqstream.run(fetch(options))
    except OSError as error:  # TimeoutError is one
        print(f"{options.name}: {error}", file=sys.stderr)
        return 1
    path = Path(options.to or Path(options.name).name)
    print(hashlib.sha256(path.read_bytes()).hexdigest(), path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
