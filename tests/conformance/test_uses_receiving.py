"""on_recv() and its kin: callbacks of every kind, frames, callbacks that come and go."""

import asyncio
import functools
import inspect
import threading

import pytest
import zmq
from tornado import gen

TIMEOUT = 20  # seconds


# -- frames ---------------------------------------------------------------------------------------


def test_frames_of_a_protocol(home):
    """jupyter_client's Session, with copy=False: find the delimiter, take bytes and buffers."""
    router, dealer = home.socket(zmq.ROUTER), home.socket(zmq.DEALER, identity=b"client")
    dealer.connect(f"tcp://127.0.0.1:{router.bind_to_random_port('tcp://127.0.0.1')}")
    stream = home.stream(router)
    got = home.recorder()

    def feed_identities(frames):
        index = next(i for i, frame in enumerate(frames) if frame.bytes == b"<IDS|MSG>")
        identities, rest = frames[:index], frames[index + 1 :]
        got.append(([frame.bytes for frame in identities], rest))

    stream.on_recv(feed_identities, copy=False)
    dealer.send_multipart([b"<IDS|MSG>", b"signature", b"{}", b"x" * 100_000])
    dealer.send_multipart([b"<IDS|MSG>", b"", b"{}", b""])
    home.wait(got, 2)
    assert got[0][0] == got[1][0] == [b"client"]
    signature, content, buffer = got[0][1]
    assert isinstance(buffer, zmq.Frame)
    assert (bytes(signature), len(buffer)) == (b"signature", 100_000)
    assert content.buffer == memoryview(b"{}")
    assert memoryview(buffer)[-1] == ord("x")
    assert [frame.more for frame in got[0][1]] == [True, True, False]
    assert got[1][1][0].bytes == got[1][1][2].bytes == b""


def test_buffers_outlive_callback_and_stream(home):
    """ipyparallel's results: arrays on the memory of frames."""
    socket, peer = home.pair()
    stream = home.stream(socket)
    kept = home.recorder()
    stream.on_recv(lambda frames: kept.append(frames[0].buffer), copy=False)
    sent = [bytes([i]) * size for i, size in enumerate((0, 1, 33, 34, 1000, 1_000_000))]
    for frame in sent:
        peer.send(frame)
    home.wait(kept, len(sent))
    stream.close()
    peer.close()
    assert [bytes(buffer) for buffer in kept] == sent


def test_threads_get_frames(home):
    """The message is a callback's to give away: another thread reads it later."""
    socket, peer = home.pair()
    stream = home.stream(socket)
    read = []
    threads = home.recorder()

    def callback(frames):
        thread = threading.Thread(target=lambda: read.append([f.bytes for f in frames]))
        threads.append(thread)

    stream.on_recv(callback, copy=False)
    for i in range(5):
        peer.send_multipart([b"%d" % i, b"x" * 10_000])
    home.wait(threads, 5)
    stream.close()
    for thread in threads:
        thread.start()
        thread.join()
    assert read == [[b"%d" % i, b"x" * 10_000] for i in range(5)]


# -- callbacks of every kind ----------------------------------------------------------------------


class Handlers:
    """Ways to be called with a message; each appends to `got`."""

    def __init__(self, got):
        self.got = got

    def method(self, msg):
        self.got.append(msg)

    async def coroutine_method(self, msg):
        await asyncio.sleep(0)
        self.got.append(msg)

    def with_arguments(self, first, msg, last=None):
        assert (first, last) == (1, 2)
        self.got.append(msg)

    async def coroutine_with_arguments(self, first, msg, last=None):
        self.with_arguments(first, msg, last)

    @gen.coroutine
    def tornado_coroutine(self, msg):
        yield asyncio.sleep(0)
        self.got.append(msg)

    def wrapped(self, msg):
        """As ipyparallel's log_errors and ipykernel's _async_in_context."""

        @functools.wraps(self.coroutine_method)
        async def run_in_context(*args):
            return await asyncio.ensure_future(self.coroutine_method(*args))

        return run_in_context(msg)

    def task(self, msg):
        return asyncio.ensure_future(self.coroutine_method(msg))

    async def __call__(self, msg):
        self.got.append(msg)


