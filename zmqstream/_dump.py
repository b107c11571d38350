"""dump(): prints the streams of a loop as a table. `zmqstream top` shows the same table."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from typing import Any, NamedTuple, TextIO

from zmqstream import _core
from zmqstream.eventloop import asyncio_loop_of, existing_reactor, open_streams
from zmqstream.ioloop import IOLoop
from zmqstream.stats import LoopStats, StreamStats

COUNTS = {  # heading: field of StreamStats
    "in": "messages_in",
    "out": "messages_out",
    "queued": "queued",
    "bytes": "queued_bytes",
    "peak": "peak_queued",
    "errors": "errors",
    "dropped": "dropped",
    "expired": "expired",
    "turns": "turns",
    "cut": "turns_cut",
    "repaired": "repaired",
}
TEXT_HEADINGS = ("socket", "endpoint", "state", "receives")


class Row(NamedTuple):
    """One stream. `counts` are the values of COUNTS; `key` identifies the stream."""

    socket: str
    endpoint: str
    state: str
    receives: str
    counts: dict[str, int]
    key: int


class Table(NamedTuple):
    """The streams of one loop. `counts` are those of LoopStats."""

    title: str
    rows: list[Row]
    counts: dict[str, int]


def dump(loop: Any = None, file: TextIO | None = None) -> None:
    """Print the open streams of a loop as a table, to find out why a program is stuck.

    dump() changes, wakes and creates nothing. Call it in the loop's thread; a signal handler or a
    debugger can do so. `zmqstream top` shows the table from another terminal, see allow_top().

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
    print(text_of(loop), file=sys.stderr if file is None else file)


def text_of(loop: Any) -> str:
    if loop is None:
        loop = asyncio._get_running_loop() or IOLoop.current(instance=False)
    if loop is None:
        return "no streams: there is no current loop"
    asyncio_loop = asyncio_loop_of(loop, "loop", closed=True)
    reactor = existing_reactor(asyncio_loop)
    if reactor is None or not open_streams(asyncio_loop):
        return f"no streams on {asyncio_loop!r}"
    return "\n".join(lines_of(table_of(reactor)))


def table_of(reactor: _core.Reactor) -> Table:
    """What is known of the streams of a loop. Any thread may call this."""
    rows = [row_of(each) for each in reactor.open_sources() if isinstance(each, _core.Stream)]
    counts = LoopStats(*reactor.stats())._asdict()
    del counts["streams"]  # it includes the sockets of add_handler()
    number = f"{len(rows)} stream{'s' * (len(rows) != 1)}"
    title = f"{number} on {reactor.loop!r}, {reactor.kind}, {reactor.poller}"
    return Table(title, sorted(rows, key=lambda row: row[:4]), counts)


def row_of(stream: _core.Stream) -> Row:
    socket, state, endpoint = stream._where()
    stats = StreamStats(*stream._stats())
    waiting = stream._waiting()
    receives = f"{waiting} wait" if waiting else "yes" if stream.receiving() else "no"
    counts = {heading: getattr(stats, field) for heading, field in COUNTS.items()}
    return Row(socket, endpoint or "-", state, receives, counts, id(stream))


def cells_of(row: Row) -> list[str]:
    numbers = (f"{count:,}" for count in row.counts.values())
    return [row.socket, row.endpoint, row.state, row.receives, *numbers]


def lines_of(table: Table) -> Iterable[str]:
    """The table as text."""
    yield table.title
    headings = [*TEXT_HEADINGS, *(table.rows[0].counts if table.rows else COUNTS)]
    rows = [headings, *map(cells_of, table.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for cells in rows:
        padded = [
            cell.ljust(width) if column < len(TEXT_HEADINGS) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        yield "  ".join(padded).rstrip()
    yield ", ".join(f"{name} {count}" for name, count in table.counts.items())
