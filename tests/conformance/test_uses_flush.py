"""flush(): kernels under the event loops of GUIs, replies that must be out, events in order."""

import select
import threading

import pytest
import zmq

TIMEOUT = 20  # seconds


class GuiLoop:
    """A loop that knows nothing of asyncio: it polls one descriptor, as Qt's or Tk's would."""

    def __init__(self, fd):
        self.poll = select.poll()
        self.poll.register(fd, select.POLLIN)
        self.running = threading.Event()
        self.calls = 0

    def run(self, callback):
        """Call it at once, and when the descriptor is readable, until it says True."""
        while not callback():
            self.calls += 1
            assert self.calls < 10_000, "the descriptor is always readable"
            self.running.set()
            assert self.poll.poll(TIMEOUT * 1000), "the descriptor said nothing"
        self.running.clear()


def test_a_gui_loop_that_watches_the_descriptor(backend):
    """ipykernel under Qt and Tk: the GUI's loop runs, and ends when a message was handled."""
    socket, peer = backend.pair(transport="tcp")
    stream = backend.stream(socket)
    got = []
    stream.on_recv(got.append)
    backend.settle()
    gui = GuiLoop(stream.getsockopt(zmq.FD))

    def send_when_it_runs(message):
        assert gui.running.wait(TIMEOUT)
        peer.send(message)

    for i in range(20):
        message = b"%d" % i
        thread = threading.Thread(target=send_when_it_runs, args=(message,), daemon=True)
        thread.start()
        gui.run(lambda: stream.flush(limit=1))
        thread.join()
        assert got[i:] == [[message]]
    assert gui.calls >= 20
    # and back in the loop of the stream
    more = backend.recorder()
    stream.on_recv(more.append)
    peer.send(b"last")
    assert backend.wait(more) == [[b"last"]]


def test_a_gui_loop_with_a_backlog(backend):
    """What was there before makes no event: ipykernel flushes once as the GUI's loop begins."""
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    got = []
    stream.on_recv(got.append)
    backend.settle()
    for i in range(5):
        peer.send(b"%d" % i)
    gui = GuiLoop(stream.getsockopt(zmq.FD))
    for i in range(5):
        gui.run(lambda: stream.flush(limit=1))
        assert got == [[b"%d" % n] for n in range(i + 1)]
    assert stream.flush(limit=1) == 0


def test_a_gui_loop_with_a_timer(backend):
    """ipykernel under wx and on macOS: a flush for each tick, whose truth ends the GUI's loop."""
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    got = []
    stream.on_recv(got.append)
    backend.settle()
    for i in range(3):
        peer.send(b"%d" % i)
        assert socket.poll(TIMEOUT * 1000)
        ticks = [bool(stream.flush(limit=1)) for _ in range(3)]
        assert ticks == [True, False, False]
        assert got == [[b"%d" % n] for n in range(i + 1)]


def test_a_coroutine_that_flushes_on_each_tick(backend):
    """ipykernel under Tk on Windows: each tick of the GUI runs the loop for one coroutine."""
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    got = []
    stream.on_recv(got.append)
    for i in range(10):
        peer.send(b"%d" % i)

    async def tick():
        stream.flush(limit=1)

    for _ in range(100):
        backend.run(tick())
        if len(got) == 10:
            break
    assert got == [[b"%d" % i] for i in range(10)]


@pytest.mark.parametrize("limit", [1, None])
def test_a_reader_of_the_descriptor_on_the_same_loop(backend, limit):
    """ipykernel's loop_asyncio(), kernels embedded in programs: both watch one descriptor."""
    socket, peer = backend.pair(transport="tcp")
    stream = backend.stream(socket)
    got = backend.recorder()
    stream.on_recv(got.append)
    backend.loop.add_reader(stream.getsockopt(zmq.FD), lambda: stream.flush(zmq.POLLIN, limit))
    backend.loop.call_soon(stream.flush, zmq.POLLIN, limit)
    for i in range(20):
        for _ in range(5):
            peer.send(b"%d" % i)
        backend.wait(got, 5 * (i + 1))
    assert got == [[b"%d" % i] for i in range(20) for _ in range(5)]
    backend.loop.remove_reader(stream.getsockopt(zmq.FD))


@pytest.mark.deviates("asyncio has one reader for a descriptor, and pyzmq's was replaced")
def test_a_reader_of_the_descriptor_that_ends(backend):
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    got = backend.recorder()
    stream.on_recv(got.append)
    fd = stream.getsockopt(zmq.FD)
    backend.loop.add_reader(fd, stream.flush)
    peer.send(b"before")
    backend.wait(got)
    backend.loop.remove_reader(fd)
    peer.send(b"after")
    assert backend.wait(got, 2) == [[b"before"], [b"after"]]


def test_events_and_flush_in_turn(backend):
    """IPython 1 to 5: flush one message for as long as EVENTS shows any."""
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    got = []
    stream.on_recv(got.append)
    for i in range(10):
        peer.send(b"%d" % i)
    for _ in range(10):
        assert stream.getsockopt(zmq.EVENTS) & zmq.POLLIN
        assert stream.flush(zmq.POLLIN, 1) == 1
        assert stream.flush(zmq.POLLOUT) == 0
    assert not stream.getsockopt(zmq.EVENTS) & zmq.POLLIN
    assert got == [[b"%d" % i] for i in range(10)]


