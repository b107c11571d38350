"""A forked child disturbs nothing. A stream of the parent raises an error there, and never spins.

The child can make streams of its own."""

import gc
import glob
import logging
import multiprocessing
import os
import subprocess
import threading
import warnings
import weakref

import pytest
import zmq

import zmqstream
from support import TIMEOUT
from support.backends import Backend
from support.children import cpu_seconds, fork

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here"),
    pytest.mark.deviates("pyzmq's stream spins in the child, or takes the parent's messages"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning"),  # libzmq's threads
]

REFUSED = {
    "send": lambda s: s.send(b"x"),
    "send_multipart": lambda s: s.send_multipart([b"x", b"y"]),
    "send_string": lambda s: s.send_string("x"),
    "send_json": lambda s: s.send_json(1),
    "send_pyobj": lambda s: s.send_pyobj(1),
    "on_recv": lambda s: s.on_recv(print),
    "on_recv(None)": lambda s: s.on_recv(None),
    "on_recv_stream": lambda s: s.on_recv_stream(print),
    "on_send": lambda s: s.on_send(print),
    "on_send_stream": lambda s: s.on_send_stream(print),
    "on_err": lambda s: s.on_err(print),
    "stop_on_recv": lambda s: s.stop_on_recv(),
    "set_close_callback": lambda s: s.set_close_callback(print),
    "flush": lambda s: s.flush(),
    "flush(POLLIN)": lambda s: s.flush(zmq.POLLIN, limit=1),
    "flush(POLLOUT)": lambda s: s.flush(zmq.POLLOUT),
    "bind": lambda s: s.bind("inproc://nowhere"),
    "connect": lambda s: s.connect("inproc://nowhere"),
    "getsockopt": lambda s: s.getsockopt(zmq.EVENTS),
    "setsockopt": lambda s: s.setsockopt(zmq.LINGER, 0),
}


class Parent:
    """What the parent has: a stream that receives, one with a queue, one that does nothing."""

    def __init__(self, backend):
        self.backend = backend
        receiving, self.peer = backend.pair()
        sockets = (receiving, backend.socket(zmq.PUSH), backend.socket(zmq.PULL))
        self.streams = [backend.stream(socket) for socket in sockets]
        self.got = backend.recorder()
        self.sent = 0
        self.streams[0].on_recv(self.got.append)
        self.feed()
        backend.wait(self.got)
        backend.settle()
        self.watched = epoll_sets()

    def feed(self, count=1):
        for _ in range(count):
            self.peer.send(b"%d" % self.sent)
            self.sent += 1

    def check(self):
        """Everything arrives, in order; threads wake the loop; the epoll sets are as they were."""
        self.feed(5)
        self.backend.wait(self.got, self.sent)
        assert [int(message[0]) for message in self.got] == list(range(self.sent))
        woken = self.backend.recorder()
        asleep = threading.Event()

        def wake():
            asleep.wait()
            self.backend.loop.call_soon_threadsafe(woken.append, 1)

        thread = threading.Thread(target=wake)
        thread.start()
        self.backend.loop.call_soon(asleep.set)
        self.backend.wait(woken)
        thread.join()
        assert epoll_sets() == self.watched


@pytest.fixture
def parent(backend):
    return Parent(backend)


def epoll_sets():
    """What this process polls: {descriptor: [who is watched]}."""
    found = {}
    for path in glob.glob("/proc/self/fd/*"):
        try:
            if os.readlink(path).endswith("[eventpoll]"):
                fd = os.path.basename(path)
                with open(f"/proc/self/fdinfo/{fd}") as info:
                    found[fd] = sorted(line for line in info if line.startswith("tfd"))
        except FileNotFoundError:
            pass  # the one of glob's own
    return found


def refusals(streams):
    """How each method of each stream fails, and that it does."""
    failures = []
    for stream in streams:
        for name, call in REFUSED.items():
            try:
                call(stream)
            except RuntimeError as error:
                if "parent process" not in str(error):
                    failures.append((name, str(error)))
            else:
                failures.append((name, "nothing raised"))
    return failures


def test_every_method_says_so(backend, parent):
    parent.streams[1].send(b"stays in the queue")
    parent.feed(2)

    def child():
        used = cpu_seconds()
        assert refusals(parent.streams) == []
        for stream in parent.streams:
            assert "ZMQStream" in repr(stream)
            assert not stream.closed()
        assert parent.streams[0].receiving()
        assert parent.streams[1].sending()
        return cpu_seconds() - used

    assert fork(child).result() < 1
    parent.check()
    assert parent.streams[1].sending()
    parent.streams[1].send(b"goes on")
    pull = backend.socket(zmq.PULL)
    pull.bind(backend.address())
    parent.streams[1].connect(pull.last_endpoint.decode())
    backend.drained(parent.streams[1])
    assert [pull.recv(), pull.recv()] == [b"stays in the queue", b"goes on"]
    parent.streams[1].disconnect(pull.last_endpoint.decode())


