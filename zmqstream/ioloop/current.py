"""The loop of streams and periodic callbacks that are given none."""

from __future__ import annotations

from typing import Any

from zmqstream.eventloop import current_asyncio_loop, tornados_ioloop
from zmqstream.ioloop.loop import IOLoop


def current_loop() -> Any:
    """The loop of streams that are given none: IOLoop.current(), as its owner knows it.

    A program that has imported Tornado gets Tornado's IOLoop, unless it has made one of ours.
    """
    theirs = tornados_ioloop()
    if theirs is None:
        return IOLoop.current()
    present = current_asyncio_loop()
    made = getattr(present, "_zmqstream_ioloop", None) is not None
    ours = IOLoop.current()
    found = theirs.current(instance=not made)
    if found is not None and ours is not None and found.asyncio_loop is ours.asyncio_loop:
        return found
    return ours


def install() -> None:
    """Make IOLoop.current() the loop that Tornado and asyncio find in this thread, as well.

    If there is one already, it is IOLoop.current(), and nothing changes.
    """
    IOLoop.current()
