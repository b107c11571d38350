"""Promise 15: a queue that is bounded when asked, and who is told when there is room."""

import asyncio
import gc
import logging
import math
import threading
import weakref

import pytest
import zmq

import zmqstream
from zmqstream import MessageDropped

pytestmark = pytest.mark.ours


def stalled(home, **limits):
    """A stream without a peer: nothing is handed to libzmq. And how to give it one."""
    socket = home.socket(zmq.PUSH, sndhwm=0)
    stream = home.stream(socket)
    if limits:
        stream.set_write_buffer_limits(**limits)

    def connect():
        peer = home.socket(zmq.PULL, rcvhwm=0)
        peer.rcvtimeo = 20_000
        address = home.address()
        peer.bind(address)
        stream.connect(address)
        return peer

    return stream, connect


def numbers(start, stop):
    return [b"%d" % i for i in range(start, stop)]


# -- sizes and limits -----------------------------------------------------------------------------


def test_no_limits_by_default(home):
    stream, _ = stalled(home)
    assert stream.get_write_buffer_limits() == (None, None, None, None)
    for number in numbers(0, 5000):
        stream.send(number)
    assert stream.get_write_buffer_size() == 5000
    assert stream.get_write_buffer_bytes() == sum(map(len, numbers(0, 5000)))


@pytest.mark.parametrize(
    ("given", "limits"),
    [
        ({"high": 10}, (10, 2, None, None)),
        ({"high": 10, "low": 10}, (10, 10, None, None)),
        ({"low": 3}, (12, 3, None, None)),
        ({"high": 0}, (0, 0, None, None)),
        ({"high_bytes": 4096}, (None, None, 4096, 1024)),
        ({"high": 8, "high_bytes": 100, "low_bytes": 0}, (8, 2, 100, 0)),
        ({}, (None, None, None, None)),
        ({"high": 10**30, "low": 0}, (None, 0, None, None)),
    ],
)
def test_limits_as_asyncios_transports_have_them(home, given, limits):
    stream, _ = stalled(home, high=1, high_bytes=1)
    stream.set_write_buffer_limits(**given)
    assert stream.get_write_buffer_limits() == limits


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"high": -1}, ValueError, "high must not be negative: -1"),
        ({"high": 1.5}, TypeError, "high must be an int or None, not float"),
        ({"high": 5, "low": 6}, ValueError, "low must not be more than high: 6 > 5"),
        (
            {"high_bytes": 5, "low_bytes": 6},
            ValueError,
            "low_bytes must not be more than high_bytes",
        ),
        ({"high_bytes": "5"}, TypeError, "high_bytes must be an int or None, not str"),
        ({"high": 5, "policy": "drop"}, ValueError, "wait, raise, drop_newest, drop_oldest"),
        ({"high": 5, "policy": []}, ValueError, "policy must be one of"),
        ({"policy": "raise"}, ValueError, "policy 'raise' needs high or high_bytes"),
        ({"high": 0, "policy": "drop_oldest"}, ValueError, "would send nothing"),
    ],
)
def test_limits_that_are_none(home, given, error, text):
    stream, _ = stalled(home, high=7)
    with pytest.raises(error, match=text):
        stream.set_write_buffer_limits(**given)
    assert stream.get_write_buffer_limits() == (7, 1, None, None)


def test_limits_of_a_closed_stream(home):
    stream, _ = stalled(home)
    stream.close()
    with pytest.raises(OSError, match="Stream is closed"):
        stream.set_write_buffer_limits(1)
    with pytest.raises(OSError, match="Stream is closed"):
        stream.on_drain(print)


# -- raise ----------------------------------------------------------------------------------------


def test_raise_refuses_at_the_call_and_queues_nothing(home):
    stream, connect = stalled(home, high=3, policy="raise")
    for number in numbers(0, 3):
        stream.send(number)
    for send in (stream.send, lambda m: stream.send_multipart([m, m]), stream.send_json):
        with pytest.raises(
            zmqstream.QueueFull, match=r"queue of <ZMQStream\(zmq.PUSH\).* is full: 3 messages"
        ):
            send("x" if send == stream.send_json else b"x")
    assert stream.get_write_buffer_size() == 3
    assert stream.stats().dropped == stream.stats().errors == 0
    peer = connect()
    home.drained(stream)
    stream.send(b"3")
    home.drained(stream)
    assert [peer.recv() for _ in range(4)] == numbers(0, 4)


