"""zmqstream: callback streams on ZeroMQ sockets, fast, fair and never deaf.

`ZMQStream` is a drop-in for pyzmq's `zmq.eventloop.zmqstream.ZMQStream`; `IOLoop` and `EventLoop`
are loops that dispatch it in C, and it works on any other asyncio loop, too.
"""

from zmqstream import _pyzmq  # noqa: F401  first: it explains a pyzmq that does not fit
from zmqstream.eventloop import EventLoop, new_event_loop, run
from zmqstream.ioloop import IOLoop
from zmqstream.stream import ZMQStream

__version__ = "0.1.0"

__all__ = ["EventLoop", "IOLoop", "ZMQStream", "new_event_loop", "run"]
