"""The socket of a stream in other hands: options, addresses, raw sends and receives, the end."""

import concurrent.futures
import os
import threading

import pytest
import zmq
import zmq.asyncio
from zmq.utils.monitor import parse_monitor_message

TIMEOUT = 20  # seconds


# -- options and addresses ------------------------------------------------------------------------


def test_options_of_the_socket(backend):
    """ipyparallel and Salt set everything through the stream."""
    socket = backend.socket(zmq.ROUTER)
    stream = backend.stream(socket)
    stream.setsockopt(zmq.IDENTITY, b"me")
    stream.setsockopt(zmq.SNDHWM, 0)
    stream.setsockopt(zmq.LINGER, 17)
    assert socket.identity == stream.getsockopt(zmq.IDENTITY) == b"me"
    assert socket.sndhwm == stream.getsockopt(zmq.SNDHWM) == 0
    assert stream.getsockopt(zmq.LINGER) == 17
    assert stream.getsockopt(zmq.TYPE) == zmq.ROUTER
    assert stream.getsockopt(zmq.FD) == socket.FD
    assert stream.getsockopt(zmq.EVENTS) == zmq.POLLOUT
    stream.setsockopt_string(zmq.IDENTITY, "you")
    assert stream.getsockopt_string(zmq.IDENTITY) == stream.getsockopt_unicode(zmq.IDENTITY)
    assert socket.identity == b"you"
    with pytest.raises(zmq.ZMQError):
        stream.setsockopt(zmq.FD, 1)
    with pytest.raises(TypeError):
        stream.setsockopt(zmq.IDENTITY, "a str")


def test_the_methods_are_the_sockets(backend):
    """pyzmq's documentation shows them to be the same."""
    stream = backend.stream(backend.socket(zmq.PULL))
    for name in (
        "bind", "bind_to_random_port", "connect", "setsockopt", "getsockopt", "setsockopt_string",
        "getsockopt_string", "setsockopt_unicode", "getsockopt_unicode",
    ):  # fmt: skip
        assert getattr(stream, name) == getattr(stream.socket, name)


def test_addresses(backend):
    """Random ports for what is bound, context managers for what is connected for a while."""
    push, pull = backend.stream(backend.socket(zmq.PUSH)), backend.stream(backend.socket(zmq.PULL))
    port = push.bind_to_random_port("tcp://127.0.0.1")
    assert 1 <= port <= 65535
    again = backend.stream(backend.socket(zmq.PUSH)).bind_to_random_port(
        "tcp://127.0.0.1", min_port=20000, max_port=21000, max_tries=1000
    )
    assert 20000 <= again < 21000
    got = backend.recorder()
    pull.on_recv(got.append)
    with pull.connect(f"tcp://127.0.0.1:{port}"):
        push.send(b"x")
        assert backend.wait(got) == [[b"x"]]
    with pull.bind("tcp://127.0.0.1:*") as bound:
        assert bound is pull.socket
    with pytest.raises(zmq.ZMQError):
        pull.bind("tcp://127.0.0.1:nonsense")


def test_subscriptions_that_change(backend):
    """ipyparallel's log watcher changes its topics while messages come."""
    publisher = backend.socket(zmq.XPUB)
    publisher.bind(backend.address())
    publisher.rcvtimeo = TIMEOUT * 1000
    sub = backend.socket(zmq.SUB)
    stream = backend.stream(sub)
    stream.connect(publisher.last_endpoint.decode())
    got = backend.recorder()
    stream.on_recv(got.append)
    for topic, other in ((b"a", b"b"), (b"b", b"a")):
        stream.setsockopt(zmq.SUBSCRIBE, topic)
        assert publisher.recv() == b"\1" + topic
        publisher.send_multipart([other, b"not this"])
        publisher.send_multipart([topic, b"this"])
        assert backend.wait(got)[-1] == [topic, b"this"]
        stream.setsockopt(zmq.UNSUBSCRIBE, topic)
        assert publisher.recv() == b"\0" + topic
        got.clear()


def test_a_tcp_peer_of_a_stream_socket(backend):
    """ipykernel's debugger speaks to debugpy over a STREAM socket: connect, ids, disconnect."""
    client = backend.socket(zmq.STREAM)
    stream = backend.stream(client)
    got = backend.recorder()
    stream.on_recv(got.append, copy=False)
    stream.socket.bind_to_random_port("tcp://127.0.0.1")
    endpoint = stream.socket.getsockopt(zmq.LAST_ENDPOINT).decode()
    stream.socket.unbind(endpoint)
    server = backend.socket(zmq.STREAM)
    address = f"tcp://127.0.0.1:{server.bind_to_random_port('tcp://127.0.0.1')}"
    server.rcvtimeo = TIMEOUT * 1000
    stream.socket.connect(address)
    routing_id = stream.socket.getsockopt(zmq.ROUTING_ID)
    backend.wait(got)  # an empty message says that it is connected
    assert [frame.bytes for frame in got[0]] == [routing_id, b""]
    peer_id, empty = server.recv_multipart()
    assert empty == b""
    stream.send_multipart((routing_id, b"Content-Length: 2\r\n\r\n{}"))
    backend.drained(stream)
    assert server.recv_multipart() == [peer_id, b"Content-Length: 2\r\n\r\n{}"]
    server.send_multipart([peer_id, b"answer"])
    backend.wait(got, 2)
    assert [frame.bytes for frame in got[1]] == [routing_id, b"answer"]
    stream.socket.disconnect(address)
    assert not stream.closed()


