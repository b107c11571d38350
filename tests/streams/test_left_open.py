"""Streams that nobody closes: a ResourceWarning names each, and no program hangs at its end.

pyzmq's Context waits, when it is collected, until all of its sockets are closed and have sent
what they had to send. So each of these programs is a process of its own, with a limit.
"""

import asyncio
import gc
import os
import subprocess
import sys
import textwrap
import time
import unittest
import warnings

import pytest
import zmq
import zmq.asyncio

from support import TIMEOUT
from support.children import fork
from zmqstream import ZMQStream

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here"),
    pytest.mark.ours,
]


# -- what is left open, and what refers to it ------------------------------------------------------


def alone(loop, send):
    """Nothing but the loop refers to it."""
    send(ZMQStream(zmq.Context().socket(zmq.DEALER), loop))


class Server:
    """A cycle through a bound method."""

    def __init__(self, loop, send, keep_socket):
        self.context = zmq.Context()
        socket = self.context.socket(zmq.DEALER)
        if keep_socket:
            self.socket = socket
        self.stream = ZMQStream(socket, loop)
        self.stream.on_recv(self.handle)
        send(self.stream)

    def handle(self, message): ...


def cycle(loop, send):
    Server(loop, send, False)


def cycle_with_the_socket(loop, send):
    Server(loop, send, True)


def two_of_a_context(loop, send):
    context = zmq.Context()
    streams = [ZMQStream(context.socket(zmq.DEALER), loop) for _ in range(2)]
    for stream in streams:
        stream.on_recv(lambda message: streams)
        send(stream)


def monitored(loop, send):
    stream = ZMQStream(zmq.Context().socket(zmq.DEALER), loop)
    stream.on_monitor(lambda event: stream)
    send(stream)


class Subclass(ZMQStream):
    """That keeps itself, and its context, alive."""

    def __init__(self, loop):
        self.zmq_context = zmq.Context()
        super().__init__(self.zmq_context.socket(zmq.DEALER), loop)
        self.itself = self


def subclass(loop, send):
    send(Subclass(loop))


def unittest_case(loop, send):
    class Case(unittest.TestCase):
        def setUp(self):
            self.server = Server(loop, send, True)

        def test(self):
            self.server.stream.flush()

    result = unittest.TestResult()
    Case("test").run(result)
    assert result.wasSuccessful(), result


def of_zmq_asyncio(loop, send):
    """The stream uses a shadow of its socket."""
    context = zmq.asyncio.Context()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        stream = ZMQStream(context.socket(zmq.DEALER), loop)
    stream.on_recv(lambda message: (stream, context))
    send(stream)


def waiting(loop, send):
    """A coroutine waits for a message, and for room."""
    stream = ZMQStream(zmq.Context().socket(zmq.DEALER), loop)
    stream.set_write_buffer_limits(1)
    send(stream)
    tasks = [loop.create_task(stream.recv()), loop.create_task(stream.drain())]
    loop.run_until_complete(asyncio.sleep(0))
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.wait(tasks))


OWNERS = (
    alone, cycle, cycle_with_the_socket, two_of_a_context, monitored, subclass, unittest_case,
    of_zmq_asyncio, waiting,
)  # fmt: skip

# -- what it has to send ---------------------------------------------------------------------------


def nothing(stream): ...


def in_the_queue(stream):
    """There is no peer: nothing is handed to libzmq."""
    stream.send(b"x")


def in_libzmq(stream):
    """There will never be a peer, and LINGER is without end."""
    stream.connect("tcp://127.0.0.1:9")
    stream.send(b"x")
    stream.flush()


# -- how the loop ends -----------------------------------------------------------------------------


def closed(loop):
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def never_run(loop):
    loop.close()


def dropped(loop):
    """Neither is the loop closed."""
    loop.run_until_complete(asyncio.sleep(0))


@pytest.mark.parametrize("end", [closed, never_run, dropped])
@pytest.mark.parametrize("send", [nothing, in_the_queue, in_libzmq])
@pytest.mark.parametrize("owner", OWNERS)
def test_a_stream_that_becomes_garbage(backend, owner, send, end):
    if end is dropped and backend.name in ("uvloop", "tornado"):
        pytest.skip("a loop that was not closed is kept by its library")

    def child():
        caught = []
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, category, *_: caught.append((category, str(message)))
        unraisable = []
        sys.unraisablehook = unraisable.append
        began = time.monotonic()
        loop, io_loop = backend.new_loop()
        owner(loop if owner is waiting else io_loop, send)
        end(io_loop if end is never_run else loop)
        del loop, io_loop
        gc.collect()
        gc.collect()
        took = time.monotonic() - began
        names = [text for category, text in caught if category is ResourceWarning]
        return (
            took,
            [text for text in names if "ZMQStream" in text or "Subclass" in text],
            unraisable,
        )

    took, names, unraisable = fork(child).result()
    assert len(names) == (2 if owner is two_of_a_context else 1), names
    assert all(name.startswith("unclosed <") and "zmq.DEALER" in name for name in names)
    assert unraisable == []
    assert took < TIMEOUT / 2  # no hang, on a busy machine either


