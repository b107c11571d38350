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
def monitored(home):
    """A stream that is not connected, an address to connect to, and its events."""
    server = home.socket(zmq.PULL)
    port = server.bind_to_random_port("tcp://127.0.0.1")
    stream = home.stream(home.socket(zmq.PUSH))
    return stream, f"tcp://127.0.0.1:{port}", server


def test_connected_and_disconnected(home, monitored):
    stream, address, server = monitored
    events = home.recorder()
    stream.on_monitor(events.append)
    stream.connect(address)
    home.run_until(lambda: zmq.Event.HANDSHAKE_SUCCEEDED in names(events))
    connected = events[names(events).index(zmq.Event.CONNECTED)]
    assert connected["endpoint"] == address.encode()
    assert type(connected["value"]) is int
    assert connected["value"] > 0  # a descriptor
    server.close()
    home.run_until(lambda: zmq.Event.DISCONNECTED in names(events))


def test_one_that_cannot_be_watched_leaves_nothing(home, monitored, monkeypatch):
    stream, address, _server = monitored
    events = home.recorder()

    def fail(*args):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("zmqstream.stream.ZMQStream", fail)
        with pytest.raises(MemoryError):
            stream.on_monitor(events.append)
    stream.on_monitor(events.append)
    stream.connect(address)
    home.wait(events)


def test_only_those_that_are_wanted_and_none_any_more(home, monitored):
    stream, address, _server = monitored
    events = home.recorder()
    stream.on_monitor(events.append, zmq.EVENT_CONNECTED)
    stream.connect(address)
    home.wait(events)
    home.settle()
    assert names(events) == [zmq.Event.CONNECTED]
    stream.on_monitor(events.append, zmq.EVENT_DISCONNECTED)  # others
    stream.disconnect(address)
    stream.connect(address)
    home.drained(stream)
    stream.on_monitor(None)
    stream.on_monitor(None)
    del events[:]
    stream.disconnect(address)
    home.settle()
    assert events == []


def test_handshakes_that_fail(home):
    secret, other = zmq.curve_keypair(), zmq.curve_keypair()
    server = home.socket(zmq.PULL)
    server.curve_server = True
    server.curve_publickey, server.curve_secretkey = secret
    stream = home.stream(server)
    events = home.recorder()
    stream.on_monitor(events.append)
    port = stream.bind_to_random_port("tcp://127.0.0.1")
    client = home.socket(zmq.PUSH)
    client.curve_serverkey = other[0]  # the wrong one
    client.curve_publickey, client.curve_secretkey = zmq.curve_keypair()
    client.connect(f"tcp://127.0.0.1:{port}")
    failures = {
        zmq.Event.HANDSHAKE_FAILED_PROTOCOL,
        zmq.Event.HANDSHAKE_FAILED_NO_DETAIL,
        zmq.Event.HANDSHAKE_FAILED_AUTH,
    }
    home.run_until(lambda: failures & set(names(events)))


def test_it_ends_with_the_stream(home, monitored):
    stream, address, _server = monitored
    events = home.recorder()
    stream.on_monitor(events.append)
    stream.connect(address)
    home.run_until(lambda: zmq.Event.HANDSHAKE_SUCCEEDED in names(events))
    stream.close()
    del events[:]
    home.settle()
    assert events == []  # and the context can be terminated: the fixture does


def test_it_ends_with_the_context(home):
    context = zmq.Context()
    stream = home.stream(context.socket(zmq.PULL))
    stream.on_monitor(lambda event: None)
    term = home.loop.run_in_executor(None, context.term)
    home.run(asyncio.wait_for(term, 20))
    assert stream.closed()


def test_it_may_close_the_stream(home, monitored):
    stream, address, _server = monitored
    stream.on_monitor(lambda event: stream.close(), zmq.EVENT_CONNECTED)
    stream.connect(address)
    home.run_until(stream.closed)


def test_exceptions_are_reported_with_the_stream_and_coroutines_run(home, monitored):
    stream, address, _server = monitored
    seen = home.recorder()

    async def handle(event):
        seen.append(event)
        raise ZeroDivisionError

    def fail(event):
        seen.append(event)
        raise ZeroDivisionError

    stream.on_monitor(fail, zmq.EVENT_CONNECTED)
    stream.connect(address)
    home.wait(seen)
    (found,) = home.expect_errors(ZeroDivisionError)
    assert "the on_monitor callback of <ZMQStream(zmq.PUSH)" in found["message"]
    stream.on_monitor(handle, zmq.EVENT_CONNECTED)
    stream.disconnect(address)
    stream.connect(address)
    home.wait(seen, 2)
    home.settle()
    home.expect_errors(ZeroDivisionError)


def test_its_context(home, monitored):
    stream, address, _server = monitored
    variable = contextvars.ContextVar("variable")
    variable.set("registered")
    seen = home.recorder()
    stream.on_monitor(lambda event: seen.append(variable.get()))
    variable.set("later")
    stream.connect(address)
    home.wait(seen)
    assert seen[0] == "registered"


def test_bad_arguments(home, monitored):
    stream, _, _ = monitored
    with pytest.raises(TypeError, match="on_monitor: the callback is not callable"):
        stream.on_monitor(5)
    with pytest.raises(TypeError, match="on_monitor: events must be an int, not str"):
        stream.on_monitor(print, "all")
    with pytest.raises(ValueError, match="on_monitor: events must be some of"):
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


def test_many_streams_leave_no_descriptors(home):
    import os

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("there is no /proc")

    def once():
        stream = home.stream(home.socket(zmq.PUSH))
        stream.on_monitor(print)
        stream.close()
        home.settle(1)

    for _ in range(3):
        once()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(30):
        once()
    # libzmq closes sockets in a thread of its own
    home.run_until(lambda: len(os.listdir("/proc/self/fd")) < before + 10)


def test_nothing_is_kept_of_it_when_the_stream_is_closed(home, monitored):
    stream, *_ = monitored
    stream.on_monitor(print, zmq.EVENT_LISTENING)
    gc.collect()
    gc.disable()
    try:
        (monitor,) = (o for o in gc.get_objects() if isinstance(o, Monitor))
        kept = weakref.ref(monitor)
        del monitor
        stream.close()
        home.settle()
        assert kept() is None
    finally:
        gc.enable()
