"""Every send has an outcome: on_send(), a send's own callback, on_err(), the log."""

import asyncio
import contextvars
import time

import pytest
import zmq


def test_on_send_gets_message_and_status(backend):
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    sent = backend.recorder()
    stream.on_send(lambda msg, status: sent.append((msg, status)))
    stream.send(b"a")
    stream.send_multipart([b"b", b"c"])
    backend.wait(sent, 2)
    assert sent == [([b"a"], None), ([b"b", b"c"], None)]
    stream.stop_on_send()
    stream.send(b"d")
    backend.drained(stream)
    assert len(sent) == 2
    assert peer.recv_multipart() == [b"a"]


def test_on_send_stream(backend):
    socket, _ = backend.pair()
    stream = backend.stream(socket)
    sent = backend.recorder()
    stream.on_send_stream(lambda stream, msg, status: sent.append((stream, msg, status)))
    stream.send(b"a")
    backend.wait(sent)
    assert sent == [(stream, [b"a"], None)]
    stream.on_send_stream(None)
    stream.send(b"b")
    backend.drained(stream)
    assert len(sent) == 1


@pytest.mark.deviates("pyzmq calls the last callback given, for whichever message is sent next")
def test_a_sends_own_callback_is_called_for_it_alone(backend):
    socket, _ = backend.pair()
    stream = backend.stream(socket)
    sent = backend.recorder()
    stream.on_send(lambda msg, status: sent.append(("registered", msg)))
    stream.send(b"a", callback=lambda msg, status: sent.append(("A", msg)))
    stream.send_multipart([b"b"], callback=lambda msg, status: sent.append(("B", msg)))
    stream.send(b"c")
    stream.send_string("d", callback=lambda msg, status: sent.append(("D", msg)))
    stream.send_json(1, callback=lambda msg, status: sent.append(("E", msg)))
    stream.send_pyobj(None, callback=lambda msg, status: sent.append(("F", status)))
    backend.wait(sent, 6)
    assert sent == [
        ("A", [b"a"]), ("B", [b"b"]), ("registered", [b"c"]), ("D", [b"d"]), ("E", [b"1"]),
        ("F", None),
    ]  # fmt: skip


def test_tracker_of_a_send_without_copy(backend):
    socket, peer = backend.pair(transport="tcp")
    stream = backend.stream(socket)
    sent = backend.recorder()
    stream.on_send(lambda msg, status: sent.append(status))
    big = b"x" * 200_000
    stream.send(big, copy=False, track=True)
    stream.send(b"small", copy=False, track=True)
    backend.wait(sent, 2)
    assert all(isinstance(status, zmq.MessageTracker) for status in sent)
    assert peer.recv() == big
    sent[0].wait(20)
    assert sent[1].done


@pytest.mark.deviates("pyzmq's status is the tracker of the last frame")
def test_tracker_covers_all_frames(backend):
    socket, peer = backend.pair(transport="tcp")
    stream = backend.stream(socket)
    sent = backend.recorder()
    big = b"x" * 200_000
    stream.send_multipart(
        [big, b"small"], copy=False, track=True, callback=lambda m, status: sent.append(status)
    )
    backend.wait(sent)
    assert sent[0] is not zmq._FINISHED_TRACKER
    assert peer.recv_multipart() == [big, b"small"]
    sent[0].wait(20)


def test_context_of_on_send(backend):
    variable = contextvars.ContextVar("variable", default="outside")
    socket, _ = backend.pair()
    stream = backend.stream(socket)
    seen = backend.recorder()

    def register():
        variable.set("registered")
        stream.on_send(lambda msg, status: seen.append(variable.get()))

    def send():
        variable.set("sent")
        stream.send(b"x", callback=lambda msg, status: seen.append(variable.get()))

    contextvars.copy_context().run(register)
    if backend.reference:
        pytest.skip("deviates from pyzmq on purpose: its callbacks run in the stream's context")
    stream.send(b"y")
    contextvars.copy_context().run(send)
    backend.wait(seen, 2)
    assert seen == ["registered", "sent"]


def test_on_send_may_send(backend):
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    sent = backend.recorder()

    def again(msg, status):
        sent.append(msg)
        if len(sent) < 20:
            stream.send(b"%d" % len(sent))

    stream.on_send(again)
    stream.send(b"0")
    backend.wait(sent, 20)
    assert [peer.recv() for _ in range(20)] == [b"%d" % i for i in range(20)]


