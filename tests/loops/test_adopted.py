"""Selector loops of asyncio's, Tornado's among them: the first stream makes the selector ours.

What is true of uvloop's loops, too, is tested here with both.
"""

import asyncio
import contextlib
import gc
import os
import selectors
import socket as sockets
import threading
import weakref

import pytest
import zmq
from tornado.ioloop import IOLoop as TornadoLoop

import zmqstream
from support import FREE_THREADED, TIMEOUT
from support.backends import POLLERS
from support.children import run_script
from support.loops import in_thread, pair
from zmqstream import ZMQStream, eventloop


@pytest.fixture(params=POLLERS, autouse=True)
def poller(request, monkeypatch):
    monkeypatch.setenv("ZMQSTREAM_POLLER", request.param)
    return request.param


def new_loop(kind):
    if kind == "hooked":
        return pytest.importorskip("uvloop").new_event_loop()
    return asyncio.SelectorEventLoop()


@pytest.fixture
def loop(kind, monkeypatch):
    if kind == "guest":
        monkeypatch.setenv("ZMQSTREAM_LOOP", "guest")
    loop = new_loop(kind)
    errors = []
    loop.set_exception_handler(lambda _, context: errors.append(context))
    yield loop
    if not loop.is_closed():
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    assert errors == []


@pytest.fixture
def kind():
    """How the loop will be served."""
    return "adopted"


both = pytest.mark.parametrize("kind", ["adopted", "hooked"])


def served(loop):
    return eventloop.reactor_of(loop).kind


def finish(loop, future):
    return loop.run_until_complete(asyncio.wait_for(future, TIMEOUT))


def works(loop, stream, peer):
    """A message to and fro."""
    came = loop.create_future()
    stream.on_recv(came.set_result)
    peer.send(b"to")
    assert finish(loop, came) == [b"to"]
    sent = loop.create_future()
    stream.send(b"fro", callback=lambda *_: sent.set_result(None))
    finish(loop, sent)
    return peer.recv() == b"fro"


# -- which loops -----------------------------------------------------------------------------------


class Derived(asyncio.SelectorEventLoop):
    """With nothing that concerns us, as programs do for a name or a counter."""

    def create_task(self, *args, **kwargs):
        return super().create_task(*args, **kwargs)

    def close(self):
        super().close()


class OtherRounds(asyncio.SelectorEventLoop):
    def _run_once(self):
        super()._run_once()


class OtherReaders(asyncio.SelectorEventLoop):
    def add_reader(self, *args):
        super().add_reader(*args)


class OtherSelector(selectors.DefaultSelector):
    pass


def patched_loop():
    loop = asyncio.SelectorEventLoop()
    loop._run_once = loop._run_once
    return loop


def patched_selector():
    """As tools do that measure how long a loop sleeps."""
    loop = asyncio.SelectorEventLoop()
    loop._selector.select = loop._selector.select
    return loop


@pytest.mark.parametrize(
    "make",
    [
        asyncio.SelectorEventLoop,
        asyncio.new_event_loop,
        Derived,
        lambda: TornadoLoop(make_current=False),
    ],
)
def test_adopted(make, context):
    given = make()
    loop = getattr(given, "asyncio_loop", given)
    before, keys = loop._selector, dict(loop._selector.get_map())
    first, peer = pair(context)
    stream = ZMQStream(first, given)
    reactor = eventloop.reactor_of(loop)
    assert reactor.kind == "adopted"
    assert "adopted loop" in repr(stream)
    assert "adopted" in repr(reactor)
    assert loop._selector is before  # who has looked there has not to look again
    assert isinstance(before, selectors.DefaultSelector)
    assert works(loop, stream, peer)
    assert keys.items() <= dict(loop._selector.get_map()).items()
    stream.close()
    first, peer = pair(context)
    stream = ZMQStream(first, given)  # the loop has remained ours
    assert eventloop.reactor_of(loop) is reactor
    assert works(loop, stream, peer)
    stream.close()
    given.close()


