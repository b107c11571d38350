"""EventLoop: run() and new_event_loop(), and a loop's life."""

import asyncio
import concurrent.futures
import gc
import os
import signal
import sys
import threading
import weakref

import pytest
import zmq

import zmqstream
from support import TIMEOUT
from support.loops import busy, pair, run, until
from zmqstream import EventLoop, IOLoop, ZMQStream, eventloop

pytestmark = pytest.mark.usefixtures("poller")


@pytest.fixture
def loop(event_loop):
    return event_loop


# -- run() and new_event_loop() -------------------------------------------------------------------


def test_run():
    loops = []

    async def main(value):
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(0)
        return value

    assert zmqstream.run(main("result")) == "result"
    assert type(loops[0]) is EventLoop
    assert loops[0].is_closed()
    zmqstream.run(main(None))
    assert loops[0] is not loops[1]


def test_run_raises():
    async def main():
        raise LookupError("of main")

    with pytest.raises(LookupError, match="of main"):
        zmqstream.run(main())
    with pytest.raises((ValueError, TypeError), match="coroutine"):
        zmqstream.run(main)


def test_run_in_a_running_loop():
    async def main():
        coroutine = asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="running event loop"):
            zmqstream.run(coroutine)
        coroutine.close()

    run(main)


def test_run_ends_what_main_left_behind(context):
    ended = []

    async def task(name):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async def generator():
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            ended.append("generator")

    async def main():
        held.append(asyncio.create_task(task("task")))
        held.append(generator())
        assert await anext(held[-1]) == 1
        await asyncio.sleep(0)
        with busy(context):
            await asyncio.to_thread(ended.append, "thread")
            await asyncio.sleep(0)  # Python 3.14 does not wait for a thread that has ended

    held = []
    run(main)
    assert sorted(ended) == ["generator", "task", "thread"]
    assert held[0].cancelled()


def test_run_as_in_python_3_10(context, caplog):
    ended = []

    async def task():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append(asyncio.get_running_loop())
            raise LookupError("in shutdown") from None

    async def main():
        held.append(asyncio.create_task(task()))
        with busy(context):
            await asyncio.to_thread(len, "abc")
            await asyncio.sleep(0)
        return asyncio.get_running_loop().get_debug()

    held = []
    assert eventloop._run_as_3_10(main(), True) is True
    assert [type(loop) for loop in ended] == [EventLoop]
    assert ended[0].is_closed()
    assert "in shutdown" in caplog.text
    with pytest.raises(ValueError, match="coroutine"):
        eventloop._run_as_3_10(main, None)


def test_run_debug(context):
    async def main():
        loop = asyncio.get_running_loop()
        with busy(context):
            with pytest.raises(RuntimeError, match=r"[Nn]on-thread-safe"):
                await asyncio.to_thread(loop.call_soon, print)
            await asyncio.sleep(0.002)
        return loop.get_debug()

    assert run(main, debug=True) is True
    assert run(main_without_debug, debug=False) is False


async def main_without_debug():
    return asyncio.get_running_loop().get_debug()


def test_debug_mode_tells_of_slow_callbacks(context, caplog):
    async def main():
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = 0
        with busy(context):
            await asyncio.sleep(0)

    run(main, debug=True)
    assert any("Executing" in record.getMessage() for record in caplog.records)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.Runner is new in 3.11")
def test_asyncio_runner(context):
    async def main(value):
        with busy(context):
            await asyncio.sleep(0.002)
        return value, asyncio.get_running_loop()

    with asyncio.Runner(loop_factory=zmqstream.new_event_loop) as runner:
        results = [runner.run(main(i)) for i in range(3)]
    assert [value for value, _ in results] == [0, 1, 2]
    assert len({loop for _, loop in results}) == 1
    assert type(results[0][1]) is EventLoop


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.Runner is new in 3.11")
def test_control_c_cancels_main(context):
    ended = []

    async def main():
        socket, _ = pair(context)
        stream = ZMQStream(socket)
        stream.on_recv(print)
        thread.start()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(stream.closed())
            stream.close()

    thread = threading.Thread(
        target=lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    )
    with pytest.raises(KeyboardInterrupt):
        zmqstream.run(main())
    thread.join()
    assert ended == [False]


def test_the_poller(monkeypatch):
    monkeypatch.setenv("ZMQSTREAM_POLLER", "kqueue")
    with pytest.raises(ValueError, match="kqueue"):
        EventLoop()
    monkeypatch.delenv("ZMQSTREAM_POLLER")
    assert eventloop.poller() == ("epoll" if sys.platform == "linux" else "selectors")


def test_where_there_is_no_epoll(monkeypatch, poller):
    monkeypatch.delattr("selectors.EpollSelector", raising=False)
    if poller == "epoll":
        with pytest.raises(ValueError, match="no epoll"):
            eventloop.poller()
    monkeypatch.delenv("ZMQSTREAM_POLLER")
    assert eventloop.poller() == "selectors"


# -- a loop's life --------------------------------------------------------------------------------


def test_a_stream_on_a_loop_that_runs_later(context, loop):
    socket, peer = pair(context)
    stream = ZMQStream(socket, loop)
    stream.on_recv(stream.send_multipart)
    peer.send(b"before the loop ran")
    stream.send(b"queued before")

    async def main():
        await until(lambda: peer.poll(0))
        return peer.recv()

    assert loop.run_until_complete(main()) == b"queued before"
    assert loop.run_until_complete(main()) == b"before the loop ran"
    stream.close()


