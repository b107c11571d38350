"""What a full queue drops, and who is told of it."""

import asyncio
import logging
import threading

import pytest
import zmq

import zmqstream
from support.traffic import numbers
from zmqstream import MessageDropped

pytestmark = pytest.mark.ours


@pytest.mark.parametrize(
    ("policy", "kept", "dropped"),
    [
        ("drop_newest", numbers(0, 3), numbers(3, 8)),
        ("drop_oldest", numbers(5, 8), numbers(0, 5)),
    ],
)
def test_drops_are_told_in_order_and_counted(backend, policy, kept, dropped):
    stream, connect = backend.stalled(high=3, policy=policy)
    told, errors = backend.recorder(), []
    stream.on_send(lambda message, status: told.append((message, status)))
    stream.on_err(errors.append)
    for number in numbers(0, 8):
        stream.send(number)
    assert told == []  # never in the middle of a send
    backend.wait(told, 5)
    assert [message for message, _ in told] == [[number] for number in dropped]
    assert all(type(status) is MessageDropped for _, status in told)
    assert all(isinstance(status, zmq.ZMQError) for _, status in told)
    assert [status for _, status in told] == errors
    stats = stream.stats()
    assert (stats.dropped, stats.errors, stats.queued) == (5, 0, 3)
    told.clear()
    peer = connect()
    backend.wait(told, 3)
    assert [peer.recv() for _ in range(3)] == kept
    assert told == [([number], None) for number in kept]


def test_a_drop_is_told_to_the_callback_of_its_own_send(backend):
    stream, _ = backend.stalled(high=1, policy="drop_oldest")
    told = backend.recorder()
    stream.send(b"0", callback=lambda message, status: told.append((message, type(status))))
    stream.send(b"1")
    backend.wait(told)
    assert told == [([b"0"], MessageDropped)]


def test_a_drop_in_a_thread_is_told_to_the_callback_of_its_own_send(backend, expected_log):
    """Also where later messages of that thread, which nobody will hear of, have taken its place."""
    stream, _ = backend.stalled(high=1, policy="drop_oldest")
    told = backend.recorder()

    def send():
        stream.send(b"0", callback=lambda message, status: told.append((message, type(status))))
        stream.send(b"1")
        stream.send(b"2")

    sender = threading.Thread(target=send)
    sender.start()
    sender.join(20)
    backend.wait(told)
    assert told == [([b"0"], MessageDropped)]
    assert (stream.stats().dropped, stream.stats().queued) == (2, 1)
    expected_log("messages are dropped")


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
def test_drops_that_nobody_is_told_of_are_logged_once_until_there_is_room(
    backend, policy, expected_log
):
    stream, connect = backend.stalled(high=4, low=1, policy=policy)
    for number in numbers(0, 100):
        stream.send(number)
    assert len(expected_log("messages are dropped")) == 1
    peer = connect()
    backend.drained(stream)
    assert [peer.recv() for _ in range(4)] == numbers(0, 4) if policy == "drop_newest" else True
    stream.disconnect(peer.last_endpoint.decode())
    peer.close()
    backend.run_until(lambda: not stream.socket.poll(0, zmq.POLLOUT))
    for number in numbers(0, 100):
        stream.send(number)
    assert len(expected_log("messages are dropped")) == 1
    assert stream.stats().dropped >= 190


def test_a_drop_in_the_callback_of_one_that_expires_is_told(backend):
    stream, _ = backend.stalled(high=1, policy="drop_newest")
    told = backend.recorder()

    def on_send(message, status):
        told.append((message, type(status)))
        if message == [b"0"]:
            stream.send(b"1")
            stream.send(b"2")

    stream.on_send(on_send)
    stream.send(b"0", timeout=0.001)
    backend.wait(told, 2)  # where nothing else will ever happen to the stream
    assert told == [([b"0"], zmqstream.MessageExpired), ([b"2"], MessageDropped)]