def test_raise_counts_bytes_of_all_frames(home):
    stream, _ = stalled(home, high_bytes=10, policy="raise")
    stream.send_multipart([b"1234", b"5678"])
    with pytest.raises(zmq.Again):
        stream.send(b"123")
    stream.send(b"12")
    assert stream.get_write_buffer_bytes() == 10
    with pytest.raises(zmq.Again):
        stream.send(b"1")
    stream.send(b"")


def test_a_message_larger_than_the_limit_is_sent_if_it_is_alone(home):
    stream, connect = stalled(home, high_bytes=10, policy="raise")
    stream.send(bytes(100))
    with pytest.raises(zmq.Again):
        stream.send(b"1")
    peer = connect()
    home.drained(stream)
    assert peer.recv() == bytes(100)


def test_raise_of_a_message_in_parts_leaves_nothing_of_it(home):
    stream, connect = stalled(home, high=1, policy="raise")
    stream.send(b"0")
    stream.send(b"a", zmq.SNDMORE)
    with pytest.raises(zmq.Again):
        stream.send(b"b")
    peer = connect()
    home.drained(stream)
    stream.send(b"1")
    home.drained(stream)
    assert [peer.recv_multipart() for _ in range(2)] == [[b"0"], [b"1"]]


# -- drops ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "kept", "dropped"),
    [
        ("drop_newest", numbers(0, 3), numbers(3, 8)),
        ("drop_oldest", numbers(5, 8), numbers(0, 5)),
    ],
)
def test_drops_are_told_in_order_and_counted(home, policy, kept, dropped):
    stream, connect = stalled(home, high=3, policy=policy)
    told, errors = home.recorder(), []
    stream.on_send(lambda message, status: told.append((message, status)))
    stream.on_err(errors.append)
    for number in numbers(0, 8):
        stream.send(number)
    assert told == []  # never in the middle of a send
    home.wait(told, 5)
    assert [message for message, _ in told] == [[number] for number in dropped]
    assert all(type(status) is MessageDropped for _, status in told)
    assert all(isinstance(status, zmq.ZMQError) for _, status in told)
    assert [status for _, status in told] == errors
    stats = stream.stats()
    assert (stats.dropped, stats.errors, stats.queued) == (5, 0, 3)
    told.clear()
    peer = connect()
    home.wait(told, 3)
    assert [peer.recv() for _ in range(3)] == kept
    assert told == [([number], None) for number in kept]


def test_a_drop_is_told_to_the_callback_of_its_own_send(home):
    stream, _ = stalled(home, high=1, policy="drop_oldest")
    told = home.recorder()
    stream.send(b"0", callback=lambda message, status: told.append((message, type(status))))
    stream.send(b"1")
    home.wait(told)
    assert told == [([b"0"], MessageDropped)]


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
def test_drops_that_nobody_is_told_of_are_logged_once_until_there_is_room(
    home, policy, expected_log
):
    stream, connect = stalled(home, high=4, low=1, policy=policy)
    for number in numbers(0, 100):
        stream.send(number)
    assert len(expected_log("messages are dropped")) == 1
    peer = connect()
    home.drained(stream)
    assert [peer.recv() for _ in range(4)] == numbers(0, 4) if policy == "drop_newest" else True
    stream.disconnect(peer.last_endpoint.decode())
    peer.close()
    home.run_until(lambda: not stream.socket.poll(0, zmq.POLLOUT))
    for number in numbers(0, 100):
        stream.send(number)
    assert len(expected_log("messages are dropped")) == 1
    assert stream.stats().dropped >= 190


def test_a_drop_in_the_callback_of_one_that_expires_is_told(home):
    stream, _ = stalled(home, high=1, policy="drop_newest")
    told = home.recorder()

    def on_send(message, status):
        told.append((message, type(status)))
        if message == [b"0"]:
            stream.send(b"1")
            stream.send(b"2")

    stream.on_send(on_send)
    stream.send(b"0", timeout=0.001)
    home.wait(told, 2)  # where nothing else will ever happen to the stream
    assert told == [([b"0"], zmqstream.MessageExpired), ([b"2"], MessageDropped)]


