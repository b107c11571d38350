"""top: shows the streams of a running program, which has called zmqstream.allow_top()."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from zmqstream import _top
from zmqstream._cli import USAGE, Failure, out, say
from zmqstream._dump import TEXT_HEADINGS, Row, Table, cells_of, lines_of

if TYPE_CHECKING:
    from rich.console import RenderableType

DESCRIPTION = {
    "top": """\
Show the streams of a running program of yours: what they have received, sent and queued, and how
late their loops are. The program must have called zmqstream.allow_top().

    {prog} top                the only such program, or a list of them
    {prog} top 12345          the program with this process id
    {prog} top --once         print one table, and end

With the package rich (pip install 'zmqstream[top]') the table stays in its place. Without it, or if
stdout is not a terminal, each table is printed below the last one. Ctrl-C ends it.
"""
}

READ_LIMIT = 2  # seconds to wait for an answer: the program may be stopped
LATE = 0.1  # seconds; a loop that is later than this is shown in red
SILENT = "it does not answer: it is stopped, or something holds the GIL"
NOTABLE = ("queued", "errors", "dropped", "expired")  # counts that stand out if they are not 0

Document = dict[str, Any]


class Ended(Exception):
    """The program does not listen any more."""


class Silent(Exception):
    """The program does not answer."""


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument("pid", nargs="?", type=int, help="the process id of the program")
    parser.add_argument(
        "--interval", type=interval, default=1.0, metavar="SECONDS", help="by default 1"
    )
    parser.add_argument("--once", action="store_true", help="print one table, and end")


def interval(text: str) -> float:
    seconds = float(text)
    if not 0.01 <= seconds <= 3600:
        raise argparse.ArgumentTypeError("it must be 0.01 to 3600 seconds")
    return seconds


def main(options: argparse.Namespace) -> int:
    try:
        _top.check_system()
    except NotImplementedError as error:
        raise Failure(str(error)) from error
    path, first = chosen(options.pid)
    if options.once:
        out(text_of(first, tables_of(first, None)))
        return 0
    documents = watch(path, first, options.interval)
    show = live if sys.stdout is not None and sys.stdout.isatty() and has_rich() else plain
    show(documents)
    say(f"{name_of(first)} has ended")
    return 0


# -- programs --------------------------------------------------------------------------------------


def chosen(pid: int | None) -> tuple[Path, Document]:
    """The socket of the program to look at, and its first answer."""
    found = list(programs(pid))
    if len(found) == 1:
        return found[0]
    if not found:
        which = "program" if pid is None else f"process {pid}"
        raise Failure(f"there is no {which} of yours that has called zmqstream.allow_top()")
    names = "".join(f"\n    {name_of(document)}" for _, document in found)
    raise Failure(f"there are several programs; give the process id of one:{names}", USAGE)


def programs(pid: int | None) -> Iterator[tuple[Path, Document]]:
    """All programs of this user that answer, or the one with this process id."""
    for folder in _top.folders():
        try:
            _top.check_private(folder)
        except FileNotFoundError:
            continue
        except PermissionError as error:
            raise Failure(str(error)) from error
        for path in sorted(folder.iterdir()):
            if pid is None or path.name.startswith(f"{pid}-"):
                with contextlib.suppress(Ended):
                    try:
                        yield path, ask(path)
                    except Silent:
                        if pid is not None:
                            raise Failure(f"process {pid} does not answer") from None


def ask(path: Path) -> Document:
    """What a program says now."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(READ_LIMIT)
        try:
            client.connect(os.fspath(path))
            answer = b"".join(iter(lambda: client.recv(1 << 16), b""))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)  # its program was killed
            raise Ended from None
        except (FileNotFoundError, ConnectionResetError):
            raise Ended from None
        except TimeoutError:
            raise Silent from None
    if not answer:
        raise Ended  # in the middle of this
    document: Document = json.loads(answer)
    for loop in document["loops"]:
        title, rows, counts = loop["table"]
        loop["table"] = Table(title, [Row(*row) for row in rows], counts)
    return document


def watch(path: Path, first: Document, seconds: float) -> Iterator[tuple[Document, list[Table]]]:
    """The program's answers and tables, until it ends."""
    before, document = None, first
    while True:
        yield document, tables_of(document, before)
        time.sleep(seconds)
        before = document
        try:
            document = ask(path)
        except Ended:
            return
        except Silent:
            document = {**before, "silent": True}