@pytest.mark.parametrize(
    "make",
    [
        OtherRounds,
        OtherReaders,
        patched_loop,
        patched_selector,
        lambda: asyncio.SelectorEventLoop(OtherSelector()),
        lambda: asyncio.SelectorEventLoop(selectors.SelectSelector()),
    ],
)
def test_left_alone(make, context):
    """What is not known to work as asyncio's does."""
    loop = make()
    kind = type(loop._selector)
    first, peer = pair(context)
    stream = ZMQStream(first, loop)
    assert served(loop) == "guest"
    assert "guest loop" in repr(stream)
    assert type(loop._selector) is kind
    assert works(loop, stream, peer)
    stream.close()
    loop.close()


def test_the_attributes_of_the_loop_stay_fast(loop, context):
    """CPython 3.11 and 3.12 have no dict for the attributes of an object until code asks for it."""

    def has_dict():
        return any("_ready" in each for each in gc.get_referents(loop) if type(each) is dict)

    before = has_dict()
    stream = ZMQStream(pair(context)[0], loop)
    assert served(loop) == "adopted"
    assert has_dict() == before
    stream.close()


def test_switched_off(loop, context, monkeypatch):
    monkeypatch.setenv("ZMQSTREAM_LOOP", "guest")
    first, peer = pair(context)
    stream = ZMQStream(first, loop)
    assert served(loop) == "guest"
    assert type(loop._selector) is selectors.DefaultSelector
    assert works(loop, stream, peer)
    stream.close()


def test_switched_to_what_is_not_known(loop, context, monkeypatch):
    monkeypatch.setenv("ZMQSTREAM_LOOP", "own")
    with pytest.raises(ValueError, match='ZMQSTREAM_LOOP must be "guest" or not set'):
        ZMQStream(context.socket(zmq.PULL), loop)


# -- what the loop watches already -----------------------------------------------------------------


@both
def test_everything_goes_on(kind, loop, context):
    """Readers, writers, timers, transports, child processes, threads that wake the loop."""

    async def main():
        first, second = sockets.socketpair()
        reader, writer = await asyncio.open_connection(sock=first)
        second.setblocking(False)
        readable, writable = asyncio.Event(), asyncio.Event()
        read_end, write_end = os.pipe()
        loop.add_reader(read_end, readable.set)
        child = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
        blocked = threading.Event()
        in_executor = loop.run_in_executor(None, blocked.wait, TIMEOUT)
        timer = asyncio.ensure_future(asyncio.sleep(0.01))

        socket, peer = pair(context)
        stream = ZMQStream(socket)
        assert served(loop) == kind

        writer.write(b"written")
        assert await loop.sock_recv(second, 100) == b"written"
        await loop.sock_sendall(second, b"read\n")
        assert await reader.readline() == b"read\n"
        os.write(write_end, b"x")
        await readable.wait()
        loop.add_writer(write_end, writable.set)
        await writable.wait()
        # uvloop returns None
        assert loop.remove_reader(read_end) in (True, None)
        assert loop.remove_writer(write_end) in (True, None)
        assert (await child.communicate(b"cat"))[0] == b"cat"
        blocked.set()
        assert await in_executor
        await timer
        peer.send(b"x")
        assert await stream.recv() == b"x"
        stream.close()
        writer.close()
        await writer.wait_closed()
        second.close()
        os.close(read_end)
        os.close(write_end)

    finish(loop, main())


def test_a_reader_whose_descriptor_was_closed(loop, context):
    """asyncio's selector still knows it, and the operating system does not."""
    first, second = sockets.socketpair()
    loop.add_reader(first, print)
    fd = first.fileno()
    first.close()
    socket, peer = pair(context)
    stream = ZMQStream(socket, loop)
    assert works(loop, stream, peer)
    assert loop.remove_reader(fd)
    second.close()
    stream.close()


# -- in other threads ------------------------------------------------------------------------------


@contextlib.contextmanager
def asleep(loop):
    """The loop runs in a thread, and sleeps in the select() that it has now."""
    thread = threading.Thread(target=loop.run_forever)
    begun = threading.Event()
    loop.call_soon(begun.set)
    thread.start()
    assert begun.wait(TIMEOUT)
    yield thread
    loop.call_soon_threadsafe(loop.stop)
    thread.join(TIMEOUT)
    assert not thread.is_alive()