def test_a_drop_in_a_flush_is_told(home):
    socket, peer = home.pair()
    stream = home.stream(socket)
    stream.set_write_buffer_limits(1, policy="drop_newest")
    told = home.recorder()
    stream.on_recv(lambda message: [stream.send(number) for number in numbers(0, 5)])
    stream.on_send(lambda message, status: told.append((message, type(status))))
    home.settle()
    peer.send(b"go")
    assert stream.flush(limit=2) == 2
    assert told == [([b"0"], type(None))]
    home.wait(told, 5)
    assert told[1:] == [([number], MessageDropped) for number in numbers(1, 5)]


def test_drop_oldest_makes_room_in_bytes(home):
    stream, connect = stalled(home, high_bytes=10, policy="drop_oldest")
    stream.on_send(lambda message, status: None)
    for size in (4, 4, 2, 7):
        stream.send(bytes(size))
    assert stream.get_write_buffer_bytes() == 9
    peer = connect()
    home.drained(stream)
    assert [len(peer.recv()) for _ in range(2)] == [2, 7]


def test_drop_oldest_of_peers_that_are_parked(home):
    """The oldest messages are those of peers that have no room."""
    router, slow, healthy = home.router(b"stalled", b"healthy", hwm=1)
    stream = home.stream(router)
    stream.on_send(lambda message, status: None)
    stream.set_write_buffer_limits(5, policy="drop_oldest")
    stream.send_multipart([b"healthy", b"0"])
    home.drained(stream)
    assert healthy.recv() == b"0"
    for i in range(20):
        stream.send_multipart([b"stalled", b"%d" % i])
        home.settle(2)
    assert stream.stats().queued <= 5
    stream.send_multipart([b"healthy", b"1"])
    home.run_until(lambda: healthy.poll(0))
    assert healthy.recv() == b"1"
    got = []
    while stream.sending() or not got or got[-1] != b"19":
        home.settle(2)
        if slow.poll(0):
            got.append(slow.recv())
    assert got == sorted(got, key=int)
    assert len(got) == 20 - stream.stats().dropped
    assert stream.stats().queued == 0


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
def test_threads_that_send_beyond_the_limit(home, policy):
    """Each message is sent or dropped, and told; those of a thread in order."""
    stream, connect = stalled(home, high=50, policy=policy)
    told = home.recorder()
    stream.on_send(lambda message, status: told.append((message, status)))
    count, threads = 500, 4

    def send(which):
        for i in range(count):
            stream.send_multipart([b"%d" % which, b"%d" % i])

    workers = [threading.Thread(target=send, args=(i,)) for i in range(threads)]
    for worker in workers:
        worker.start()
    home.run_until(lambda: not any(worker.is_alive() for worker in workers))
    peer = connect()
    home.wait(told, threads * count)
    sent = [message for message, status in told if status is None]
    assert len(sent) == 50 == threads * count - stream.stats().dropped
    assert [peer.recv_multipart() for _ in sent] == sent
    for which in range(threads):
        mine = [int(i) for name, i in sent if name == b"%d" % which]
        assert mine == sorted(mine)


def test_a_drop_in_a_thread_wakes_the_loop(home):
    """It is told where nothing else will ever happen to the stream."""
    stream, _ = stalled(home, high=1, policy="drop_newest")
    told = home.recorder()
    once = threading.Event()

    def on_send(message, status):
        told.append((message, type(status)))
        once.set()

    def send():
        assert once.wait(20)  # goes on when the loop lets go of the GIL, to sleep
        stream.send(b"2")

    stream.on_send(on_send)
    sender = threading.Thread(target=send)
    sender.start()
    stream.send(b"0")
    stream.send(b"1")
    home.wait(told, 2)
    sender.join()
    assert told == [([b"1"], MessageDropped), ([b"2"], MessageDropped)]


def test_close_counts_drops_that_were_not_told(home, expected_log):
    stream, _ = stalled(home, high=2, policy="drop_newest")
    stream.on_send(lambda message, status: pytest.fail("told after close"))
    for number in numbers(0, 5):
        stream.send(number)
    stream.close()
    assert "5 queued messages could not be handed" in expected_log("are lost")[0].getMessage()


# -- on_drain -------------------------------------------------------------------------------------


