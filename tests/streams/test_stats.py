"""What stats() tells, of a stream and of a loop; and the limits of a turn."""

import asyncio
import logging
import math
import time

import pytest
import zmq

import zmqstream
from support import FREE_THREADED
from support.backends import served

pytestmark = pytest.mark.ours


def streams(backend, **options):
    return [backend.stream(socket) for socket in backend.pair(sndhwm=0, rcvhwm=0, **options)]


def test_messages_and_bytes_of_both_ways(backend):
    sender, receiver = streams(backend)
    got = backend.recorder()
    receiver.on_recv(got.append)
    sender.send(b"12345")
    sender.send_multipart([b"123", b"", b"4567"])
    sender.send_multipart([zmq.Frame(b"12"), bytearray(b"3")], copy=False)
    stats = sender.stats()
    assert isinstance(stats, zmqstream.StreamStats)
    assert (stats.queued, stats.queued_bytes, stats.peak_queued) == (3, 15, 3)
    assert stats.messages_out == stats.bytes_out == 0
    backend.wait(got, 3)
    stats = sender.stats()
    assert (stats.messages_out, stats.bytes_out, stats.messages_in) == (3, 15, 0)
    assert (stats.queued, stats.queued_bytes, stats.peak_queued) == (0, 0, 3)
    stats = receiver.stats()
    assert (stats.messages_in, stats.bytes_in, stats.messages_out) == (3, 15, 0)
    assert stats.errors == stats.dropped == stats.expired == 0
    assert stats.callback_time is None


@pytest.mark.parametrize("copy", [True, False])
def test_a_callback_sees_its_own_message_counted(backend, copy):
    sender, receiver = streams(backend)
    seen = backend.recorder()
    receiver.on_recv(lambda message: seen.append(receiver.stats()[:2]), copy=copy)
    for message in ([b"1"], [b"22", b"333"], [b""]):
        sender.send_multipart(message)
    backend.wait(seen, 3)
    assert seen == [(1, 1), (2, 6), (3, 6)]


def test_what_a_flush_does_is_counted(backend):
    sender, receiver = streams(backend)
    sender.send(b"abc")
    sender.flush()
    assert sender.stats().messages_out == 1
    backend.run_until(lambda: receiver.flush(zmq.POLLIN) == 1)  # and drops it
    assert receiver.stats()[:2] == (1, 3)


def test_what_close_hands_over_is_counted_and_stats_outlive_it(backend):
    sender, _receiver = streams(backend)
    sender.send(b"abc")
    sender.close()
    stats = sender.stats()
    assert (stats.messages_out, stats.bytes_out, stats.queued, stats.queued_bytes) == (1, 3, 0, 0)


def test_errors_are_counted(backend):
    router = backend.stream(backend.socket(zmq.ROUTER, router_mandatory=1))
    errors = backend.recorder()
    router.on_err(errors.append)
    router.send_multipart([b"nobody", b"1"])
    router.send_multipart([b"nobody", b"2"])
    backend.wait(errors, 2)
    assert router.stats().errors == 2
    assert router.stats().messages_out == 0


def test_messages_to_a_parked_peer_are_queued(backend):
    sender, _receiver = streams(backend)
    router = backend.socket(zmq.ROUTER, router_mandatory=1, sndhwm=1, sndbuf=1)
    dealer = backend.socket(zmq.DEALER, rcvhwm=1, routing_id=b"peer")
    router.bind("inproc://parked")
    dealer.connect("inproc://parked")
    stream = backend.stream(router)
    backend.run_until(lambda: not router.poll(0) and router.get(zmq.EVENTS) & zmq.POLLOUT)
    for _ in range(10):
        stream.send_multipart([b"peer", b"12345678"])
    backend.run_until(lambda: stream.stats().messages_out)
    stats = stream.stats()
    assert stats.messages_out + stats.queued == 10
    assert stats.queued_bytes == 12 * stats.queued
    assert stats.queued > 0


