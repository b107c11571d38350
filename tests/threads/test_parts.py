"""Messages in parts: the parts are of the thread that sends them."""

import contextlib
import gc
import sys
import threading

import pytest
import zmq

import zmqstream
from support import FREE_THREADED, TIMEOUT
from zmqstream import MessageExpired

pytestmark = pytest.mark.deviates("pyzmq's send is not thread-safe")

THREADS = 4
MESSAGES = 500


@pytest.fixture(autouse=True)
def _threads_take_turns():
    """Between any two bytecodes."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def send_alone(stream, part, flags, **kwargs):
    stream.send(part, flags, **kwargs)


def send_two(stream, part, flags, **kwargs):
    """A part of two frames."""
    stream.send_multipart([part, part], flags, **kwargs)


WAYS = {"send": (send_alone, 1), "send_multipart": (send_two, 2)}
ways = pytest.mark.parametrize(("send", "frames"), WAYS.values(), ids=WAYS)


def in_threads(function, count=THREADS):
    """Threads that call function(b"0"), function(b"1")..., and what ends them."""
    wrong = []

    def run(name):
        try:
            function(name)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=run, args=(b"%d" % i,)) for i in range(count)]
    for thread in threads:
        thread.start()

    def join():
        for thread in threads:
            thread.join(TIMEOUT)
            assert not thread.is_alive()
        assert wrong == []

    return threads, join


def in_another(function, *args):
    """Call function in another thread, and wait until that has ended."""
    thread = threading.Thread(target=function, args=args)
    thread.start()
    thread.join(TIMEOUT)
    assert not thread.is_alive()


def received(peer, count):
    return [peer.recv_multipart() for _ in range(count)]


@ways
def test_no_message_has_frames_of_two_threads(backend, pair, send, frames):
    """That of the loop, which sends in parts too, is one of them."""
    stream, peer = pair

    def write(name):
        for i in range(MESSAGES):
            send(stream, name, zmq.SNDMORE)
            send(stream, b"%d" % i, zmq.SNDMORE)
            send(stream, name, 0)

    threads, join = in_threads(write)
    for i in range(20):
        send(stream, b"loop", zmq.SNDMORE)
        backend.settle(1)
        send(stream, b"%d" % i, zmq.SNDMORE)
        backend.settle(1)
        send(stream, b"loop", 0)
    backend.run_until(lambda: not any(thread.is_alive() for thread in threads))
    join()
    backend.drained(stream)
    numbers = {}
    for message in received(peer, THREADS * MESSAGES + 20):
        assert len(message) == 3 * frames
        assert message[:frames] == message[2 * frames :] == [message[0]] * frames
        numbers.setdefault(message[0], []).append(int(message[frames]))
    assert numbers.pop(b"loop") == list(range(20))
    assert list(numbers.values()) == [list(range(MESSAGES))] * THREADS


@ways
def test_whole_messages_of_other_threads_go_between(backend, pair, send, frames):
    stream, peer = pair
    send(stream, b"first", zmq.SNDMORE)
    in_another(stream.send, b"whole")
    in_another(stream.send_multipart, [b"two", b"frames"])
    backend.drained(stream)
    assert received(peer, 2) == [[b"whole"], [b"two", b"frames"]]
    send(stream, b"last", 0)
    backend.drained(stream)
    assert received(peer, 1) == [[b"first"] * frames + [b"last"] * frames]


@ways
def test_the_callbacks_of_parts(backend, pair, send, frames):
    """Each is called once, with the message of its own thread."""
    stream, peer = pair
    told = backend.recorder()

    def write(name):
        for i in range(MESSAGES):
            number = b"%d" % i

            def callback(message, status, number=number):
                told.append((name, number, message, status))

            send(stream, name, zmq.SNDMORE, callback=callback)
            send(stream, number, 0, callback=callback)

    threads, join = in_threads(write)
    backend.wait(told, 2 * THREADS * MESSAGES)
    join()
    assert [i for i, (name, number, message, status) in enumerate(told) if status is not None] == []
    for name, number, message, _ in told:
        assert message == [name] * frames + [number] * frames
    for thread in range(THREADS):
        numbers = [int(number) for name, number, *_ in told if name == b"%d" % thread]
        assert numbers == [i for i in range(MESSAGES) for _ in range(2)]


def test_the_timeouts_of_parts(backend):
    """A message expires with the first of its own parts, and not with another thread's."""
    stream, connect = backend.stalled()
    told = backend.recorder()

    def outcome(message, status):
        told.append((message, type(status)))

    barrier = threading.Barrier(2, timeout=TIMEOUT)

    def write(name):
        stream.send(name, zmq.SNDMORE, callback=outcome, timeout=0.02 if name == b"0" else TIMEOUT)
        barrier.wait()  # both have begun
        stream.send(b"end", timeout=TIMEOUT)

    _, join = in_threads(write, 2)
    backend.wait(told)
    join()
    assert told == [([b"0", b"end"], MessageExpired)]
    peer = connect()
    backend.wait(told, 2)
    assert told[1:] == [([b"1", b"end"], type(None))]
    assert received(peer, 1) == [[b"1", b"end"]]