# -- tables ----------------------------------------------------------------------------------------


def name_of(document: Document) -> str:
    return f"{document['pid']} {document['program']}".rstrip()


def tables_of(document: Document, before: Document | None) -> list[Table]:
    """The tables of dump(), with rates since `before`, and how late each loop is."""
    then = {
        row.key: row.counts
        for loop in (before or {"loops": []})["loops"]
        for row in loop["table"].rows
    }
    seconds = document["time"] - before["time"] if before else 0
    tables = []
    for loop in document["loops"]:
        title, rows, counts = loop["table"]
        rated = [
            row._replace(counts=with_rates(row.counts, then.get(row.key), seconds)) for row in rows
        ]
        tables.append(Table(f"{title}, {lateness(loop)}", rated, counts))
    return tables


def with_rates(
    counts: dict[str, int], before: dict[str, int] | None, seconds: float
) -> dict[str, int]:
    """The counts, after messages a second. A stream that was not there before has none."""
    rates = dict.fromkeys(("in/s", "out/s"), 0)
    if before and seconds > 0:
        rates = {
            f"{way}/s": max(0, round((counts[way] - before[way]) / seconds))
            for way in ("in", "out")
        }
    return {**rates, **counts}


def lateness(loop: dict[str, Any]) -> str:
    if not loop["running"]:
        return "not running"
    if loop["lag"] is None:
        return "running"
    lag = loop["lag"]
    return f"late by {lag:.2f} s" if lag >= 1 else f"late by {lag * 1e3:.1f} ms"


def text_of(document: Document, tables: list[Table]) -> str:
    lines = [f"{name_of(document)}, {time.strftime('%H:%M:%S')}"]
    if document.get("silent"):
        lines.append(SILENT)
    for table in tables:
        lines += ["", *lines_of(table)]
    if not tables:
        lines += ["", "no streams"]
    return "\n".join(lines) + "\n"


# -- the ways to show them -------------------------------------------------------------------------


def plain(documents: Iterator[tuple[Document, list[Table]]]) -> None:
    for number, (document, tables) in enumerate(documents):
        out("\n" * bool(number) + text_of(document, tables))


def has_rich() -> bool:
    try:
        import rich  # noqa: F401
    except ImportError:
        say("pip install 'zmqstream[top]' makes this a table that stays in its place")
        return False
    return True


def live(documents: Iterator[tuple[Document, list[Table]]]) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console()
    with Live(console=console, screen=True, auto_refresh=False) as screen:
        for document, tables in documents:
            screen.update(picture(document, tables, console.width), refresh=True)


def picture(document: Document, tables: list[Table], width: int) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [
        Text(f"{name_of(document)}   {time.strftime('%H:%M:%S')}   Ctrl-C ends this", "bold")
    ]
    if document.get("silent"):
        parts.append(Text(SILENT, "bold red"))
    for loop, table in zip(document["loops"], tables, strict=True):
        late = loop["lag"] is not None and loop["lag"] > LATE
        parts += ["", Text(table.title, "red" if late else "green"), grid(table, width)]
    if not tables:
        parts += ["", "no streams"]
    return Group(*parts)


def grid(table: Table, width: int) -> RenderableType:
    """The columns that fit; those further right are left out."""
    from rich.table import Table as Grid
    from rich.text import Text

    headings = [*TEXT_HEADINGS, *(table.rows[0].counts if table.rows else ())]
    cells = list(map(cells_of, table.rows))
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    while sum(widths) + 2 * len(widths) > width and len(widths) > len(TEXT_HEADINGS):
        widths.pop()
    headings = headings[: len(widths)]
    shown = Grid(box=None, padding=(0, 2, 0, 0), header_style="underline")
    for column, heading in enumerate(headings):
        justify: Literal["left", "right"] = "left" if column < len(TEXT_HEADINGS) else "right"
        shown.add_column(heading, justify=justify, no_wrap=True)
    for row in cells:
        pairs = zip(headings, row, strict=False)
        shown.add_row(*(Text(cell, style_of(heading, cell)) for heading, cell in pairs))
    return shown


def style_of(heading: str, cell: str) -> str:
    return "bold yellow" if heading in NOTABLE and cell != "0" else ""
