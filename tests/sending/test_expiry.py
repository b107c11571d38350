"""send(timeout=): what is not handed to libzmq in time fails, and holds up nobody."""

import asyncio
import contextlib
import errno
import gc
import itertools
import logging
import sys
import threading
import time
import weakref

import pytest
import zmq

import zmqstream
from zmqstream import MessageExpired

pytestmark = pytest.mark.ours


@pytest.fixture
def stalled(backend):
    """A stream without a peer, what its callbacks were told, and how to give it a peer."""
    stream, connect = backend.stalled()
    told = backend.recorder()
    stream.on_send(lambda message, status: told.append((message[0], status)))
    return stream, told, connect


def overdue(timeout=1e-6):
    """Wait until a timeout in seconds is over. The loop does not run meanwhile."""
    end = time.monotonic() + timeout + 0.001
    while time.monotonic() < end:
        pass


def expired(told):
    return [message for message, status in told if type(status) is MessageExpired]


def test_a_message_expires_with_an_outcome_of_its_own(backend, stalled):
    stream, told, _ = stalled
    errors = []
    stream.on_err(errors.append)
    began = time.monotonic()
    stream.send(b"x", timeout=0.05)
    backend.wait(told)
    assert time.monotonic() - began >= 0.05
    assert [message for message, _ in told] == [b"x"]
    ((_, status),) = told
    assert type(status) is MessageExpired
    assert isinstance(status, zmq.ZMQError)
    assert status.errno == errno.ETIMEDOUT
    assert errors == [status]
    stats = stream.stats()
    assert (stats.expired, stats.errors, stats.queued, stats.queued_bytes) == (1, 0, 0, 0)
    assert not stream.sending()


def test_it_is_told_to_the_callback_of_its_own_send(backend, stalled):
    stream, told, _ = stalled
    mine = backend.recorder()
    stream.send(
        b"x", timeout=0.01, callback=lambda message, status: mine.append((message, type(status)))
    )
    backend.wait(mine)
    assert mine == [([b"x"], MessageExpired)]
    assert told == []


def test_it_is_logged_where_nobody_is_told(backend, stalled, expected_log):
    stream, _, _ = stalled
    stream.on_send(None)
    stream.send_multipart([b"x", b"y"], timeout=0.01)
    backend.run_until(lambda: stream.stats().expired)
    expected_log("a message could not be sent: not handed over in time")


def test_it_leaves_from_the_middle_of_the_queue(backend, stalled):
    stream, told, connect = stalled
    for i in range(30):
        stream.send(b"%d" % i, timeout=0.01 if i % 3 == 1 else 60 if i % 3 == 2 else None)
    backend.wait(told, 10)
    assert expired(told) == [b"%d" % i for i in range(1, 30, 3)]
    assert stream.stats().queued == 20
    assert stream.get_write_buffer_bytes() == sum(len(str(i)) for i in range(30) if i % 3 != 1)
    peer = connect()
    backend.wait(told, 30)
    assert [peer.recv() for _ in range(20)] == [b"%d" % i for i in range(30) if i % 3 != 1]
    assert len(expired(told)) == 10


def test_the_next_deadline_comes_first_whatever_was_sent_first(backend, stalled):
    stream, told, _ = stalled
    for name, timeout in ((b"3", 0.12), (b"1", 0.02), (b"2", 0.06), (b"late", 60)):
        stream.send(name, timeout=timeout)
    backend.wait(told, 3)
    assert expired(told) == [b"1", b"2", b"3"]
    assert stream.stats().queued == 1


def test_what_is_sent_in_time_does_not_expire(backend, stalled):
    stream, told, connect = stalled
    peer = connect()
    for timeout in (0.02, 0.2, 2):
        told.clear()
        stream.send(b"x", timeout=timeout)
        backend.wait(told)
        if not expired(told):  # else the machine was busy, and it was not sent in time
            break
    backend.run(asyncio.sleep(timeout * 2))  # its deadline passes
    assert told == [(b"x", None)]
    assert peer.recv() == b"x"


