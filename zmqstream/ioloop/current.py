"""The default loop of streams and periodic callbacks."""

from __future__ import annotations

from typing import Any

from zmqstream.eventloop import current_asyncio_loop, tornado_ioloop_class
from zmqstream.ioloop.loop import IOLoop


def current_loop() -> Any:
    """The current loop: Tornado's IOLoop if the program has imported Tornado, else zmqstream's.

    It is zmqstream's, too, if the program has created an IOLoop of zmqstream for this loop.
    """
    ioloop_class = tornado_ioloop_class()
    if ioloop_class is None:
        return IOLoop.current()
    has_ours = getattr(current_asyncio_loop(), "_zmqstream_ioloop", None) is not None
    ours = IOLoop.current()
    tornados = ioloop_class.current(instance=not has_ours)
    if tornados is not None and tornados.asyncio_loop is ours.asyncio_loop:
        return tornados
    return ours


def install() -> None:
    """Make IOLoop.current() the loop of Tornado and asyncio too, if this thread has none yet."""
    IOLoop.current()