@pytest.mark.parametrize(
    "make",
    [
        lambda h: h.got.append,
        lambda h: h.method,
        lambda h: h.coroutine_method,
        lambda h: lambda msg: h.method(msg),
        lambda h: functools.partial(h.with_arguments, 1, last=2),
        lambda h: functools.partial(h.coroutine_with_arguments, 1, last=2),
        lambda h: functools.partial(functools.partial(h.with_arguments, last=2), 1),
        lambda h: h.tornado_coroutine,
        lambda h: h.wrapped,
        lambda h: h.task,
        lambda h: h,
    ],
    ids=[
        "builtin", "method", "coroutine method", "lambda", "partial", "partial of coroutine",
        "partial of partial", "tornado coroutine", "wrapped", "task", "callable object",
    ],
)  # fmt: skip
def test_callbacks_of_every_kind(home, make):
    socket, peer = home.pair()
    stream = home.stream(socket)
    got = home.recorder()
    stream.on_recv(make(Handlers(got)))
    for i in range(10):
        peer.send(b"%d" % i)
    assert home.wait(got, 10) == [[b"%d" % i] for i in range(10)]


def test_a_coroutine_that_takes_a_lock(home):
    """ipykernel 7: one message at a time, in order, though each is a task."""
    socket, peer = home.pair()
    stream = home.stream(socket)
    trace = home.recorder()
    lock = None

    async def handler(msg):
        nonlocal lock
        lock = lock or asyncio.Lock()
        async with lock:
            trace.append(("begin", msg[0]))
            await asyncio.sleep(0)
            trace.append(("end", msg[0]))

    assert inspect.iscoroutinefunction(handler)
    stream.on_recv(handler)
    for i in range(10):
        peer.send(b"%d" % i)
    home.wait(trace, 20)
    assert trace == [(what, b"%d" % i) for i in range(10) for what in ("begin", "end")]


def test_not_callable(home):
    """pyzmq asserts."""
    stream = home.stream(home.socket(zmq.PULL))
    for register in (stream.on_recv, stream.on_send):
        register(lambda *args: None)
        for wrong in (1, zmq):
            with pytest.raises(AssertionError):
                register(wrong)
    stream.on_recv(None)


# -- callbacks that come and go -------------------------------------------------------------------


def test_a_future_for_the_next_message(home):
    """circus' client: on_recv(future.set_result), for each answer anew."""
    socket, peer = home.pair(zmq.DEALER, zmq.ROUTER)
    stream = home.stream(socket)

    async def call(request):
        sent = home.loop.create_future()
        stream.send(request, callback=lambda msg, status: sent.set_result(msg))
        assert await sent == [request]
        client, received = peer.recv_multipart()
        peer.send_multipart([client, b"answer to " + received])
        answer = home.loop.create_future()
        stream.on_recv(answer.set_result)
        return await answer

    for i in range(5):
        assert home.run(call(b"%d" % i)) == [b"answer to %d" % i]


def test_requests_one_at_a_time(home):
    """A client on a REQ socket: on_send() begins to receive, the reply ends that."""
    socket, peer = home.pair(zmq.REQ, zmq.REP)
    stream = home.stream(socket)
    server = home.stream(peer)
    server.on_recv(lambda msg: server.send(b"re: " + msg[0]))
    waiting = [b"%d" % i for i in range(10)]
    replies = home.recorder()

    def on_send(msg, status):
        assert status is None
        stream.on_recv(on_reply)

    def on_reply(msg):
        stream.on_recv(None)
        replies.append(msg[0])
        if waiting:
            stream.send(waiting.pop(0))

    stream.on_send(on_send)
    stream.send(waiting.pop(0))
    assert home.wait(replies, 10) == [b"re: %d" % i for i in range(10)]
    assert not stream.receiving()