def test_a_loop_that_runs_again_and_again(context, loop):
    socket, peer = pair(context)
    stream = ZMQStream(socket, loop)
    got = []
    stream.on_recv(got.append)
    for i in range(20):
        peer.send(b"%d" % i)
        loop.run_until_complete(until(lambda i=i: len(got) == i + 1))
    assert got == [[b"%d" % i] for i in range(20)]
    stream.close()


@pytest.mark.parametrize("own", [True, False])
def test_a_loop_that_is_closed_before_its_streams(context, own):
    loop = EventLoop() if own else asyncio.SelectorEventLoop()
    (socket, peer), (other, _) = pair(context), pair(context)
    closed = []
    stream, idle = ZMQStream(socket, loop), ZMQStream(other, loop)
    got = []
    stream.on_recv(got.append)
    stream.set_close_callback(lambda: closed.append(True))
    peer.send(b"first")
    loop.run_until_complete(until(lambda: got))
    stream.send(b"queued")
    loop.close()
    with pytest.raises(RuntimeError, match=r"loop.*closed"):
        stream.send(b"x")
    with pytest.raises(RuntimeError, match=r"loop.*closed"):
        stream.on_recv(got.append)
    with pytest.raises(RuntimeError, match=r"loop.*closed"):
        ZMQStream(context.socket(zmq.PULL), loop)
    peer.send(b"second")
    assert socket.poll(TIMEOUT * 1000)
    assert stream.flush() == 2
    assert got == [[b"first"], [b"second"]]
    assert peer.recv() == b"queued"
    assert not stream.closed()
    stream.close()
    idle.close()
    assert stream.closed()
    assert socket.closed
    assert closed == [True]


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_streams_of_a_closed_loop_may_be_dropped(context):
    loop = EventLoop()
    streams = [ZMQStream(pair(context)[0], loop) for _ in range(5)]
    gone = [weakref.ref(stream) for stream in streams]
    loop.close()
    assert len(loop._reactor) == 0
    del streams
    gc.collect()
    assert [ref() for ref in gone] == [None] * 5


def test_a_running_loop_is_not_closed(context):
    async def main():
        with busy(context) as hits:
            with pytest.raises(RuntimeError, match="running"):
                asyncio.get_running_loop().close()
            count = len(hits)
            await until(lambda: len(hits) > count)

    run(main)


def test_closing_twice(loop):
    loop.close()
    loop.close()
    assert loop.is_closed()
    with pytest.raises(RuntimeError, match="closed"):
        loop.run_forever()


def test_a_closed_loop_leaves_no_descriptor(context, poller):
    def descriptors():
        return len(os.listdir("/proc/self/fd" if sys.platform == "linux" else "/dev/fd"))

    socket, _ = pair(context)
    gc.collect()
    before = descriptors()
    for _ in range(5):
        loop = EventLoop()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
    assert descriptors() == before


def test_three_loops_in_three_threads(context):
    """Each with its own reactor, streams and wake-ups, all at once."""
    barrier = threading.Barrier(3)

    async def main():
        loop = asyncio.get_running_loop()
        socket, peer = pair(context)
        stream, other = ZMQStream(socket), ZMQStream(peer)
        got, done = [], asyncio.Event()
        assert stream.io_loop.asyncio_loop is IOLoop.current().asyncio_loop

        def callback(message):
            got.append(message)
            if len(got) == 200:
                done.set()
            else:
                stream.send_multipart(message)

        stream.on_recv(callback)
        other.on_recv(other.send_multipart)
        await loop.run_in_executor(None, barrier.wait, TIMEOUT)
        stream.send(b"%d" % threading.get_ident())
        await done.wait()
        assert set(map(tuple, got)) == {(b"%d" % threading.get_ident(),)}
        stream.close()
        other.close()
        return len(got)

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        results = [pool.submit(run, main) for _ in range(3)]
        assert [result.result(TIMEOUT) for result in results] == [200] * 3


class UnboundLoop(EventLoop):
    """As if asyncio's private attributes, which the reactor looks at, did not exist."""

    def __init__(self):
        selector = eventloop.ReactorSelector(self)
        asyncio.SelectorEventLoop.__init__(self, selector)
        self._reactor = selector.reactor
        self._pid = selector.pid


def test_without_asyncios_private_attributes(context):
    async def main():
        loop = asyncio.get_running_loop()
        got, done = [], loop.create_future()
        with busy(context) as hits:
            loop.call_later(0.003, got.append, 2)
            loop.call_soon(got.append, 1)
            loop.call_later(0.006, done.set_result, None)
            await done
            count = len(hits)
            await until(lambda: len(hits) > count + 100)
            assert await asyncio.to_thread(len, "abc") == 3
        assert got == [1, 2]

    loop = UnboundLoop()
    loop.run_until_complete(asyncio.wait_for(main(), TIMEOUT))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def test_a_callback_that_raises_keyboard_interrupt(context, loop):
    socket, peer = pair(context)
    stream = ZMQStream(socket, loop)
    got = []

    def callback(message):
        got.append(message)
        if len(got) == 2:
            raise KeyboardInterrupt
        if len(got) == 4:
            loop.stop()

    stream.on_recv(callback)
    for i in range(4):
        peer.send(b"%d" % i)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    loop.run_forever()
    assert got == [[b"%d" % i] for i in range(4)]
    stream.close()
