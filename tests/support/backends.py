"""Backends: an implementation of ZMQStream and a loop for it, with sockets and ways to wait."""

from __future__ import annotations

import asyncio
import itertools
import selectors
import threading

import pytest
import zmq

import zmqstream
from support import TIMEOUT

# the values that ZMQSTREAM_POLLER may have here
POLLERS = ("epoll", "selectors") if hasattr(selectors, "EpollSelector") else ("selectors",)

# Our stream on our own loop; on asyncio's and Tornado's loops, which are adopted; on loops where it
# is a guest; and pyzmq's stream. An adopted loop runs the code of our own loop, so one poller is
# enough there.
IMPLEMENTATIONS = (
    *(f"own-{poller}" for poller in POLLERS),
    "asyncio",
    "tornado",
    *(f"guest-{poller}" for poller in POLLERS),
    "uvloop",
    "pyzmq",
)

# Each runs the code of another backend, but for a few lines. One of them is enough for most tests.
TWINS = tuple(name for name in IMPLEMENTATIONS if name.endswith("-selectors") or name == "tornado")

_names = itertools.count()


def set_environment(name, set_variable):
    """Have the streams of a backend served as its name says: `set_variable(name, value)`."""
    kind, _, poller = name.partition("-")
    set_variable("ZMQSTREAM_POLLER", poller)
    set_variable("ZMQSTREAM_LOOP", "guest" if kind == "guest" else "")


def unexpected_records(caplog):
    """What was logged in a test that expected nothing."""
    return [
        record
        for record in caplog.get_records("call")
        if record.name in ("zmqstream", "asyncio")
        and not record.msg.startswith("Executing ")  # asyncio in debug mode, after 0.1 s
    ]


def served(name):
    """How the loop of a backend is served."""
    kind = name.partition("-")[0]
    return {"asyncio": "adopted", "tornado": "adopted", "uvloop": "hooked"}.get(kind, kind)


class Recorder(list):
    """A list that notifies its waiter when an item is appended."""

    def __init__(self):
        super().__init__()
        self.on_append = None

    def append(self, item):
        super().append(item)
        if self.on_append is not None:
            self.on_append()


