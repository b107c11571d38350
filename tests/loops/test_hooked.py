"""Loops of uvloop: while there are streams, libuv runs their reactor before each of its polls."""

import asyncio
import gc
import os
import selectors
import socket as sockets
import threading
import weakref

import pytest
import zmq

from support import FREE_THREADED, TIMEOUT
from support.backends import POLLERS
from support.children import run_script
from support.loops import in_thread, pair
from zmqstream import ZMQStream, eventloop

uvloop = pytest.importorskip("uvloop")


@pytest.fixture(params=POLLERS, autouse=True)
def poller(request, monkeypatch):
    monkeypatch.setenv("ZMQSTREAM_POLLER", request.param)
    return request.param


@pytest.fixture
def loop():
    loop = uvloop.new_event_loop()
    errors = []
    loop.set_exception_handler(lambda _, context: errors.append(context))
    yield loop
    loop.close()
    assert errors == []


def finish(loop, future):
    return loop.run_until_complete(asyncio.wait_for(future, TIMEOUT))


async def exchange(stream, peer):
    """A message to and fro."""
    peer.send(b"to")
    assert await stream.recv_multipart() == [b"to"]
    await stream.asend(b"fro")
    assert peer.recv() == b"fro"


def polls():
    """How many epoll descriptors this process has."""
    fds = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    return [os.readlink(fd) for fd in fds if os.path.islink(fd)].count("anon_inode:[eventpoll]")


def is_hooked(loop):
    return "close" in vars(loop)


# -- from the first stream to the last -------------------------------------------------------------


def test_hooked(loop, context):
    """The last stream leaves the loop as it was, and the next one begins anew."""
    pair(context)  # libzmq's threads have some of their own
    before = polls()
    for _ in range(2):
        (first, peer), (second, other) = pair(context), pair(context)
        one, two = ZMQStream(first, loop), ZMQStream(second, loop)
        reactor = eventloop.reactor_of(loop)
        assert reactor.kind == "hooked"
        assert "hooked loop" in repr(one)
        assert len(reactor) == 2
        finish(loop, exchange(one, peer))
        one.close()
        finish(loop, exchange(two, other))
        assert is_hooked(loop)
        assert polls() == before + 1
        two.close()
        finish(loop, asyncio.sleep(0))
        assert not is_hooked(loop)
        assert polls() == before


def test_switched_off(loop, context, monkeypatch):
    monkeypatch.setenv("ZMQSTREAM_LOOP", "guest")
    first, peer = pair(context)
    stream = ZMQStream(first, loop)
    assert eventloop.reactor_of(loop).kind == "guest"
    assert not is_hooked(loop)
    finish(loop, exchange(stream, peer))
    stream.close()


@pytest.mark.parametrize("missing", ["the pointer", "a function", "another libuv"])
def test_left_alone(loop, context, monkeypatch, missing):
    """What is not known to work as the uvloop and the libuv that we know."""
    if missing == "the pointer":
        monkeypatch.delattr(uvloop.loop, "libuv_get_loop_t_ptr")
    else:  # modules that are loaded, and export nothing of libuv
        monkeypatch.setattr(uvloop.loop, "__file__", zmq.backend.cython._zmq.__file__)
    first, peer = pair(context)
    stream = ZMQStream(first, loop)
    assert eventloop.reactor_of(loop).kind == "guest"
    finish(loop, exchange(stream, peer))
    stream.close()


# -- what libuv does meanwhile ---------------------------------------------------------------------


def test_a_reader_that_a_callback_adds(loop, context):
    """libuv polls to take it in, and must not sleep there: it does not hear of messages."""
    first, peer = pair(context)
    stream = ZMQStream(first, loop)
    a, b = sockets.socketpair()
    came = loop.create_future()

    def callback(message):
        if message == [b"first"]:
            loop.add_reader(a, came.set_exception, AssertionError("nothing was sent"))
            timer = threading.Timer(0.02, peer.send, [b"second"])  # when the loop has gone to sleep
            timer.start()
        else:
            came.set_result(message)

    stream.on_recv(callback)
    peer.send(b"first")
    assert finish(loop, came) == [b"second"]
    loop.remove_reader(a)
    a.close()
    b.close()
    stream.close()


def test_what_a_callback_gives_to_the_loop(loop, context):
    """It is run although nothing else comes: calls, timers that are earlier than others, stop()."""
    first, peer = pair(context)
    stream = ZMQStream(first, loop)
    ran = []

    def callback(message):
        loop.call_soon(ran.append, "soon")
        loop.call_later(0.002, lambda: (ran.append("later"), peer.send(b"last")))
        stream.on_recv(lambda message: loop.stop())

    stream.on_recv(callback)
    limit = loop.call_later(TIMEOUT, loop.stop)
    peer.send(b"first")
    loop.run_forever()
    assert ran == ["soon", "later"]
    limit.cancel()
    stream.close()


