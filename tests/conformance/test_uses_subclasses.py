"""Streams as classes and objects: subclasses of every sort, attributes, references, signatures."""

import gc
import inspect
import weakref
from unittest import mock

import pytest
import zmq

import zmqstream

TIMEOUT = 20  # seconds


def test_every_method_can_be_overridden(backend):
    """What a subclass adds is used, whichever method the program calls."""
    calls = []

    class Traced(backend.stream_class):
        def on_recv(self, callback, copy=True):
            calls.append("on_recv")
            super().on_recv(callback, copy)

        def on_send(self, callback):
            calls.append("on_send")
            super().on_send(callback)

        def send(self, msg, *args, **kwargs):
            calls.append("send")
            return super().send(msg, *args, **kwargs)

        def send_multipart(self, msg, *args, **kwargs):
            calls.append("send_multipart")
            return super().send_multipart(msg, *args, **kwargs)

        def flush(self, *args, **kwargs):
            calls.append("flush")
            return super().flush(*args, **kwargs)

        def close(self, linger=None):
            calls.append("close")
            super().close(linger)

    socket, peer = backend.pair()
    stream = backend.stream(socket, Traced)
    got = backend.recorder()
    for end in (stream.stop_on_recv, lambda: stream.on_recv_stream(None)):
        stream.on_recv_stream(print)
        end()
        assert not stream.receiving()
        assert calls == ["on_recv"] * 2
        calls.clear()
    for end in (stream.stop_on_send, lambda: stream.on_send_stream(None)):
        stream.on_send_stream(print)
        end()
        assert calls == ["on_send"] * 2
        calls.clear()

    def called(*expected):
        seen = [call for call in calls if call != "on_send" or "on_send" in expected]
        calls.clear()
        return seen == list(expected)

    for send, expected in (
        (lambda: stream.send(b"1"), ("send", "send_multipart")),
        (lambda: stream.send_multipart([b"2"]), ("send_multipart",)),
        (lambda: stream.send_string("3"), ("send", "send_multipart")),
        (lambda: stream.send_json(4), ("send", "send_multipart")),
        (lambda: stream.send_pyobj(5), ("send", "send_multipart")),
    ):
        send()
        assert called(*expected)
    stream.on_recv_stream(lambda stream, msg: got.append((stream, msg)))
    assert called("on_recv")
    stream.on_send_stream(print)
    assert called("on_send")
    stream.stop_on_send()
    assert called("on_send")
    assert stream.flush(zmq.POLLOUT) == 5
    assert called("flush")
    assert [peer.recv() for _ in range(4)] == [b"1", b"2", b"3", b"4"]
    peer.send(b"x")
    assert backend.wait(got) == [(stream, [b"x"])]
    stream.stop_on_recv()
    assert called("on_recv")
    stream.close()
    assert called("close")
    assert stream.closed()


def test_a_subclass_that_transforms_messages(backend):
    """skytools' and others' wrappers: send and receive objects, drop what would be too much."""

    class Limited(backend.stream_class):
        def __init__(self, *args, limit=3, **kwargs):
            self.limit = limit
            super().__init__(*args, **kwargs)
            self.dropped = 0

        def send_multipart(self, msg, *args, **kwargs):
            if self.limit:
                self.limit -= 1
                super().send_multipart([b"type", *msg], *args, **kwargs)
            else:
                self.dropped += 1

        def on_recv_parsed(self, callback):
            self.on_recv(lambda msg: callback(tuple(msg)))

    socket, peer = backend.pair()
    stream = backend.stream(socket, Limited)
    for _ in range(5):
        stream.send(b"x")
    backend.drained(stream)
    assert [peer.recv_multipart() for _ in range(3)] == [[b"type", b"x"]] * 3
    assert not peer.poll(0)
    assert stream.dropped == 2
    got = backend.recorder()
    stream.on_recv_parsed(got.append)
    peer.send_multipart([b"a", b"b"])
    assert backend.wait(got) == [(b"a", b"b")]