def test_what_libzmq_can_send_is_sent(backend):
    """Within half a second, where LINGER is without end."""
    peer = backend.socket(zmq.DEALER, rcvtimeo=TIMEOUT * 1000)
    peer.bind("tcp://127.0.0.1:*")
    endpoint = peer.last_endpoint.decode()

    def child():
        # As an error, pyzmq's own ResourceWarning would keep the context from ending.
        warnings.simplefilter("ignore")
        loop, io_loop = backend.new_loop()
        stream = ZMQStream(zmq.Context().socket(zmq.DEALER), io_loop)
        stream.connect(endpoint)
        loop.run_until_complete(stream.recv())
        for i in range(100):
            stream.send(b"%d" % i)
        del stream
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        del loop, io_loop
        gc.collect()

    other = fork(child)
    peer.send(b"connected")
    assert [peer.recv() for _ in range(100)] == [b"%d" % i for i in range(100)]
    other.result()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("shadow", [False, True])
def test_a_socket_that_somebody_else_holds_stays_open(backend, shadow):
    """Another stream may be made of it, on another loop."""
    socket, peer = backend.pair()
    for i in range(2):
        loop, io_loop = backend.new_loop()
        stream = ZMQStream(zmq.Socket(shadow=socket) if shadow else socket, io_loop)
        stream.on_recv(lambda message, stream=stream: stream)
        del stream
        loop.run_until_complete(asyncio.sleep(0))
        io_loop.close()
        del loop, io_loop
        gc.collect()
        for _ in range(100):  # what the interpreter does soon, it has done
            pass
        assert not socket.closed
        peer.send(b"%d" % i)
        assert socket.recv() == b"%d" % i
        assert socket.linger == 0


@pytest.mark.filterwarnings("error::ResourceWarning")
def test_a_stream_that_was_closed_gives_no_warning(backend):
    for how in ("close", "aclose"):
        stream = backend.stream(backend.socket(zmq.PUSH))
        if how == "close":
            stream.close()
        else:
            backend.run(stream.aclose())
        backend.streams.clear()
        del stream
        gc.collect()


# -- whole programs --------------------------------------------------------------------------------

RUNS = {
    "zmqstream": "zmqstream.run(main())",
    "asyncio": "asyncio.run(main())",
    "uvloop": "uvloop.new_event_loop().run_until_complete(main())",
    "tornado": "tornado.ioloop.IOLoop().run_sync(main)",
}

PROGRAMS = {
    "with an unsent message": """
        async def main():
            stream = ZMQStream(zmq.Context().socket(zmq.PUSH))
            stream.connect("tcp://127.0.0.1:9")
            stream.send(b"x")
            await stream.drain()
            stream.flush()
        RUN
        """,
    "a cycle": """
        class Server:
            def __init__(self):
                self.context = zmq.Context()
                self.stream = ZMQStream(self.context.socket(zmq.ROUTER))
                self.stream.on_recv(self.handle)

            def handle(self, message): ...

        async def main():
            Server()
        RUN
        gc.collect()
        """,
    "in module globals": """
        context = zmq.Context()
        async def main():
            global stream, other
            stream = ZMQStream(context.socket(zmq.PUSH))
            stream.connect("tcp://127.0.0.1:9")
            stream.send(b"x")
            stream.flush()
            other = ZMQStream(zmq.Context.instance().socket(zmq.PULL))
            other.on_recv(lambda message: other)
        RUN
        """,
    "sys.exit() in a callback": """
        async def main():
            global stream
            stream = ZMQStream(zmq.Context().socket(zmq.PUSH))
            stream.connect("tcp://127.0.0.1:9")
            stream.send(b"x", callback=lambda message, status: sys.exit(0))
            await asyncio.sleep(10)
        RUN
        """,
    "at exit": """
        async def main():
            global stream
            stream = ZMQStream(zmq.Context().socket(zmq.PUSH))
            stream.connect("tcp://127.0.0.1:9")
            stream.send(b"x")
            stream.flush()
        atexit.register(lambda: (globals().pop("stream"), gc.collect()))
        RUN
        """,
    "in a daemon thread": """
        async def main():
            stream = ZMQStream(zmq.Context().socket(zmq.PUSH))
            stream.connect("tcp://127.0.0.1:9")
            stream.send(b"x")
            stream.flush()
            begun.set()
            await asyncio.sleep(10)

        def work():
            RUN

        begun = threading.Event()
        threading.Thread(target=work, daemon=True).start()
        begun.wait()
        """,
}


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_that_ends(program, run):
    """Within two seconds, and with nothing to say."""
    modules = "atexit, asyncio, gc, sys, threading, time, zmq, zmqstream"
    if run not in ("zmqstream", "asyncio"):
        pytest.importorskip(run)
        modules += ", tornado.ioloop" if run == "tornado" else ", uvloop"
    head = f"import {modules}\nfrom zmqstream import ZMQStream\nbegan = time.monotonic()\n"
    text = head + textwrap.dedent(PROGRAMS[program]).replace("RUN", RUNS[run])
    if program in ("with an unsent message", "a cycle"):
        text += f"\nassert time.monotonic() - began < {TIMEOUT / 2}, time.monotonic() - began\n"
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