def test_on_drain_when_the_queue_has_fallen_to_low(home):
    stream, connect = stalled(home, high=10, low=4)
    sizes = home.recorder()
    stream.on_drain(lambda: sizes.append(stream.get_write_buffer_size()))
    stream.set_turn_limits(messages=1)
    for number in numbers(0, 10):
        stream.send(number)
    home.settle()
    assert sizes == []  # ten are not more than ten
    stream.send(b"10")
    peer = connect()
    home.wait(sizes)
    assert 0 < sizes[0] <= 4  # then, and not when nothing is left
    home.drained(stream)
    home.settle()
    assert len(sizes) == 1  # once
    assert [peer.recv() for _ in range(11)] == numbers(0, 11)


def test_on_drain_refills_without_end(home):
    stream, connect = stalled(home, high=10)
    rounds = home.recorder()

    def refill():
        rounds.append(stream.get_write_buffer_size())
        for _ in range(11):
            stream.send(b"x")

    stream.on_drain(refill)
    refill()
    connect()
    home.wait(rounds, 20)


def test_on_drain_after_a_refusal(home):
    stream, connect = stalled(home, high=2, policy="raise")
    drained = home.recorder()
    stream.on_drain(lambda: drained.append(1))
    stream.send(b"0")
    stream.send(b"1")
    with pytest.raises(zmq.Again):
        stream.send(b"2")
    connect()
    home.wait(drained)


def test_on_drain_by_flush_and_by_higher_limits(home):
    stream, connect = stalled(home, high=2)
    drained = home.recorder()
    stream.on_drain(lambda: drained.append(1))
    for number in numbers(0, 3):
        stream.send(number)
    stream.set_write_buffer_limits(100, 50)
    home.wait(drained)
    stream.set_write_buffer_limits(2)  # too many again
    connect()
    home.run_until(lambda: stream.flush(zmq.POLLOUT) or not stream.sending())
    home.wait(drained, 2)


def test_an_exception_in_on_drain_is_reported_with_the_stream(home):
    stream, connect = stalled(home, high=2)
    called = home.recorder()

    def fail():
        called.append(1)
        raise ZeroDivisionError

    stream.on_drain(fail)
    for _ in range(2):
        for number in numbers(0, 3):
            stream.send(number)
        if len(called) == 0:
            connect()
        home.drained(stream)
        home.settle()
    for found in home.expect_errors(ZeroDivisionError, ZeroDivisionError):
        assert "the on_drain callback of <ZMQStream(zmq.PUSH)" in found["message"]


def test_on_drain_may_close_the_stream_or_end_itself(home):
    stream, connect = stalled(home, high=2)
    closed = home.recorder()
    stream.set_close_callback(lambda: closed.append(1))
    stream.on_drain(stream.close)
    for number in numbers(0, 3):
        stream.send(number)
    connect()
    home.wait(closed)
    stream, connect = stalled(home, high=2)
    stream.on_drain(lambda: pytest.fail("called"))
    stream.on_drain(None)
    for number in numbers(0, 3):
        stream.send(number)
    connect()
    home.drained(stream)
    home.settle()


def test_no_on_drain_after_close(home, expected_log):
    stream, _ = stalled(home, high=2)
    stream.on_drain(lambda: pytest.fail("called"))
    for number in numbers(0, 3):
        stream.send(number)
    stream.close()
    home.settle()
    expected_log("3 queued messages")


def test_on_drain_wants_a_callable(home):
    stream, _ = stalled(home)
    with pytest.raises(TypeError, match="on_drain: the callback must be callable or None, not int"):
        stream.on_drain(5)


# -- await drain() --------------------------------------------------------------------------------


def test_drain_waits_for_low(home):
    stream, connect = stalled(home, high=10, low=3)
    stream.set_turn_limits(messages=1)

    async def main():
        for number in numbers(0, 10):
            stream.send(number)
            await stream.drain()  # not too many: nothing to wait for
        stream.send(b"10")
        waiting = asyncio.ensure_future(stream.drain())
        await asyncio.sleep(0)
        assert not waiting.done()
        peer = connect()
        await waiting
        assert stream.get_write_buffer_size() <= 3
        return peer

    peer = home.run(main())
    home.drained(stream)
    assert [peer.recv() for _ in range(11)] == numbers(0, 11)


