"""on_recv_batch(): as many messages as are there, in one call."""

import os
import signal

import pytest
import zmq

pytestmark = pytest.mark.ours


def flat(batches):
    return [message for batch in batches for message in batch]


def arrived(backend, stream, peer, messages):
    """Have `messages` wait in the stream's socket; no turn is to end by the clock."""
    stream.set_turn_limits(seconds=60)
    for message in messages:
        peer.send_multipart(message)
    backend.run_until(lambda: stream.socket.poll(0, zmq.POLLIN))


def numbers(count):
    return [[b"%d" % i] for i in range(count)]


@pytest.mark.parametrize("copy", [True, False])
def test_all_that_are_there_and_then_those_that_come(backend, pair, copy):
    stream, peer = pair
    messages = [[b"a"], [b"b", b"", b"c"], [b""], [b"x" * 50_000], [b"y" * 50_000, b"z"]]
    arrived(backend, stream, peer, messages)
    batches = backend.recorder()
    stream.on_recv_batch(batches.append, copy=copy)
    backend.wait(batches)
    assert len(batches) == 1
    if not copy:
        assert all(isinstance(frame, zmq.Frame) for frame in flat(flat(batches)))
        batches[0][:] = [[frame.bytes for frame in message] for message in batches[0]]
    assert batches[0] == messages
    peer.send(b"later")
    backend.wait(batches, 2)
    assert len(batches[1]) == 1
    assert stream.stats()[:2] == (6, 4 + 50_000 + 50_001 - 1 + 5)


def test_not_more_than_the_limit(backend, pair):
    stream, peer = pair
    arrived(backend, stream, peer, numbers(100))
    batches = backend.recorder()
    stream.on_recv_batch(batches.append, limit=7)
    backend.wait(batches, 15)
    assert [len(batch) for batch in batches] == [7] * 14 + [2]
    assert flat(batches) == numbers(100)


def test_the_limits_of_a_turn_hold(backend, pair):
    stream, peer = pair
    arrived(backend, stream, peer, numbers(100))
    batches = backend.recorder()
    stream.set_turn_limits(messages=30, seconds=60)
    stream.on_recv_batch(batches.append, limit=20)
    backend.wait(batches, 7)
    assert [len(batch) for batch in batches] == [20, 10, 20, 10, 20, 10, 10]
    assert flat(batches) == numbers(100)


def test_it_replaces_on_recv_and_is_replaced(backend, pair):
    stream, peer = pair
    single, batches = backend.recorder(), backend.recorder()
    stream.on_recv(single.append)
    peer.send(b"0")
    backend.wait(single)
    stream.on_recv_batch(batches.append)
    peer.send(b"1")
    backend.wait(batches)
    assert stream.receiving()
    stream.on_recv_batch(None)
    assert not stream.receiving()
    peer.send(b"2")
    backend.settle()
    stream.on_recv(single.append)
    backend.wait(single, 2)
    assert (single, batches) == ([[b"0"], [b"2"]], [[[b"1"]]])


def test_a_batch_is_the_receivers_own(backend, pair):
    stream, peer = pair
    kept = backend.recorder()
    arrived(backend, stream, peer, numbers(6))
    stream.on_recv_batch(kept.append, limit=2)
    backend.wait(kept, 3)
    assert len({id(batch) for batch in kept}) == 3
    assert flat(kept) == numbers(6)


def test_one_exception_one_report_and_the_next_batch(backend, pair):
    stream, peer = pair
    batches = backend.recorder()

    def fail(batch):
        batches.append(batch)
        if len(batches) == 2:
            raise ZeroDivisionError

    arrived(backend, stream, peer, numbers(9))
    stream.on_recv_batch(fail, limit=3)
    backend.wait(batches, 3)
    (found,) = backend.expect_errors(ZeroDivisionError)
    assert "the on_recv_batch callback of <ZMQStream(zmq.PAIR)" in found["message"]
    assert flat(batches) == numbers(9)


def test_keyboard_interrupt_leaves_the_loop_and_what_waits_is_delivered(backend, pair):
    stream, peer = pair
    batches = backend.recorder()

    def fail(batch):
        batches.append(batch)
        if len(batches) == 1:
            raise KeyboardInterrupt

    arrived(backend, stream, peer, numbers(9))
    stream.on_recv_batch(fail, limit=3)
    with pytest.raises(KeyboardInterrupt):
        backend.run_until(lambda: False)
    backend.wait(batches, 3)
    assert flat(batches) == numbers(9)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no interval timers")
def test_signals_lose_nothing(backend, pair):
    stream, peer = pair
    batches = backend.recorder()
    old = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        stream.on_recv_batch(batches.append, limit=5)
        for i in range(2000):
            peer.send(b"%d" % i)
            if i % 100 == 0:
                backend.settle(1)
        backend.run_until(lambda: len(flat(batches)) == 2000)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)  # forgets one that is already under way
        signal.signal(signal.SIGALRM, old)
    assert flat(batches) == numbers(2000)


