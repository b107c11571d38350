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


def test_frames_of_a_protocol(backend):
    """jupyter_client's Session, with copy=False: find the delimiter, take bytes and buffers."""
    router, dealer = backend.socket(zmq.ROUTER), backend.socket(zmq.DEALER, identity=b"client")
    dealer.connect(f"tcp://127.0.0.1:{router.bind_to_random_port('tcp://127.0.0.1')}")
    stream = backend.stream(router)
    got = backend.recorder()

    def feed_identities(frames):
        index = next(i for i, frame in enumerate(frames) if frame.bytes == b"<IDS|MSG>")
        identities, rest = frames[:index], frames[index + 1 :]
        got.append(([frame.bytes for frame in identities], rest))

    stream.on_recv(feed_identities, copy=False)
    dealer.send_multipart([b"<IDS|MSG>", b"signature", b"{}", b"x" * 100_000])
    dealer.send_multipart([b"<IDS|MSG>", b"", b"{}", b""])
    backend.wait(got, 2)
    assert got[0][0] == got[1][0] == [b"client"]
    signature, content, buffer = got[0][1]
    assert isinstance(buffer, zmq.Frame)
    assert (bytes(signature), len(buffer)) == (b"signature", 100_000)
    assert content.buffer == memoryview(b"{}")
    assert memoryview(buffer)[-1] == ord("x")
    assert [frame.more for frame in got[0][1]] == [True, True, False]
    assert got[1][1][0].bytes == got[1][1][2].bytes == b""


def test_buffers_outlive_callback_and_stream(backend):
    """ipyparallel's results: arrays on the memory of frames."""
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    kept = backend.recorder()
    stream.on_recv(lambda frames: kept.append(frames[0].buffer), copy=False)
    sent = [bytes([i]) * size for i, size in enumerate((0, 1, 33, 34, 1000, 1_000_000))]
    for frame in sent:
        peer.send(frame)
    backend.wait(kept, len(sent))
    stream.close()
    peer.close()
    assert [bytes(buffer) for buffer in kept] == sent


def test_threads_get_frames(backend):
    """The message is a callback's to give away: another thread reads it later."""
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    read = []
    threads = backend.recorder()

    def callback(frames):
        thread = threading.Thread(target=lambda: read.append([f.bytes for f in frames]))
        threads.append(thread)

    stream.on_recv(callback, copy=False)
    for i in range(5):
        peer.send_multipart([b"%d" % i, b"x" * 10_000])
    backend.wait(threads, 5)
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
def test_callbacks_of_every_kind(backend, make):
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    got = backend.recorder()
    stream.on_recv(make(Handlers(got)))
    for i in range(10):
        peer.send(b"%d" % i)
    assert backend.wait(got, 10) == [[b"%d" % i] for i in range(10)]


def test_a_coroutine_that_takes_a_lock(backend):
    """ipykernel 7: one message at a time, in order, though each is a task."""
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    trace = backend.recorder()
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
    backend.wait(trace, 20)
    assert trace == [(what, b"%d" % i) for i in range(10) for what in ("begin", "end")]


def test_not_callable(backend):
    """pyzmq asserts."""
    stream = backend.stream(backend.socket(zmq.PULL))
    for register in (stream.on_recv, stream.on_send):
        register(lambda *args: None)
        for wrong in (1, zmq):
            with pytest.raises(AssertionError):
                register(wrong)
    stream.on_recv(None)


# -- callbacks that come and go -------------------------------------------------------------------


def test_a_future_for_the_next_message(backend):
    """circus' client: on_recv(future.set_result), for each answer anew."""
    socket, peer = backend.pair(zmq.DEALER, zmq.ROUTER)
    stream = backend.stream(socket)

    async def call(request):
        sent = backend.loop.create_future()
        stream.send(request, callback=lambda msg, status: sent.set_result(msg))
        assert await sent == [request]
        client, received = peer.recv_multipart()
        peer.send_multipart([client, b"answer to " + received])
        answer = backend.loop.create_future()
        stream.on_recv(answer.set_result)
        return await answer

    for i in range(5):
        assert backend.run(call(b"%d" % i)) == [b"answer to %d" % i]


