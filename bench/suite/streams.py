"""The two classes that are compared, each on the loop it is meant for, and on others.

Works use both through one and the same code, so that nothing but the class and its loop differs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from tornado.ioloop import IOLoop
from zmq.eventloop.zmqstream import ZMQStream as PyzmqStream

import zmqstream

from .harness import OURS, STREAM


@dataclass(frozen=True)
class Kind:
    """A class of streams. `stream(socket)` in a coroutine finds the loop that runs, as in
    pyzmq's documentation."""

    name: str
    stream: Callable[[Any], Any]
    new_loop: Callable[[], asyncio.AbstractEventLoop]

    def run(self, main: Coroutine[Any, Any, Any]) -> Any:
        loop = self.new_loop()
        task = loop.create_task(main)
        try:
            return loop.run_until_complete(task)
        finally:
            if task.cancel():  # a time limit or Ctrl-C has left the loop: clean up
                with contextlib.suppress(asyncio.CancelledError):
                    loop.run_until_complete(task)
            loop.close()

    async def close(self, *streams: Any) -> None:
        """Close streams once the loop has run what they had scheduled: pyzmq's logs an error for
        each such event that finds it closed."""
        for stream in streams:
            stream.on_recv(None)
        await asyncio.sleep(0.001)
        for stream in streams:
            stream.close()


def _tornado() -> asyncio.AbstractEventLoop:
    return IOLoop(make_current=False).asyncio_loop


KINDS = {
    OURS: Kind(OURS, zmqstream.ZMQStream, zmqstream.EventLoop),
    STREAM: Kind(STREAM, PyzmqStream, asyncio.new_event_loop),
}

# Loops that either class can be used on, by the name that is added to the class's.
OTHER_LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "Tornado": _tornado,
}
try:
    import uvloop
except ImportError:  # not on Windows
    pass
else:
    OTHER_LOOPS["uvloop"] = uvloop.new_event_loop


def on(name: str, loop: str) -> Kind:
    """One of KINDS on another loop."""
    return Kind(f"{name} on {loop}", KINDS[name].stream, OTHER_LOOPS[loop])