def test_turns_and_those_that_the_budget_ended(backend):
    sender, receiver = streams(backend)
    for _ in range(100):
        sender.send(b"x")
    backend.drained(sender)
    got = backend.recorder()
    receiver.set_turn_limits(messages=10)
    before = receiver.stats().turns
    receiver.on_recv(got.append)
    backend.wait(got, 100)
    stats = receiver.stats()
    assert stats.turns_cut == 10
    assert stats.turns - before in (11, 12)


def test_a_turn_is_as_long_as_set(backend):
    """Nothing else of the loop runs within one."""
    sender, receiver = streams(backend)
    for _ in range(1500):
        sender.send(b"x")
    backend.drained(sender)
    order = []
    receiver.set_turn_limits(messages=300, seconds=60)
    receiver.on_recv(
        lambda message: (order.append("message"), backend.loop.call_soon(order.append, "loop"))
    )
    backend.run_until(lambda: order.count("message") == 1500)
    # a guest's reader and its timer may be due in one iteration of the loop, and each gives a turn
    assert order.index("loop") in ((300,) if backend.at_home else (300, 600))


def test_a_turn_ends_when_its_time_is_over(backend):
    sender, receiver = streams(backend)
    for _ in range(50):
        sender.send(b"x")
    backend.drained(sender)
    got = backend.recorder()

    def slow(message):
        got.append(message)
        end = time.perf_counter() + 0.0005
        while time.perf_counter() < end:
            pass

    receiver.set_turn_limits(seconds=0.0001)
    receiver.on_recv(slow)
    backend.wait(got, 50)
    assert receiver.stats().turns_cut == 50


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"messages": 0}, ValueError, "messages must be at least 1: 0"),
        ({"messages": 1.5}, TypeError, "messages must be an int, not float"),
        ({"seconds": 0}, ValueError, "seconds must be more than 0: 0"),
        ({"seconds": -1}, ValueError, "seconds must be more than 0: -1"),
        ({"seconds": math.nan}, ValueError, "seconds must be more than 0: nan"),
        ({"seconds": "1"}, TypeError, "seconds must be a number, not str"),
    ],
)
def test_limits_that_are_none(backend, arguments, error, text):
    stream = streams(backend)[0]
    with pytest.raises(error, match=text):
        stream.set_turn_limits(**arguments)
    stream.set_turn_limits(messages=10**30, seconds=math.inf)
    stream.set_turn_limits()


def test_a_swallowed_event_that_was_found(backend, throttled):
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    got = backend.recorder()
    stream.on_recv(got.append)
    backend.settle()
    peer.send(b"x")
    throttled()
    socket.get(zmq.EVENTS)  # its event is gone
    backend.wait(got)
    assert stream.stats().repaired == 1


def test_the_time_of_callbacks(backend):
    sender, receiver = streams(backend)
    got = backend.recorder()

    def slow(message):
        time.sleep(0.002)  # what is measured
        got.append(message)

    receiver.on_recv(slow)
    sender.send(b"x")
    backend.wait(got)
    assert receiver.stats().callback_time is None
    receiver.set_callback_timing(True)
    assert receiver.stats().callback_time == 0
    for _ in range(3):
        sender.send(b"x")
    backend.wait(got, 4)
    backend.settle()
    assert 0.006 <= receiver.stats().callback_time < 10
    receiver.set_callback_timing(False)
    assert receiver.stats().callback_time is None


@pytest.fixture(params=["loop", "environment"])
def debug(request, backend, monkeypatch):
    """Debug mode, of asyncio's loop or by ZMQSTREAM_DEBUG alone."""
    if request.param == "loop":
        backend.loop.set_debug(True)
    else:
        monkeypatch.setenv("ZMQSTREAM_DEBUG", "1")
    return request.param


def test_slow_callbacks_are_logged_in_debug_mode(backend, debug, expected_log):
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # which logs slow handles, too
    try:
        backend.loop.slow_callback_duration = 0.01
        sender, receiver = streams(backend)
        got = backend.recorder()

        def slow(message):
            time.sleep(0.02)
            got.append(message)

        receiver.on_recv(slow)
        sender.send(b"x")
        backend.wait(got)
        backend.settle()
        (record,) = expected_log("the on_recv callback took 0.")
        assert "slow" in record.getMessage()
        assert "zmq.PAIR" in record.getMessage()
    finally:
        logging.getLogger("asyncio").setLevel(logging.NOTSET)