def test_drain_without_limits_waits_for_an_empty_queue(home):
    stream, connect = stalled(home)

    async def main():
        await stream.drain()
        stream.send(b"0")
        waiting = asyncio.ensure_future(stream.drain())
        await asyncio.sleep(0)
        assert not waiting.done()
        connect()
        await waiting
        assert not stream.sending()

    home.run(main())


def test_a_producer_that_awaits_drain_keeps_its_queue_bounded(home):
    stream, connect = stalled(home, high=100)

    async def produce():
        for number in numbers(0, 5000):
            stream.send(number)
            await stream.drain()

    async def main():
        producer = asyncio.ensure_future(produce())
        for _ in range(20):
            await asyncio.sleep(0)
        assert stream.get_write_buffer_size() == 101
        peer = connect()
        await producer
        return peer

    peer = home.run(main())
    home.drained(stream)
    assert stream.stats().peak_queued == 101
    assert [peer.recv() for _ in range(5000)] == numbers(0, 5000)


def test_drain_of_a_stream_that_is_closed_meanwhile(home, expected_log):
    stream, _ = stalled(home, high=1)

    async def main():
        stream.send(b"0")
        stream.send(b"1")
        waiting = [asyncio.ensure_future(stream.drain()) for _ in range(3)]
        await asyncio.sleep(0)
        stream.close()
        for each in waiting:
            with pytest.raises(OSError, match="Stream is closed"):
                await each
        with pytest.raises(OSError, match="Stream is closed"):
            await stream.drain()

    home.run(main())
    expected_log("2 queued messages")


def test_drain_is_cancelled_and_goes_on_without_the_others(home):
    stream, connect = stalled(home, high=1)

    async def main():
        stream.send(b"0")
        stream.send(b"1")
        first, second = (asyncio.ensure_future(stream.drain()) for _ in range(2))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(stream.drain(), 0.001)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        connect()
        await second

    home.run(main())


def test_a_loop_that_is_stopped_while_a_drain_waits_goes_on_later(home):
    stream, connect = stalled(home, high=1)

    async def main():
        stream.send(b"0")
        stream.send(b"1")
        await stream.drain()
        return stream.get_write_buffer_size()

    task = home.loop.create_task(main())
    home.settle()
    connect()
    assert home.run(task) == 0


def test_drain_in_another_loop_is_an_error(home):
    stream, _ = stalled(home, high=1)
    stream.send(b"0")
    stream.send(b"1")

    async def main():
        await stream.drain()

    with pytest.raises(RuntimeError, match="in its own event loop"):
        asyncio.run(main())


def test_memory_is_bounded_where_drain_is_awaited(home, expected_log):
    """What a stalled peer costs is `high` messages (with figures: bench/)."""
    stream, _ = stalled(home, high=1000)

    async def produce():
        while True:
            stream.send(bytes(1000))
            await stream.drain()

    async def main():
        producer = home.loop.create_task(produce())
        for _ in range(50):
            await asyncio.sleep(0)
        assert stream.get_write_buffer_size() == 1001
        assert stream.get_write_buffer_bytes() == 1001 * 1000
        producer.cancel()

    home.run(main())
    stream.close(0)
    expected_log("1001 queued messages")


def test_limits_by_their_public_names():
    assert issubclass(zmqstream.QueueFull, zmq.Again)
    assert zmqstream.QueueFull().errno == zmq.EAGAIN
    assert issubclass(zmqstream.MessageDropped, zmq.ZMQError)
    assert zmqstream.MessageDropped().errno == zmq.ENOBUFS
    assert math.isfinite(zmqstream.MessageExpired().errno)


def test_a_drop_while_a_turn_finds_no_room_is_told(home):
    """No event of the socket would tell of it: the peer has stalled."""
    socket, peer = home.pair(zmq.DEALER, zmq.ROUTER, sndhwm=1, rcvhwm=1)
    stream = home.stream(socket)
    stream.set_write_buffer_limits(1, policy="drop_newest")
    told = home.recorder()
    stream.send(b"first")
    home.drained(stream)
    name = peer.recv_multipart()[0]
    while not stream.sending():
        stream.send(b"fill")
        home.settle()

    def answer(message):
        stream.send(b"one too many", callback=lambda message, status: told.append(status))

    stream.on_recv(answer)
    home.settle()
    peer.send_multipart([name, b"question"])
    home.wait(told)
    assert type(told[0]) is MessageDropped


