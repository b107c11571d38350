"""Callbacks of on_recv(): a pause is immediate, and coroutine callbacks run to their end."""

import asyncio
import contextvars
import weakref

import pytest
import zmq

# -- pause and replacement ------------------------------------------------------------------------


@pytest.mark.parametrize("backlog", [1, 10, 500])
def test_pause_is_immediate(backend, backlog):
    """A pause is immediate, in the middle of a turn."""
    socket, peer = backend.pair(rcvhwm=0, sndhwm=0)
    stream = backend.stream(socket)
    first = backend.recorder()

    def once(message):
        stream.on_recv(None)
        first.append(message)

    stream.on_recv(once)
    for i in range(backlog):
        peer.send(b"%d" % i)
    backend.wait(first)
    backend.settle(20)
    assert first == [[b"0"]]
    rest = backend.recorder()
    stream.on_recv(rest.append)
    if backlog > 1:
        backend.wait(rest, backlog - 1)
    assert rest == [[b"%d" % i] for i in range(1, backlog)]


def test_a_replaced_callback_gets_nothing_more(backend):
    socket, peer = backend.pair(rcvhwm=0, sndhwm=0)
    stream = backend.stream(socket)
    got = backend.recorder()

    def odd(message):
        got.append(("odd", int(message[0])))
        stream.on_recv(even)

    def even(message):
        got.append(("even", int(message[0])))
        stream.on_recv(odd)

    stream.on_recv(even)
    for i in range(400):
        peer.send(b"%d" % i)
    backend.wait(got, 400)
    assert got == [("odd" if i % 2 else "even", i) for i in range(400)]


def test_copy_can_change_in_the_middle(backend):
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    got = backend.recorder()

    def callback(message):
        got.append(message)
        stream.on_recv(callback, copy=len(got) % 2 == 0)

    stream.on_recv(callback)
    for _ in range(4):
        peer.send(b"x")
    backend.wait(got, 4)
    assert [type(m[0]) for m in got] == [bytes, zmq.Frame, bytes, zmq.Frame]


def test_pause_from_another_streams_callback(backend):
    a, peer_a = backend.pair(rcvhwm=0, sndhwm=0)
    b, peer_b = backend.pair()
    flooded, other = backend.stream(a), backend.stream(b)
    got, paused = backend.recorder(), backend.recorder()

    def pause(message):
        flooded.on_recv(None)
        paused.append(len(got))

    flooded.on_recv(got.append)
    other.on_recv(pause)
    peer_b.send(b"pause")
    for _ in range(1000):
        peer_a.send(b"x")
    backend.wait(paused)
    backend.settle(20)
    assert len(got) == paused[0]
    flooded.on_recv(got.append)
    backend.wait(got, 1000)
    assert got == [[b"x"]] * 1000


# -- what callbacks run in ------------------------------------------------------------------------

variable = contextvars.ContextVar("variable", default="outside")


@pytest.mark.deviates("pyzmq's callbacks run in the context of the stream's creation")
def test_context_of_registration(backend):
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    seen = backend.recorder()

    def callback(message):
        seen.append(variable.get())
        variable.set("changed by a callback")

    def register(value):
        variable.set(value)
        stream.on_recv(callback)

    contextvars.copy_context().run(register, "first")
    peer.send(b"x")
    backend.wait(seen)
    contextvars.copy_context().run(register, "second")
    peer.send(b"x")
    backend.wait(seen, 2)
    assert seen == ["first", "second"]
    assert variable.get() == "outside"


@pytest.mark.deviates("pyzmq's callbacks run in the context of the stream's creation")
def test_context_when_replaced_in_a_turn(backend):
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    seen = backend.recorder()

    def callback(message):
        seen.append(variable.get())
        contextvars.copy_context().run(register, message[0])

    def register(value):
        variable.set(value)
        stream.on_recv(callback)

    contextvars.copy_context().run(register, b"start")
    for frame in (b"a", b"b", b"c"):
        peer.send(frame)
    backend.wait(seen, 3)
    assert seen == [b"start", b"a", b"b"]


def test_coroutine_callbacks_start_in_order_and_are_held(backend):
    """Coroutine callbacks run to their end: nobody else holds the futures that these wait for."""
    import gc

    socket, peer = backend.pair()
    stream = backend.stream(socket)
    started, ended = backend.recorder(), backend.recorder()
    waiting = weakref.WeakSet()

    async def callback(message):
        started.append(int(message[0]))
        future = asyncio.get_running_loop().create_future()
        waiting.add(future)
        await future
        ended.append(int(message[0]))

    stream.on_recv(callback)
    for i in range(50):
        peer.send(b"%d" % i)
    backend.wait(started, 50)
    gc.collect()
    if not backend.reference:
        assert len(waiting) == 50
    for future in list(waiting):
        future.set_result(None)
    if not backend.reference:
        backend.wait(ended, 50)
    assert started == list(range(50))
    assert sorted(ended) == list(range(len(ended)))


@pytest.mark.ours
def test_what_a_callback_returns_and_the_loop_cannot_await(backend):
    """As a future of another loop. It is reported, and messages come as ever."""
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    got = backend.recorder()
    other = asyncio.new_event_loop()
    future = other.create_future()

    def callback(message):
        got.append(message)
        return future

    stream.on_recv(callback)
    peer.send(b"1")
    peer.send(b"2")
    backend.wait(got, 2)
    for found in backend.expect_errors(ValueError, ValueError):
        assert "starting a coroutine callback of <ZMQStream(zmq.PAIR)" in found["message"]
    other.close()