def test_events_that_were_found_again_are_logged_in_debug_mode(
    backend, debug, throttled, expected_log
):
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    got = backend.recorder()
    stream.on_recv(got.append)
    backend.settle()
    peer.send(b"x")
    throttled()
    socket.get(zmq.EVENTS)
    backend.wait(got)
    (record,) = expected_log("other use of its socket may have swallowed it")
    assert "ZMQStream(zmq.PAIR)" in record.getMessage()


def test_other_threads_are_refused_in_debug_mode(backend, debug):
    stream = streams(backend)[0]
    errors = backend.recorder()

    def touch():
        try:
            stream.on_recv(None)
        except RuntimeError as error:
            errors.append(error)

    async def main():
        await backend.loop.run_in_executor(None, touch)

    backend.run(main())
    assert "was used in thread" in str(errors[0])


@pytest.mark.skipif(FREE_THREADED, reason="it raises without debug mode, too")
@pytest.mark.parametrize("value", ["", "0"])
def test_no_debug_mode(backend, value, monkeypatch):
    monkeypatch.setenv("ZMQSTREAM_DEBUG", value)
    stream = streams(backend)[0]

    async def main():
        await backend.loop.run_in_executor(None, stream.on_recv, None)

    backend.run(main())


def test_a_receiver_that_was_woken_by_a_sweep_is_a_repair(backend, throttled):
    socket, peer = backend.pair()
    stream = backend.stream(socket)

    async def main():
        receiver = asyncio.ensure_future(stream.recv())
        for _ in range(3):
            await asyncio.sleep(0)
        peer.send(b"x")
        throttled()
        socket.get(zmq.EVENTS)
        assert await receiver == b"x"

    backend.run(main())
    assert stream.stats().repaired == 1


def test_of_a_loop(backend):
    io_loop = zmqstream.IOLoop(make_current=False, asyncio_loop=backend.loop)
    before = io_loop.stats()
    assert isinstance(before, zmqstream.LoopStats)
    sender, receiver = streams(backend)
    got = backend.recorder()
    receiver.on_recv(got.append)
    sender.send(b"x")
    backend.wait(got)
    stats = io_loop.stats()
    assert stats.streams == 2
    assert stats.passes > before.passes
    assert stats.turns >= before.turns + 2
    assert backend.name == "uvloop" or stats.polls > before.polls or "selectors" in backend.name
    sender.close()
    assert io_loop.stats().streams == 1


def test_repr_tells_state_endpoint_and_counts(backend):
    socket = backend.socket(zmq.PULL)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    stream = backend.stream(socket)
    push = backend.socket(zmq.PUSH)
    push.connect(f"tcp://127.0.0.1:{port}")
    got = backend.recorder()
    stream.on_recv(got.append)
    push.send(b"x")
    backend.wait(got)
    text = repr(stream)
    assert "ZMQStream(zmq.PULL)" in text
    told = f"tcp://127.0.0.1:{port}, in 1, out 0, queued 0, {served(backend.name)} loop>"
    assert text.endswith(told)
    stream.close()
    assert f"closed, tcp://127.0.0.1:{port}, in 1" in repr(stream)


def test_the_longest_queue_and_what_asend_hands_over_at_once(backend):
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    for _ in range(5):
        stream.send(b"x")
    backend.drained(stream)
    stream.send(b"x")
    backend.drained(stream)
    assert stream.stats().peak_queued == 5
    backend.run(_awaited(stream.asend_multipart([b"12", b"345"])))
    stats = stream.stats()
    assert (stats.messages_out, stats.bytes_out) == (7, 11)
    assert [peer.recv_multipart() for _ in range(7)][-1] == [b"12", b"345"]


async def _awaited(awaitable):
    return await awaitable
