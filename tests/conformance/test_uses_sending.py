"""send() and its kin: outcomes, trackers, messages in parts, proxies, heartbeats."""

import functools

import pytest
import zmq

TIMEOUT = 20  # seconds


# -- outcomes -------------------------------------------------------------------------------------


def test_the_last_reply_by_on_send(backend):
    """ipykernel's own tests see replies by on_send(), with nobody connected to receive them."""
    stream = backend.stream(backend.socket(zmq.ROUTER))
    sent = []
    stream.on_send(lambda msg, *args, **kwargs: sent.append(msg))
    stream.send_multipart([b"nobody", b"<IDS|MSG>", b"reply"])
    assert stream.flush() == 1
    assert sent == [[b"nobody", b"<IDS|MSG>", b"reply"]]


def test_a_tracker_tells_when_a_buffer_may_change(backend):
    """Zero-copy sends: on_send() gets the tracker; done when libzmq has let go of the memory."""
    socket, peer = backend.pair(transport="tcp")
    stream = backend.stream(socket)
    buffer = bytearray(b"x" * 1_000_000)
    sent = backend.recorder()
    stream.on_send(lambda msg, status: sent.append((msg, status)))
    stream.send_multipart([b"header", buffer], copy=False, track=True)
    backend.wait(sent)
    message, tracker = sent.pop()
    assert message[0] == b"header"
    assert isinstance(tracker, zmq.MessageTracker)
    assert peer.recv_multipart()[1] == buffer
    del message
    tracker.wait(TIMEOUT)
    assert tracker.done
    buffer[:] = b"y" * len(buffer)
    stream.send(buffer)
    backend.wait(sent)
    assert sent.pop()[1] is None


def test_a_tracker_that_is_not_done(backend):
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    frame = zmq.Frame(b"x" * 100_000, copy=False, track=True)
    sent = backend.recorder()
    stream.on_send(lambda msg, status: sent.append(status))
    stream.send(frame, copy=False, track=True)
    backend.wait(sent)
    assert not frame.tracker.done
    with pytest.raises(zmq.NotDone):
        sent[0].wait(0)
    tracker = frame.tracker
    del frame
    assert peer.recv() == b"x" * 100_000
    backend.run_until(lambda: tracker.done and sent[0].done)


def test_a_callback_for_one_send(backend):
    """circus' client resolves a Future when its request is out."""
    socket, peer = backend.pair()
    stream = backend.stream(socket)

    async def send(message):
        future = backend.loop.create_future()
        assert stream.send(message, callback=lambda msg, status: future.set_result(msg)) is None
        return await future

    for i in range(5):
        assert backend.run(send(b"%d" % i)) == [b"%d" % i]
        assert peer.recv() == b"%d" % i


@pytest.mark.filterwarnings("ignore:ignored by ZMQStream:RuntimeWarning")
def test_arguments_that_were_once(backend):
    """Salt 3006 sends with `noblock=True`, which pyzmq ignores."""
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    stream.send(b"x", noblock=True)
    backend.drained(stream)
    assert peer.recv() == b"x"


# -- forms of messages ----------------------------------------------------------------------------


@pytest.mark.parametrize("copy", [True, False])
def test_what_a_session_sends(backend, copy):
    """jupyter_client's Session: identities, bytes, and buffers as memoryviews, in one list."""
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    array = memoryview(b"\0\1\2\3\4\5\6\7" * 20_000).cast("d")
    message = [b"identity", b"<IDS|MSG>", b"", b"{}", array, zmq.Frame(b"frame"), bytearray(b"b")]
    stream.send_multipart(message, copy=copy)
    backend.drained(stream)
    expected = [b"identity", b"<IDS|MSG>", b"", b"{}", array.tobytes(), b"frame", b"b"]
    assert peer.recv_multipart() == expected


