"""on_recv(max_concurrency=N): coroutine callbacks, bounded and in order."""

import asyncio
import gc
import weakref

import pytest
import zmq

pytestmark = pytest.mark.ours


class Handlers:
    """Coroutine callbacks that go on when they are told to."""

    def __init__(self, backend):
        self.backend = backend
        self.started = backend.recorder()
        self.ended = backend.recorder()
        self.alive = self.most = 0
        self.gates = {}

    async def __call__(self, message):
        self.started.append(int(message[-1]))
        self.alive += 1
        self.most = max(self.most, self.alive)
        gate = self.gates[int(message[-1])] = self.backend.loop.create_future()
        try:
            await gate
        finally:
            self.alive -= 1
        self.ended.append(int(message[-1]))

    def open(self, which):
        self.gates.pop(which).set_result(None)


@pytest.fixture
def handlers(backend):
    return Handlers(backend)


@pytest.mark.parametrize("most", [1, 3, 100])
def test_never_more_than_so_many_are_alive_and_always_as_many_as_may_be(
    backend, pair, handlers, most
):
    stream, peer = pair
    count = most + 20
    for i in range(count):
        peer.send(b"%d" % i)
    stream.on_recv(handlers, max_concurrency=most)
    backend.wait(handlers.started, most)
    for i in range(count):
        backend.settle()
        assert handlers.alive == min(most, count - i)
        handlers.open(i)
        if i + most < count:
            backend.wait(handlers.started, i + most + 1)
    backend.wait(handlers.ended, count)
    assert handlers.most == most
    assert handlers.started == handlers.ended == list(range(count))


def test_one_at_a_time_runs_strictly_in_order(backend, pair):
    stream, peer = pair
    steps = backend.recorder()

    async def handle(message):
        number = int(message[0])
        steps.append((number, "begins"))
        for _ in range(number % 4):
            await asyncio.sleep(0)
        steps.append((number, "ends"))

    stream.on_recv(handle, max_concurrency=1)
    for i in range(50):
        peer.send(b"%d" % i)
    backend.wait(steps, 100)
    assert steps == [(i, what) for i in range(50) for what in ("begins", "ends")]


def test_what_waits_stays_in_libzmq_and_its_high_water_mark_holds(backend):
    socket, peer = backend.pair(zmq.PULL, zmq.PUSH, rcvhwm=2, sndhwm=2)
    stream = backend.stream(socket)
    handlers = Handlers(backend)
    stream.on_recv(handlers, max_concurrency=2)
    sent = 0
    while peer.poll(0, zmq.POLLOUT) and sent < 1000:
        peer.send(b"%d" % sent)
        backend.settle(2)
        sent += 1
    assert sent < 20
    assert handlers.alive == 2
    assert stream.stats().messages_in == 2


def test_it_is_idle_while_it_is_full(backend, pair, handlers):
    """Idle costs nothing: waiting messages are no reason to wake up."""
    stream, peer = pair
    stream.on_recv(handlers, max_concurrency=1)
    for i in range(5):
        peer.send(b"%d" % i)
    backend.wait(handlers.started)
    backend.settle()
    turns = stream.stats().turns
    backend.settle(50)
    assert stream.stats().turns == turns
    assert "idle" in repr(stream)
    handlers.open(0)
    backend.wait(handlers.started, 2)


def test_a_flush_starts_no_more_either(backend, pair, handlers):
    stream, peer = pair
    stream.on_recv(handlers, max_concurrency=2)
    for i in range(5):
        peer.send(b"%d" % i)
    backend.wait(handlers.started, 2)
    assert stream.flush(zmq.POLLIN) == 0
    assert handlers.started == [0, 1]


def test_exceptions_are_reported_and_make_room(backend, pair):
    stream, peer = pair
    got = backend.recorder()

    async def fail(message):
        await asyncio.sleep(0)
        got.append(message)
        raise ZeroDivisionError

    stream.on_recv(fail, max_concurrency=2)
    for i in range(6):
        peer.send(b"%d" % i)
    backend.wait(got, 6)
    backend.settle()
    for found in backend.expect_errors(*[ZeroDivisionError] * 6):
        assert "a coroutine callback of <ZMQStream(zmq.PAIR)" in found["message"]


def test_plain_callbacks_are_not_bounded(backend, pair):
    stream, peer = pair
    got = backend.recorder()
    stream.on_recv(got.append, max_concurrency=1)
    for i in range(20):
        peer.send(b"%d" % i)
    backend.wait(got, 20)


