"""dump(): prints the streams of a loop as a table."""

from __future__ import annotations

import asyncio
import sys
from typing import Any, TextIO

from zmqstream import _core
from zmqstream.eventloop import asyncio_loop_of, existing_reactor, open_streams
from zmqstream.ioloop import IOLoop
from zmqstream.stats import LoopStats, StreamStats

COUNTS = {  # heading: field of StreamStats
    "queued": "queued",
    "bytes": "queued_bytes",
    "peak": "peak_queued",
    "in": "messages_in",
    "out": "messages_out",
    "errors": "errors",
    "dropped": "dropped",
    "expired": "expired",
    "turns": "turns",
    "cut": "turns_cut",
    "repaired": "repaired",
}
TEXT_HEADINGS = ("socket", "endpoint", "state", "receives")
HEADINGS = (*TEXT_HEADINGS, *COUNTS)


def dump(loop: Any = None, file: TextIO | None = None) -> None:
    """Print the open streams of a loop as a table, to find out why a program is stuck.

    dump() changes, wakes and creates nothing. Call it in the loop's thread; a signal handler or a
    debugger can do so.

    Parameters
    ----------
    loop : zmqstream.IOLoop, tornado.ioloop.IOLoop or asyncio.AbstractEventLoop, optional
        By default the running loop, or else `IOLoop.current()`.
    file : text file, optional
        By default `sys.stderr`.

    Raises
    ------
    TypeError
        `loop` is not an event loop.
    """
    print(table(loop), file=sys.stderr if file is None else file)


def table(loop: Any) -> str:
    if loop is None:
        loop = asyncio._get_running_loop() or IOLoop.current(instance=False)
    if loop is None:
        return "no streams: there is no current loop"
    asyncio_loop = asyncio_loop_of(loop, "loop", closed=True)
    reactor = existing_reactor(asyncio_loop)
    streams = open_streams(asyncio_loop)
    if reactor is None or not streams:
        return f"no streams on {asyncio_loop!r}"
    rows = sorted(map(row, streams))
    widths = [max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True)]
    counts = LoopStats(*reactor.stats())._asdict()
    del counts["streams"]  # it includes the sockets of add_handler()
    number = f"{len(streams)} stream{'s' * (len(streams) > 1)}"
    return "\n".join(
        (
            f"{number} on {asyncio_loop!r}, {reactor.kind}, {reactor.poller}",
            *(line(cells, widths) for cells in (HEADINGS, *rows)),
            ", ".join(f"{name} {count}" for name, count in counts.items()),
        )
    )


def row(stream: _core.Stream) -> tuple[str, ...]:
    socket, state, endpoint = stream._where()
    stats = StreamStats(*stream._stats())
    receives = "yes" if stream.receiving() else "no"
    counts = (f"{getattr(stats, field):,}" for field in COUNTS.values())
    return (socket, endpoint or "-", state, receives, *counts)


def line(cells: tuple[str, ...], widths: list[int]) -> str:
    padded = [
        cell.ljust(width) if column < len(TEXT_HEADINGS) else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded).rstrip()
