"""Arguments that cannot be: each error is at the call, and says what is wrong."""

import asyncio
import contextlib
import copy
import gc
import os
import pickle
import sys

import pytest
import zmq

import zmqstream
from support.backends import POLLERS
from zmqstream import IOLoop, ZMQStream


@pytest.fixture(params=POLLERS, autouse=True)
def poller(request, monkeypatch):
    monkeypatch.setenv("ZMQSTREAM_POLLER", request.param)


@pytest.fixture(params=["own", "asyncio"])
def loop(request):
    loop = zmqstream.EventLoop() if request.param == "own" else asyncio.SelectorEventLoop()
    yield loop
    loop.close()


@pytest.fixture
def context():
    context = zmq.Context()
    yield context
    context.destroy(linger=0)


@pytest.fixture
def socket(context):
    return context.socket(zmq.PULL)


@contextlib.contextmanager
def no_descriptor_is_left():
    """A constructor that fails closes all that it has opened."""

    def descriptors():
        return len(os.listdir("/proc/self/fd" if sys.platform == "linux" else "/dev/fd"))

    before = descriptors()
    yield
    gc.collect()
    assert descriptors() <= before  # fewer: libzmq closes what it has to in its own time


def works(socket, loop):
    """Whether `socket` can get a proper stream now."""
    got = []
    peer = socket.context.socket(zmq.PUSH)
    stream = ZMQStream(socket, loop)
    address = f"inproc://{id(socket)}"
    stream.bind(address)
    peer.connect(address)
    stream.on_recv(lambda message: (got.append(message), loop.stop()))
    peer.send(b"x")
    loop.run_forever()
    stream.close()
    peer.close()
    return got == [[b"x"]]


# -- the constructor: the socket -------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [None, 5, "tcp://127.0.0.1:5555", zmq.Poller(), zmq.Socket, [], object()],
    ids=lambda bad: type(bad).__name__,
)
def test_not_a_socket(loop, bad):
    with pytest.raises(TypeError, match=rf"socket must be a zmq.Socket, not {type(bad).__name__}"):
        ZMQStream(bad, loop)


def test_a_closed_socket(loop, socket):
    socket.close()
    with no_descriptor_is_left(), pytest.raises(zmq.ZMQError) as info:
        ZMQStream(socket, loop)
    assert info.value.errno == zmq.ENOTSOCK
    assert repr(socket) in str(info.value)


def test_a_terminated_context(loop):
    context = zmq.Context()
    socket = context.socket(zmq.PULL)
    context.destroy(linger=0)
    with pytest.raises(zmq.ZMQError):
        ZMQStream(socket, loop)


def test_two_streams_on_one_socket(loop, socket):
    stream = ZMQStream(socket, loop)
    with pytest.raises(ValueError, match=r"already: <ZMQStream\(zmq\.PULL\)"):
        ZMQStream(socket, loop)
    shadow = zmq.Socket(shadow=socket)
    with no_descriptor_is_left(), pytest.raises(ValueError, match="already"):
        ZMQStream(shadow, loop)
    del shadow
    assert not stream.closed()
    stream.close()


# -- the constructor: the loop ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [5, "loop", object(), asyncio, zmqstream.EventLoop, [], zmq.Poller()],
    ids=lambda bad: type(bad).__name__,
)
def test_not_a_loop(loop, socket, bad):
    match = rf"io_loop must be .*, not {type(bad).__name__}"
    with no_descriptor_is_left(), pytest.raises(TypeError, match=match):
        ZMQStream(socket, bad)
    assert works(socket, loop)


def closed_tornado_loop():
    ioloop = pytest.importorskip("tornado.ioloop")
    return ioloop.IOLoop(make_current=False)


@pytest.mark.parametrize(
    "make",
    [
        zmqstream.EventLoop,
        asyncio.SelectorEventLoop,
        lambda: IOLoop(make_current=False),
        closed_tornado_loop,
    ],
    ids=["EventLoop", "asyncio", "IOLoop", "tornado"],
)
def test_a_closed_loop(loop, socket, make):
    closed = make()
    closed.close()
    with no_descriptor_is_left(), pytest.raises(RuntimeError, match="closed"):
        ZMQStream(socket, closed)
    assert works(socket, loop)


class NoReaders(asyncio.SelectorEventLoop):
    """As Windows' ProactorEventLoop."""

    def add_reader(self, fd, callback, *args):
        raise NotImplementedError


class ReadersFail(asyncio.SelectorEventLoop):
    def add_reader(self, fd, callback, *args):
        raise OSError("no room for a reader")


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [(NoReaders, TypeError, "add_reader"), (ReadersFail, OSError, "no room")],
)
def test_a_loop_without_readers(loop, socket, make, error, match):
    with contextlib.closing(make()) as bad:
        for _ in range(3):
            with no_descriptor_is_left(), pytest.raises(error, match=match):
                ZMQStream(socket, bad)
    assert works(socket, loop)


def test_an_unusable_loop_keeps_nothing(socket, loop):
    """Not a stream, not a timer: the loop closes as if it had never been asked."""
    with contextlib.closing(ReadersFail()) as bad:
        with pytest.raises(OSError, match="no room"):
            ZMQStream(socket, bad)
        assert all(timer.cancelled() for timer in bad._scheduled)