@pytest.mark.parametrize("where", ["before", "in on_err", "in a flush"])
def test_a_stream_that_is_closed_when_it_is_to_tell_of_drops(home, where, expected_log):
    """Who awaits is told all the same; callbacks end with the stream."""
    stream, _ = stalled(home, high=2, policy="drop_oldest")
    told = home.recorder()
    stream.on_send(lambda message, status: told.append(message))

    async def main():
        sent = asyncio.ensure_future(stream.asend(b"awaited"))
        stream.send(b"1")
        await asyncio.sleep(0)
        stream.send(b"2")  # drops the first
        stream.send(b"3")
        stream.send(b"4")
        if where == "before":
            stream.close()
        elif where == "in on_err":
            stream.on_err(lambda error: stream.close())
        else:
            stream.on_send(lambda message, status: (told.append(message), stream.close()))
            assert stream.flush(zmq.POLLOUT) == 0
        with pytest.raises(MessageDropped):
            await sent
        await asyncio.sleep(0)
        return stream.closed()

    assert home.run(main())
    assert told == ([[b"1"]] if where == "in a flush" else [])
    expected_log("queued messages could not be handed to libzmq")


def test_a_stream_that_is_closed_where_a_drop_is_logged(home, expected_log):
    """What raises has not been queued: nobody would ever look at that queue again."""
    stream, _ = stalled(home, high=1, policy="drop_oldest")
    stream.send(b"1")

    class Closes(logging.Handler):
        def emit(self, record):
            stream.close()

    handler = Closes()
    logging.getLogger("zmqstream").addHandler(handler)
    try:
        with pytest.raises(OSError, match="Stream is closed"):
            stream.send(b"2")
    finally:
        logging.getLogger("zmqstream").removeHandler(handler)
    assert stream.get_write_buffer_size() == 0
    expected_log("messages are dropped")


def run_inside(home, coroutine):
    """Run the loop inside a callback of its own, as old Jupyter kernels do."""
    loop, current = home.loop, asyncio.events._get_running_loop()
    task = loop.create_task(asyncio.wait_for(coroutine, 10))
    outer = asyncio.tasks._current_tasks.pop(loop, None)
    thread, loop._thread_id = loop._thread_id, None
    asyncio.events._set_running_loop(None)
    try:
        return loop.run_until_complete(task)
    finally:
        asyncio.events._set_running_loop(current)
        loop._thread_id = thread
        if outer is not None:
            asyncio.tasks._current_tasks[loop] = outer


@pytest.mark.parametrize("how", ["drain", "expire", "receive"])
def test_in_a_loop_that_runs_inside_a_callback(home, expected_log, how):
    """The turn that ends with the callback is not waited for."""
    if home.name == "uvloop":
        pytest.skip("it runs in no callback of its own")
    socket, peer = home.pair(sndhwm=1 if how == "expire" else 0, rcvhwm=1)
    stream = home.stream(socket)
    stream.set_write_buffer_limits(2, 0)
    if how == "expire":
        while not stream.sending():
            stream.send(b"fill")
            home.settle()
    done = home.recorder()

    async def drain():
        for number in numbers(0, 5):
            stream.send(number)
        reader = asyncio.ensure_future(stream.drain())
        while not reader.done():
            await asyncio.sleep(0.001)
            if peer.poll(0):
                peer.recv()
        return stream.get_write_buffer_size()

    async def expire():
        with pytest.raises(zmqstream.MessageExpired):
            await stream.asend(b"x", timeout=0.01)
        return 0

    async def receive():
        waiting = asyncio.ensure_future(stream.recv())
        await asyncio.sleep(0)
        peer.send(b"0")
        return int(await waiting)

    def inside(message, status=None):
        stream.on_send(None)
        done.append(run_inside(home, {"drain": drain, "expire": expire, "receive": receive}[how]()))

    if how == "receive":
        stream.on_send(inside)
        stream.send(b"go")
    else:
        stream.on_recv(inside)
        peer.send(b"go")
    home.wait(done)
    assert done == [0]
    if how == "expire":
        stream.close(linger=0)
        expected_log("could not be handed")