def test_a_subclass_that_makes_its_own_socket(backend, io_loop):
    """Majordomo workers: attributes before __init__(), and everything done in it."""
    socket, peer = backend.pair()

    class Worker(backend.stream_class):
        attempts = 0

        def __init__(self, service, io_loop=None):
            self.service = service
            backend.stream_class.__init__(self, socket, io_loop)
            self.on_recv(self.on_message)
            self.timer = self.io_loop.call_later(0, self.send_ready)
            self.requests = backend.recorder()

        def send_ready(self):
            self.attempts += 1
            self.send_multipart([b"READY", self.service])

        def on_message(self, msg, *args):
            self.requests.append(msg)

        def __enter__(self):
            return self

        def __exit__(self, *args):
            self.close()

    with Worker(b"echo", io_loop) as worker:
        backend.run_until(lambda: peer.poll(0))
        assert peer.recv_multipart() == [b"READY", b"echo"]
        assert (worker.attempts, Worker.attempts) == (1, 0)
        peer.send(b"work")
        assert backend.wait(worker.requests) == [[b"work"]]
    assert worker.closed()


def test_a_subclass_that_never_calls_init(backend):
    """Solara gives its kernels such a stream, for the type alone; IPython once did."""

    class WebsocketStream(backend.stream_class):
        def __init__(self, websocket, channel):
            self.websocket = websocket
            self.channel = channel

        def flush(self, *ignored):
            return self.websocket

    stream = WebsocketStream("websocket", channel="shell")
    assert isinstance(stream, backend.stream_class)
    assert stream
    assert stream.flush(zmq.POLLOUT) == "websocket"
    assert (stream.channel, stream.websocket) == ("shell", "websocket")
    gone = weakref.ref(stream)
    stream.itself = stream
    del stream
    gc.collect()
    assert gone() is None


def test_hooks_of_the_event_handler_are_not_needed(backend):
    """Copies of jupyter_client's manager override _handle_recv() to await asyncio's sockets."""

    class Patched(backend.stream_class):
        def _handle_recv(self):
            self._run_callback(self._recv_callback, self.socket.recv_multipart(zmq.NOBLOCK))

    socket, peer = backend.pair()
    stream = backend.stream(socket, Patched)
    got = backend.recorder()
    stream.on_recv(got.append)
    peer.send(b"x")
    assert backend.wait(got) == [[b"x"]]


@pytest.mark.parametrize("name", ["send_multipart", "on_recv", "on_send"])
def test_a_method_replaced_in_the_class(backend, name, monkeypatch):
    """Tracers and tests replace methods of the class itself."""
    calls = []
    original = getattr(backend.stream_class, name)

    def replaced(self, *args, **kwargs):
        calls.append(name)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(backend.stream_class, name, replaced)
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    calls.clear()
    if name == "send_multipart":
        stream.send(b"x")
        backend.drained(stream)
        assert peer.recv() == b"x"
    elif name == "on_recv":
        stream.on_recv_stream(print)
        stream.stop_on_recv()
    else:
        stream.on_send_stream(print)
        stream.stop_on_send()
    assert calls.count(name) >= (1 if name == "send_multipart" else 2)


def test_methods_replaced_in_an_instance(backend):
    """unittest.mock.patch.object(stream, ...) in the tests of programs."""
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    with mock.patch.object(stream, "send_multipart") as send, mock.patch.object(stream, "flush"):
        stream.send_multipart([b"x"])
        stream.flush(zmq.POLLOUT)
        send.assert_called_once_with([b"x"])
    assert not stream.sending()
    stream.send_multipart([b"y"])
    backend.drained(stream)
    assert peer.recv() == b"y"


def test_a_mock_with_the_spec_of_the_class(backend):
    double = mock.create_autospec(backend.stream_class, instance=True)
    double.flush.return_value = 1
    double.closed.return_value = False
    double.on_recv(print, copy=False)
    double.send_multipart([b"x"], zmq.SNDMORE, copy=False, track=True, callback=print)
    double.close(linger=0)
    assert double.flush(zmq.POLLIN, limit=1) == 1
    with pytest.raises(AttributeError):
        double.no_such_method()


# -- attributes and references --------------------------------------------------------------------


def test_attributes_of_ones_own(backend):
    class Named(backend.stream_class):
        kind = "shell"

    first, second = (backend.stream(backend.socket(zmq.PULL), Named) for _ in range(2))
    first.kind = "control"
    first.channel = "iopub"
    assert (first.kind, second.kind, Named.kind) == ("control", "shell", "shell")
    assert not hasattr(second, "channel")
    del first.kind
    assert first.kind == "shell"
    assert vars(first)["channel"] == "iopub"


