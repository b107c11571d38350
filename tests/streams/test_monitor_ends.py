"""on_monitor(): floods of events, and ends in every order. Nothing waits, and nothing is left.

A fault here makes libzmq wait for ever, often with the GIL held. So what may wait runs in a child
process, whose time is limited.
"""

import asyncio
import contextlib
import gc
import itertools
import logging
import os
import random
import subprocess
import sys
import threading
import time
import warnings
import weakref

import pytest
import zmq
import zmq.asyncio

import zmqstream
from support import KEEPS_CLASSES, TIMEOUT, children
from support.backends import Backend
from zmqstream import _monitor

pytestmark = [
    pytest.mark.ours,
    pytest.mark.any_loop,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here"),
]

AWAY = "tcp://127.0.0.1:9"  # nobody listens there, so there is an event every few milliseconds
FLOOD = 1500  # binds: more than a PAIR with default high-water marks holds, at two frames each


needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="there is no /proc")


def in_child(backend, act):
    """Do `act(backend)` in a child process, on a backend of the same kind. Its context must end."""

    def child():
        # A stream whose socket is closed directly warns, and so does a stream that is collected.
        # What pytest captures of it would keep streams alive.
        warnings.simplefilter("ignore")
        logging.disable()
        other = Backend(backend.name)
        try:
            return act(other)
        finally:
            other.close()

    return children.fork(child).result()


def monitored(backend, callback=lambda event: None, events=zmq.EVENT_ALL, address=AWAY):
    """A stream whose socket has many events."""
    stream = backend.stream(backend.socket(zmq.PUSH, reconnect_ivl=1))
    stream.on_monitor(callback, events)
    if address:
        stream.connect(address)
    return stream


def flood(stream):
    """Have libzmq send events, in this thread and in its I/O thread. Returns the endpoints.

    No other thread of Python's runs meanwhile, so nobody reads them.
    """
    endpoints = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        for _ in range(FLOOD):
            stream.bind("tcp://127.0.0.1:*")
            endpoints.append(stream.socket.last_endpoint)
            stream.unbind(endpoints[-1].decode())
    finally:
        sys.setswitchinterval(interval)
    return endpoints


def passes_messages(backend):
    """Whether sockets of the context still get messages: libzmq's I/O thread is alive."""
    push, pull = backend.pair(zmq.PUSH, zmq.PULL, transport="tcp")
    push.send(b"there")
    return pull.recv() == b"there"


def reader_ends(backend):
    """Run the loop until the thread that reads has ended: it has closed what it had."""
    backend.run_until(lambda: _monitor._reader is None)


def is_collected(reference):
    """Whether its object is garbage. The thread that reads may hold a monitor for a moment."""
    end = time.monotonic() + TIMEOUT / 2
    while reference() is not None and time.monotonic() < end:
        gc.collect()
    return reference() is None


# -- floods ------------------------------------------------------------------------------------

