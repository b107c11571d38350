"""Streams on loops in other threads: Jupyter's clients and kernels, ipyparallel's client."""

import collections
import concurrent.futures
import functools
import queue
import threading

import pytest
import zmq

TIMEOUT = 20  # seconds


class Channel:
    """As of jupyter_client's ThreadedKernelClient: everything happens in the loop's thread."""

    def __init__(self, backend, socket, io_loop, call_handlers):
        self.socket = socket
        self.io_loop = io_loop
        self.stream = None

        def setup_stream():
            self.stream = backend.stream(socket, io_loop=io_loop)
            self.stream.on_recv(call_handlers)

        self.in_loop(setup_stream)

    def in_loop(self, function):
        future = concurrent.futures.Future()

        def run():
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)

        self.io_loop.add_callback(run)
        return future.result(TIMEOUT)

    def send(self, message):
        self.io_loop.add_callback(lambda: self.stream.send_multipart(message))

    def flush(self):
        if self.stream is None or self.stream.closed():
            raise OSError("Attempt to flush closed stream")
        for _ in range(2):
            self.in_loop(self._flush)

    def _flush(self):
        if not self.stream.closed():
            self.stream.flush()

    def close(self):
        self.in_loop(functools.partial(self.stream.close, linger=0))
        self.stream = None
        self.socket.close(linger=0)


def test_a_threaded_client(backend, in_thread, until):
    client = in_thread().start()
    socket, kernel = backend.pair(zmq.DEALER, zmq.ROUTER, transport="tcp")
    handled = []
    channel = Channel(backend, socket, client.io_loop, handled.append)
    for i in range(20):
        channel.send([b"request", b"%d" % i])
        identity, *request = kernel.recv_multipart()
        assert request == [b"request", b"%d" % i]
        kernel.send_multipart([identity, b"reply", b"%d" % i])
        # whoever is first, flush() or the loop: it is handled when flush() returns
        until(lambda i=i: channel.flush() or len(handled) > i)
        assert handled[i:] == [[b"reply", b"%d" % i]]
    channel.close()
    with pytest.raises(OSError, match="closed"):
        channel.flush()
    client.stop()


def test_streams_made_before_their_loop_runs(backend, in_thread):
    """ipykernel makes all streams in the main thread, starts the threads, then calls on_recv()."""
    threads = [in_thread() for _ in range(2)]
    got, channels = queue.Queue(), []
    for thread in threads:
        socket, peer = backend.pair(zmq.ROUTER, zmq.DEALER, transport="tcp")
        channels.append((backend.stream(socket, io_loop=thread.io_loop), peer))
    for thread in threads:
        thread.start()

    def dispatch(thread, stream, frames):
        got.put((thread, threading.current_thread(), frames[-1].bytes))
        stream.send_multipart([frames[0].bytes, b"reply"])

    for thread, (stream, peer) in zip(threads, channels, strict=True):
        peer.send(b"before")
        stream.on_recv(functools.partial(dispatch, thread.thread, stream), copy=False)
        peer.send(b"after")
        for expected in (b"before", b"after"):
            right, where, message = got.get(timeout=TIMEOUT)
            assert where is right
            assert message == expected
            assert peer.recv() == b"reply"


def test_streams_made_while_their_loop_sleeps(backend, in_thread):
    """ipykernel 7's SubshellManager: made by the main thread, for a loop that runs already."""
    got, idle = queue.Queue(), threading.Event()
    thread = in_thread().start()
    thread.io_loop.add_callback(idle.set)
    assert idle.wait(TIMEOUT)
    for i in range(3):
        socket, peer = backend.pair()
        stream = backend.stream(socket, io_loop=thread.io_loop)
        stream.on_recv(lambda msg: got.put((threading.current_thread(), msg)))
        peer.send(b"%d" % i)
        assert got.get(timeout=TIMEOUT) == (thread.thread, [b"%d" % i])
        thread.call(stream.close)


def test_a_coroutine_callback_in_a_thread(backend, in_thread):
    """ipykernel 7's shell channel hands what it receives, over inproc, to the thread it is for."""
    shell_channel = in_thread()
    shell, client = backend.pair(zmq.ROUTER, zmq.DEALER, transport="tcp")
    to_main, from_channel = backend.pair()
    to_channel, from_main = backend.pair()
    shell_stream = backend.stream(shell, io_loop=shell_channel.io_loop)
    reply_stream = backend.stream(from_main, io_loop=shell_channel.io_loop)
    main_stream = backend.stream(from_channel)  # on the backend's own loop
    handled = backend.recorder()
    threads = set()

    async def on_shell(frames):
        threads.add(("shell", threading.current_thread()))
        to_main.send_multipart(frames, copy=False)

    async def on_main(frames):
        threads.add(("main", threading.current_thread()))
        to_channel.send_multipart([frames[0].bytes, b"reply to " + frames[-1].bytes])
        handled.append(frames)

    shell_stream.on_recv(on_shell, copy=False)
    main_stream.on_recv(on_main, copy=False)
    reply_stream.on_recv(shell_stream.send_multipart)
    shell_channel.start()
    for i in range(20):
        client.send(b"%d" % i)
    backend.wait(handled, 20)
    assert [client.recv() for _ in range(20)] == [b"reply to %d" % i for i in range(20)]
    assert threads == {("shell", shell_channel.thread), ("main", threading.current_thread())}

    def close():
        for stream in (shell_stream, reply_stream):
            stream.close()

    shell_channel.call(close)