@pytest.mark.parametrize("action", ["pause", "replace", "close", "flush", "send"])
def test_what_a_callback_may_do(backend, pair, action):
    stream, peer = pair
    batches, other = backend.recorder(), backend.recorder()
    actions = {
        "pause": lambda: stream.on_recv(None),
        "replace": lambda: stream.on_recv_batch(other.append),
        "close": lambda: stream.close(),
        "flush": lambda: stream.flush(zmq.POLLIN, 3),
        "send": lambda: stream.send(b"answer"),
    }

    def callback(batch):
        batches.append(batch)
        if len(batches) == 1:
            actions[action]()

    arrived(backend, stream, peer, numbers(10))
    stream.on_recv_batch(callback, limit=4)
    if action == "pause":
        backend.wait(batches)
        backend.settle()
        assert flat(batches) == numbers(4)
        stream.on_recv_batch(other.append)
        backend.wait(other)
        assert flat(batches) + flat(other) == numbers(10)
    elif action == "replace":
        backend.wait(other)
        assert flat(batches) == numbers(4)
        assert flat(batches) + flat(other) == numbers(10)
    elif action == "close":
        backend.run_until(stream.closed)
        backend.settle()
        assert flat(batches) == numbers(4)
    elif action == "flush":
        backend.run_until(lambda: len(flat(batches)) == 10)
        assert [len(batch) for batch in batches] == [4, 1, 1, 1, 3]
        assert flat(batches) == numbers(10)
    else:
        backend.run_until(lambda: len(flat(batches)) == 10)
        assert peer.recv() == b"answer"


def test_a_flush_gives_batches_of_one_and_counts_messages(backend, pair):
    stream, peer = pair
    batches = []
    arrived(backend, stream, peer, numbers(5))
    stream.on_recv_batch(batches.append)
    assert [stream.flush(zmq.POLLIN, 2) for _ in range(4)] == [2, 2, 1, 0]
    assert batches == [[message] for message in numbers(5)]


def test_coroutines(backend, pair):
    stream, peer = pair
    batches = backend.recorder()

    async def handle(batch):
        batches.append(batch)

    arrived(backend, stream, peer, numbers(10))
    stream.on_recv_batch(handle, limit=3)
    backend.wait(batches, 4)
    assert flat(batches) == numbers(10)


def test_the_time_and_the_context_of_callbacks(backend, pair):
    import contextvars

    stream, peer = pair
    variable = contextvars.ContextVar("variable")
    variable.set("registered")
    seen = backend.recorder()
    stream.set_callback_timing(True)
    stream.on_recv_batch(lambda batch: seen.append(variable.get()))
    variable.set("later")
    peer.send(b"x")
    backend.wait(seen)
    backend.settle()
    assert seen == ["registered"]
    assert stream.stats().callback_time > 0


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((5,), TypeError, "on_recv_batch: the callback must be callable or None, not int"),
        ((print, True, 0), ValueError, "on_recv_batch: limit must be at least 1: 0"),
        ((print, True, "9"), TypeError, "on_recv_batch: limit must be an int, not str"),
    ],
)
def test_bad_arguments(backend, pair, arguments, error, text):
    stream, _ = pair
    with pytest.raises(error, match=text):
        stream.on_recv_batch(*arguments)
    assert not stream.receiving()


def test_no_reference_is_kept(backend, pair):
    """Nothing leaks: no reference to a batch or a message is kept after its callback."""
    import sys

    stream, peer = pair
    payload = os.urandom(8)
    counts = backend.recorder()

    def callback(batch):
        message = batch[0]
        backend.loop.call_soon(lambda: counts.append((sys.getrefcount(message), len(batch))))

    stream.on_recv_batch(callback)
    peer.send(payload)
    backend.wait(counts)
    assert counts[0][0] <= 4  # the closure's cell, the batch, and the argument


def test_a_batch_and_a_send_that_the_limits_of_a_turn_end(backend, pair):
    """What the callback sends goes out as far as the turn allows, and all of it in the end."""
    stream, peer = pair
    stream.set_turn_limits(messages=4, seconds=60)
    for message in numbers(3):
        peer.send_multipart(message)
    backend.run_until(lambda: stream.socket.poll(0, zmq.POLLIN))
    got = backend.recorder()

    def answer(batch):
        got.extend(batch)
        for i in range(10):
            stream.send(b"%d" % i)
        got.append(None)

    stream.on_recv_batch(answer)
    backend.wait(got, 4)
    backend.drained(stream)
    assert got == [*numbers(3), None]
    assert [peer.recv_multipart() for _ in range(10)] == numbers(10)


def test_a_socket_that_is_closed_directly(backend, pair, expected_log):
    stream, peer = pair
    closed = backend.recorder()
    stream.set_close_callback(lambda: closed.append(True))

    def close(batch):
        stream.socket.close()

    stream.on_recv_batch(close)
    peer.send(b"x")
    with pytest.warns(UserWarning, match="closed directly"):
        backend.wait(closed)
    expected_log("attached to a closed socket")