def test_close_is_harmless(backend, parent):
    calls, logged = [], []
    parent.streams[0].set_close_callback(lambda: calls.append(1))
    parent.streams[1].send(b"the parent's")
    parent.feed()

    def child():
        logging.getLogger("zmqstream").addFilter(logged.append)
        for stream in parent.streams:
            stream.close()
            stream.close(linger=0)
            assert stream.closed()
            with pytest.raises(OSError, match="Stream is closed"):
                stream.send(b"x")
        return calls, len(logged)

    assert fork(child).result() == ([1], 0)
    assert parent.streams[1].sending()
    assert calls == []
    parent.check()


def test_both_at_once(backend, parent):
    """The child tries everything while the parent receives a flood."""
    begun, go_on = os.pipe()

    def child():
        os.write(go_on, b"x")
        for _ in range(50):
            assert refusals(parent.streams) == []
        for stream in parent.streams:
            stream.close()

    started = fork(child)
    assert os.read(begun, 1)
    parent.feed(1000)
    backend.wait(parent.got, parent.sent)
    started.result()
    parent.check()
    os.close(begun)
    os.close(go_on)


def test_a_new_stream_on_the_parents_loop(backend, parent):

    def child():
        socket = zmq.Context().socket(zmq.PULL)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="parent process"):
                backend.stream(socket)
        assert not socket.closed
        if backend.selects:
            reader, writer = os.pipe()
            with pytest.raises(RuntimeError, match="parent process"):
                backend.loop.add_reader(reader, print)

    fork(child).result()
    parent.check()


@pytest.mark.parametrize("end", ["closed", "collected"])
def test_the_end_of_the_parents_loop_in_the_child(backend, parent, end):
    """Not only of its streams: EPOLL_CTL_DEL in the child would take away the parent's events."""
    references = [weakref.ref(stream) for stream in parent.streams]
    # Tornado and uvloop keep a loop that has run until it is closed
    own = backend.at_home and (end == "closed" or backend.name not in ("tornado", "uvloop"))

    def child():
        # of the loop that is collected open: as an error, the warning would keep the loop alive
        warnings.simplefilter("ignore", ResourceWarning)
        gc.unfreeze()  # the parent's objects are what is collected
        while parent.streams:
            stream = parent.streams.pop()
            if end == "closed" or not own:
                stream.close()
            del stream
        if end == "closed" and own:
            backend.io_loop.close()
        if own:
            # asyncio's own loops do what they should not when they are closed or collected
            references.append(weakref.ref(backend.loop))
            backend.__dict__.clear()
        else:
            backend.streams.clear()
        gc.collect()
        return [reference() is not None for reference in references]

    kept = fork(child).result()
    # with selectors, asyncio keeps the readers: they are not ours to take out of its epoll set
    assert not any(kept) or backend.name == "guest-selectors"
    parent.check()


def run_for(backend, seconds):
    """Run the parent's loop in the child. Returns how it ended and the processor time it took."""
    used = cpu_seconds()
    backend.loop.call_later(seconds, backend.loop.stop)
    backend.loop.set_exception_handler(lambda loop, context: backend.errors.append(context))
    try:
        backend.loop.run_forever()
    except RuntimeError as error:
        return str(error), cpu_seconds() - used
    return str(backend.errors[0]["exception"]) if backend.errors else "", cpu_seconds() - used


def test_the_parents_loop_runs_in_the_child(backend, parent):
    """With an event that the parent leaves there: it must not spin."""
    parent.feed()
    how, used = fork(lambda: run_for(backend, 0.3)).result()
    assert "parent process" in how
    assert used < 0.1
    parent.check()


def test_no_report_without_end_from_the_parents_loop_in_the_child(backend, parent):
    """No event, and then the error is told once at most."""

    def child():
        run_for(backend, 0.15)
        return len(backend.errors)

    assert fork(child).result() <= 1
    parent.check()


def test_the_child_comes_back_from_a_callback(backend, parent):
    """Forgotten os._exit(): the parent's loop goes on in the child, and must end."""
    children = []

    def callback(message):
        parent.got.append(message)
        if message == [b"1"]:
            children.append(os.fork())
            if children == [0]:
                backend.loop.call_later(0.2, backend.loop.stop)
        if len(parent.got) == parent.sent:
            backend.loop.stop()

    parent.streams[0].on_recv(callback)
    backend.settle()  # or the child would take a wake-up of the parent's loop, if that is uvloop's
    parent.feed(3)
    told = ""
    try:
        backend.loop.run_forever()
    except RuntimeError as error:
        told = str(error)
    finally:
        if children == [0]:
            told += "".join(str(context["exception"]) for context in backend.errors)
            os._exit(0 if "parent process" in told else 1)
    assert not told
    _, status = os.waitpid(children[0], 0)
    assert os.waitstatus_to_exitcode(status) == 0
    parent.streams[0].on_recv(parent.got.append)
    parent.check()