@pytest.mark.skipif(FREE_THREADED, reason="only the loop's thread may make streams")
@both
@pytest.mark.parametrize("how", ["sends", "receives"])
def test_a_stream_made_by_another_thread(kind, loop, context, how):
    """Its callbacks run in the loop's thread, and nothing waits for another event."""
    first, peer = pair(context)
    threads = []

    def callback(message):
        threads.append(threading.current_thread())
        stream.send_multipart(message)

    with asleep(loop) as thread:
        stream = ZMQStream(first, loop)
        assert served(loop) == kind
        if how == "sends":
            stream.send(b"sent")
            assert peer.recv() == b"sent"
        stream.on_recv(callback)
        for number in range(3):
            peer.send(b"%d" % number)
            assert peer.recv() == b"%d" % number
        assert threads == [thread] * 3
    stream.close()


@pytest.mark.skipif(FREE_THREADED, reason="only the loop's thread may make streams")
@both
def test_streams_made_by_many_threads_at_once(kind, loop, context):
    """The loop gets one reactor."""
    pairs = [pair(context) for _ in range(20)]
    streams = []

    def make(barrier, socket):
        barrier.wait(TIMEOUT)
        stream = ZMQStream(socket, loop)
        stream.on_recv(stream.send_multipart)
        streams.append(stream)

    barrier = threading.Barrier(len(pairs))
    threads = [threading.Thread(target=make, args=(barrier, socket)) for socket, _ in pairs]
    with asleep(loop):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for _, peer in pairs:
            peer.send(b"x")
            assert peer.recv() == b"x"
    assert len(eventloop.reactor_of(loop)) == len(streams) == len(pairs)
    for stream in streams:
        stream.close()


# -- the end ---------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("where", ["here", "in another thread"])
@pytest.mark.parametrize("ran", [True, False])
def test_the_loop_is_closed_first(kind, loop, context, where, ran):
    """Its streams can be flushed and closed, not more, as on our own loop."""
    first, peer = pair(context)
    stream = ZMQStream(first, loop)
    got = []
    stream.on_recv(got.append)
    stream.send(b"queued")
    reactor = eventloop.reactor_of(loop)
    if ran:
        finish(loop, asyncio.sleep(0))
        assert peer.recv() == b"queued"
        stream.send(b"queued")
    if where == "here":
        loop.close()
    else:
        in_thread(loop.close)
    assert len(reactor) == 0
    with pytest.raises(RuntimeError, match="loop of this stream is closed"):
        stream.send(b"x")
    peer.send(b"flushed")
    assert first.poll(TIMEOUT * 1000)
    assert stream.flush() == 2
    assert got == [[b"flushed"]]
    assert peer.recv() == b"queued"
    stream.close()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_loop_that_is_dropped_with_its_streams(context):
    """Garbage: what asyncio closes of it releases the streams."""
    loop = asyncio.SelectorEventLoop()
    socket, _ = pair(context)
    stream = ZMQStream(socket, loop)
    stream.on_recv(lambda message: stream)
    references = [weakref.ref(loop), weakref.ref(stream), weakref.ref(eventloop.reactor_of(loop))]
    finish(loop, asyncio.sleep(0))
    loop = stream = None
    gc.collect()
    assert [reference() for reference in references] == [None] * 3


@both
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("ran", [True, False])
def test_a_closed_loop_and_its_streams_are_garbage(kind, context, ran):
    loop = new_loop(kind)
    stream = ZMQStream(pair(context)[0], loop)
    stream.on_recv(lambda message: stream)
    references = [weakref.ref(loop), weakref.ref(stream)]
    if ran:
        finish(loop, asyncio.sleep(0))
    loop.close()
    loop = stream = None
    gc.collect()
    assert [reference() for reference in references] == [None] * 2


@both
def test_a_closed_loop_leaves_no_cycle_of_ours(kind, context):
    """What Tornado's own tests look for."""
    loop = new_loop(kind)
    stream = ZMQStream(pair(context)[0], loop)
    finish(loop, asyncio.sleep(0))
    stream.close()
    reactor = weakref.ref(eventloop.reactor_of(loop))
    gc.collect()
    gc.disable()
    try:
        loop.close()
        del stream, loop
        assert reactor() is None
    finally:
        gc.enable()