def test_a_message_whose_time_is_over_is_not_sent_late(backend, stalled):
    """The loop was busy meanwhile, and now there is room."""
    stream, told, connect = stalled
    connect()
    stream.send(b"late", timeout=0.01)
    stream.send(b"in time", timeout=60)
    time.sleep(0.02)  # the busy loop
    backend.wait(told, 2)
    assert [(message, type(status)) for message, status in told] == [
        (b"late", MessageExpired),
        (b"in time", type(None)),
    ]


def test_a_flush_expires_too(backend, stalled):
    stream, told, connect = stalled
    connect()
    stream.send(b"late", timeout=0.01)
    stream.send(b"x")
    time.sleep(0.02)
    backend.run_until(lambda: stream.flush(zmq.POLLOUT) or len(told) == 2)
    assert expired(told) == [b"late"]
    assert told[1] == (b"x", None)


@pytest.mark.parametrize("parked", [False, True], ids=["queued", "parked"])
def test_what_expires_in_a_flush_counts_for_its_limit(backend, parked):
    if parked:
        router, _peer = backend.router(b"peer", hwm=1)
        with contextlib.suppress(zmq.Again):
            while True:  # until it has no room
                router.send_multipart([b"peer", b"before"], zmq.DONTWAIT)
        stream, peer, timeout = backend.stream(router), [b"peer"], 0.3
    else:
        stream, peer, timeout = backend.stream(backend.socket(zmq.PUSH)), [], 1e-6
    told = []
    stream.on_send(lambda message, status: told.append((message[-1], type(status))))
    for i in range(3):
        stream.send_multipart([*peer, b"%d" % i], timeout=timeout)
    if parked:
        assert stream.flush(zmq.POLLOUT) == 0
    overdue(timeout)
    assert stream.flush(limit=1) == 1
    assert told == [(b"0", MessageExpired)]
    backend.run_until(lambda: len(told) == 3)
    assert told[1:] == [(b"1", MessageExpired), (b"2", MessageExpired)]


@pytest.mark.parametrize("parked", [False, True], ids=["queued", "parked"])
def test_a_flush_in_the_callback_of_one_that_expires(backend, parked):
    router, peer, full = backend.router(b"peer", b"full", hwm=2)
    stream = backend.stream(router)
    told = backend.recorder()
    if parked:  # behind those that have no room
        while not stream.sending():
            stream.send_multipart([b"full", b"before"])
            stream.flush(zmq.POLLOUT)
        backend.settle()

    def on_send(message, status):
        told.append((message, type(status)))
        if type(status) is MessageExpired:
            stream.flush(zmq.POLLOUT)

    stream.on_send(on_send)
    stream.send_multipart([b"full" if parked else b"peer", b"late"], timeout=1e-6)
    overdue()
    stream.send_multipart([b"peer", b"x"])
    backend.run_until(lambda: len([each for each in told if each[0][0] == b"peer"]) == 2 - parked)
    backend.run_until(lambda: any(kind is MessageExpired for _, kind in told))
    assert [peer.recv(), [message for message, _ in told].count([b"peer", b"x"])] == [b"x", 1]

    def taken():
        while full.poll(0):
            full.recv()
        return not stream.sending()

    backend.run_until(taken)


def test_messages_to_a_parked_peer_expire_and_others_are_sent(backend):
    router, stalled, healthy = backend.router(b"stalled", b"healthy", hwm=1)
    stream = backend.stream(router)
    told = backend.recorder()
    stream.on_send(lambda message, status: told.append((message, status)))
    for i in range(10):
        stream.send_multipart([b"stalled", b"%d" % i], timeout=0.05)
    stream.send_multipart([b"healthy", b"x"], timeout=60)
    backend.run_until(lambda: healthy.poll(0))
    assert healthy.recv() == b"x"
    backend.wait(told, 11)
    sent = [message[1] for message, status in told if status is None and message[0] == b"stalled"]
    assert 0 < len(sent) < 10
    assert [stalled.recv() for _ in sent] == sent
    stats = stream.stats()
    assert (stats.queued, stats.queued_bytes, stats.expired) == (0, 0, 10 - len(sent))
    stream.send_multipart([b"stalled", b"again"])
    backend.run_until(lambda: stalled.poll(0))
    assert stalled.recv() == b"again"