@pytest.mark.ours
def test_a_callback_that_is_replaced_where_its_reply_is_sent(backend, pair):
    stream, peer = pair
    stream.set_turn_limits(seconds=60)
    got = backend.recorder()

    def answer(message):
        stream.send(b"reply")

    stream.on_recv(answer)
    stream.on_send(lambda message, status: stream.on_recv(got.append))
    for word in (b"1", b"2", b"3"):
        peer.send(word)
    backend.wait(got, 2)
    assert got == [[b"2"], [b"3"]]
    assert peer.recv() == b"reply"


def test_coroutine_sends_its_reply(backend):
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    done = backend.recorder()

    async def callback(message):
        await asyncio.sleep(0)
        stream.send_multipart([b"re", *message])
        done.append(1)

    stream.on_recv(callback)
    peer.send(b"x")
    backend.wait(done)
    backend.drained(stream)
    assert peer.recv_multipart() == [b"re", b"x"]


@pytest.mark.deviates("pyzmq logs the exception of a coroutine callback")
def test_exception_of_a_coroutine_callback(backend):
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    done = backend.recorder()

    async def callback(message):
        done.append(message)
        raise ValueError("coroutine")

    stream.on_recv(callback)
    peer.send(b"a")
    peer.send(b"b")
    backend.wait(done, 2)
    backend.run_until(lambda: len(backend.errors) == 2)
    found = backend.expect_errors(ValueError, ValueError)
    assert all(context["stream"] is stream for context in found)


@pytest.mark.parametrize("spinning", [True, False])
def test_a_loop_run_inside_a_callback(backend, spinning):
    """As nest_asyncio and old Jupyter kernels do: the stream goes on inside."""
    if backend.name == "uvloop":
        pytest.skip("a loop of uvloop's refuses to run inside of itself")
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    got, ended = backend.recorder(), backend.recorder()
    second = backend.loop.create_future()

    def callback(message):
        got.append(message)
        if len(got) == 2:
            second.set_result(None)
        if len(got) == 1:
            peer.send(b"inner")
            stream.send(b"reply")
            asyncio._set_running_loop(None)
            inner = backend.loop
            thread_id, inner._thread_id = inner._thread_id, None
            try:
                inner.run_until_complete(until_two())
            finally:
                inner._thread_id = thread_id
                asyncio._set_running_loop(inner)
            ended.append(1)  # what the outer loop waits for must not happen in the inner one

    async def until_two():
        if not spinning:  # the loop sleeps
            await asyncio.wait_for(second, 10)
            return
        for _ in range(100_000):
            if len(got) >= 2 and not stream.sending():
                return
            await asyncio.sleep(0)

    stream.on_recv(callback)
    peer.send(b"outer")
    backend.wait(ended)
    assert got == [[b"outer"], [b"inner"]]
    backend.drained(stream)
    assert peer.recv() == b"reply"
    peer.send(b"after")
    backend.wait(got, 3)


@pytest.mark.deviates("pyzmq's callbacks run in the context of the stream's creation")
@pytest.mark.parametrize("way", ["by the loop", "in a flush", "in a flush in a callback"])
@pytest.mark.parametrize("coroutines", [False, True])
def test_each_callback_runs_in_its_own_context(backend, pair, way, coroutines):
    """Coroutines, too, wherever the callback is called from."""
    stream, peer = pair
    seen = backend.recorder()

    def note(which):
        def plain(*args):
            seen.append((which, variable.get()))

        async def coroutine(*args):
            plain()

        return coroutine if coroutines else plain

    def flushing(message):
        if message == [b"flush"]:
            stream.send(b"1")
            stream.send(b"2", callback=own)
            stream.flush()
        return receive(message)

    receive, own = note("on_recv"), note("own")
    register = {
        "on_recv": lambda: stream.on_recv(flushing),
        "on_send": lambda: stream.on_send(note("on_send")),
        "on_drain": lambda: stream.on_drain(note("on_drain")),
        "close": lambda: stream.set_close_callback(note("close")),
    }

    def registered(which):
        variable.set(which)
        register[which]()

    def send():
        variable.set("own")
        stream.send(b"2", callback=own)

    backend.settle()
    stream.set_write_buffer_limits(1)
    for which in register:
        contextvars.copy_context().run(registered, which)
    if way == "in a flush in a callback":
        contextvars.copy_context().run(lambda: (variable.set("own"), stream.on_recv(flushing)))
        register["on_recv"] = None
        peer.send_multipart([b"flush"])
        peer.send(b"x")
        backend.wait(seen, 5)
        assert {("on_send", "on_send"), ("own", "own"), ("on_recv", "own")} <= set(seen)
    else:
        peer.send(b"x")
        stream.send(b"1")
        contextvars.copy_context().run(send)
        if way == "in a flush":
            backend.run_until(lambda: peer.poll(0) or stream.socket.poll(0))
            stream.flush()
        backend.wait(seen, 4)
        assert {("on_recv", "on_recv"), ("on_send", "on_send"), ("own", "own")} <= set(seen)
    stream.close()
    backend.run_until(lambda: ("close", "close") in seen)
    assert ("on_drain", "on_drain") in seen
    assert all(which == value for which, value in seen if which != "on_recv")