class Backend:
    """An implementation of ZMQStream and a loop for it."""

    def __init__(self, name):
        self.name = name
        self.reference = name == "pyzmq"
        # whether our reactor knows when the loop ran user code
        self.at_home = served(name) in ("own", "adopted", "hooked")
        # whether it is the selector of the loop
        self.selects = served(name) in ("own", "adopted")
        self.errors = []  # exceptions given to the loop's exception handler
        self.streams = []
        self.sockets = []
        self.loop, self.io_loop = self.new_loop()
        self.loop.set_exception_handler(lambda loop, context: self.errors.append(context))
        self.context = zmq.Context()
        self.context.max_sockets = 8192

    def new_loop(self):
        """Another loop of this kind: its asyncio loop, and the loop to give to a stream."""
        if self.name.startswith("own"):
            loop = zmqstream.EventLoop()
        elif self.name in ("tornado", "pyzmq"):
            from tornado.ioloop import IOLoop

            io_loop = IOLoop(make_current=False)
            return io_loop.asyncio_loop, io_loop
        elif self.name == "uvloop":
            loop = pytest.importorskip("uvloop").new_event_loop()
        else:
            loop = asyncio.SelectorEventLoop()
        return loop, loop

    # -- what is tested --------------------------------------------------------------------------

    @property
    def stream_class(self):
        if self.reference:
            from zmq.eventloop.zmqstream import ZMQStream

            return ZMQStream
        return zmqstream.ZMQStream

    def stream(self, socket, stream_class=None, io_loop=None):
        stream = (stream_class or self.stream_class)(socket, io_loop or self.io_loop)
        self.streams.append(stream)
        return stream

    # -- sockets ---------------------------------------------------------------------------------

    def socket(self, kind, **options):
        socket = self.context.socket(kind)
        socket.linger = 0
        for option, value in options.items():
            socket.set(getattr(zmq, option.upper()), value)
        self.sockets.append(socket)
        return socket

    def address(self, transport="inproc"):
        return "tcp://127.0.0.1:*" if transport == "tcp" else f"inproc://test-{next(_names)}"

    def pair(self, kind=zmq.PAIR, other=None, transport="inproc", **options):
        """Two connected sockets, the first for a stream, the second for the test."""
        first = self.socket(kind, **options)
        second = self.socket(kind if other is None else other, **options)
        # the stream's socket connects, so it can send at once
        second.bind(self.address(transport))
        first.connect(second.last_endpoint.decode())
        second.rcvtimeo = second.sndtimeo = TIMEOUT * 1000
        return first, second

    def router(self, *names, hwm=None, transport="inproc"):
        """A ROUTER with ROUTER_MANDATORY, and a connected DEALER for each name.

        With `hwm`, each end has room for so many messages.
        """
        router = self.socket(zmq.ROUTER, router_mandatory=1, rcvtimeo=TIMEOUT * 1000)
        dealers = [self.socket(zmq.DEALER, routing_id=name) for name in names]
        for socket in (router, *dealers) if hwm is not None else ():
            socket.set_hwm(hwm)
        router.bind(self.address(transport))
        for dealer in dealers:
            dealer.rcvtimeo = dealer.sndtimeo = TIMEOUT * 1000
            dealer.connect(router.last_endpoint.decode())
            dealer.send(b"hello")
            router.recv_multipart()
        return router, *dealers

    def stalled(self, **limits):
        """A stream without a peer, which cannot send, and a function that adds its peer."""
        stream = self.stream(self.socket(zmq.PUSH, sndhwm=0))
        if limits:
            stream.set_write_buffer_limits(**limits)

        def connect():
            peer = self.socket(zmq.PULL, rcvhwm=0, rcvtimeo=TIMEOUT * 1000)
            peer.bind(self.address())
            stream.connect(peer.last_endpoint.decode())
            return peer

        return stream, connect

    # -- waiting ---------------------------------------------------------------------------------

    def recorder(self):
        return Recorder()

    def run(self, coroutine):
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, TIMEOUT))

    def wait(self, recorder, count=1):
        """Run the loop until `recorder` has `count` items."""
        future = self.loop.create_future()

        def check():
            if len(recorder) >= count and not future.done():
                future.set_result(None)

        recorder.on_append = check
        check()
        try:
            self.run(_awaited(future))
        except asyncio.TimeoutError:
            pytest.fail(f"{len(recorder)} of {count} after {TIMEOUT} s: {recorder[-3:]!r}")
        finally:
            recorder.on_append = None
        return recorder

    def run_until(self, condition):
        """Run the loop until `condition()`."""

        async def main():
            while not condition():
                await asyncio.sleep(0.002)

        try:
            self.run(main())
        except asyncio.TimeoutError:
            pytest.fail(f"not within {TIMEOUT} s: {condition}")

    def settle(self, iterations=5):
        """Run the loop for a few iterations, to see that something does not happen."""

        async def main():
            for _ in range(iterations):
                await asyncio.sleep(0)

        self.run(main())

    def drained(self, *streams):
        """Run the loop until all messages were handed to libzmq."""
        self.run_until(lambda: not any(stream.sending() for stream in streams))

    # -- the end ---------------------------------------------------------------------------------

    def expect_errors(self, *kinds):
        """Check that the loop's exception handler got these exceptions in this order."""
        assert [type(e["exception"]) for e in self.errors] == list(kinds), self.errors
        found, self.errors[:] = list(self.errors), []
        return found

    def close(self):
        for stream in self.streams:
            if not stream.closed():
                stream.close(linger=0)
        for socket in self.sockets:
            if not socket.closed:
                socket.close(linger=0)
        if not self.loop.is_closed():
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.loop.run_until_complete(asyncio.sleep(0))
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.io_loop.close()
        term = threading.Thread(target=self.context.term, daemon=True)
        term.start()
        term.join(TIMEOUT)
        assert not term.is_alive(), "the context cannot be terminated: a socket is still open"


async def _awaited(future):
    return await future