def test_requests_one_at_a_time(backend):
    """A client on a REQ socket: on_send() begins to receive, the reply ends that."""
    socket, peer = backend.pair(zmq.REQ, zmq.REP)
    stream = backend.stream(socket)
    server = backend.stream(peer)
    server.on_recv(lambda msg: server.send(b"re: " + msg[0]))
    waiting = [b"%d" % i for i in range(10)]
    replies = backend.recorder()

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
    assert backend.wait(replies, 10) == [b"re: %d" % i for i in range(10)]
    assert not stream.receiving()


def test_paused_while_there_is_nobody_to_serve(backend):
    """ipyparallel's scheduler accepts no tasks without engines; what came meanwhile is kept."""
    socket, peer = backend.pair(zmq.ROUTER, zmq.DEALER, transport="tcp")
    stream = backend.stream(socket)
    got = backend.recorder()
    for i in range(3):
        stream.on_recv(got.append, copy=False)
        peer.send(b"served %d" % i)
        backend.wait(got, 2 * i + 1)
        stream.stop_on_recv()
        assert not stream.receiving()
        peer.send(b"kept %d" % i)
        assert socket.poll(TIMEOUT * 1000)
        backend.settle()
        assert len(got) == 2 * i + 1
        stream.on_recv(got.append, copy=False)
        assert backend.wait(got, 2 * i + 2)[-1][-1].bytes == b"kept %d" % i
        stream.on_recv(None)


def test_messages_of_several_channels_are_buffered_and_replayed(backend):
    """jupyter_server: named streams, one callback for all; partials while nobody is connected."""
    channels, peers = {}, {}
    for name in ("iopub", "shell", "control", "stdin"):
        socket, peers[name] = backend.pair()
        channels[name] = backend.stream(socket)
        channels[name].channel = name
    got, buffered = backend.recorder(), backend.recorder()

    def on_message(stream, msg):
        got.append((getattr(stream, "channel", None), msg))

    for stream in channels.values():
        stream.on_recv_stream(on_message)
    for name, peer in peers.items():
        peer.send(b"live " + name.encode())
    backend.wait(got, 4)
    assert sorted(got) == sorted((name, [b"live " + name.encode()]) for name in channels)

    def buffer_message(channel, msg):
        buffered.append((channel, msg))

    for name, stream in channels.items():
        stream.on_recv(functools.partial(buffer_message, name))
    for name, peer in peers.items():
        peer.send(b"late " + name.encode())
    backend.wait(buffered, 4)
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


def test_the_reply_closes_its_stream(backend, io_loop):
    """jupyter_server: a stream for one question; the answer ends its time limit and closes it."""
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    answered = backend.recorder()

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
    backend.drained(stream)
    assert peer.recv() == b"kernel_info_request"
    peer.send(b"kernel_info_reply")
    peer.send(b"another")
    backend.wait(answered)
    backend.settle()
    finish()
    assert answered == [[b"kernel_info_reply"]]


def test_the_first_message_ends_a_callback_and_a_timer_asks_again(backend, io_loop):
    """jupyter_server's nudge: ask in intervals until both channels have answered."""
    (shell_socket, shell), (iopub_socket, iopub) = backend.pair(), backend.pair()
    shell_stream, iopub_stream = backend.stream(shell_socket), backend.stream(iopub_socket)
    info, activity = backend.loop.create_future(), backend.loop.create_future()
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
    assert backend.run(both()) == [[b"reply"], [b"status"]]
    assert asked[:4] == [0, 1, 2, 3]
    later = backend.recorder()
    iopub_stream.on_recv(later.append)
    assert backend.wait(later) == [[b"kept for the next callback"]]