# -- loops inside callbacks ------------------------------------------------------------------------


def by_hand(loop, coroutine):
    """Run the loop although it runs, as old Jupyter kernels do."""
    task = loop.create_task(coroutine)
    queued = len(loop._ready)
    while not task.done():
        current = asyncio.current_task(loop)
        if current is not None:
            asyncio.tasks._leave_task(loop, current)
        try:
            loop._run_once()
        finally:
            if current is not None:
                asyncio.tasks._enter_task(loop, current)
    # The outer loop counted its queue before it ran what is in it, and expects as many.
    for _ in range(queued - len(loop._ready)):
        loop.call_soon(lambda: None)
    return task.result()


@pytest.mark.parametrize("kind", ["adopted", "guest"])
def test_the_loop_runs_inside_a_callback(kind, loop, context):
    """Everything else of the loop goes on: streams, queued sends, tasks, handlers."""
    (a, peer_a), (b, peer_b), (c, peer_c), (d, peer_d) = (pair(context) for _ in range(4))
    one, two, awaited = (ZMQStream(socket, loop) for socket in (a, b, c))
    facade = zmqstream.IOLoop(make_current=False, asyncio_loop=loop)
    got = []
    two.on_recv(lambda message: got.append("stream"))

    async def receive():
        await awaited.recv()
        got.append("task")

    def handler(socket, events):
        socket.recv()
        got.append("handler")

    async def all_of_it():
        while len(got) < 5:
            await asyncio.sleep(0.001)

    def callback(message):
        for peer in (peer_a, peer_b, peer_c, peer_d):
            peer.send(b"inside")
        one.send(b"x", callback=lambda *_: got.append("its own send"))
        two.send(b"x", callback=lambda *_: got.append("send"))
        one.on_recv(lambda message: got.append("itself"))
        by_hand(loop, asyncio.wait_for(all_of_it(), TIMEOUT))
        done.set_result(sorted(got))

    async def main():
        task = asyncio.ensure_future(receive())
        one.on_recv(callback)
        peer_a.send(b"go")
        result = await done
        await task
        return result

    facade.add_handler(d, handler, facade.READ)
    done = loop.create_future()
    repaired = eventloop.reactor_of(loop).repaired
    result = finish(loop, main())
    assert {"stream", "task", "handler", "send"} <= set(result)
    assert eventloop.reactor_of(loop).repaired == repaired
    facade.remove_handler(d)
    for stream in (one, two, awaited):
        stream.close()


@pytest.mark.parametrize("wish", ["", "guest"])
def test_the_loop_runs_inside_a_callback_by_nest_asyncio(wish, monkeypatch):
    """It patches the class of the loop, before the first stream or after it. Nothing is logged."""
    pytest.importorskip("nest_asyncio")
    monkeypatch.setenv("ZMQSTREAM_LOOP", wish)
    assert run_script("""
        import asyncio, nest_asyncio, sys, zmq
        from zmqstream import ZMQStream

        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        loop.set_exception_handler(lambda _, context: print(context))
        came, context = [], zmq.Context()

        def linked(name):
            sockets = context.socket(zmq.PULL), context.socket(zmq.PUSH)
            sockets[0].bind(f"inproc://{name}")
            sockets[1].connect(f"inproc://{name}")
            return ZMQStream(sockets[0]), sockets[1]

        async def until_it_came():
            while not came:
                await asyncio.sleep(0.001)

        def callback(message):
            feed_two.send(b"for two")
            loop.run_until_complete(asyncio.wait_for(until_it_came(), 20))
            loop.stop()

        early, _ = linked("early")
        nest_asyncio.apply(loop)
        (one, feed_one), (two, feed_two) = linked("one"), linked("two")
        one.on_recv(callback)
        two.on_recv(came.append)
        loop.call_later(0.01, feed_one.send, b"go")  # the loop finds it in its poll
        loop.run_forever()
        for stream in (early, one, two):
            stream.close()
        context.destroy(linger=0)
        print(came, repr(one).split()[-2])
    """).splitlines() == [f"[[b'for two']] {wish or 'adopted'}"]