def echo_in(name, count=50):
    """A backend of this process: messages to and fro. Returns what came back."""
    backend = Backend(name)
    socket, other = backend.pair(transport="tcp")
    stream, echo = backend.stream(socket), backend.stream(other)
    got = backend.recorder()
    stream.on_recv(got.append)
    echo.on_recv(echo.send_multipart)
    for i in range(count):
        stream.send(b"%d" % i)
    backend.wait(got, count)
    backend.close()
    assert backend.errors == []
    return [int(message[0]) for message in got]


def test_the_child_makes_its_own(backend, parent):

    def grandchild():
        return echo_in(backend.name), refusals(parent.streams)

    def child():
        return echo_in(backend.name), refusals(parent.streams), *fork(grandchild).result()

    assert fork(child).result() == (list(range(50)), []) * 2
    parent.check()


def test_fork_in_a_callback_under_flood(backend, parent):
    children = []

    def callback(message):
        parent.got.append(message)
        if int(message[0]) % 100 == 0:
            children.append(fork(lambda: (refusals(parent.streams), echo_in(backend.name, 5))))

    parent.streams[0].on_recv(callback)
    parent.feed(300)
    backend.wait(parent.got, parent.sent)
    assert [child.result() for child in children] == [([], [0, 1, 2, 3, 4])] * 3
    parent.check()


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_multiprocessing(backend, parent):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        results = [pool.apply_async(echo_in, (backend.name, 20)) for _ in range(4)]
        parent.check()
        assert [result.get(20) for result in results] == [list(range(20))] * 4
    pool.join()
    parent.check()


def test_subprocess_in_a_callback(backend, parent):

    def callback(message):
        if message == [b"5"]:
            subprocess.run(["true"], check=True, close_fds=True)
        parent.got.append(message)

    parent.streams[0].on_recv(callback)
    parent.feed(9)
    backend.wait(parent.got, parent.sent)
    parent.check()


@pytest.mark.parametrize("kind", ["on_recv", "on_send", "flush"])
def test_the_child_handles_no_copies_of_messages(backend, parent, kind):
    """What had arrived before the fork, or was queued, is in the child's memory, too."""
    stream, children = parent.streams[0], []
    other = backend.socket(zmq.PULL)
    other.bind(backend.address())
    push = parent.streams[1]
    push.connect(other.last_endpoint.decode())
    handled = []

    def callback(message, status=None):
        handled.append(message)
        if kind != "on_send":
            parent.got.append(message)
        if len(handled) == 1:
            children.append(os.fork())
            if children == [0]:
                backend.loop.call_later(0.2, backend.loop.stop)
        elif len(handled) == 5 and kind != "flush":
            backend.loop.stop()

    try:
        if kind == "on_send":
            push.on_send(callback)
            backend.loop.call_soon(lambda: [push.send(b"%d" % i) for i in range(5)])
        else:
            stream.on_recv(callback)
            backend.settle()  # or the child would take a wake-up of the parent's loop
            parent.feed(5)
        if kind == "flush":
            stream.flush()
        else:
            timer = backend.loop.call_later(TIMEOUT, backend.loop.stop)
            backend.loop.run_forever()
            timer.cancel()
    except RuntimeError:
        pass
    finally:
        if children == [0]:
            os._exit(len(handled))
    _, status = os.waitpid(children[0], 0)
    assert os.waitstatus_to_exitcode(status) == 1
    assert len(handled) == 5
    stream.on_recv(parent.got.append)
    push.disconnect(other.last_endpoint.decode())
    parent.check()


@pytest.mark.parametrize("how", ["current", "instance", "stream", "running"])
def test_the_current_loop_is_not_the_parents(how):
    """A child need not know of loops, if its program does not."""
    loop = zmqstream.IOLoop(make_current=True)

    def child():
        context = zmq.Context()
        push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
        pull.bind("inproc://x")
        push.connect("inproc://x")
        if how == "instance":
            stream = zmqstream.ZMQStream(pull, zmqstream.IOLoop.instance())
        else:
            stream = zmqstream.ZMQStream(pull)
        mine = zmqstream.IOLoop.current()
        assert mine is not loop
        assert stream.io_loop.asyncio_loop is mine.asyncio_loop
        stream.on_recv(lambda message: mine.stop())
        mine.call_later(20, os.abort)
        push.send(b"x")
        mine.start()

    try:
        if how == "running":
            loop.run_sync(lambda: fork(child).result())
        else:
            fork(child).result()
        assert zmqstream.IOLoop.current() is loop
        assert zmqstream.IOLoop.instance() is loop
    finally:
        loop.close()