def test_streams_are_true_and_keys(backend):
    """`if self.control_stream:`, dicts of streams, `in`: by identity, open or closed."""
    first, second = (backend.stream(backend.socket(zmq.PULL)) for _ in range(2))
    assert first
    assert first != second
    assert {first: 1, second: 2}[first] == 1
    assert second in [first, second]
    first.close()
    assert first
    assert {first, second} == {second, first}


def test_io_loop_is_what_was_given(backend, io_loop):
    """ipykernel stops the loops of its streams through it, if they are others than the main one."""
    stream = backend.stream(backend.socket(zmq.PULL))
    assert stream.io_loop is io_loop
    assert stream.io_loop == io_loop
    called = backend.recorder()
    stream.io_loop.add_callback(called.append, 1)
    stream.io_loop.call_later(0.001, called.append, 2)
    stream.io_loop.add_timeout(io_loop.time() + 0.002, called.append, 3)
    assert sorted(backend.wait(called, 3)) == [1, 2, 3]
    assert isinstance(stream.poller, zmq.Poller)


def test_io_loop_by_its_name(backend):
    socket, peer = backend.pair()
    stream = backend.stream_class(socket, io_loop=backend.io_loop)
    backend.streams.append(stream)
    got = backend.recorder()
    stream.on_recv(callback=got.append, copy=True)
    peer.send(b"x")
    assert backend.wait(got) == [[b"x"]]


def test_weak_references(backend):
    stream = backend.stream(backend.socket(zmq.PULL))
    registry = weakref.WeakKeyDictionary({stream: "info"})
    proxy, told = weakref.proxy(stream), []
    reference = weakref.ref(stream, told.append)
    assert registry[stream] == "info"
    assert not proxy.closed()
    stream.close()
    backend.streams.remove(stream)
    backend.settle()
    del stream
    gc.collect()
    assert told == [reference]
    assert len(registry) == 0


def test_references_are_given_back(backend):
    """Callbacks, their objects and messages go with their stream."""

    class Owner:
        def __init__(self):
            self.stream = backend.stream(backend.socket(zmq.PULL))
            self.stream.owner = self
            self.stream.on_recv(self.on_recv)
            self.stream.on_send(self.on_send)
            self.stream.set_close_callback(self.on_close)

        def on_recv(self, msg):
            pass

        def on_send(self, msg, status):
            pass

        def on_close(self):
            pass

    owner = Owner()
    backend.settle()
    gone = weakref.ref(owner)
    owner.stream.close()
    backend.streams.clear()
    del owner
    backend.settle()
    gc.collect()
    assert gone() is None


# -- the shape of the class -----------------------------------------------------------------------

METHODS = [
    "on_recv", "on_recv_stream", "on_send", "on_send_stream", "on_err", "stop_on_recv",
    "stop_on_send", "stop_on_err", "send", "send_multipart", "send_string", "send_unicode",
    "send_json", "send_pyobj", "flush", "set_close_callback", "close", "receiving", "sending",
    "closed",
]  # fmt: skip


# What ours take beyond pyzmq's: by keyword alone, so that no call means something else here.
ADDED = {
    "on_recv": {"max_concurrency"},
    "on_recv_stream": {"max_concurrency"},
    "send": {"timeout"},
    "send_multipart": {"timeout"},
}


@pytest.mark.parametrize("name", ["__init__", *METHODS])
def test_signatures_are_pyzmqs(name):
    from zmq.eventloop.zmqstream import ZMQStream as Theirs

    theirs = inspect.signature(getattr(Theirs, name)).parameters.values()
    ours = inspect.signature(getattr(zmqstream.ZMQStream, name)).parameters.values()
    added = [p for p in ours if p.name in ADDED.get(name, ())]
    assert all(p.kind is p.KEYWORD_ONLY and p.default is None for p in added)
    assert {p.name for p in added} == ADDED.get(name, set())
    assert [(p.name, p.kind, p.default) for p in ours if p not in added] == [
        (p.name, p.kind, p.default) for p in theirs
    ]


def test_it_has_all_public_names_of_pyzmqs():
    from zmq.eventloop.zmqstream import ZMQStream as Theirs

    public = {name for name in (*dir(Theirs), *Theirs.__annotations__) if not name.startswith("_")}
    assert public <= set(dir(zmqstream.ZMQStream))