def test_with_the_stream_and_with_batches(backend, pair):
    stream, peer = pair
    got = backend.recorder()

    async def with_stream(given, message):
        assert given is stream
        got.append(message)
        await asyncio.sleep(0)

    async def with_batch(batch):
        got.extend(batch)
        got.append("batch")
        await asyncio.sleep(0)

    stream.on_recv_stream(with_stream, max_concurrency=1)
    for i in range(10):
        peer.send(b"%d" % i)
    backend.wait(got, 10)
    stream.on_recv_batch(with_batch, max_concurrency=1)
    for i in range(10):
        peer.send(b"%d" % i)
    backend.run_until(lambda: sum(item != "batch" for item in got) == 20)
    assert [item for item in got if item != "batch"] == [[b"%d" % i] for i in range(10)] * 2


def test_another_callback_waits_for_coroutines_of_the_first(backend, pair, handlers):
    stream, peer = pair
    stream.on_recv(handlers, max_concurrency=2)
    for i in range(4):
        peer.send(b"%d" % i)
    backend.wait(handlers.started, 2)
    stream.on_recv(None)
    handlers.open(0)
    backend.wait(handlers.ended)
    backend.settle()
    assert handlers.started == [0, 1]
    stream.on_recv(handlers, max_concurrency=1)
    backend.settle()
    assert handlers.started == [0, 1]  # one is alive
    handlers.open(1)
    backend.wait(handlers.started, 3)


def test_close_cancels_them_but_not_the_one_that_closes(backend, pair):
    stream, peer = pair
    ends = backend.recorder()

    async def handle(message):
        try:
            if message == [b"close"]:
                stream.close()
                await asyncio.sleep(0)
                ends.append("closed")
            await backend.loop.create_future()
        except asyncio.CancelledError:
            ends.append(message[0])
            raise

    stream.on_recv(handle, max_concurrency=5)
    for message in (b"1", b"2", b"close"):
        peer.send(message)
    backend.wait(ends, 3)
    assert sorted(ends, key=str) == sorted([b"1", b"2", "closed"], key=str)


def test_close_leaves_unbounded_ones_alone(backend, pair, handlers):
    """As pyzmq's class does."""
    stream, peer = pair
    stream.on_recv(handlers)
    peer.send(b"1")
    backend.wait(handlers.started)
    stream.close()
    backend.settle()
    handlers.open(1)
    backend.wait(handlers.ended)


@pytest.mark.parametrize(
    ("most", "error", "text"),
    [
        (0, ValueError, "max_concurrency must be at least 1: 0"),
        (-3, ValueError, "max_concurrency must be at least 1: -3"),
        (1.0, TypeError, "max_concurrency must be an int, not float"),
    ],
)
@pytest.mark.parametrize("method", ["on_recv", "on_recv_stream", "on_recv_batch"])
def test_numbers_that_are_none(backend, pair, method, most, error, text):
    stream, _ = pair
    with pytest.raises(error, match=text):
        getattr(stream, method)(print, max_concurrency=most)
    assert not stream.receiving()


def eager(loop, coroutine, eager_start=True, **options):
    """As asyncio's own, which uvloop calls with an argument that it takes from 3.14 on."""
    return asyncio.Task(coroutine, loop=loop, eager_start=True, **options)


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="new in CPython 3.12")
def test_eager_tasks_that_flush_are_counted(backend, pair):
    stream, peer = pair
    backend.loop.set_task_factory(eager)
    ended = backend.recorder()
    alive = []
    most = 0

    async def callback(message):
        nonlocal most
        alive.append(1)
        most = max(most, len(alive))
        stream.flush(zmq.POLLIN, 1)
        await asyncio.sleep(0)
        alive.pop()
        ended.append(message)

    stream.on_recv(callback, max_concurrency=2)
    for i in range(20):
        peer.send(b"%d" % i)
    backend.wait(ended, 20)
    assert most == 2
    assert sorted(ended, key=lambda message: int(message[0])) == [[b"%d" % i] for i in range(20)]


@pytest.mark.parametrize("most", [None, 2])
@pytest.mark.parametrize("method", ["on_recv", "on_recv_batch"])
def test_nothing_stays_of_a_coroutine_whose_start_ends_the_program(backend, pair, method, most):
    """As an eager task does that raises SystemExit before it waits for anything."""
    stream, peer = pair
    coroutines = []

    async def callback(message):
        raise AssertionError("it was not started")

    def given(message):
        coroutine = callback(message)
        coroutines.append(weakref.ref(coroutine))
        return coroutine

    def factory(loop, coroutine, **options):
        coroutine.close()
        raise SystemExit

    getattr(stream, method)(given, max_concurrency=most)
    backend.loop.set_task_factory(factory)
    peer.send(b"x")
    with pytest.raises(SystemExit):
        backend.loop.run_forever()
    backend.loop.set_task_factory(None)
    backend.settle()  # uvloop keeps the exception until it runs again, and with it the frames
    gc.collect()
    assert [coroutine() for coroutine in coroutines] == [None]