def test_paused_while_there_is_nobody_to_serve(home):
    """ipyparallel's scheduler accepts no tasks without engines; what came meanwhile is kept."""
    socket, peer = home.pair(zmq.ROUTER, zmq.DEALER, transport="tcp")
    stream = home.stream(socket)
    got = home.recorder()
    for i in range(3):
        stream.on_recv(got.append, copy=False)
        peer.send(b"served %d" % i)
        home.wait(got, 2 * i + 1)
        stream.stop_on_recv()
        assert not stream.receiving()
        peer.send(b"kept %d" % i)
        assert socket.poll(TIMEOUT * 1000)
        home.settle()
        assert len(got) == 2 * i + 1
        stream.on_recv(got.append, copy=False)
        assert home.wait(got, 2 * i + 2)[-1][-1].bytes == b"kept %d" % i
        stream.on_recv(None)


def test_messages_of_several_channels_are_buffered_and_replayed(home):
    """jupyter_server: named streams, one callback for all; partials while nobody is connected."""
    channels, peers = {}, {}
    for name in ("iopub", "shell", "control", "stdin"):
        socket, peers[name] = home.pair()
        channels[name] = home.stream(socket)
        channels[name].channel = name
    got, buffered = home.recorder(), home.recorder()

    def on_message(stream, msg):
        got.append((getattr(stream, "channel", None), msg))

    for stream in channels.values():
        stream.on_recv_stream(on_message)
    for name, peer in peers.items():
        peer.send(b"live " + name.encode())
    home.wait(got, 4)
    assert sorted(got) == sorted((name, [b"live " + name.encode()]) for name in channels)

    def buffer_message(channel, msg):
        buffered.append((channel, msg))

    for name, stream in channels.items():
        stream.on_recv(functools.partial(buffer_message, name))
    for name, peer in peers.items():
        peer.send(b"late " + name.encode())
    home.wait(buffered, 4)
    assert len(got) == 4
    for name, msg in buffered:
        on_message(channels[name], msg)
    for stream in channels.values():
        stream.on_recv_stream(on_message)
    assert sorted(got[4:]) == sorted((name, [b"late " + name.encode()]) for name in channels)
    for stream in channels.values():
        if not stream.closed():
            stream.on_recv(None)
            stream.close()


def test_the_reply_closes_its_stream(home, io_loop):
    """jupyter_server: a stream for one question; the answer ends its time limit and closes it."""
    socket, peer = home.pair()
    stream = home.stream(socket)
    answered = home.recorder()

    def finish():
        if not stream.closed():
            stream.close()
        io_loop.remove_timeout(limit)

    def on_reply(msg):
        finish()
        answered.append(msg)

    limit = io_loop.call_later(TIMEOUT, lambda: pytest.fail("too late"))
    stream.send(b"kernel_info_request")
    stream.on_recv(on_reply)
    home.drained(stream)
    assert peer.recv() == b"kernel_info_request"
    peer.send(b"kernel_info_reply")
    peer.send(b"another")
    home.wait(answered)
    home.settle()
    finish()
    assert answered == [[b"kernel_info_reply"]]


def test_the_first_message_ends_a_callback_and_a_timer_asks_again(home, io_loop):
    """jupyter_server's nudge: ask in intervals until both channels have answered."""
    (shell_socket, shell), (iopub_socket, iopub) = home.pair(), home.pair()
    shell_stream, iopub_stream = home.stream(shell_socket), home.stream(iopub_socket)
    info, activity = home.loop.create_future(), home.loop.create_future()
    asked = []

    def on_iopub(msg):
        iopub_stream.stop_on_recv()
        activity.set_result(msg)

    def on_shell(msg):
        if not info.done():
            info.set_result(msg)

    def nudge(count):
        if info.done() and activity.done():
            return
        asked.append(count)
        shell_stream.send(b"%d" % count)
        if count == 3:
            shell.send(b"reply")
            shell.send(b"reply")
            iopub.send(b"status")
            iopub.send(b"kept for the next callback")
        io_loop.call_later(0, nudge, count + 1)

    async def both():
        return await asyncio.gather(info, activity)

    iopub_stream.on_recv(on_iopub)
    shell_stream.on_recv(on_shell)
    io_loop.call_later(0, nudge, count=0)
    assert home.run(both()) == [[b"reply"], [b"status"]]
    assert asked[:4] == [0, 1, 2, 3]
    later = home.recorder()
    iopub_stream.on_recv(later.append)
    assert home.wait(later) == [[b"kept for the next callback"]]
