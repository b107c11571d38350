"""Nothing is lost where callbacks are nested so deeply that Python could not enter another one."""

import asyncio
import sys

import pytest

from support.loops import run_inside

pytestmark = pytest.mark.deviates("pyzmq loses what it cannot deliver")

COUNT = 3000


@pytest.fixture(autouse=True)
def _stack():
    """A limit that pytest and its plugins do not reach, and a backlog does."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(600)
    yield
    sys.setrecursionlimit(limit)


def backlog(backend, count=COUNT):
    socket, peer = backend.pair(sndhwm=0, rcvhwm=0)
    for i in range(count):
        peer.send(b"%d" % i)
    return backend.stream(socket), peer


def numbers(count=COUNT):
    return [[b"%d" % i] for i in range(count)]


def flatten(batches):
    return [message for batch in batches for message in batch]


@pytest.mark.parametrize("batches", [False, True])
def test_a_flush_that_is_too_deep_takes_no_message(backend, batches):
    """It raises RecursionError. Those that catch it lose nothing."""
    stream, _ = backlog(backend)
    got = backend.recorder()
    deep = []

    def callback(message):
        got.append(message)
        try:
            stream.flush()
        except RecursionError as error:
            deep.append(str(error))

    (stream.on_recv_batch if batches else stream.on_recv)(callback)
    backend.run_until(lambda: len(flatten(got) if batches else got) >= COUNT)
    assert (flatten(got) if batches else got) == numbers()
    assert deep
    assert "nested too deeply" in deep[0]
    assert stream.flush() == 0


def test_a_flush_that_is_too_deep_and_that_nobody_catches(backend):
    """The error goes to the outermost flush, or is reported; what was not received is delivered."""
    stream, _ = backlog(backend)
    got = backend.recorder()

    def callback(message):
        got.append(message)
        stream.flush()

    stream.on_recv(callback)
    backend.wait(got, COUNT)
    assert got == numbers()
    assert len(backend.errors) >= 3
    backend.expect_errors(*[RecursionError] * len(backend.errors))


def test_the_outermost_flush_raises_it(backend):
    stream, _ = backlog(backend)
    got = []

    def callback(message):
        got.append(message)
        stream.flush()

    stream.on_recv(callback)
    with pytest.raises(RecursionError, match="nested too deeply"):
        stream.flush()
    assert got == numbers(len(got))
    while len(got) < COUNT:
        try:
            stream.flush()
        except RecursionError:
            pass
    assert got == numbers()


def test_a_flush_in_a_deep_recursion_of_the_programs_own(backend):
    stream, _ = backlog(backend, 1000)
    got = []
    failed = []

    def recurse():
        try:
            recurse()
        except RecursionError:
            pass
        try:
            stream.flush(limit=1)
        except RecursionError:
            failed.append(len(got))

    stream.on_recv(lambda message: got.append(message))  # a Python function has to be entered
    recurse()
    assert failed
    assert 300 < len(got) < 1000
    stream.flush()
    assert got == numbers(1000)


def test_many_streams_that_flush_one_another(backend):
    """None of them is nested by itself."""
    count = 300
    streams = []
    peers = []
    got = backend.recorder()
    for _ in range(count):
        stream, peer = backlog(backend, 0)
        streams.append(stream)
        peers.append(peer)
    for i, stream in enumerate(streams):

        def callback(message, i=i):
            got.append(i)
            try:
                for _ in range(3):  # calls of its own between two flushes
                    further(i + 1)
            except RecursionError:
                pass

        stream.on_recv(callback)

    def further(i, depth=3):
        if depth:
            further(i, depth - 1)
        elif i < count:
            streams[i].flush()

    for peer in peers:
        peer.send(b"x")
    backend.wait(got, count)
    assert sorted(got) == list(range(count))


def test_outcomes_of_sends_in_a_flush_that_is_too_deep(backend):
    """Each message is sent, and its callback called."""
    stream, peer = backlog(backend, 0)
    told = backend.recorder()
    deep = []

    def callback(message, status):
        told.append(message)
        try:
            stream.flush()
        except RecursionError as error:
            deep.append(str(error))

    stream.on_send(callback)
    for i in range(COUNT):
        stream.send(b"%d" % i)
    backend.wait(told, COUNT)
    assert told == numbers()
    assert "nested too deeply" in deep[0]
    assert [peer.recv_multipart() for _ in range(COUNT)] == numbers()


def test_loops_inside_callbacks(backend):
    """A loop that is nested too deeply ends with an error, and loses no message."""
    if backend.name == "uvloop":
        pytest.skip("a loop of uvloop's refuses to run inside of itself")
    count = 200
    stream, _ = backlog(backend, count)
    got = backend.recorder()
    ends = []
    levels = []

    async def inner(level, before):
        while len(levels) > level or before == len(got) < count:
            await asyncio.sleep(0)

    def callback(message):
        got.append(message)
        levels.append(None)
        try:
            run_inside(backend, inner(len(levels), len(got)))
        except (RecursionError, RuntimeError) as error:
            ends.append(error)
        levels.pop()

    stream.on_recv(callback)
    backend.run_until(lambda: len(got) >= count and not levels)
    assert got == numbers(count)
    assert ends
    assert all(type(e["exception"]) is RecursionError for e in backend.errors)
    backend.errors.clear()