@pytest.mark.parametrize("how", ["the default", "of the loop", "of Python"])
def test_signals(context, how):
    """They wake the loop, which sleeps in our poll."""
    assert run_script(f"""
        import asyncio, os, signal, threading, uvloop, zmq
        from zmqstream import ZMQStream

        loop = uvloop.new_event_loop()
        stream = ZMQStream(zmq.Context.instance().socket(zmq.PULL), loop)
        stream.on_recv(print)
        if {how!r} == "of the loop":
            loop.add_signal_handler(signal.SIGINT, lambda: (print("handled"), loop.stop()))
        elif {how!r} == "of Python":
            signal.signal(signal.SIGINT, lambda *_: (print("handled"), loop.stop()))
        loop.call_later(0.01, lambda: threading.Timer(0.05, os.kill, (os.getpid(), 2)).start())
        try:
            loop.run_forever()
        except KeyboardInterrupt:
            print("handled")
        loop.call_soon(loop.stop)
        loop.run_forever()
        stream.close()
        loop.close()
    """).splitlines() == ["handled"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_exception_that_ends_the_loop(loop, context, error):
    first, peer = pair(context)
    stream = ZMQStream(first, loop)

    def callback(message):
        raise error("once")

    stream.on_recv(callback)
    peer.send(b"x")
    with pytest.raises(error, match="once"):
        finish(loop, loop.create_future())
    stream.on_recv(None)
    finish(loop, exchange(stream, peer))
    stream.close()


def test_a_loop_that_is_run_inside_a_callback(loop, context):
    """uvloop refuses that, and everything goes on."""
    first, peer = pair(context)
    stream = ZMQStream(first, loop)
    seen = loop.create_future()

    def callback(message):
        with pytest.raises(RuntimeError, match="already running"):
            loop.run_forever()
        with pytest.raises(RuntimeError, match="running"):
            loop.close()
        seen.set_result(message)

    stream.on_recv(callback)
    peer.send(b"x")
    finish(loop, seen)
    stream.on_recv(None)
    finish(loop, exchange(stream, peer))
    stream.close()


# -- the end ---------------------------------------------------------------------------------------


def test_who_else_has_replaced_close(loop, context):
    """Before the first stream, or while there are streams."""
    calls = []

    def replaced(close, name):
        return lambda: (calls.append(name), close())

    loop.close = replaced(loop.close, "before")
    stream = ZMQStream(pair(context)[0], loop)
    loop.close = replaced(loop.close, "after")
    loop.close()
    assert loop.is_closed()
    assert calls == ["after", "before"]
    with pytest.raises(RuntimeError, match="loop of this stream is closed"):
        stream.send(b"x")
    stream.close()
    del loop.close


@pytest.mark.parametrize("ran", [True, False])
def test_the_streams_are_closed_first(loop, context, ran):
    """The loop is closed before it has polled again, in whatever thread."""
    stream = ZMQStream(pair(context)[0], loop)
    if ran:
        finish(loop, asyncio.sleep(0))
    stream.close()
    in_thread(loop.close)
    assert loop.is_closed()


def test_the_descriptor_is_closed_with_the_loop(loop, context):
    pair(context)  # libzmq's threads have some of their own
    before = polls()
    stream = ZMQStream(pair(context)[0], loop)
    assert polls() == before + 1
    loop.close()
    assert polls() == before - 1  # libuv's, too
    stream.close()


def test_the_last_stream_is_closed_in_another_thread(loop, context):
    first, peer = pair(context)
    stream = ZMQStream(first, loop)
    finish(loop, exchange(stream, peer))
    in_thread(stream.close)
    finish(loop, asyncio.sleep(0))
    assert not is_hooked(loop)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_loop_that_is_dropped_with_its_streams(context):
    """uvloop keeps one that has run, and leaves libuv's part of the others where it is."""
    loop = uvloop.new_event_loop()
    stream = ZMQStream(pair(context)[0], loop)
    stream.on_recv(lambda message: stream)
    references = [weakref.ref(loop), weakref.ref(stream), weakref.ref(eventloop.reactor_of(loop))]
    loop = stream = None
    gc.collect()
    assert [reference() for reference in references] == [None] * 3


def test_close_of_its_class(context):
    """It does not come by our own close(): uvloop reports our handles, and raises."""
    loop = uvloop.new_event_loop()
    reported = []
    loop.set_exception_handler(lambda _, context: reported.append(context["message"]))
    stream = ZMQStream(pair(context)[0], loop)
    with pytest.raises(OSError, match="busy"):
        uvloop.Loop.close(loop)
    assert set(reported) == {"handle.data is NULL in __close_all_handles_cb"}
    stream.close()


@pytest.mark.skipif(FREE_THREADED, reason="only the loop's thread may make streams")
def test_a_stream_made_while_the_loop_loses_its_last_one(loop, monkeypatch):
    """The hook leaves the loop in one thread while another thread makes a stream."""
    context = zmq.Context()
    made = []

    def make():
        first, second = pair(context)
        made.append((ZMQStream(first, loop), second))

    class Selector(selectors.DefaultSelector):
        def close(self):
            if not made:
                other = threading.Thread(target=make)
                other.start()
                other.join(0.1)  # it must wait until this has ended
            super().close()

    monkeypatch.setattr(selectors, "DefaultSelector", Selector)
    first, second = pair(context)
    ZMQStream(first, loop).close()
    second.close()
    loop.run_until_complete(asyncio.sleep(0))
    while not made:
        loop.run_until_complete(asyncio.sleep(0.001))
    [(stream, peer)] = made
    finish(loop, exchange(stream, peer))
    stream.close()
    peer.close()
    context.term()