# -- construction that did not happen --------------------------------------------------------------


def test_init_twice(loop, context, socket):
    stream = ZMQStream(socket, loop)
    other = context.socket(zmq.PULL)
    for again in (socket, other):
        with pytest.raises(RuntimeError, match="twice"):
            stream.__init__(again, loop)
    assert stream.socket is socket
    stream.close()
    with pytest.raises(RuntimeError, match="twice"):
        stream.__init__(other, loop)
    other.close()


CALLS = {
    "send": lambda s: s.send(b"x"),
    "send_multipart": lambda s: s.send_multipart([b"x", b"y"]),
    "send_string": lambda s: s.send_string("x"),
    "send_unicode": lambda s: s.send_unicode("x"),
    "send_json": lambda s: s.send_json({}),
    "send_pyobj": lambda s: s.send_pyobj({}),
    "on_recv": lambda s: s.on_recv(print),
    "on_recv_stream": lambda s: s.on_recv_stream(print),
    "stop_on_recv": lambda s: s.stop_on_recv(),
    "on_send": lambda s: s.on_send(print),
    "on_send_stream": lambda s: s.on_send_stream(print),
    "stop_on_send": lambda s: s.stop_on_send(),
    "on_err": lambda s: s.on_err(print),
    "stop_on_err": lambda s: s.stop_on_err(),
    "flush": lambda s: s.flush(),
    "bind": lambda s: s.bind("inproc://x"),
    "connect": lambda s: s.connect("inproc://x"),
    "getsockopt": lambda s: s.getsockopt(zmq.LINGER),
    "setsockopt": lambda s: s.setsockopt(zmq.LINGER, 0),
    "subscribe": lambda s: s.subscribe(b""),
}


@pytest.mark.parametrize("call", CALLS)
def test_init_forgotten(call):
    class Forgetful(ZMQStream):
        def __init__(self):
            self.own = "attribute"

    stream = Forgetful()
    assert stream.own == "attribute"
    assert "not initialised" in repr(stream)
    with pytest.raises(RuntimeError, match=r"Forgetful\.__init__\(\) was not called"):
        CALLS[call](stream)


@pytest.mark.parametrize("call", CALLS)
def test_use_after_close(loop, socket, call):
    stream = ZMQStream(socket, loop)
    stream.close()
    with pytest.raises(OSError, match="Stream is closed"):
        CALLS[call](stream)


def test_what_may_be_asked_of_a_closed_stream(loop, socket):
    stream = ZMQStream(socket, loop)
    stream.on_recv(print)
    stream.send(b"x")
    stream.close()
    assert stream.closed()
    assert not stream.receiving()
    assert not stream.sending()
    assert stream.socket is None
    assert stream.io_loop is loop
    assert "closed" in repr(stream)
    stream.close()
    stream.close(linger=0)


def test_a_linger_that_is_none(loop, socket):
    stream = ZMQStream(socket, loop)
    with pytest.raises(TypeError, match="linger"):
        stream.close(linger="long")
    assert not stream.closed()
    stream.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pyzmq's dealloc
def test_a_frame_that_was_never_made(loop, context):
    """A subclass without super().__init__(): libzmq would abort the process."""

    class Unmade(zmq.Frame):
        def __init__(self):
            pass

    class Made(zmq.Frame):
        pass

    stream = ZMQStream(context.socket(zmq.PUSH), loop)
    unmade = Unmade.__new__(Unmade)
    with pytest.raises(TypeError, match="frame 1 is a Unmade"):
        stream.send_multipart([b"x", unmade])
    assert not stream.sending()
    stream.send(Made(b"x"))
    assert stream.sending()
    stream.close(linger=0)


@pytest.mark.parametrize(
    "error",
    [
        zmqstream.QueueFull("why"),
        zmqstream.MessageDropped("why"),
        zmqstream.MessageExpired("why"),
        zmqstream.MultipartMessageError([b"a", b"b"]),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_errors_can_be_copied(error, again):
    """As between processes."""
    other = again(error)
    assert type(other) is type(error)
    assert str(other) == str(error)
    for name in "errno", "strerror", "message":
        assert getattr(other, name, None) == getattr(error, name, None)


@pytest.mark.deviates("pyzmq's stream uses a whole processor")
@pytest.mark.parametrize(
    "kind",
    [zmq.SERVER, zmq.CLIENT, zmq.RADIO, zmq.DISH, zmq.GATHER, zmq.SCATTER, zmq.PEER, zmq.CHANNEL],
)
def test_a_socket_of_a_draft_type(backend, kind):
    """Its descriptor stays readable once it is, and would keep the loop awake for ever."""

    class Draft(zmq.Socket):
        """A libzmq without the draft API makes no such socket."""

        def getsockopt(self, option):
            return kind if option == zmq.TYPE else super().getsockopt(option)

    socket = Draft(backend.context, zmq.PULL)
    loop = IOLoop(make_current=False, asyncio_loop=backend.loop)
    with pytest.raises(ValueError, match=f"draft type {kind.name} cannot be watched"):
        loop.add_handler(socket, print, zmq.POLLIN)
    with pytest.raises(ValueError, match=f"draft type {kind.name} cannot be watched"):
        backend.stream(socket)
    assert not socket.closed
    socket.close()
