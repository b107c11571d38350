#!/usr/bin/env python3
"""File transfer with credit-based flow control: the receiver limits the sender.

    python transfer.py serve FOLDER
    python transfer.py fetch NAME [--to FILE]

The client sends credits. The server sends one chunk for each credit, so at most --credit chunks are
in queues and buffers. A client that has gone costs nothing. (A server that sends a whole file at
once fills its memory as fast as it reads its disk.) The client sends a new credit for each chunk
that it has written.

A credit is [name, offset, size]. Its answer is [offset, b"", chunk] or [offset, error]. The server
keeps no state of its clients, so it can restart during a transfer. A client asks again after some
seconds of silence.
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
    """The chunk for a credit. Raises OSError or ValueError if the credit is wrong."""
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
            # without a copy: libzmq uses the chunk's memory until it is sent
            stream.send_multipart([client, offset, *answer], copy=False)

        stream.on_recv(asked)
        stream.bind(options.address)
        print("listening on", stream.socket.last_endpoint.decode(), flush=True)
        await interrupted()
        stream.close(linger=0)


async def fetch(options):
    """Raises OSError if the server refuses, and TimeoutError if it is silent."""
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
        self.asked = 0  # the offset up to which there are credits
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
        elif int(offset) == self.file.tell():  # otherwise it came twice, after a retry
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
    part.add_argument("--to", help="the file to write; by default NAME in this folder")
    part.add_argument("--credit", type=int, default=10, help="chunks that may be on their way")
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