@ways
def test_a_thread_that_ends_in_the_middle_of_a_message(backend, pair, send, frames, expected_log):
    """Its parts go with no other message, also of a later thread; close() counts it as lost."""
    stream, peer = pair
    for _ in range(3):  # the operating system uses the identity of a thread again
        in_another(send, stream, b"half", zmq.SNDMORE)
        in_another(send, stream, b"whole", 0)
    send(stream, b"mine", zmq.SNDMORE)
    in_another(send, stream, b"theirs", 0)
    send(stream, b"mine", 0)
    backend.run(stream.asend(b"awaited"))
    backend.drained(stream)
    assert received(peer, 6) == [
        *[[b"whole"] * frames] * 3, [b"theirs"] * frames, [b"mine"] * 2 * frames, [b"awaited"],
    ]  # fmt: skip
    stream.close()
    [record] = expected_log("could not be handed to libzmq")
    assert "3 queued messages" in record.getMessage()
    assert not peer.poll(0)


@pytest.mark.parametrize("policy", ["raise", "drop_newest"])
def test_a_message_in_parts_beyond_the_limit(backend, policy):
    """It is refused or dropped as a whole, and the parts of other threads stay."""
    stream, connect = backend.stalled(high=1, policy=policy)
    told = backend.recorder()
    stream.on_send(lambda message, status: told.append(message))
    stream.send(b"other", zmq.SNDMORE)

    def write():
        stream.send(b"queued")
        stream.send(b"refused", zmq.SNDMORE)
        with contextlib.suppress(zmqstream.QueueFull):
            stream.send(b"refused")

    in_another(write)
    backend.run_until(lambda: policy == "raise" or told)
    peer = connect()
    backend.drained(stream)
    stream.send(b"end")
    backend.drained(stream)
    assert received(peer, 2) == [[b"queued"], [b"other", b"end"]]
    assert stream.stats().dropped == (policy == "drop_newest")


@pytest.mark.skipif(FREE_THREADED, reason="no count of allocations says when the collector runs")
def test_parts_while_the_garbage_collector_runs_other_threads(backend, pair, expected_log):
    """Up to Python 3.11 it may run at any allocation, and finalizers may wait for threads."""
    stream, peer = pair
    main = threading.current_thread()
    runs = []

    def run(phase, info):
        if phase == "start" and threading.current_thread() is main:
            gc.disable()
            runs.append(None)
            in_another(stream.send, b"a", zmq.SNDMORE)  # ends in the middle
            in_another(lambda: (stream.send(b"b", zmq.SNDMORE), stream.send(b"b")))

    threshold = gc.get_threshold()
    gc.callbacks.append(run)
    try:
        for allocations in range(20):
            gc.enable()
            gc.set_threshold(gc.get_count()[0] + allocations)
            stream.send(b"m", zmq.SNDMORE)
            stream.send(b"m")
    finally:
        gc.callbacks.remove(run)
        gc.set_threshold(*threshold)
        gc.enable()
    assert runs
    backend.drained(stream)
    messages = received(peer, 20 + len(runs))
    assert sorted(messages) == [[b"b", b"b"]] * len(runs) + [[b"m", b"m"]] * 20
    stream.close()
    expected_log(f"{len(runs)} queued messages")
