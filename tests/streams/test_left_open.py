"""Streams that nobody closes: a ResourceWarning names each, and no program hangs at its end.

pyzmq's Context waits, when it is collected, until all of its sockets are closed and have sent
what they had to send. So each of these programs is a process of its own. The time that its end
takes is limited; not its start, which takes seconds on a busy machine.
"""

import asyncio
import gc
import os
import subprocess
import sys
import textwrap
import threading
import time
import unittest
import warnings
import weakref

import pytest
import zmq
import zmq.asyncio

from support import KEEPS_CLASSES, TIMEOUT, program_ends
from support.children import Asleep, fork
from zmqstream import EventLoop, ZMQStream

LONGEST_END = 2  # seconds

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


def shadow(loop, send):
    """The stream is made of a shadow, and nothing else refers to the socket."""
    send(ZMQStream(zmq.Socket(shadow=zmq.Context().socket(zmq.DEALER)), loop))


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
    alone, cycle, cycle_with_the_socket, shadow, two_of_a_context, monitored, subclass,
    unittest_case, of_zmq_asyncio, waiting,
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


def streams_of(caught):
    """The streams that were warned of."""
    names = [text for category, text in caught if category is ResourceWarning]
    return [text for text in names if "ZMQStream" in text or "Subclass" in text]


SITUATIONS = [
    pytest.param(
        owner, send, end,
        id=f"{owner.__name__}-{send.__name__}-{end.__name__}",
        # without it, each meets each of the others
        marks=[pytest.mark.thorough] if (i + j + k) % 3 else [],
    )
    for i, owner in enumerate(OWNERS)
    for j, send in enumerate([nothing, in_the_queue, in_libzmq])
    for k, end in enumerate([closed, never_run, dropped])
]  # fmt: skip


@pytest.mark.parametrize(("owner", "send", "end"), SITUATIONS)
def test_a_stream_that_becomes_garbage(backend, owner, send, end):
    if end is dropped and backend.name in ("uvloop", "tornado"):
        pytest.skip("a loop that was not closed is kept by its library")
    if end is dropped and owner is unittest_case and KEEPS_CLASSES:
        pytest.skip("the class of the test case keeps the loop")

    def child():
        caught = []
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, category, *_: caught.append((category, str(message)))
        unraisable = []
        sys.unraisablehook = unraisable.append
        loop, io_loop = backend.new_loop()
        owner(loop if owner is waiting else io_loop, send)
        asleep = Asleep()
        end(io_loop if end is never_run else loop)
        del loop, io_loop
        gives_up = time.monotonic() + TIMEOUT / 2
        while not streams_of(caught) and time.monotonic() < gives_up:
            gc.collect()  # not in vain, unless the thread of the monitors holds one for a moment
        gc.collect()
        return asleep.seconds(), streams_of(caught), unraisable

    slept, names, unraisable = fork(child).result()
    assert len(names) == (2 if owner is two_of_a_context else 1), names
    assert all(name.startswith("unclosed <") and "zmq.DEALER" in name for name in names)
    assert unraisable == []
    assert (slept or 0) < LONGEST_END


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


def test_a_socket_that_is_dropped_later(backend):
    """Together with its context, in a cycle; by then nobody knows that there was a stream."""

    def child():
        warnings.simplefilter("ignore")
        loop, io_loop = backend.new_loop()
        server = Server(io_loop, in_libzmq, True)
        stream = weakref.ref(server.stream)
        loop.run_until_complete(asyncio.sleep(0))
        io_loop.close()
        del loop, io_loop, server.stream
        gc.collect()
        assert stream() is None
        assert not server.socket.closed
        server.itself = server
        kept = weakref.ref(server.context)
        asleep = Asleep()
        del server
        gc.collect()
        assert kept() is None
        return asleep.seconds()

    assert (fork(child).result() or 0) < LONGEST_END


def test_a_socket_that_is_closed_by_its_other_owner(backend):
    """It is not closed again: its number, and its address, may be another socket's by then."""
    socket, _peer = backend.pair()
    loop, io_loop = backend.new_loop()
    stream = ZMQStream(socket, io_loop)
    loop.run_until_complete(asyncio.sleep(0))
    io_loop.close()
    with pytest.warns(ResourceWarning, match="unclosed"):
        del stream
        gc.collect()
    socket.close()
    others = [backend.socket(zmq.PUSH) for _ in range(50)]
    backend.sockets.remove(socket)
    kept = weakref.ref(socket)
    del socket
    gc.collect()
    assert kept() is None
    assert not any(other.closed for other in others)


class StreamBeforeSocket:
    """Python drops its attributes in their order."""

    def __init__(self, context, loop, cyclic):
        self.stream = None
        self.socket = context.socket(zmq.DEALER)
        self.stream = ZMQStream(self.socket, loop)
        if cyclic:
            self.stream.on_recv(self.handle)

    def handle(self, message): ...


@pytest.mark.parametrize("warning", ["ignore", "error"])
@pytest.mark.parametrize("cyclic", [False, True])
def test_its_thread_can_end_the_context(cyclic, warning):
    """While the main thread waits for that thread, and runs nothing."""

    def work(context, loop):
        server = StreamBeforeSocket(context, loop, cyclic)
        in_libzmq(server.stream)
        loop.close()
        del loop, server
        gc.collect()
        context.term()

    def child():
        warnings.simplefilter(warning, ResourceWarning)
        unraisable = []
        sys.unraisablehook = lambda args: unraisable.append(str(args.exc_value))
        context = zmq.Context()
        thread = threading.Thread(target=work, args=(context, EventLoop()))
        thread.start()
        thread.join()
        return unraisable

    unraisable = fork(child).result()
    assert len(unraisable) == (warning == "error"), unraisable
    assert all(text.startswith("unclosed <ZMQStream(zmq.DEALER)") for text in unraisable)


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


@pytest.mark.skipif(
    not (hasattr(os, "pidfd_open") and os.path.exists("/proc/self/schedstat")),
    reason="how long a process has slept cannot be seen here",
)
@pytest.mark.parametrize("loop", program_ends.LOOPS)
def test_programs_that_end(loop):
    """In all ways. tools/ends.py does the same, for as many rounds as one likes."""
    subprocess.run(
        [sys.executable, program_ends.__file__, "--loop", loop, "--rounds", "2"],
        check=True, timeout=10 * TIMEOUT,
    )  # fmt: skip


def test_garbage_after_the_warning_at_exit():
    """A stream that was warned of at exit is not warned of again when it is collected."""
    program = """
        import asyncio, atexit, gc

        @atexit.register  # before zmqstream registers its own function: it runs after that
        def collect():
            global loop, stream
            del loop, stream
            gc.collect()

        import zmq
        from zmqstream import ZMQStream

        loop = asyncio.new_event_loop()
        stream = ZMQStream(zmq.Context.instance().socket(zmq.PULL), loop)
    """
    done = subprocess.run(
        [sys.executable, "-W", "always::ResourceWarning", "-c", textwrap.dedent(program)],
        capture_output=True, text=True, timeout=TIMEOUT, check=True,
    )  # fmt: skip
    assert done.stderr.count("unclosed <ZMQStream") == 1
