"""Reads the lines of stdin, which may be a file, a pipe or a terminal, in a running loop."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator

from zmqstream._cli import Failure

CHUNK = 1 << 16  # bytes: the capacity of a pipe on Linux
AHEAD = 4  # chunks that the thread reads in advance


async def lines_of_stdin() -> AsyncIterator[list[bytes]]:
    """Yield lists of lines without their ends, as soon as they have been read.

    A thread reads, because no other way works for files, pipes and terminals alike. It is a daemon,
    because only the end of the process can interrupt a thread in a read.
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
                return  # the loop is closed

    if sys.stdin is None:  # stdin was closed before the process began
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
    """Remove the carriage return before a line's end on Windows."""
    return line.removesuffix(b"\r") if os.name == "nt" else line