# -- raw sends and receives -----------------------------------------------------------------------


def test_a_raw_receive_before_on_recv(backend):
    """ipyparallel's heart monitor waits for its own subscription, then hands over to the stream."""
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    peer.send_multipart([b"sub", b"scription"])
    assert stream.socket.recv_multipart() == [b"sub", b"scription"]
    got = backend.recorder()
    stream.on_recv(got.append)
    peer.send(b"next")
    assert backend.wait(got) == [[b"next"]]


def test_raw_receives_of_a_stream_without_a_callback(backend):
    """jupyter_client's Session.recv(stream) and others poll and receive by themselves."""
    socket, peer = backend.pair(transport="tcp")
    stream = backend.stream(socket)
    poller = zmq.Poller()
    poller.register(stream.socket, zmq.POLLIN)
    for i in range(10):
        with pytest.raises(zmq.Again):
            stream.socket.recv_multipart(zmq.NOBLOCK)
        peer.send(b"%d" % i)
        if i % 2:
            assert stream.socket.poll(TIMEOUT * 1000) == zmq.POLLIN
        else:
            assert dict(poller.poll(TIMEOUT * 1000)) == {stream.socket: zmq.POLLIN}
        assert stream.socket.recv_multipart(zmq.NOBLOCK, copy=False)[0].bytes == b"%d" % i
        backend.settle()


def test_raw_sends_in_the_callback(backend):
    """ipykernel's iopub: an XPUB whose subscriptions the stream receives, and raw publishing."""
    xpub = backend.socket(zmq.XPUB)
    xpub.bind(backend.address())
    stream = backend.stream(xpub)
    subscriber = backend.socket(zmq.SUB)
    subscriber.rcvtimeo = TIMEOUT * 1000
    subscriber.connect(xpub.last_endpoint.decode())
    seen = backend.recorder()

    def on_subscription(frames):
        xpub.send_multipart([frames[0][1:], b"welcome"])
        seen.append(frames[0])

    stream.on_recv(on_subscription)
    for i in range(10):
        subscriber.subscribe(b"topic %d" % i)
        assert backend.wait(seen, i + 1)[i] == b"\1topic %d" % i
        assert subscriber.recv_multipart() == [b"topic %d" % i, b"welcome"]


def test_one_function_for_streams_and_sockets(backend):
    """jupyter_client's Session.send() takes either, and a shadow of an asyncio socket."""
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    raw, raw_peer = backend.pair()

    def session_send(stream, frames):
        if isinstance(stream, zmq.asyncio.Socket):
            stream = zmq.Socket.shadow(stream.underlying)
        return stream.send_multipart(frames, copy=False)

    assert session_send(stream, [b"<IDS|MSG>", memoryview(b"buffer")]) is None
    backend.drained(stream)
    session_send(raw, [b"<IDS|MSG>", b"raw"])
    session_send(zmq.asyncio.Socket.shadow(raw), [b"<IDS|MSG>", b"shadow"])
    assert peer.recv_multipart() == [b"<IDS|MSG>", b"buffer"]
    assert raw_peer.recv_multipart() == [b"<IDS|MSG>", b"raw"]
    assert raw_peer.recv_multipart() == [b"<IDS|MSG>", b"shadow"]


def test_the_sockets_of_two_streams_in_a_device(backend):
    """A proxy in a thread takes over the sockets of streams that are idle."""
    front, client = backend.pair(zmq.ROUTER, zmq.DEALER, transport="tcp")
    back, worker = backend.pair(zmq.DEALER, zmq.REP, transport="tcp")
    control, steer = backend.pair()
    front_stream, back_stream = backend.stream(front), backend.stream(back)
    proxy = threading.Thread(
        target=zmq.proxy_steerable,
        args=(front_stream.socket, back_stream.socket, None, control),
        daemon=True,
    )
    proxy.start()
    client.send_multipart([b"", b"request"])
    assert worker.recv() == b"request"
    worker.send(b"reply")
    assert client.recv_multipart() == [b"", b"reply"]
    steer.send(b"TERMINATE")
    proxy.join(TIMEOUT)
    assert not proxy.is_alive()
    got = backend.recorder()
    front_stream.on_recv(got.append)
    client.send(b"for the stream")
    assert backend.wait(got)[0][-1] == b"for the stream"


