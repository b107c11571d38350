"""on_monitor(): the events of a socket itself."""

import asyncio
import contextvars
import gc
import weakref

import pytest
import zmq

from zmqstream._monitor import Monitor

pytestmark = pytest.mark.ours


def names(events):
    return [event["event"] for event in events]


@pytest.fixture
def monitored(backend):
    """A stream that is not connected, an address to connect to, and its events."""
    server = backend.socket(zmq.PULL)
    port = server.bind_to_random_port("tcp://127.0.0.1")
    stream = backend.stream(backend.socket(zmq.PUSH))
    return stream, f"tcp://127.0.0.1:{port}", server


def test_connected_and_disconnected(backend, monitored):
    stream, address, server = monitored
    events = backend.recorder()
    stream.on_monitor(events.append)
    stream.connect(address)
    backend.run_until(lambda: zmq.Event.HANDSHAKE_SUCCEEDED in names(events))
    connected = events[names(events).index(zmq.Event.CONNECTED)]
    assert connected["endpoint"] == address.encode()
    assert type(connected["value"]) is int
    assert connected["value"] > 0  # a descriptor
    server.close()
    backend.run_until(lambda: zmq.Event.DISCONNECTED in names(events))


def test_one_that_cannot_be_watched_leaves_nothing(backend, monitored, monkeypatch):
    stream, address, _server = monitored
    events = backend.recorder()

    def fail(*args):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("zmqstream._monitor._Reader", fail)
        with pytest.raises(MemoryError):
            stream.on_monitor(events.append)
    stream.on_monitor(events.append)
    stream.connect(address)
    backend.wait(events)


def test_only_those_that_are_wanted_and_none_any_more(backend, monitored):
    stream, address, _server = monitored
    events = backend.recorder()
    stream.on_monitor(events.append, zmq.EVENT_CONNECTED)
    stream.connect(address)
    backend.wait(events)
    backend.settle()
    assert names(events) == [zmq.Event.CONNECTED]
    stream.on_monitor(events.append, zmq.EVENT_DISCONNECTED)  # others
    stream.disconnect(address)
    stream.connect(address)
    backend.drained(stream)
    stream.on_monitor(None)
    stream.on_monitor(None)
    del events[:]
    stream.disconnect(address)
    backend.settle()
    assert events == []


def test_handshakes_that_fail(backend):
    secret, other = zmq.curve_keypair(), zmq.curve_keypair()
    server = backend.socket(zmq.PULL)
    server.curve_server = True
    server.curve_publickey, server.curve_secretkey = secret
    stream = backend.stream(server)
    events = backend.recorder()
    stream.on_monitor(events.append)
    port = stream.bind_to_random_port("tcp://127.0.0.1")
    client = backend.socket(zmq.PUSH)
    client.curve_serverkey = other[0]  # the wrong one
    client.curve_publickey, client.curve_secretkey = zmq.curve_keypair()
    client.connect(f"tcp://127.0.0.1:{port}")
    failures = {
        zmq.Event.HANDSHAKE_FAILED_PROTOCOL,
        zmq.Event.HANDSHAKE_FAILED_NO_DETAIL,
        zmq.Event.HANDSHAKE_FAILED_AUTH,
    }
    backend.run_until(lambda: failures & set(names(events)))


def test_it_ends_with_the_stream(backend, monitored):
    stream, address, _server = monitored
    events = backend.recorder()
    stream.on_monitor(events.append)
    stream.connect(address)
    backend.run_until(lambda: zmq.Event.HANDSHAKE_SUCCEEDED in names(events))
    stream.close()
    del events[:]
    backend.settle()
    assert events == []  # and the context can be terminated: the fixture does


def test_it_ends_with_the_context(backend):
    context = zmq.Context()
    stream = backend.stream(context.socket(zmq.PULL))
    stream.on_monitor(lambda event: None)
    term = backend.loop.run_in_executor(None, context.term)
    backend.run(asyncio.wait_for(term, 20))
    assert stream.closed()


def test_it_may_close_the_stream(backend, monitored):
    stream, address, _server = monitored
    stream.on_monitor(lambda event: stream.close(), zmq.EVENT_CONNECTED)
    stream.connect(address)
    backend.run_until(stream.closed)


def test_exceptions_are_reported_with_the_stream_and_coroutines_run(backend, monitored):
    stream, address, _server = monitored
    seen = backend.recorder()

    async def handle(event):
        seen.append(event)
        raise ZeroDivisionError

    def fail(event):
        seen.append(event)
        raise ZeroDivisionError

    stream.on_monitor(fail, zmq.EVENT_CONNECTED)
    stream.connect(address)
    backend.wait(seen)
    (found,) = backend.expect_errors(ZeroDivisionError)
    assert "the on_monitor callback of <ZMQStream(zmq.PUSH)" in found["message"]
    stream.on_monitor(handle, zmq.EVENT_CONNECTED)
    stream.disconnect(address)
    stream.connect(address)
    backend.wait(seen, 2)
    backend.settle()
    backend.expect_errors(ZeroDivisionError)


def test_its_context(backend, monitored):
    stream, address, _server = monitored
    variable = contextvars.ContextVar("variable")
    variable.set("registered")
    seen = backend.recorder()
    stream.on_monitor(lambda event: seen.append(variable.get()))
    variable.set("later")
    stream.connect(address)
    backend.wait(seen)
    assert seen[0] == "registered"


def test_bad_arguments(backend, monitored):
    stream, _, _ = monitored
    with pytest.raises(TypeError, match="on_monitor: the callback is not callable"):
        stream.on_monitor(5)
    with pytest.raises(TypeError, match="on_monitor: events must be an int, not str"):
        stream.on_monitor(print, "all")
    with pytest.raises(ValueError, match="on_monitor: events must be flags of"):
        stream.on_monitor(print, 0)
    theirs = stream.socket.get_monitor_socket()
    try:
        with pytest.raises(RuntimeError, match="monitored already"):
            stream.on_monitor(print)
    finally:
        stream.socket.disable_monitor()
        theirs.close()
    stream.close()
    with pytest.raises(OSError, match="Stream is closed"):
        stream.on_monitor(print)


def test_many_streams_leave_no_descriptors(backend):
    import os

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("there is no /proc")

    def once():
        stream = backend.stream(backend.socket(zmq.PUSH))
        stream.on_monitor(print)
        stream.close()
        backend.settle(1)

    for _ in range(3):
        once()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(30):
        once()
    # libzmq closes sockets in a thread of its own
    backend.run_until(lambda: len(os.listdir("/proc/self/fd")) < before + 10)


def test_nothing_is_kept_of_it_when_the_stream_is_closed(backend, monitored):
    stream, *_ = monitored
    stream.on_monitor(print, zmq.EVENT_LISTENING)
    gc.collect()
    gc.disable()
    try:
        (monitor,) = (o for o in gc.get_objects() if isinstance(o, Monitor))
        kept = weakref.ref(monitor)
        del monitor
        stream.close()
        backend.settle()
        assert kept() is None
    finally:
        gc.enable()
