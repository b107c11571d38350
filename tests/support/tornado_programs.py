"""Functions for tests of Tornado applications: loops, servers, and messages for them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import warnings

import zmq
from tornado import gen, web
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.testing import bind_unused_port

import zmqstream
from support import TIMEOUT
from zmqstream import EventLoop, ZMQStream

# -- the ways to a loop ----------------------------------------------------------------------------


def with_run(main):
    zmqstream.run(main())


def with_set_event_loop(main):
    """Run `main` on Tornado's current loop after asyncio.set_event_loop()."""
    asyncio.set_event_loop(EventLoop())
    io_loop = IOLoop.current()
    ended = []

    async def main_and_stop():
        try:
            ended.append(await gen.convert_yielded(main()))
        finally:
            io_loop.stop()

    io_loop.add_callback(main_and_stop)
    io_loop.start()
    io_loop.close()
    assert ended, "see the log"


def made_current():
    """Create a Tornado loop on our EventLoop, and make it current."""
    # Otherwise asyncio creates a loop when Tornado asks for the current one.
    asyncio.set_event_loop(None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Tornado 6.2 issues it
        return IOLoop(asyncio_loop=EventLoop(), make_current=True)


def with_asyncio_loop(main):
    io_loop = made_current()
    assert IOLoop.current() is io_loop
    io_loop.run_sync(main)
    io_loop.close()


WAYS = {
    "run": with_run,
    "set_event_loop": with_set_event_loop,
    "asyncio_loop": with_asyncio_loop,
}


def starting(way, caplog):
    """For a fixture: a function that runs a coroutine function to its end within TIMEOUT."""

    def start(main):
        async def limited():
            assert isinstance(IOLoop.current().asyncio_loop, EventLoop)
            await asyncio.wait_for(main(), TIMEOUT)

        WAYS[way](limited)

    caplog.set_level(logging.WARNING)
    yield start
    asyncio.set_event_loop(None)
    assert caplog.get_records("call") == [], "the test did not expect this log record"


# -- what the applications are made of -------------------------------------------------------------


class Feed:
    """Receives messages that another program pushes."""

    def __init__(self, context, io_loop=None):
        self.push = context.socket(zmq.PUSH)
        port = self.push.bind_to_random_port("tcp://127.0.0.1")
        self.push.sndtimeo = TIMEOUT * 1000
        pull = context.socket(zmq.PULL)
        pull.connect(f"tcp://127.0.0.1:{port}")
        self.stream = ZMQStream(pull, io_loop)
        self.on_message = self.stream.on_recv

    def send(self, message):
        self.push.send(message)

    def close(self):
        self.stream.close()
        self.push.close()


@contextlib.asynccontextmanager
async def serving(*routes):
    """Run a server. Yields its address and a client."""
    server = HTTPServer(web.Application(routes))
    socket, port = bind_unused_port()
    server.add_socket(socket)
    client = AsyncHTTPClient(force_instance=True)
    try:
        yield f"127.0.0.1:{port}", client
    finally:
        client.close()
        server.stop()
        await server.close_all_connections()


@contextlib.contextmanager
def busy(context):
    """Two streams that send a message back and forth without a pause. Yields the round counter."""
    sockets = [context.socket(zmq.PAIR) for _ in range(2)]
    sockets[0].bind(f"inproc://{id(sockets)}")
    sockets[1].connect(f"inproc://{id(sockets)}")
    streams = [ZMQStream(socket) for socket in sockets]
    rounds = []
    for stream in streams:
        stream.on_recv(stream.send_multipart)
    streams[0].on_send(lambda msg, status: rounds.append(msg))
    streams[0].send(b"ball")
    try:
        yield rounds
    finally:
        for stream in streams:
            stream.close()
    assert rounds
