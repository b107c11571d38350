"""zmqstream: callback streams on ZeroMQ sockets, fast, fair and never deaf.

`ZMQStream` is a drop-in replacement for pyzmq's `zmq.eventloop.zmqstream.ZMQStream`. `IOLoop` and
`EventLoop` are loops that dispatch streams in C. Streams work on other asyncio loops too.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from zmqstream import _built, _pyzmq  # noqa: F401  first: they explain why an import would fail
from zmqstream._core import MessageDropped, MessageExpired, MultipartMessageError, QueueFull
from zmqstream.stats import LoopStats, StreamStats
from zmqstream.stream import ZMQStream

if TYPE_CHECKING:
    from zmqstream import dropin as dropin
    from zmqstream import eventloop as eventloop
    from zmqstream import ioloop as ioloop
    from zmqstream._dump import dump
    from zmqstream._top import allow_top
    from zmqstream.dropin import install, uninstall
    from zmqstream.eventloop import EventLoop, new_event_loop, run
    from zmqstream.ioloop import DelayedCallback, IOLoop, PeriodicCallback

__version__ = "0.1.0"

__all__ = [
    "DelayedCallback",
    "EventLoop",
    "IOLoop",
    "LoopStats",
    "MessageDropped",
    "MessageExpired",
    "MultipartMessageError",
    "PeriodicCallback",
    "QueueFull",
    "StreamStats",
    "ZMQStream",
    "allow_top",
    "dump",
    "install",
    "new_event_loop",
    "run",
    "uninstall",
]

# Imported at first use: the loops import asyncio, which takes longer than importing pyzmq.
_LAZY_MODULES = {
    "_dump": ("dump",),
    "_top": ("allow_top",),
    "dropin": ("dropin", "install", "uninstall"),
    "eventloop": ("eventloop", "EventLoop", "new_event_loop", "run"),
    "ioloop": ("ioloop", "DelayedCallback", "IOLoop", "PeriodicCallback"),
}
_LAZY = {name: module for module, names in _LAZY_MODULES.items() for name in names}


if not TYPE_CHECKING:  # type checkers see the imports above, and should report unknown names

    def __getattr__(name: str) -> Any:
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = importlib.import_module(f"zmqstream.{_LAZY[name]}")
        value = module if name == _LAZY[name] else getattr(module, name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