def test_events_of_many_threads(backend, in_thread, until):
    """ipykernel's iopub: threads append a call and wake the loop through a socket of their own."""
    iopub = in_thread()
    published, subscriber = backend.pair(zmq.PUB, zmq.SUB, transport="tcp")
    published.rcvtimeo = -1
    subscriber.subscribe(b"")
    pull = backend.socket(zmq.PULL)
    pull.bind(backend.address())
    address = pull.last_endpoint.decode()
    waker = backend.stream(pull, io_loop=iopub.io_loop)
    events = collections.deque()

    def on_event(msg):
        for _ in range(len(events)):
            events.popleft()()

    def schedule(pipe, message):
        events.append(lambda: published.send_multipart(message))
        pipe.send(b"")

    def work(number):
        with backend.context.socket(zmq.PUSH) as pipe:
            pipe.connect(address)
            for i in range(100):
                schedule(pipe, [b"thread %d" % number, b"%d" % i])

    waker.on_recv(on_event)
    iopub.start()
    with backend.context.socket(zmq.PUSH) as pipe:  # until the subscription has arrived
        pipe.connect(address)
        until(lambda: schedule(pipe, [b"hello"]) or subscriber.poll(1))
    workers = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(4)]
    for worker in workers:
        worker.start()
    got = collections.defaultdict(list)
    while sum(map(len, got.values())) < 400:
        name, *rest = subscriber.recv_multipart()
        if rest:
            got[name] += rest
    for worker in workers:
        worker.join()
    assert len(got) == 4
    assert all(numbers == [b"%d" % i for i in range(100)] for numbers in got.values())


def test_the_client_of_a_cluster(backend, in_thread):
    """ipyparallel's client: futures of the main thread, resolved by streams of its io thread."""
    io = in_thread().start()
    results = {}
    sockets = [backend.pair(zmq.DEALER, zmq.ROUTER, transport="tcp") for _ in range(3)]

    def dispatch(frames):
        name, answer = (frame.bytes for frame in frames)
        results[name].set_result(answer)

    def setup():
        streams = []
        for socket, _ in sockets:
            streams.append(backend.stream(socket, io_loop=io.io_loop))
            streams[-1].on_recv(dispatch, copy=False)
        return streams

    streams = io.call(setup)

    def send(stream, name):
        results[name] = concurrent.futures.Future()
        io.io_loop.add_callback(lambda: stream.send_multipart([name, b"x" * 100_000], copy=False))
        return results[name]

    for i in range(10):
        futures = [send(stream, b"%d %d" % (i, n)) for n, stream in enumerate(streams)]
        for _, engine in sockets:
            identity, name, _ = engine.recv_multipart()
            engine.send_multipart([identity, name, b"result of " + name])
        assert [future.result(TIMEOUT) for future in futures] == [
            b"result of %d %d" % (i, n) for n in range(3)
        ]
    io.stop(all_fds=True)
    for socket, _ in sockets:
        assert socket.closed


def test_closed_by_its_loop_while_others_send(backend, in_thread):
    """What is sent through the loop after that is an error there, and nothing else happens."""
    thread = in_thread().start()
    socket, peer = backend.pair(transport="tcp", sndhwm=0, rcvhwm=0)
    stream = thread.call(lambda: backend.stream(socket, io_loop=thread.io_loop))
    sent, reasons, refused = [], [], threading.Event()

    def send(number):
        try:
            stream.send(b"%d" % number)
            sent.append(number)
        except OSError as error:
            reasons.append(str(error))
            refused.set()

    def flood():
        for number in range(1_000_000):
            thread.io_loop.add_callback(send, number)
            if number % 100 == 0:
                thread.call(stream.closed)
            if refused.is_set():
                break

    sender = threading.Thread(target=flood, daemon=True)
    sender.start()
    for i in range(100):
        assert peer.recv() == b"%d" % i

    def flush_and_close():
        stream.flush(zmq.POLLOUT)
        stream.close(linger=TIMEOUT * 1000)
        return len(sent)

    count = thread.call(flush_and_close)
    for i in range(100, count):
        assert peer.recv() == b"%d" % i
    sender.join(TIMEOUT)
    assert not sender.is_alive()
    assert sent == list(range(count))
    assert set(reasons) == {"Stream is closed"}
    assert not peer.poll(0)


@pytest.mark.deviates("pyzmq's send is not thread-safe")
def test_closed_by_its_loop_while_others_send_directly(backend, in_thread):
    """What send() took is sent, in order; what it did not is an error."""
    thread = in_thread().start()
    socket, peer = backend.pair(transport="tcp", sndhwm=0, rcvhwm=0)
    stream = thread.call(lambda: backend.stream(socket, io_loop=thread.io_loop))
    sent, reasons = [0, 0], []
    room = threading.Semaphore(500)

    def flood(number):
        while True:
            assert room.acquire(timeout=TIMEOUT)
            try:
                stream.send(b"%d %d" % (number, sent[number]))
            except OSError as error:
                reasons.append(str(error))
                return
            sent[number] += 1

    senders = [threading.Thread(target=flood, args=(n,), daemon=True) for n in range(2)]
    for sender in senders:
        sender.start()
    got = [[], []]

    def receive():
        number, count = peer.recv().split()
        got[int(number)].append(int(count))
        room.release()

    for _ in range(1000):
        receive()
    thread.call(functools.partial(stream.close, linger=TIMEOUT * 1000))
    room.release(2)
    for sender in senders:
        sender.join(TIMEOUT)
        assert not sender.is_alive()
    while len(got[0]) + len(got[1]) < sum(sent):
        receive()
    assert got == [list(range(sent[0])), list(range(sent[1]))]
    assert reasons == ["Stream is closed"] * 2
    assert not peer.poll(0)
