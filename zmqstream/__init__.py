"""zmqstream: callback streams on ZeroMQ sockets, fast, fair and never deaf.

`ZMQStream` is a drop-in for pyzmq's `zmq.eventloop.zmqstream.ZMQStream`; `IOLoop` and `EventLoop`
are loops that dispatch it in C, and it works on any other asyncio loop, too.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from zmqstream import _built, _pyzmq  # noqa: F401  first: they explain what does not fit
from zmqstream._core import MessageDropped, MessageExpired, MultipartMessageError, QueueFull
from zmqstream.stats import LoopStats, StreamStats
from zmqstream.stream import ZMQStream

if TYPE_CHECKING:
    from zmqstream import dropin as dropin
    from zmqstream import eventloop as eventloop
    from zmqstream import ioloop as ioloop
    from zmqstream._dump import dump
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
    "dump",
    "install",
    "new_event_loop",
    "run",
    "uninstall",
]

# Imported when they are asked for: with a loop comes asyncio, which takes longer than pyzmq.
_LATER = {
    "DelayedCallback": "zmqstream.ioloop",
    "EventLoop": "zmqstream.eventloop",
    "IOLoop": "zmqstream.ioloop",
    "PeriodicCallback": "zmqstream.ioloop",
    "dropin": "zmqstream.dropin",
    "dump": "zmqstream._dump",
    "eventloop": "zmqstream.eventloop",
    "install": "zmqstream.dropin",
    "ioloop": "zmqstream.ioloop",
    "new_event_loop": "zmqstream.eventloop",
    "run": "zmqstream.eventloop",
    "uninstall": "zmqstream.dropin",
}


if not TYPE_CHECKING:  # who checks types has the names above, and is told of others

    def __getattr__(name: str) -> Any:
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = importlib.import_module(_LATER[name])
        value = module if module.__name__.endswith(f".{name}") else getattr(module, name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