def test_on_drain_waits_for_bytes_too(home):
    stream, connect = stalled(home, high_bytes=100, low_bytes=40)
    sizes = home.recorder()
    stream.on_drain(lambda: sizes.append(stream.get_write_buffer_bytes()))
    stream.set_turn_limits(messages=1)
    for _ in range(11):
        stream.send(b"x" * 10)
    connect()
    home.wait(sizes)
    assert 0 < sizes[0] <= 40


def test_a_drop_of_a_stream_that_has_nothing_to_do_is_told(home):
    stream, _ = stalled(home, high=1, policy="drop_newest")
    told = home.recorder()
    stream.on_send(lambda message, status: told.append(message))
    stream.send(b"1")
    home.settle()
    stream.send(b"2")
    home.wait(told)
    assert told == [[b"2"]]


def test_drop_oldest_takes_what_is_parked_before_what_is_queued(home):
    router, _ = home.router(b"stalled", hwm=1)
    stream = home.stream(router)
    dropped = home.recorder()
    stream.on_send(lambda message, status: dropped.append(message) if status else None)
    while not stream.sending():
        stream.send_multipart([b"stalled", b"x"])
        home.settle()
    stream.set_write_buffer_limits(2, policy="drop_oldest")
    stream.send_multipart([b"stalled", b"queued"])
    stream.send_multipart([b"stalled", b"last"])
    home.wait(dropped)
    assert dropped == [[b"stalled", b"x"]]


def test_a_drain_that_is_given_up_is_forgotten(home):
    stream, _ = stalled(home, high=1)
    stream.send(b"1")
    stream.send(b"2")

    async def main():
        for wait in (stream.drain, stream._emptied):
            awaited = wait()
            kept = weakref.ref(awaited.send(None))
            awaited.close()
            del awaited
            gc.collect()
            assert kept() is None

    home.run(main())


def test_no_on_drain_when_the_stream_was_closed_before_its_turn_came(home):
    stream, connect = stalled(home, high=2, low=1)
    stream.on_drain(lambda: pytest.fail("called"))
    for number in numbers(0, 3):
        stream.send(number)
    connect()
    assert stream.flush(zmq.POLLOUT) == 3
    stream.close()
    home.settle()


@pytest.mark.parametrize("where", ["in on_send", "after an exception in a flush"])
def test_drop_oldest_when_a_peers_last_message_has_just_left(home, where):
    """Its queue was parked, and is empty: the oldest message is another peer's."""
    router, fast, slow = home.router(b"A", b"B", hwm=1)
    stream = home.stream(router)
    told = home.recorder()

    def on_last(message, status):
        told.append(message)
        if where == "in on_send":
            more()
        else:
            raise ValueError("on_send")

    def more():
        for i in range(10):
            stream.send_multipart([b"B", b"more %d" % i])

    stream.on_send(lambda message, status: None)
    for i in range(2):
        stream.send_multipart([b"A", b"%d" % i])
        stream.send_multipart([b"B", b"%d" % i])
        home.settle()
    stream.send_multipart([b"A", b"last"], callback=on_last)
    stream.send_multipart([b"B", b"x"])
    stream.send_multipart([b"B", b"y"])
    home.settle()
    assert stream.get_write_buffer_size() == 3
    if where == "in on_send":
        stream.set_write_buffer_limits(3, policy="drop_oldest")
    assert [fast.recv() for _ in range(2)] == [b"0", b"1"]
    if where == "in on_send":
        home.wait(told)
    else:
        with pytest.raises(ValueError, match="on_send"):
            stream.flush(zmq.POLLOUT)
        stream.set_write_buffer_limits(3, policy="drop_oldest")
        more()
    assert fast.recv() == b"last"
    assert stream.get_write_buffer_size() == 3
    got = []
    while len(got) < 5:
        home.run_until(lambda: slow.poll(0))
        got.append(slow.recv())
    assert got == [b"0", b"1", b"more 7", b"more 8", b"more 9"]
    home.drained(stream)


def test_each_drain_is_an_object_of_its_own(home):
    """as_completed() and wait() make a set of what they are given."""
    streams = [home.stream(home.socket(zmq.PUSH)) for _ in range(2)]

    async def main():
        waiting = [stream.drain() for stream in streams]
        return [await each for each in asyncio.as_completed(waiting)]

    assert home.run(main()) == [None, None]