def test_coroutine_on_send(backend):
    socket, _ = backend.pair()
    stream = backend.stream(socket)
    done = backend.recorder()

    async def callback(msg, status):
        await asyncio.sleep(0)
        done.append(msg)

    stream.on_send(callback)
    stream.send(b"x")
    backend.wait(done)
    assert done == [[b"x"]]


def test_a_failed_send_holds_up_nobody(backend):
    """Every send has an outcome: EHOSTUNREACH."""
    router, peer = backend.router(b"there", transport="tcp")
    stream = backend.stream(router)
    sent = backend.recorder()
    stream.on_send(lambda msg, status: sent.append((msg[0], getattr(status, "errno", None))))
    stream.send_multipart([b"there", b"1"])
    stream.send_multipart([b"nobody", b"2"])
    stream.send_multipart([b"there", b"3"])
    backend.wait(sent, 3)
    assert sent == [(b"there", None), (b"nobody", zmq.EHOSTUNREACH), (b"there", None)]
    assert (peer.recv(), peer.recv()) == (b"1", b"3")


@pytest.mark.deviates("pyzmq's on_err does nothing")
def test_on_err_is_told_of_failed_sends(backend):
    router, peer = backend.router(b"there", transport="tcp")
    stream = backend.stream(router)
    errors = backend.recorder()
    stream.on_err(errors.append)
    stream.send_multipart([b"nobody", b"1"])
    backend.wait(errors)
    assert isinstance(errors[0], zmq.ZMQError)
    assert errors[0].errno == zmq.EHOSTUNREACH


@pytest.mark.ours
def test_a_stream_that_is_closed_in_on_err(backend, expected_log):
    """Its callbacks end with it."""
    router, _peer = backend.router(b"there", transport="tcp")
    stream = backend.stream(router)
    errors = backend.recorder()
    stream.on_err(lambda error: (stream.close(), errors.append(error)))
    stream.on_send(lambda message, status: pytest.fail("closed"))
    for _ in range(2):
        stream.send_multipart(
            [b"nobody", b"x"], callback=lambda message, status: pytest.fail("closed")
        )
    backend.wait(errors)
    backend.settle()
    assert len(errors) == 1
    expected_log("1 queued messages could not be handed")


@pytest.mark.deviates("pyzmq's on_err does nothing")
def test_on_send_replaced_in_on_err(backend):
    """Who is registered when it is told, is told."""
    router, peer = backend.router(b"there", transport="tcp")
    stream = backend.stream(router)
    old, new = backend.recorder(), backend.recorder()
    stream.on_send(lambda msg, status: old.append(status))
    stream.on_err(lambda error: stream.on_send(lambda msg, status: new.append(status.errno)))
    stream.send_multipart([b"nobody", b"1"])
    backend.wait(new)
    assert (old, new) == ([], [zmq.EHOSTUNREACH])


@pytest.mark.deviates("pyzmq's on_err does nothing")
@pytest.mark.parametrize("end", [lambda s: s.on_err(None), lambda s: s.stop_on_err()])
def test_a_failed_send_nobody_is_told_of_is_logged(backend, end, expected_log):
    router, peer = backend.router(b"there", transport="tcp")
    stream = backend.stream(router)
    errors = []
    stream.on_err(errors.append)
    end(stream)
    stream.send_multipart([b"nobody", b"1"])
    backend.drained(stream)
    assert errors == []
    [record] = expected_log("could not be sent")
    assert repr(stream).partition(" at ")[0] in record.getMessage()


@pytest.mark.deviates("pyzmq waits for POLLOUT, which a REP without a request never shows")
def test_efsm_is_an_outcome(backend):
    socket, peer = backend.pair(zmq.REP, zmq.REQ)
    stream = backend.stream(socket)
    sent = backend.recorder()
    stream.on_send(lambda msg, status: sent.append(getattr(status, "errno", None)))
    stream.on_recv(stream.send_multipart)
    stream.send(b"nobody asked")
    backend.wait(sent)
    assert sent == [zmq.EFSM]
    peer.send(b"question")
    backend.wait(sent, 2)
    assert sent == [zmq.EFSM, None]
    assert peer.recv() == b"question"


