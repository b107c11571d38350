"""The lines of stdin, which may be a file, a pipe or a terminal, in a running loop."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator

from zmqstream._cli import Failure

CHUNK = 1 << 16  # bytes: what a pipe of Linux holds
AHEAD = 4  # chunks that are read before they are asked for


async def lines_of_stdin() -> AsyncIterator[list[bytes]]:
    """Lists of lines without their ends, as soon as they are there; so many as came together.

    A thread reads: there is no other way that works for files, pipes and terminals alike. It is a
    daemon, as nothing but its process's end gets a thread out of a read.
    """
    loop = asyncio.get_running_loop()
    chunks: asyncio.Queue[bytes | OSError] = asyncio.Queue()
    room = threading.Semaphore(AHEAD)

    def read() -> None:
        chunk: bytes | OSError = b"begin"
        while chunk and isinstance(chunk, bytes):
            room.acquire()
            try:
                chunk = os.read(descriptor, CHUNK)
            except OSError as error:
                chunk = error
            try:
                loop.call_soon_threadsafe(chunks.put_nowait, chunk)
            except RuntimeError:
                return  # the loop is closed: nobody listens any more

    if sys.stdin is None:  # it was closed before we began
        return
    descriptor = sys.stdin.fileno()
    threading.Thread(target=read, name="stdin", daemon=True).start()
    rest = bytearray()
    while chunk := await chunks.get():
        room.release()
        if isinstance(chunk, OSError):
            raise Failure(f"cannot read stdin: {chunk.strerror}")
        head, newline, tail = chunk.rpartition(b"\n")
        if not newline:
            rest += chunk
            continue
        yield [without_return(line) for line in (bytes(rest) + head).split(b"\n")]
        rest = bytearray(tail)
    if rest:
        yield [bytes(rest)]


def without_return(line: bytes) -> bytes:
    """On Windows, lines end with two characters."""
    return line.removesuffix(b"\r") if os.name == "nt" else line