def test_a_routing_id_then_the_message(backend):
    """circus: send(id, SNDMORE), send(answer). ipyparallel: send(engine, SNDMORE), then frames."""
    router, dealer = backend.pair(zmq.ROUTER, zmq.DEALER)
    stream = backend.stream(router)
    got = backend.recorder()

    def answer(frames):
        got.append(frames)
        peer, request = frames
        stream.send(peer.bytes, zmq.SNDMORE)
        stream.send(b"answer to " + request.bytes)
        stream.send(peer, flags=zmq.SNDMORE, copy=False)
        stream.send_multipart([request, b"as it came"], copy=False)

    stream.on_recv(answer, copy=False)
    for i in range(10):
        dealer.send(b"%d" % i)
    backend.wait(got, 10)
    backend.drained(stream)
    for i in range(10):
        assert dealer.recv_multipart() == [b"answer to %d" % i]
        assert dealer.recv_multipart() == [b"%d" % i, b"as it came"]


# -- proxies --------------------------------------------------------------------------------------


def test_a_proxy_of_two_streams(backend):
    """A queue: what either stream receives, the other sends; partials and bound methods."""
    front, client = backend.pair(zmq.ROUTER, zmq.DEALER, transport="tcp")
    back, worker = backend.pair(zmq.DEALER, zmq.REP)
    count = []

    def forward(to, counted, msg):
        if counted:
            count.append(len(msg))
        to.send_multipart(msg)

    front_stream, back_stream = backend.stream(front), backend.stream(back)
    front_stream.on_recv(functools.partial(forward, back_stream, True))
    back_stream.on_recv(front_stream.send_multipart)
    server = backend.stream(worker)
    server.on_recv_stream(lambda stream, msg: stream.send_multipart([b"re:", *msg]))
    got = backend.recorder()
    end = backend.stream(client)
    end.on_recv(got.append)
    for i in range(50):
        end.send_multipart([b"", b"%d" % i])
    assert backend.wait(got, 50) == [[b"", b"re:", b"%d" % i] for i in range(50)]
    assert count == [3] * 50


def test_a_scheduler_with_a_monitor(backend):
    """ipyparallel: frames go on without a copy, to an engine, to the client, and to the monitor."""
    clients, client = backend.pair(zmq.ROUTER, zmq.DEALER, transport="tcp")
    engines, engine = backend.socket(zmq.ROUTER), backend.socket(zmq.DEALER, identity=b"engine")
    engine.connect(f"tcp://127.0.0.1:{engines.bind_to_random_port('tcp://127.0.0.1')}")
    monitor, hub = backend.pair(zmq.PUB, zmq.SUB, transport="tcp")
    hub.subscribe(b"")
    client_stream, engine_stream, monitor_stream = map(backend.stream, (clients, engines, monitor))
    registered, traffic, results = backend.recorder(), backend.recorder(), backend.recorder()
    engine_stream.on_recv(registered.append)
    engine.send(b"here I am")
    backend.wait(registered)

    def submit(frames):
        monitor_stream.send_multipart([b"intask", *frames], copy=False)
        engine_stream.send(b"engine", flags=zmq.SNDMORE, copy=False)
        engine_stream.send_multipart(frames, copy=False)

    def result(frames):
        client_stream.send_multipart(frames[1:], copy=False)
        monitor_stream.send_multipart([b"outtask", *frames], copy=False)

    client_stream.on_recv(submit, copy=False)
    engine_stream.on_recv(result, copy=False)
    work = backend.stream(engine)
    work.on_recv(lambda msg: work.send_multipart([msg[0], b"done: " + msg[1][:9], *msg[2:]]))
    end, hub_stream = backend.stream(client), backend.stream(hub)
    end.on_recv(results.append)
    hub_stream.on_recv(traffic.append)

    def monitored():
        monitor_stream.send(b"are you there?")
        return traffic

    backend.run_until(monitored)  # a subscription takes its time
    traffic.clear()
    big = b"x" * 100_000
    for i in range(20):
        end.send_multipart([b"task %04d" % i, big])
    assert backend.wait(results, 20) == [[b"done: task %04d" % i, big] for i in range(20)]
    backend.run_until(lambda: sum(msg[0] == b"outtask" for msg in traffic) == 20)
    told = [msg for msg in traffic if msg[0] == b"intask"]
    assert [msg[2:] for msg in told] == [[b"task %04d" % i, big] for i in range(20)]