ENDS = {
    "close": lambda stream: stream.close(),
    "on_monitor_none": lambda stream: stream.on_monitor(None),
    "on_monitor_another": lambda stream: stream.on_monitor(print),
    "bind": lambda stream: stream.bind("tcp://127.0.0.1:*"),
    "close_the_socket": lambda stream: stream.socket.close(),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("running", [False, True], ids=["stopped", "in_a_callback"])
def test_flood_then_an_end(backend, end, running):
    def act(backend):
        stream = monitored(backend)

        def flood_and_end():
            flood(stream)
            ENDS[end](stream)
            return passes_messages(backend)

        if not running:
            return flood_and_end()
        results = backend.recorder()
        backend.loop.call_soon(lambda: results.append(flood_and_end()))
        return backend.wait(results)[0]

    assert in_child(backend, act)


def test_flood_while_the_loop_is_stopped_is_delivered_in_order(backend):
    def act(backend):
        events = backend.recorder()
        stream = monitored(backend, events.append, zmq.EVENT_LISTENING, address=None)
        endpoints = flood(stream)
        backend.wait(events, FLOOD)
        backend.settle()
        return [event["endpoint"] for event in events] == endpoints

    assert in_child(backend, act)


def test_flood_delays_no_messages(backend):
    def act(backend):
        order = backend.recorder()
        stream = monitored(backend, order.append, zmq.EVENT_LISTENING, address=None)
        flood(stream)
        socket, peer = backend.pair()
        backend.stream(socket).on_recv(order.append)
        for _ in range(10):
            peer.send(b"message")
        backend.wait(order, FLOOD + 10)
        return max(i for i, item in enumerate(order) if item == [b"message"])

    assert in_child(backend, act) < FLOOD / 10


def test_flood_of_connections(backend):
    def act(backend):
        events = backend.recorder()
        stream = backend.stream(backend.socket(zmq.PULL, backlog=1000))
        stream.on_monitor(events.append, zmq.EVENT_HANDSHAKE_SUCCEEDED)
        port = stream.bind_to_random_port("tcp://127.0.0.1")
        for _ in range(200):
            peer = backend.socket(zmq.PUSH)
            peer.connect(f"tcp://127.0.0.1:{port}")
        backend.wait(events, 200)
        stream.close()
        return passes_messages(backend)

    assert in_child(backend, act)


def test_flood_in_which_a_callback_runs_the_loop(backend):
    """What follows is delivered by the loop that the callback runs, as far as the loop can be."""
    if backend.name != "own-epoll":
        pytest.skip("one kind of loop is enough: the callback calls what the loop calls")

    def act(backend):
        order = []

        def on_event(event):
            order.append("begin")
            if len(order) == 1:
                monitor.deliver()
            order.append("end")

        stream = monitored(backend, on_event, zmq.EVENT_LISTENING, address=None)
        monitor = _monitor._monitors[stream.socket.underlying]
        flood(stream)
        backend.run_until(lambda: len(order) == 2 * FLOOD)
        return order[:4]

    assert in_child(backend, act) == ["begin", "begin", "end", "end"]


# -- ends --------------------------------------------------------------------------------------


def close_socket(backend, stream, socket):
    socket.close()


def close_stream(backend, stream, socket):
    stream.close()


def run_loop(backend, stream, socket):
    if not backend.loop.is_closed():
        backend.settle()


def close_loop(backend, stream, socket):
    backend.io_loop.close()


STEPS = (close_socket, close_stream, run_loop, close_loop)


@pytest.mark.parametrize("first", STEPS)
@pytest.mark.parametrize("events", [zmq.EVENT_ALL, zmq.EVENT_CONNECT_RETRIED], ids=["all", "one"])
def test_closes_in_every_order(backend, first, events):
    orders = [order for order in itertools.permutations(STEPS) if order[0] is first]

    def child(order):
        def act(backend):
            # several, because only some have an event at the moment at which it matters
            streams = [monitored(backend, events=events) for _ in range(10)]
            sockets = [stream.socket for stream in streams]
            run_loop(backend, None, None)
            for step in order:
                if step in (run_loop, close_loop):
                    step(backend, None, None)
                    continue
                for stream, socket in zip(streams, sockets, strict=True):
                    step(backend, stream, socket)
            return passes_messages(backend)

        return in_child(backend, act)

    for order in orders:
        assert child(order), order


def test_collected_with_its_loop(backend):
    def act(backend):
        for _ in range(20):
            loop, io_loop = backend.new_loop()
            socket = backend.context.socket(zmq.PUSH)
            socket.linger, socket.reconnect_ivl = 0, 1
            stream = zmqstream.ZMQStream(socket, io_loop)
            stream.on_monitor(lambda event: None)
            stream.connect(AWAY)
            loop.run_until_complete(asyncio.sleep(0))
            io_loop.close()
            kept = weakref.ref(stream)
            del loop, io_loop, socket, stream
            assert is_collected(kept)
        return passes_messages(backend)

    assert in_child(backend, act)


def test_collected_with_its_context(backend):
    def act(backend):
        loop, io_loop = backend.new_loop()
        context = zmq.Context()
        context.linger = 0
        socket = context.socket(zmq.PUSH)
        stream = zmqstream.ZMQStream(socket, io_loop)
        stream.on_monitor(lambda event: None)
        stream.connect(AWAY)
        loop.run_until_complete(asyncio.sleep(0))
        io_loop.close()
        socket.close()
        kept = weakref.ref(context)
        del stream, socket, context, loop, io_loop
        assert is_collected(kept)
        reader_ends(backend)

    in_child(backend, act)


@pytest.mark.parametrize(
    "how", ["close_and_term", "term_of_a_running_loop", "destroy", "close_loop"]
)
def test_context_is_terminated(backend, how):
    def act(backend):
        streams = [monitored(backend) for _ in range(10)]
        backend.settle()
        if how == "term_of_a_running_loop":
            backend.run(
                asyncio.wait_for(backend.loop.run_in_executor(None, backend.context.term), TIMEOUT)
            )
            return all(stream.closed() for stream in streams)
        if how == "close_loop":
            backend.io_loop.close()
        if how == "destroy":
            backend.context.destroy()
        else:
            for socket in backend.sockets:
                socket.close()
            backend.context.term()  # the loop does not run meanwhile
        return True

    assert in_child(backend, act)


def test_direct_close_is_no_end_of_events(backend):
    """What libzmq has to say of a socket that was closed directly is still read."""

    def act(backend):
        events = backend.recorder()
        server = backend.socket(zmq.PULL)
        port = server.bind_to_random_port("tcp://127.0.0.1")
        stream = monitored(backend, events.append, zmq.EVENT_CONNECTED, f"tcp://127.0.0.1:{port}")
        backend.wait(events)
        stream.socket.close()
        reader_ends(backend)
        return passes_messages(backend)

    assert in_child(backend, act)


def test_socket_of_zmq_asyncio_closed_directly(backend):
    def act(backend):
        context = zmq.asyncio.Context()
        context.linger = 0
        for closes in itertools.permutations(("socket", "stream")):
            socket = context.socket(zmq.PUSH)
            stream = backend.stream(socket)
            stream.on_monitor(lambda event: None)
            stream.connect(AWAY)
            backend.settle()
            for each in closes:
                {"socket": socket, "stream": stream}[each].close()
        context.term()
        return passes_messages(backend)

    assert in_child(backend, act)


class Ends:
    """Streams with monitors, and what may be done to them in any order."""

    def __init__(self, backend, chance):
        self.backend, self.chance = backend, chance
        self.loop, self.io_loop = backend.new_loop()
        self.context = zmq.Context()
        self.parts = []  # streams and their sockets, some of them closed
        self.thread = None

    def open(self):
        if self.loop.is_closed() or self.thread is not None:
            return
        socket = self.context.socket(self.chance.choice((zmq.PUSH, zmq.PULL, zmq.ROUTER)))
        socket.linger, socket.reconnect_ivl = 0, 1
        stream = zmqstream.ZMQStream(socket, self.io_loop)
        self.parts.append([stream, socket])
        stream.on_monitor(self.on_event, self.chance.choice((zmq.EVENT_ALL, zmq.EVENT_CLOSED)))
        socket.connect(AWAY)

    def on_event(self, event):
        if self.chance.random() < 0.2:
            self.step(self.chance.choice((self.flood, self.replace, self.close, self.close_socket)))

    def pick(self, part):
        return self.chance.choice(self.parts)[part] if self.parts else None

    def flood(self):
        if socket := self.pick(1):
            for _ in range(100):
                socket.bind("tcp://127.0.0.1:*")
                socket.unbind(socket.last_endpoint.decode())

    def replace(self):
        if stream := self.pick(0):
            stream.on_monitor(self.chance.choice((None, self.on_event)))

    def close(self):
        if stream := self.pick(0):
            stream.close()

    def close_socket(self):
        if socket := self.pick(1):
            socket.close()

    def forget(self):
        """Leave a stream to its loop, or to the garbage collector."""
        if self.parts:
            del self.parts[self.chance.randrange(len(self.parts))]
            gc.collect(0)

    def run(self):
        if not self.loop.is_closed():
            self.loop.run_until_complete(asyncio.sleep(0.001))

    def terminate(self):
        if self.thread is None:
            self.thread = threading.Thread(target=self.context.term)
            self.thread.start()

    def close_loop(self):
        if not self.loop.is_closed():
            self.io_loop.close()

    def step(self, act):
        # it may be closed, and its context or its loop may have ended
        with contextlib.suppress(OSError, RuntimeError, zmq.ZMQError):
            act()

    def end(self):
        for each in itertools.chain(*self.parts):
            each.close()
        self.close_loop()
        self.parts = self.loop = self.io_loop = each = None
        gc.collect()
        self.terminate()
        self.thread.join()


@pytest.mark.parametrize("seed", range(4))
def test_random_ends(backend, seed):
    """In several children, because each is limited in time: what stalls a machine adds up."""

    def act(backend):
        for _ in range(3):
            ends = Ends(backend, chance)
            often = [ends.open, ends.flood, ends.replace, ends.close, ends.close_socket, ends.run]
            seldom = [ends.forget, ends.terminate, ends.close_loop]
            for _ in range(40):
                ends.step(chance.choice(often * 4 + seldom))
            ends.end()
            assert passes_messages(backend)
            del ends, often, seldom
            gc.collect()
        for socket in backend.sockets:
            socket.close()
        reader_ends(backend)

    for part in range(5):
        chance = random.Random(f"{seed}-{part}")
        in_child(backend, act)


# -- nothing is left ---------------------------------------------------------------------------


def descriptors(backend):
    """How many are open while the loop runs. (uvloop has some that it opens for that time.)"""

    async def count():
        return len(os.listdir("/proc/self/fd"))

    return backend.run(count())


def closes_descriptors(backend, before):
    """Run the loop until no more are open than before. libzmq takes its time to close them."""
    backend.run_until(lambda: len(os.listdir("/proc/self/fd")) <= before)


@needs_proc
def test_replaced_a_thousand_times(backend):
    def act(backend):
        monitored(backend).close()
        reader_ends(backend)
        before = descriptors(backend)
        calls = []
        stream = monitored(backend)
        for number in range(1000):
            stream.on_monitor(lambda event, number=number: calls.append(number))
            if number % 10 == 0:
                backend.settle(1)
        assert calls == sorted(calls)
        stream.close()
        reader_ends(backend)
        closes_descriptors(backend, before)
        return passes_messages(backend)

    assert in_child(backend, act)


def test_thread_ends_with_the_last_monitor(backend):
    streams = [monitored(backend, address=None) for _ in range(3)]
    thread = _monitor._reader
    assert thread.is_alive()
    for stream in streams:
        stream.close()
    thread.join(TIMEOUT)
    assert not thread.is_alive()
    reader_ends(backend)


@needs_proc
def test_refused_by_libzmq(backend):
    """libzmq refuses the events: the sockets are not left behind."""
    stream = backend.stream(backend.socket(zmq.PUSH))
    for attempt in range(20):
        if attempt == 1:
            reader_ends(backend)
            before = descriptors(backend)
        with pytest.raises(zmq.ZMQError, match="Invalid argument"):
            stream.on_monitor(print, 1 << 20)
    reader_ends(backend)
    closes_descriptors(backend, before)


@needs_proc
def test_no_thread_can_be_started(backend, monkeypatch):
    stream = backend.stream(backend.socket(zmq.PUSH))
    events = backend.recorder()
    reader_ends(backend)
    before = descriptors(backend)

    def fail(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            stream.on_monitor(events.append)
    assert descriptors(backend) == before
    stream.on_monitor(events.append)
    stream.bind("tcp://127.0.0.1:*")
    backend.wait(events)


@pytest.mark.parametrize("what", ["left_open", "closed", "socket_closed", "flood", "sys_exit"])
@pytest.mark.parametrize("loop", ["zmqstream.EventLoop()", "asyncio.SelectorEventLoop()"])
def test_end_of_the_program(what, loop):
    if what == "closed" and KEEPS_CLASSES:
        pytest.skip("pyzmq terminates the context, and the thread of the monitors has ended")
    program = f"""
import asyncio, sys, warnings, zmq, zmqstream
warnings.simplefilter("ignore")
context = zmq.Context()
loop = {loop}
stream = zmqstream.ZMQStream(context.socket(zmq.PUSH), loop)
socket = stream.socket
socket.linger, socket.reconnect_ivl = 0, 1
stream.on_monitor(lambda event: None)
stream.connect("{AWAY}")
loop.run_until_complete(asyncio.sleep(0))
what = "{what}"
if what == "closed":
    stream.close()
elif what == "socket_closed":
    socket.close()
elif what == "flood":
    for _ in range({FLOOD}):
        stream.bind("tcp://127.0.0.1:*")
        stream.unbind(socket.last_endpoint.decode())
elif what == "sys_exit":
    loop.call_soon(sys.exit, 0)
    loop.run_forever()
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=TIMEOUT)
    assert (ended.returncode, ended.stderr) == (0, b"")


# -- several -----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_two_streams_on_a_socket(backend):
    events = backend.recorder()
    stream = monitored(backend, events.append, zmq.EVENT_LISTENING, address=None)
    for socket in (stream.socket, zmq.Socket(shadow=stream.socket)):
        _loop, io_loop = backend.new_loop()
        try:
            other = zmqstream.ZMQStream(socket, io_loop)
            with pytest.raises(RuntimeError, match="the socket is monitored already"):
                other.on_monitor(print)
        finally:
            io_loop.close()
        del events[:]
        stream.bind("tcp://127.0.0.1:*")
        backend.wait(events)


def test_monitor_of_the_program_takes_its_place(backend):
    """libzmq has one monitor for a socket. Ours ends when the program asks libzmq for another."""
    events = backend.recorder()
    stream = monitored(backend, events.append, address=None)
    theirs = stream.socket.get_monitor_socket(zmq.EVENT_LISTENING)
    backend.wait(events)
    assert [event["event"] for event in events] == [zmq.Event.MONITOR_STOPPED]
    reader_ends(backend)
    stream.bind("tcp://127.0.0.1:*")
    assert theirs.poll(TIMEOUT * 1000)
    stream.socket.disable_monitor()
    theirs.close()


def test_in_many_threads(backend):
    """Each with a loop and a context of its own, but one thread reads all of them."""

    def act(backend):
        failures = []

        def work():
            try:
                loop, io_loop = backend.new_loop()
                context = zmq.Context()
                for end in range(40):
                    socket = context.socket(zmq.PUSH)
                    socket.linger, socket.reconnect_ivl = 0, 1
                    stream = zmqstream.ZMQStream(socket, io_loop)
                    events = []
                    got = loop.create_future()

                    def on_event(event, got=got, events=events):
                        events.append(event)
                        if not got.done():
                            got.set_result(None)

                    stream.on_monitor(on_event)
                    stream.connect(AWAY)
                    loop.run_until_complete(asyncio.wait_for(got, TIMEOUT))
                    if end % 2:
                        socket.close()
                    stream.close()
                io_loop.close()
                context.term()
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        reader_ends(backend)
        return failures

    assert in_child(backend, act) == []


def test_fork(backend):
    """The child has no part in the parent's monitor, and may have its own."""
    events = backend.recorder()
    stream = monitored(backend, events.append, zmq.EVENT_LISTENING, address=None)
    stream.bind("tcp://127.0.0.1:*")

    def child():
        other = Backend(backend.name)
        seen = other.recorder()
        own = monitored(other, seen.append, zmq.EVENT_LISTENING, address=None)
        own.bind("tcp://127.0.0.1:*")
        other.wait(seen)
        own.close()
        reader_ends(other)
        other.close()
        stream.close()
        return len(events)

    assert children.fork(child).result() == 0
    stream.bind("tcp://127.0.0.1:*")
    backend.wait(events, 2)
    backend.settle()
    assert len(events) == 2


def test_fork_in_a_callback(backend):
    """The child's copy of the loop does not deliver what came to the parent."""
    if backend.name == "uvloop":
        pytest.skip("what waits in uvloop's loop cannot be run by hand")
    pids = backend.recorder()

    def on_event(event):
        pids.append(os.getpid())
        if len(pids) == 1:
            pids[0] = children.fork(run_on).result()

    def run_on():
        backend.loop.call_soon(monitor.deliver)
        while backend.loop._ready:  # as a child would that left the callback
            backend.loop._ready.popleft()._run()
        return len(pids)

    stream = monitored(backend, on_event, zmq.EVENT_LISTENING, address=None)
    monitor = _monitor._monitors[stream.socket.underlying]
    for _ in range(3):
        stream.bind("tcp://127.0.0.1:*")
    backend.wait(pids, 3)
    assert pids == [1, os.getpid(), os.getpid()]
