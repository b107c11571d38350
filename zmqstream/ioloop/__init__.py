"""IOLoop: the callback-style face of an event loop, as pyzmq and Tornado programs know it.

    from zmqstream import ZMQStream, ioloop

    loop = ioloop.IOLoop.instance()
    stream = ZMQStream(socket, loop)
    stream.on_recv(stream.send_multipart)
    loop.start()

An IOLoop is a thin facade over an asyncio loop, `IOLoop.asyncio_loop`: by default an EventLoop.
"""

from __future__ import annotations

from asyncio import TimeoutError  # what run_sync() raises

from zmqstream.ioloop.current import install
from zmqstream.ioloop.loop import IOLoop
from zmqstream.ioloop.loop import IOLoop as ZMQIOLoop  # pyzmq's name of the class
from zmqstream.ioloop.periodic import DelayedCallback, PeriodicCallback

__all__ = ["DelayedCallback", "IOLoop", "PeriodicCallback", "TimeoutError", "ZMQIOLoop", "install"]