def test_a_drop_in_a_flush_is_told(backend):
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    stream.set_write_buffer_limits(1, policy="drop_newest")
    told = backend.recorder()
    stream.on_recv(lambda message: [stream.send(number) for number in numbers(0, 5)])
    stream.on_send(lambda message, status: told.append((message, type(status))))
    backend.settle()
    peer.send(b"go")
    assert stream.flush(limit=2) == 2
    assert told == [([b"0"], type(None))]
    backend.wait(told, 5)
    assert told[1:] == [([number], MessageDropped) for number in numbers(1, 5)]


def test_drop_oldest_makes_room_in_bytes(backend):
    stream, connect = backend.stalled(high_bytes=10, policy="drop_oldest")
    stream.on_send(lambda message, status: None)
    for size in (4, 4, 2, 7):
        stream.send(bytes(size))
    assert stream.get_write_buffer_bytes() == 9
    peer = connect()
    backend.drained(stream)
    assert [len(peer.recv()) for _ in range(2)] == [2, 7]


def test_drop_oldest_of_peers_that_are_parked(backend):
    """The oldest messages are those of peers that have no room."""
    router, slow, healthy = backend.router(b"stalled", b"healthy", hwm=1)
    stream = backend.stream(router)
    stream.on_send(lambda message, status: None)
    stream.set_write_buffer_limits(5, policy="drop_oldest")
    stream.send_multipart([b"healthy", b"0"])
    backend.drained(stream)
    assert healthy.recv() == b"0"
    for i in range(20):
        stream.send_multipart([b"stalled", b"%d" % i])
        backend.settle(2)
    assert stream.stats().queued <= 5
    stream.send_multipart([b"healthy", b"1"])
    backend.run_until(lambda: healthy.poll(0))
    assert healthy.recv() == b"1"
    got = []
    while stream.sending() or not got or got[-1] != b"19":
        backend.settle(2)
        if slow.poll(0):
            got.append(slow.recv())
    assert got == sorted(got, key=int)
    assert len(got) == 20 - stream.stats().dropped
    assert stream.stats().queued == 0


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
def test_threads_that_send_beyond_the_limit(backend, policy):
    """Each message is sent or dropped, and told; those of a thread in order."""
    stream, connect = backend.stalled(high=50, policy=policy)
    told = backend.recorder()
    stream.on_send(lambda message, status: told.append((message, status)))
    count, threads = 500, 4

    def send(which):
        for i in range(count):
            stream.send_multipart([b"%d" % which, b"%d" % i])

    workers = [threading.Thread(target=send, args=(i,)) for i in range(threads)]
    for worker in workers:
        worker.start()
    backend.run_until(lambda: not any(worker.is_alive() for worker in workers))
    peer = connect()
    backend.wait(told, threads * count)
    sent = [message for message, status in told if status is None]
    assert len(sent) == 50 == threads * count - stream.stats().dropped
    assert [peer.recv_multipart() for _ in sent] == sent
    for which in range(threads):
        mine = [int(i) for name, i in sent if name == b"%d" % which]
        assert mine == sorted(mine)


def test_a_drop_in_a_thread_wakes_the_loop(backend):
    """It is told where nothing else will ever happen to the stream."""
    stream, _ = backend.stalled(high=1, policy="drop_newest")
    told = backend.recorder()
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
    backend.wait(told, 2)
    sender.join()
    assert told == [([b"1"], MessageDropped), ([b"2"], MessageDropped)]


def test_close_counts_drops_that_were_not_told(backend, expected_log):
    stream, _ = backend.stalled(high=2, policy="drop_newest")
    stream.on_send(lambda message, status: pytest.fail("told after close"))
    for number in numbers(0, 5):
        stream.send(number)
    stream.close()
    assert "5 queued messages could not be handed" in expected_log("are lost")[0].getMessage()