def test_each_reply_is_out_before_the_next_request(backend):
    """ipykernel 6 and 7, spyder-kernels, xonsh: send the reply, then flush(zmq.POLLOUT)."""
    router, dealer = backend.pair(zmq.ROUTER, zmq.DEALER)
    stream = backend.stream(router)
    out = backend.recorder()

    def dispatch(frames):
        stream.send_multipart([bytes(frames[0]), b"reply " + frames[-1].bytes], copy=True)
        if stream and hasattr(stream, "flush"):
            stream.flush(zmq.POLLOUT)
        out.append(dealer.recv(zmq.DONTWAIT))

    stream.on_recv(dispatch, copy=False)
    for i in range(20):
        dealer.send(b"%d" % i)
    assert backend.wait(out, 20) == [b"reply %d" % i for i in range(20)]


def test_a_reply_of_a_coroutine_is_out_before_it_goes_on(backend):
    """ipykernel 7 without subshells: the handler is a coroutine, and flushes in it."""
    router, dealer = backend.pair(zmq.ROUTER, zmq.DEALER)
    stream = backend.stream(router)
    out = backend.recorder()

    async def dispatch(frames):
        stream.send_multipart([*frames[:1], b"reply " + frames[-1]])
        stream.flush(zmq.POLLOUT)
        out.append(dealer.recv(zmq.DONTWAIT))

    stream.on_recv(dispatch)
    for i in range(20):
        dealer.send(b"%d" % i)
    assert backend.wait(out, 20) == [b"reply %d" % i for i in range(20)]


def test_send_and_flush_outside_of_callbacks(backend):
    """ipyparallel's heartbeat, publishers: what was sent is out when flush() returns."""
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    for i in range(10):
        stream.send(b"%d" % i)
        assert stream.flush() == 1
        assert peer.recv(zmq.DONTWAIT) == b"%d" % i


def test_flush_then_close(backend):
    """circus, kernels at shutdown: flush() is what saves the last messages."""
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    for i in range(10):
        stream.send(b"%d" % i)
    stream.flush(zmq.POLLOUT)
    stream.close()
    assert [peer.recv() for _ in range(10)] == [b"%d" % i for i in range(10)]


def test_what_came_before_an_event_is_handled_before_it(backend):
    """jupyter_server flushes iopub before it tells of a kernel's death."""
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    told = []
    stream.on_recv(lambda msg: told.append(msg[0]))
    backend.settle()
    for i in range(5):
        peer.send(b"%d" % i)

    def died():
        if not stream.closed():
            stream.flush()
        told.append("died")

    backend.loop.call_soon(died)
    backend.run_until(lambda: "died" in told)
    assert told == [b"0", b"1", b"2", b"3", b"4", "died"]


def test_flush_counts_messages_of_coroutine_callbacks(backend):
    """ipykernel 6 flushes the shell stream, whose callback is a coroutine function, to go on."""
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    got = backend.recorder()

    async def dispatch(msg):
        got.append(msg)

    async def one_iteration():
        for i in range(3):
            peer.send(b"%d" % i)
        count = stream.flush()
        assert got == []
        return count

    stream.on_recv(dispatch)
    backend.settle()
    assert backend.run(one_iteration()) == 3
    assert backend.wait(got, 3) == [[b"%d" % i] for i in range(3)]


def test_a_message_whose_event_was_read_is_delivered_after_a_reply(backend, until):
    """ipykernel's shell channel: replies go through the stream, so that no request is left over."""
    router = backend.socket(zmq.ROUTER)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    dealer = backend.socket(zmq.DEALER, identity=b"client")
    dealer.connect(f"tcp://127.0.0.1:{port}")
    stream = backend.stream(router)
    got = backend.recorder()
    stream.on_recv(got.append)
    dealer.send(b"first")
    backend.wait(got)

    def reply_while_a_request_waits():
        dealer.send(b"second")
        until(lambda: router.EVENTS & zmq.POLLIN)
        stream.send_multipart([b"client", b"reply"])

    backend.loop.call_soon(reply_while_a_request_waits)
    assert backend.wait(got, 2)[1] == [b"client", b"second"]
    backend.drained(stream)
    assert dealer.poll(TIMEOUT * 1000)
    assert dealer.recv() == b"reply"


def test_another_thread_flushes_while_a_callback_blocks_the_loop(backend):
    """Spyder: the main thread runs the user's code, in a callback; another sends and flushes."""
    router, dealer = backend.pair(zmq.ROUTER, zmq.DEALER)
    stream = backend.stream(router)
    out = backend.recorder()
    code_runs, replied = threading.Event(), threading.Event()

    def comm_thread():
        assert code_runs.wait(TIMEOUT)
        for i in range(10):
            stream.send_multipart([peer_id, b"%d" % i])
            stream.flush(zmq.POLLOUT)
        replied.set()

    def execute(msg):
        nonlocal peer_id
        peer_id = msg[0]
        code_runs.set()
        assert replied.wait(TIMEOUT)
        out.append([dealer.recv(zmq.DONTWAIT) for _ in range(10)])

    peer_id = b""
    thread = threading.Thread(target=comm_thread, daemon=True)
    thread.start()
    stream.on_recv(execute)
    dealer.send(b"execute")
    assert backend.wait(out) == [[b"%d" % i for i in range(10)]]
    thread.join()
    stream.on_recv(out.append)
    dealer.send(b"next")
    assert backend.wait(out, 2)[1][1] == b"next"