def test_a_relay_that_takes_some_messages_for_itself(backend):
    """ipyparallel's nanny, between a scheduler and a kernel: on_recv_stream() on both sides."""
    control, scheduler = backend.pair(zmq.ROUTER, zmq.DEALER, transport="tcp")
    parent, kernel = backend.pair(zmq.DEALER, zmq.ROUTER, transport="tcp")
    control_stream, parent_stream = backend.stream(control), backend.stream(parent)

    def on_control(stream, msg):
        if msg[-1] == b"signal":
            stream.send_multipart([*msg[:-1], b"signalled"])
        else:
            parent_stream.send_multipart(msg)

    control_stream.on_recv_stream(on_control)
    parent_stream.on_recv_stream(lambda stream, msg: control_stream.send_multipart(msg))
    for request, answer in ((b"signal", b"signalled"), (b"execute", b"executed")):
        scheduler.send(request)
        if request == b"execute":
            backend.run_until(lambda: kernel.poll(0))
            frames = kernel.recv_multipart()
            assert frames[-1] == b"execute"
            kernel.send_multipart([*frames[:-1], b"executed"])
        backend.run_until(lambda: scheduler.poll(0))
        assert scheduler.recv() == answer


def test_a_publisher_behind_a_coroutine(backend):
    """Salt's master: a PULL stream whose callback, a coroutine, publishes each frame."""
    pull, push = backend.pair(zmq.PULL, zmq.PUSH)
    publish, subscriber = backend.socket(zmq.XPUB), backend.socket(zmq.SUB, subscribe=b"")
    publish_stream, pull_stream = backend.stream(publish), backend.stream(pull)
    subscriber.connect(f"tcp://127.0.0.1:{publish_stream.bind_to_random_port('tcp://127.0.0.1')}")
    subscribed = backend.recorder()
    publish_stream.on_recv(subscribed.append)
    backend.wait(subscribed)

    async def on_recv(frames):
        for frame in frames:
            await publish_payload(frame)

    async def publish_payload(frame):
        publish_stream.send_multipart([b"topic", frame])

    pull_stream.on_recv(on_recv)
    push.send_multipart([b"1", b"2"])
    push.send(b"3")
    for i in (b"1", b"2", b"3"):
        backend.run_until(lambda: subscriber.poll(0))
        assert subscriber.recv_multipart() == [b"topic", i]


# -- heartbeats -----------------------------------------------------------------------------------


def test_a_heart_monitor(backend, io_loop):
    """ipyparallel, pyzmq's example: pings by PUB, pongs by ROUTER, a flush before and after."""
    ping, pong = backend.socket(zmq.PUB), backend.socket(zmq.ROUTER)
    ping_port = ping.bind_to_random_port("tcp://127.0.0.1")
    pong_port = pong.bind_to_random_port("tcp://127.0.0.1")
    ping_stream, pong_stream = backend.stream(ping), backend.stream(pong)
    hearts = {}
    for name in (b"one", b"two"):
        sub, dealer = (
            backend.socket(zmq.SUB, subscribe=b""),
            backend.socket(zmq.DEALER, identity=name),
        )
        sub.connect(f"tcp://127.0.0.1:{ping_port}")
        dealer.connect(f"tcp://127.0.0.1:{pong_port}")
        hearts[name] = backend.stream(sub)
        answer = backend.stream(dealer)
        hearts[name].on_recv(answer.send_multipart)
    lifetime, beats, timers = 0, [], []
    responses = set()

    def on_pong(msg):
        if msg[1] in (b"%d" % lifetime, b"%d" % (lifetime - 1)):
            responses.add(msg[0])

    def beat():
        nonlocal lifetime
        pong_stream.flush()
        beats.append(frozenset(responses))
        responses.clear()
        lifetime += 1
        ping_stream.send(b"%d" % lifetime)
        assert ping_stream.flush() == 1
        timers.append(io_loop.call_later(0.005, beat))

    pong_stream.on_recv(on_pong)
    io_loop.call_later(0, beat)
    backend.run_until(lambda: {b"one", b"two"} in beats)
    hearts[b"one"].close()
    beats.clear()
    backend.run_until(lambda: {b"two"} in beats)
    beats.clear()
    backend.run_until(lambda: len(beats) > 3)
    io_loop.remove_timeout(timers[-1])
    assert not any(b"one" in beat for beat in beats)