def test_a_drop_while_a_turn_finds_no_room_is_told(backend):
    """No event of the socket would tell of it: the peer has stalled."""
    socket, peer = backend.pair(zmq.DEALER, zmq.ROUTER, sndhwm=1, rcvhwm=1)
    stream = backend.stream(socket)
    stream.set_write_buffer_limits(1, policy="drop_newest")
    told = backend.recorder()
    stream.send(b"first")
    backend.drained(stream)
    name = peer.recv_multipart()[0]
    while not stream.sending():
        stream.send(b"fill")
        backend.settle()

    def answer(message):
        stream.send(b"one too many", callback=lambda message, status: told.append(status))

    stream.on_recv(answer)
    backend.settle()
    peer.send_multipart([name, b"question"])
    backend.wait(told)
    assert type(told[0]) is MessageDropped


@pytest.mark.parametrize("where", ["before", "in on_err", "in a flush"])
def test_a_stream_that_is_closed_when_it_is_to_tell_of_drops(backend, where, expected_log):
    """Who awaits is told all the same; callbacks end with the stream."""
    stream, _ = backend.stalled(high=2, policy="drop_oldest")
    told = backend.recorder()
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
        while not stream.closed():
            await asyncio.sleep(0)

    backend.run(main())
    assert told == ([[b"1"]] if where == "in a flush" else [])
    expected_log("queued messages could not be handed to libzmq")


def test_a_stream_that_is_closed_where_a_drop_is_logged(backend, expected_log):
    """What raises has not been queued: nobody would ever look at that queue again."""
    stream, _ = backend.stalled(high=1, policy="drop_oldest")
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


def test_a_drop_of_a_stream_that_has_nothing_to_do_is_told(backend):
    stream, _ = backend.stalled(high=1, policy="drop_newest")
    told = backend.recorder()
    stream.on_send(lambda message, status: told.append(message))
    stream.send(b"1")
    backend.settle()
    stream.send(b"2")
    backend.wait(told)
    assert told == [[b"2"]]


def test_drop_oldest_takes_what_is_parked_before_what_is_queued(backend):
    router, _ = backend.router(b"stalled", hwm=1)
    stream = backend.stream(router)
    dropped = backend.recorder()
    stream.on_send(lambda message, status: dropped.append(message) if status else None)
    while not stream.sending():
        stream.send_multipart([b"stalled", b"x"])
        backend.settle()
    stream.set_write_buffer_limits(2, policy="drop_oldest")
    stream.send_multipart([b"stalled", b"queued"])
    stream.send_multipart([b"stalled", b"last"])
    backend.wait(dropped)
    assert dropped == [[b"stalled", b"x"]]


@pytest.mark.parametrize("where", ["in on_send", "after an exception in a flush"])
def test_drop_oldest_when_a_peers_last_message_has_just_left(backend, where):
    """Its queue was parked, and is empty: the oldest message is another peer's."""
    router, fast, slow = backend.router(b"A", b"B", hwm=1)
    stream = backend.stream(router)
    told = backend.recorder()

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
        backend.settle()
    stream.send_multipart([b"A", b"last"], callback=on_last)
    stream.send_multipart([b"B", b"x"])
    stream.send_multipart([b"B", b"y"])
    backend.settle()
    assert stream.get_write_buffer_size() == 3
    if where == "in on_send":
        stream.set_write_buffer_limits(3, policy="drop_oldest")
    assert [fast.recv() for _ in range(2)] == [b"0", b"1"]
    if where == "in on_send":
        backend.wait(told)
    else:
        with pytest.raises(ValueError, match="on_send"):
            stream.flush(zmq.POLLOUT)
        stream.set_write_buffer_limits(3, policy="drop_oldest")
        more()
    assert fast.recv() == b"last"
    assert stream.get_write_buffer_size() == 3
    got = []
    while len(got) < 5:
        backend.run_until(lambda: slow.poll(0))
        got.append(slow.recv())
    assert got == [b"0", b"1", b"more 7", b"more 8", b"more 9"]
    backend.drained(stream)