@pytest.mark.deviates("pyzmq lets one refused peer stop the loop")
def test_a_stalled_peer_of_a_mandatory_router_stops_nobody(backend):
    router = backend.socket(zmq.ROUTER, router_mandatory=1, sndhwm=3)
    router.bind(backend.address())
    peers = {}
    for name in (b"stalled", b"healthy"):
        peer = backend.socket(zmq.DEALER, routing_id=name, rcvhwm=3, rcvtimeo=20_000)
        peer.connect(router.last_endpoint.decode())
        peer.send(b"hello")
        peers[name] = peer
        router.recv_multipart()
    stream = backend.stream(router)
    got = backend.recorder()
    stream.on_send(lambda msg, status: got.append((msg[0], int(msg[1]), status)))
    for i in range(50):
        stream.send_multipart([b"stalled", b"%d" % i])
        stream.send_multipart([b"healthy", b"%d" % i])
    healthy = []
    while len(healthy) < 50:
        backend.settle(2)
        try:
            healthy.append(int(peers[b"healthy"].recv(zmq.DONTWAIT)))
        except zmq.Again:
            pass
    assert healthy == list(range(50))
    assert stream.sending()
    received = []
    while len(received) < 50:  # now it wakes up
        backend.run_until(lambda: peers[b"stalled"].poll(0))
        received.append(int(peers[b"stalled"].recv()))
    assert received == list(range(50))
    backend.drained(stream)
    for name in peers:
        assert [g for g in got if g[0] == name] == [(name, i, None) for i in range(50)]


def test_messages_sent_in_parts(backend):
    """With SNDMORE, as zmq_msg_send() takes them."""
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    stream.send(b"a", flags=zmq.SNDMORE)
    stream.send_multipart([b"b", b"c"], flags=zmq.SNDMORE)
    stream.send(b"d")
    stream.send(b"alone")
    backend.drained(stream)
    assert peer.recv_multipart() == [b"a", b"b", b"c", b"d"]
    assert peer.recv_multipart() == [b"alone"]


@pytest.mark.ours
@pytest.mark.parametrize("size", [10, 100_000])
def test_outcome_of_messages_sent_in_parts_without_copying(backend, size):
    """on_send is told of the whole message, with a tracker of the whole message."""
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    told, own = backend.recorder(), backend.recorder()
    stream.on_send(lambda msg, status: told.append((msg, status)))
    for callback in (None, lambda msg, status: own.append((msg, status))):
        stream.send(b"a" * size, zmq.SNDMORE, copy=False, track=True)
        stream.send(b"b" * size, zmq.SNDMORE, copy=False, track=True, callback=callback)
        stream.send(b"c", copy=False, track=True)
    backend.wait(told)
    backend.wait(own)
    for [(message, status)] in (told, own):
        assert [bytes(frame) for frame in message] == [b"a" * size, b"b" * size, b"c"]
        assert type(status) is zmq.MessageTracker
        assert status.done == (size == 10)
    del message, told[:], own[:]
    assert peer.recv_multipart() == peer.recv_multipart()
    status.wait(20)


@pytest.mark.ours
def test_parts_are_not_parted(backend, expected_log):
    """Not by an error, nor by a peer that refuses: they are one message."""
    router, peer = backend.router(b"there", transport="tcp")
    stream = backend.stream(router)
    sent = backend.recorder()

    def told(msg, status):
        sent.append((msg, getattr(status, "errno", None)))

    stream.send(b"nobody", flags=zmq.SNDMORE, callback=told)
    stream.send(b"x", callback=told)
    stream.send(b"there", flags=zmq.SNDMORE)
    stream.send(b"y", callback=told)
    backend.wait(sent, 3)
    assert sent == [([b"nobody", b"x"], zmq.EHOSTUNREACH)] * 2 + [([b"there", b"y"], None)]
    assert peer.recv_multipart() == [b"y"]
    stream.send(b"unfinished", flags=zmq.SNDMORE)
    stream.close()
    expected_log("1 queued messages")


