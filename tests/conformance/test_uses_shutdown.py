"""How programs end: in what order loops, streams, sockets and contexts are closed."""

import functools
import threading

import pytest
import zmq

TIMEOUT = 20  # seconds


def terminated(context):
    """Terminate the context; whether that comes to an end."""
    thread = threading.Thread(target=context.term, daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    return not thread.is_alive()


def test_the_loop_closes_its_streams(backend, io_loop):
    """ipyparallel's nanny, ipykernel's iopub: IOLoop.close(all_fds=True), then context.term()."""
    streams = [backend.stream(backend.socket(zmq.PULL)) for _ in range(3)]
    for stream in streams:
        stream.on_recv(print)
    ended = []
    streams[0].set_close_callback(functools.partial(ended.append, "closed"))
    backend.settle()
    sockets = [stream.socket for stream in streams]
    streams.pop().close()
    io_loop.close(all_fds=True)
    assert all(socket.closed for socket in sockets)
    assert terminated(backend.context)
    if not backend.reference:  # pyzmq's notices when it is asked
        assert ended == ["closed"]
    assert all(stream.closed() for stream in streams)


@pytest.mark.filterwarnings("ignore:.*closed directly")
def test_the_loop_closes_nothing_unless_asked(backend, io_loop):
    """ipykernel's control thread: the loop ends, and the main thread closes the socket after it."""
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    stream.on_recv(print)
    backend.settle()
    io_loop.close()
    assert not socket.closed
    peer.send(b"x")
    assert socket.recv() == b"x"
    socket.close()


def test_streams_of_other_loops_stay_open(backend, io_loop, in_thread):
    thread = in_thread().start()
    sockets = [backend.socket(zmq.PULL) for _ in range(2)]
    theirs = thread.call(lambda: backend.stream(sockets[0], io_loop=thread.io_loop))
    ours = backend.stream(sockets[1])
    thread.stop(all_fds=True)
    assert sockets[0].closed
    assert theirs.closed()
    assert not ours.closed()


def test_the_loop_closes_streams_that_found_it(backend, io_loop):
    """The nanny gives its streams no loop: they find the one that runs."""

    async def main():
        return backend.stream_class(backend.socket(zmq.PULL))

    stream = backend.run(main())
    assert stream.io_loop is io_loop
    socket = stream.socket
    io_loop.close(all_fds=True)
    assert socket.closed
    assert terminated(backend.context)


def test_streams_come_and_go_before_the_loop_ends(backend, io_loop):
    """A loop on which there was none for a while closes those that there are."""
    for _ in range(3):
        socket, peer = backend.pair()
        stream = backend.stream(socket)
        got = backend.recorder()
        stream.on_recv(got.append)
        peer.send(b"x")
        backend.wait(got)
        stream.close()
        peer.close()
        backend.settle()
    last = backend.stream(backend.socket(zmq.PULL))
    socket = last.socket
    io_loop.close(all_fds=True)
    assert socket.closed
    assert terminated(backend.context)


def test_a_thread_ends_and_the_main_thread_terminates(backend, in_thread):
    """ipykernel: join the iopub thread, close its socket again, terminate the context."""
    iopub = in_thread()
    xpub, events = backend.socket(zmq.XPUB), backend.socket(zmq.PULL)
    streams = [backend.stream(socket, io_loop=iopub.io_loop) for socket in (xpub, events)]
    for stream in streams:
        stream.on_recv(print)
    iopub.start()
    iopub.call(lambda: xpub.send(b"something"))
    iopub.stop(all_fds=True)
    xpub.close()
    assert terminated(backend.context)


@pytest.mark.parametrize("linger", [None, 5])
def test_the_stream_is_closed_after_its_loop(backend, in_thread, linger):
    """ipykernel's subshells and jiminy: the loop's thread has ended, another closes the stream."""
    thread = in_thread().start()
    socket, peer = backend.pair()
    stream = thread.call(lambda: backend.stream(socket, io_loop=thread.io_loop))
    stream.on_recv(print)
    thread.stop()
    stream.close(linger)
    socket.close(linger)
    assert stream.closed()
    peer.close()
    assert terminated(backend.context)


def test_a_callback_stops_the_loop_then_all_is_closed(backend, io_loop):
    """Kernels and circus' plugins: a message ends the program; all is closed after start()."""
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    stream.on_recv(lambda msg: io_loop.add_callback(io_loop.stop))
    peer.send(b"shutdown")
    io_loop.start()
    stream.flush()
    stream.close()
    socket.close()
    peer.close()
    backend.context.destroy()
    assert backend.context.closed


@pytest.mark.filterwarnings("ignore:.*closed directly")
def test_the_context_is_destroyed_under_a_stream(backend, io_loop, expected_log):
    """circus' statistics: stop the loop, destroy the context, do not look at the stream again."""
    socket, peer = backend.pair(zmq.SUB, zmq.PUB)
    stream = backend.stream(socket)
    stream.on_recv(print)
    backend.settle()
    io_loop.stop()
    backend.context.destroy(0)
    assert socket.closed
    assert backend.context.closed
    io_loop.start()  # returns at once: it was stopped before
    assert stream.closed()
    # if libzmq has closed the descriptor by then, the loop has noticed it
    expected_log("is attached to a closed socket", at_least=0)


def test_many_channels_closed_in_a_callback_of_one(backend):
    """jupyter_server's websocket: a message on one channel disconnects all of them."""
    pairs = [backend.pair() for _ in range(4)]
    streams = [backend.stream(socket) for socket, _ in pairs]
    got = backend.recorder()

    def disconnect(stream, msg):
        got.append(stream)
        for each in streams:
            if each is not None and not each.closed():
                each.on_recv(None)
                each.close()

    for stream in streams:
        stream.on_recv_stream(disconnect)
    for _, peer in pairs:
        peer.send(b"x")
    backend.wait(got)
    backend.settle()
    assert len(got) == 1
    assert all(socket.closed for socket, _ in pairs)
