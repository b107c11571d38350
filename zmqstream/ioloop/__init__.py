"""IOLoop: an event loop with the callback interface of pyzmq's and Tornado's IOLoop.

    from zmqstream import ZMQStream, ioloop

    loop = ioloop.IOLoop.instance()
    stream = ZMQStream(socket, loop)
    stream.on_recv(stream.send_multipart)
    loop.start()

An IOLoop is a facade of an asyncio loop, `IOLoop.asyncio_loop`, by default an EventLoop.
"""

from __future__ import annotations

from asyncio import TimeoutError  # run_sync() raises it

from zmqstream.ioloop.current import install
from zmqstream.ioloop.loop import IOLoop
from zmqstream.ioloop.loop import IOLoop as ZMQIOLoop  # pyzmq's name
from zmqstream.ioloop.periodic import DelayedCallback, PeriodicCallback

__all__ = ["DelayedCallback", "IOLoop", "PeriodicCallback", "TimeoutError", "ZMQIOLoop", "install"]