@pytest.mark.ours
@pytest.mark.parametrize("kind", ["PUB", "STREAM"])
def test_a_socket_that_lies_about_pollout_does_not_spin(backend, kind, expected_log):
    """These show POLLOUT, and refuse every message."""
    if kind == "PUB":
        socket, peer = backend.pair(zmq.PUB, zmq.XSUB, sndhwm=1, rcvhwm=1)
        socket.setsockopt(zmq.XPUB_NODROP, 1)
        peer.send(b"\x01")
    else:
        socket = backend.socket(zmq.STREAM, sndhwm=1)
        socket.bind("tcp://127.0.0.1:*")
        peer = backend.socket(zmq.STREAM)
        peer.connect(socket.last_endpoint.decode())
        socket.rcvtimeo = 20_000
        name, _ = socket.recv_multipart()
    stream = backend.stream(socket)
    backend.run_until(lambda: socket.getsockopt(zmq.EVENTS) & zmq.POLLOUT)
    for _ in range(200):
        stream.send_multipart([b"x"] if kind == "PUB" else [name, b"x" * 1_000_000])
    backend.settle(20)
    assert stream.sending()
    started = time.process_time()
    backend.run(asyncio.sleep(0.3))
    assert time.process_time() - started < 0.2
    stream.close()
    expected_log("queued messages")


@pytest.mark.deviates("pyzmq's on_err is never called")
@pytest.mark.parametrize("way", ["by the loop", "in a flush"])
@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_a_failed_send_has_its_outcome_whatever_on_err_raises(backend, way, error):
    router, _ = backend.router(b"there", transport="tcp")
    stream = backend.stream(router)
    told, sent = [], backend.recorder()

    def on_err(failure):
        told.append(failure.errno)
        raise error("on_err")

    stream.on_err(on_err)

    def send():
        stream.send_multipart(
            [b"nobody", b"x"], callback=lambda message, status: sent.append(status.errno)
        )

    if way == "in a flush":
        send()
        with pytest.raises(error, match="on_err"):
            stream.flush()
    elif error is SystemExit:
        backend.loop.call_later(0.001, send)
        with pytest.raises(error, match="on_err"):
            backend.run_until(lambda: False)
    else:
        send()
        backend.wait(sent)
        backend.expect_errors(error)
    assert told == sent == [zmq.EHOSTUNREACH]
    assert not stream.sending()


@pytest.mark.ours
@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_asend_ends_whatever_on_err_raises(backend, error):
    socket = backend.socket(zmq.REQ)
    stream = backend.stream(socket)

    def on_err(failure):
        raise error("on_err")

    async def out_of_turn():
        stream.send(b"1")
        await stream.asend(b"2")

    stream.on_err(on_err)
    task = backend.loop.create_task(out_of_turn())
    backend.settle()
    address = backend.address()
    backend.socket(zmq.REP).bind(address)
    backend.loop.call_later(0.001, stream.connect, address)
    if error is SystemExit:
        with pytest.raises(SystemExit):
            backend.run_until(lambda: False)
    with pytest.raises(zmq.ZMQError) as info:
        backend.run(task)
    assert info.value.errno == zmq.EFSM
    if error is ValueError:
        backend.expect_errors(ValueError)


@pytest.mark.deviates("pyzmq has one callback, of whichever is sent next")
@pytest.mark.parametrize("way", ["by the loop", "in a flush"])
def test_callbacks_of_parts_are_each_called(backend, pair, way):
    """Coroutines are awaited, and an exception of one is no other's."""
    stream, peer = pair
    told = backend.recorder()

    async def coroutine(message, status):
        told.append(("coroutine", message))

    def plain(message, status):
        message.append(b"mine")
        told.append(("plain", message[:2]))

    def bad(message, status):
        raise ZeroDivisionError("bad")

    for frame, callback in (b"a", bad), (b"b", coroutine), (b"c", plain):
        stream.send(frame, 0 if frame == b"c" else zmq.SNDMORE, callback=callback)
    if way == "in a flush":
        with pytest.raises(ZeroDivisionError, match="bad"):
            stream.flush(zmq.POLLOUT)
    backend.wait(told, 2)
    assert sorted(told) == [("coroutine", [b"a", b"b", b"c"]), ("plain", [b"a", b"b"])]
    if way == "by the loop":
        backend.expect_errors(ZeroDivisionError)
    assert peer.recv_multipart() == [b"a", b"b", b"c"]