def test_the_events_of_a_monitored_socket(backend, io_loop):
    """Salt: a stream on the monitor of a socket that is itself a stream's."""
    stream = backend.stream(backend.socket(zmq.PULL))
    monitor = backend.stream(stream.socket.get_monitor_socket())
    events = backend.recorder()

    def on_event(msg):
        event = parse_monitor_message(msg)["event"]
        events.append(event)
        if event == zmq.EVENT_MONITOR_STOPPED:
            monitor.close()

    monitor.on_recv(on_event)
    port = stream.bind_to_random_port("tcp://127.0.0.1")
    peer = backend.socket(zmq.PUSH)
    peer.connect(f"tcp://127.0.0.1:{port}")
    backend.run_until(lambda: zmq.EVENT_HANDSHAKE_SUCCEEDED in events)
    assert events[0] == zmq.EVENT_LISTENING
    assert zmq.EVENT_ACCEPTED in events
    stream.socket.disable_monitor()
    backend.run_until(monitor.closed)
    assert events[-1] == zmq.EVENT_MONITOR_STOPPED


def test_a_server_that_answers_by_its_socket(backend, io_loop):
    """meshcat: a REP whose callback replies by the raw socket, at once or from a timer."""
    socket, client = backend.pair(zmq.REP, zmq.REQ, transport="tcp")
    stream = backend.stream(socket)

    def answer():
        socket.send(b"later")
        stream.flush()

    def handle(frames):
        if frames == [b"wait"]:
            io_loop.call_later(0, answer)
        else:
            stream.socket.send(b"at once")
            stream.flush(zmq.POLLOUT)

    stream.on_recv(handle)
    asking = backend.stream(client)
    replies = backend.recorder()

    def ask(msg):
        replies.append(msg[0])
        if len(replies) < 30:
            asking.send(b"wait" if len(replies) % 3 else b"now")

    asking.on_recv(ask)
    asking.send(b"now")
    backend.wait(replies, 30)
    assert replies == [b"at once", b"later", b"later"] * 10


# -- the end --------------------------------------------------------------------------------------


def test_closed_and_closed_again(backend):
    """circus, jupyter_client, Salt: the stream, then its socket; or after a look at both."""
    socket, _ = backend.pair()
    stream = backend.stream(socket)
    assert not stream.closed()
    assert not stream.socket.closed
    stream.on_recv(None)
    stream.close()
    assert stream.closed()
    assert stream.socket is None
    assert socket.closed
    socket.close()
    socket.close(linger=0)
    stream.close(linger=5)


def test_what_a_closed_stream_says(backend):
    """Salt tells a closed stream by the text of the error."""
    stream = backend.stream(backend.socket(zmq.SUB))
    stream.close(0)
    for use in (lambda: stream.on_recv(None), lambda: stream.send(b"x"), stream.flush):
        with pytest.raises(OSError) as caught:
            use()
        assert str(caught.value) == "Stream is closed"


def test_disconnected_then_closed(backend):
    """circus' client: stop_on_recv(), disconnect the socket, close the stream."""
    server = backend.socket(zmq.ROUTER)
    endpoint = f"tcp://127.0.0.1:{server.bind_to_random_port('tcp://127.0.0.1')}"
    server.rcvtimeo = TIMEOUT * 1000
    socket = backend.socket(zmq.DEALER)
    socket.connect(endpoint)
    stream = backend.stream(socket)
    got = backend.recorder()
    stream.on_recv(got.append)
    stream.send(b"hello")
    backend.drained(stream)
    client, _ = server.recv_multipart()
    server.send_multipart([client, b"hello"])
    backend.wait(got)
    stream.stop_on_recv()
    socket.disconnect(endpoint)
    stream.close()
    assert socket.closed


@pytest.mark.filterwarnings("ignore:.*closed directly")
def test_removed_from_its_loop_by_hand(backend, io_loop, expected_log):
    """Salt before 2018, around bugs of pyzmq 14: remove_handler(), then close the socket."""
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    stream.on_recv(print)
    backend.settle()
    stream.io_loop.remove_handler(stream.socket)
    stream.socket.close(0)
    backend.settle()
    assert stream.closed()
    if not backend.reference:  # pyzmq's stream has no handler any more that would notice
        expected_log("closed socket")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork")  # Python 3.12: in a process with threads
def test_a_forked_child_has_a_context_of_its_own(backend):
    """ipykernel's iopub: a child sends what it prints through a new socket to the parent's."""
    pull = backend.socket(zmq.PULL)
    port = pull.bind_to_random_port("tcp://127.0.0.1")
    stream = backend.stream(pull)
    got = backend.recorder()
    stream.on_recv(got.append)
    backend.settle()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            context = zmq.Context()
            push = context.socket(zmq.PUSH)
            push.connect(f"tcp://127.0.0.1:{port}")
            push.send_multipart([b"of the", b"child"])
            push.close()
            context.term()
            status = 0
        finally:
            os._exit(status)
    assert backend.wait(got) == [[b"of the", b"child"]]
    assert os.waitpid(child, 0)[1] == 0


def test_results_of_threads(backend):
    """A callback that resolves a concurrent Future, which is no awaitable, and returns it."""
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    future = concurrent.futures.Future()
    done = backend.recorder()

    def callback(msg):
        future.set_result(msg)
        done.append(msg)
        return future

    stream.on_recv(callback)
    peer.send(b"x")
    backend.wait(done)
    assert future.result(0) == [b"x"]