def test_a_message_in_parts_expires_with_the_first_of_them(backend, stalled):
    stream, told, _ = stalled
    stream.send(b"a", zmq.SNDMORE, timeout=0.01)
    stream.send(b"b", timeout=60)
    backend.wait(told)
    assert expired(told) == [b"a"]


def test_of_threads(backend, stalled):
    stream, told, _ = stalled

    def send():
        for i in range(200):
            stream.send(b"%d" % i, timeout=0.01 + i % 7 * 0.003)

    threads = [threading.Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    backend.wait(told, 600)
    assert len(expired(told)) == 600
    for thread in threads:
        thread.join()


def test_deadlines_of_messages_that_have_gone_are_forgotten(backend, stalled):
    """However long they are: what is kept for them is bounded, and gone with the queue."""
    stream, told, connect = stalled
    connect()
    callback = lambda message, status: told.append((message[0], status))  # noqa: E731
    references = sys.getrefcount(callback)
    for _ in range(2000):
        stream.send(b"x", timeout=3600, callback=callback)
        stream.flush(zmq.POLLOUT)
    backend.wait(told, 2000)
    backend.settle()
    assert sys.getrefcount(callback) == references


def test_callbacks_that_close_send_and_flush(backend, stalled, expected_log):
    stream, told, _ = stalled

    def again(message, status):
        told.append((message[0], status))
        if len(told) < 5:
            stream.send(b"%d" % len(told), timeout=0.01)
            stream.flush()
        else:
            stream.close()

    stream.on_send(again)
    for _ in range(3):
        stream.send(b"0", timeout=0.01)
    backend.run_until(stream.closed)
    assert len(told) == 5
    backend.settle()
    assert len(told) == 5
    expected_log("queued messages could not be handed")


def test_an_exception_in_its_callback_is_reported_and_the_others_expire(backend, stalled):
    stream, told, _ = stalled

    def fail(message, status):
        told.append((message[0], status))
        raise ZeroDivisionError

    stream.on_send(fail)
    for i in range(3):
        stream.send(b"%d" % i, timeout=0.01)
    backend.wait(told, 3)
    backend.expect_errors(*[ZeroDivisionError] * 3)


def test_close_with_deadlines_pending(backend, stalled, expected_log):
    stream, told, _ = stalled
    stream.send(b"x", timeout=0.02)
    stream.close()
    expected_log("1 queued messages")
    backend.run(asyncio.sleep(0.03))
    assert told == []


@pytest.mark.parametrize(
    ("timeout", "error"),
    [(0, ValueError), (-1, ValueError), (float("nan"), ValueError), ("1", TypeError)],
)
@pytest.mark.parametrize("method", ["send", "send_multipart"])
def test_timeouts_that_are_none(backend, stalled, method, timeout, error):
    stream, _, _ = stalled
    message = b"x" if method == "send" else [b"x"]
    with pytest.raises(error, match="send: timeout must be"):
        getattr(stream, method)(message, timeout=timeout)
    assert not stream.sending()
    getattr(stream, method)(message, timeout=float("inf"))


def test_a_subclass_sees_the_timeout(backend):
    seen = []

    class Mine(backend.stream_class):
        def send_multipart(self, msg, *args, **kwargs):
            seen.append(kwargs.get("timeout"))
            return super().send_multipart(msg, *args, **kwargs)

    stream = backend.stream(backend.pair()[0], Mine)
    stream.send(b"x", timeout=5)
    stream.send_string("x", timeout=6)
    stream.send_json("x")
    assert seen == [5, 6, None]


def test_many_that_expire_at_once_leave_the_loop_its_turns(backend, stalled):
    stream, told, _ = stalled
    stream.set_turn_limits(messages=10)
    rounds = []

    def count():
        rounds.append(len(told))
        if len(told) < 100:
            backend.loop.call_soon(count)

    for _ in range(100):
        stream.send(b"x", timeout=0.2)  # after the turn that tries them, which would take its ten
    backend.loop.call_soon(count)
    backend.wait(told, 100)
    steps = [after - before for before, after in itertools.pairwise(rounds)]
    assert max(steps) <= 10


def test_memory_is_bounded_behind_a_message_that_nobody_takes(backend, stalled):
    """What expires or is taken back leaves nothing in the queue, and what stays keeps its order."""
    stream, told, connect = stalled
    stream.send(b"head")
    waiting = []

    async def main():
        for i in range(1000):
            stream.asend(b"taken back", timeout=1000).close()
            if i % 100 == 50:
                stream.send(b"%d" % i)
                stream.send(b"%d'" % i, timeout=1000)
                waiting.append(stream.asend(b'%d"' % i))

    backend.run(main())
    extras = [o for o in gc.get_objects() if type(o).__name__ == "SendExtra"]
    assert len(extras) < 200
    del extras
    waiting.pop(3).close()
    peer = connect()
    backend.drained(stream)
    names = [b"%d" % i for i in range(50, 1000, 100)]
    expected = [n + end for n in names for end in (b"", b"'", b'"')]
    expected.remove(b'350"')
    assert [peer.recv() for _ in range(30)] == [b"head", *expected]
    assert len(told) == 21
    assert not expired(told)


def test_nothing_is_kept_of_what_has_expired(backend, stalled):
    stream, _told, _ = stalled
    stream.send(b"head")

    class Callback:
        def __init__(self, done):
            self.done = done

        def __call__(self, message, status):
            self.done.append(status)

    done = backend.recorder()
    callback = Callback(done)
    kept = weakref.ref(callback)
    stream.send(b"x", callback=callback, timeout=0.01)
    del callback
    backend.wait(done)
    backend.settle()
    assert kept() is None


def test_an_earlier_deadline_that_comes_later(backend, stalled):
    stream, told, _ = stalled
    stream.send(b"late", timeout=1000)
    backend.settle()
    stream.send(b"early", timeout=0.01)
    backend.wait(told)
    assert expired(told) == [b"early"]


def test_deadlines_of_a_long_queue(backend, stalled):
    """They are watched before its turns have come to its end."""
    stream, told, connect = stalled
    stream.set_turn_limits(messages=1)
    loop = backend.loop
    for _ in range(300):
        stream.send(b"x")
    stream.send(b"last", timeout=1000)
    connect()
    calls = []
    call_later = loop.call_later

    def watch(delay, callback, *args, **kwargs):
        if delay > 100:
            calls.append(stream.get_write_buffer_size())
        return call_later(delay, callback, *args, **kwargs)

    try:
        loop.call_later = watch
    except AttributeError:
        pytest.skip("this loop's call_later() cannot be watched")
    backend.wait(told, 301)
    assert calls[0] > 290


def test_a_stream_that_is_closed_is_not_kept_by_its_deadlines(backend):
    stream = zmqstream.ZMQStream(backend.socket(zmq.PUSH), backend.io_loop)
    stream.on_send(lambda message, status: None)
    stream.send(b"x", timeout=1000)
    backend.settle()
    logging.getLogger("zmqstream").disabled = True
    try:
        stream.close()
    finally:
        logging.getLogger("zmqstream").disabled = False
    kept = weakref.ref(stream)
    del stream
    backend.settle()
    gc.collect()
    assert kept() is None
