"""Any thread may send. All other methods belong to the loop's thread, and debug mode says so.

Without the GIL, they say so without debug mode, too."""

import asyncio
import os
import sys
import threading

import pytest
import zmq

from support import FREE_THREADED, TIMEOUT
from support.children import run_script


@pytest.mark.deviates("pyzmq's send is not thread-safe")
def test_sends_from_threads_wake_the_loop(backend):
    """Any thread may send."""
    socket, peer = backend.pair(sndhwm=0, rcvhwm=0)
    stream = backend.stream(socket)
    sent = backend.recorder()
    stream.on_send(lambda msg, status: backend.loop.call_soon(sent.append, msg))

    def send(name):
        for i in range(200):
            stream.send_multipart([name, b"%d" % i])

    threads = [threading.Thread(target=send, args=(b"%d" % i,)) for i in range(4)]
    backend.loop.call_later(0.02, lambda: [thread.start() for thread in threads])
    backend.wait(sent, 800)
    for thread in threads:
        thread.join()
    got = [peer.recv_multipart() for _ in range(800)]
    for i in range(4):
        assert [int(n) for name, n in got if name == b"%d" % i] == list(range(200))


@pytest.mark.ours
def test_no_wake_up_is_lost_between_two_threads(backend):
    """The loop's thread may run between any two steps of a sender's."""
    socket, peer = backend.pair(sndhwm=0, rcvhwm=0)
    stream = backend.stream(socket)
    told = threading.Event()
    stream.on_send(lambda msg, status: told.set())
    # at home nothing else would wake the loop; as a guest, a sweep does after 0.05 s
    longest = TIMEOUT if backend.at_home else 0.03

    def late():
        """How many messages were sent late: the machine is busy, or a wake-up was lost."""
        done = backend.recorder()

        def other():
            count = 0
            for _ in range(2000):
                told.clear()
                stream.send(b"x")
                count += not told.wait(longest)
            backend.loop.call_soon_threadsafe(done.append, count)

        thread = threading.Thread(target=other)
        thread.start()
        (count,) = backend.wait(done)
        thread.join()
        return count

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        assert any(late() <= (0 if backend.at_home else 20) for _ in range(3))
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.ours
def test_a_single_send_from_a_thread_wakes_a_sleeping_loop(backend):
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    got = backend.recorder()
    stream.on_recv(got.append)
    asleep = threading.Event()
    backend.loop.call_soon(asleep.set)

    def other():
        asleep.wait()
        stream.send(b"from a thread")
        assert peer.recv() == b"from a thread"
        peer.send(b"answer")

    thread = threading.Thread(target=other)
    thread.start()
    backend.wait(got)
    thread.join()


@pytest.mark.ours
def test_sends_while_the_loop_begins_in_another_thread(backend):
    """The thread that made the stream sends on. Which of its sends come first is left to chance."""
    socket, peer = backend.pair(sndhwm=0, rcvhwm=0)
    stream = backend.stream(socket)
    for first in range(0, 2000, 100):
        over = asyncio.Event()
        thread = threading.Thread(target=backend.run, args=(over.wait(),))
        thread.start()
        for number in range(first, first + 100):
            stream.send(b"%d" % number)
        backend.loop.call_soon_threadsafe(over.set)
        thread.join(TIMEOUT)
        backend.drained(stream)  # the loop runs in this thread again
    assert [int(peer.recv()) for _ in range(2000)] == list(range(2000))


@pytest.mark.ours
def test_questions_from_another_thread(backend):
    """Without debug mode, they need not be asked in the loop's thread."""
    socket, _ = backend.pair()
    stream = backend.stream(socket)

    def ask():
        shown = repr(stream)
        assert "ZMQStream(zmq.PAIR)" in shown
        assert "queued 0" in shown
        return (
            stream.closed(), stream.receiving(), stream.sending(), stream.stats().messages_in,
            stream.get_write_buffer_limits(), stream.socket is not None,
        )  # fmt: skip

    assert call_in_thread(backend, ask) == (False, False, False, 0, (None,) * 4, True)
    stream.close()
    stream.closed()
    assert call_in_thread(backend, stream.closed) is True
    assert call_in_thread(backend, stream.close) is None  # once more


# -- debug mode -----------------------------------------------------------------------------------


def receive(stream):
    message = stream.recv()
    try:
        message.send(None)
    finally:
        message.close()


OF_THE_LOOP = {
    "recv": receive,
    "on_recv": lambda stream: stream.on_recv(print),
    "on_recv_stream": lambda stream: stream.on_recv_stream(print),
    "stop_on_recv": lambda stream: stream.stop_on_recv(),
    "on_send": lambda stream: stream.on_send(print),
    "on_send_stream": lambda stream: stream.on_send_stream(print),
    "on_err": lambda stream: stream.on_err(print),
    "flush": lambda stream: stream.flush(),
    "set_close_callback": lambda stream: stream.set_close_callback(print),
    "socket": lambda stream: stream.getsockopt(zmq.TYPE),
    "close": lambda stream: stream.close(),
}


def call_in_thread(backend, function, *args):
    """What a call in another thread returned or raised, while the loop runs."""

    async def main():
        try:
            return await asyncio.to_thread(function, *args)
        except Exception as error:
            return error

    return backend.run(main())


# Without the GIL, debug mode is not needed.
DEBUG = [True, False] if FREE_THREADED else [True]


@pytest.mark.ours
@pytest.mark.parametrize("debug", DEBUG)
@pytest.mark.parametrize("method", OF_THE_LOOP)
def test_debug_mode_refuses_other_threads(backend, method, debug):
    backend.loop.set_debug(debug)
    backend.loop.slow_callback_duration = TIMEOUT
    socket, peer = backend.pair()
    stream = backend.stream(socket)
    error = call_in_thread(backend, OF_THE_LOOP[method], stream)
    assert type(error) is RuntimeError
    name = {"on_recv_stream": "on_recv", "stop_on_recv": "on_recv"}.get(method, method)
    assert f"ZMQStream.{name} was used in thread" in str(error)
    assert "call_soon_threadsafe" in str(error)
    assert not stream.closed()
    got = backend.recorder()
    stream.on_recv(got.append)  # nothing of the call was done
    peer.send(b"x")
    backend.wait(got)
    assert call_in_thread(backend, stream.send, b"from a thread") is None
    backend.drained(stream)
    assert peer.recv() == b"from a thread"


@pytest.mark.ours
@pytest.mark.parametrize("debug", DEBUG)
def test_debug_mode_refuses_streams_that_other_threads_make(backend, debug):
    backend.loop.set_debug(debug)
    backend.loop.slow_callback_duration = TIMEOUT
    socket, _ = backend.pair()
    error = call_in_thread(backend, backend.stream_class, socket, backend.io_loop)
    assert type(error) is RuntimeError
    assert "ZMQStream.__init__ was used in thread" in str(error)
    backend.stream(socket)  # nothing is left of the attempt


@pytest.mark.ours
def test_debug_mode_allows_what_is_right(backend):
    """The loop's own thread, and any other while the loop does not run."""
    backend.loop.set_debug(True)
    backend.loop.slow_callback_duration = TIMEOUT
    for method in OF_THE_LOOP:
        socket, _ = backend.pair()
        stream = backend.stream(socket)

        async def main(call=OF_THE_LOOP[method], stream=stream):
            call(stream)

        backend.run(main())
        thread = threading.Thread(target=stream.close)
        thread.start()
        thread.join()
        assert stream.closed()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("run", ["asyncio.run", "zmqstream.run"])
def test_debug_mode_takes_a_forked_child_for_no_other_thread(run):
    """The parent's loop looks there as if it ran on; close() lets go, as ever."""
    out = run_script(f"""
        import asyncio, os, warnings, zmq, zmqstream
        warnings.simplefilter("ignore", DeprecationWarning)  # of fork beside libzmq's threads

        async def main():
            context = zmq.Context()
            stream = zmqstream.ZMQStream(context.socket(zmq.PULL))
            child = os.fork()
            if not child:
                try:
                    stream.close()
                    print("closed", stream.closed(), flush=True)
                except BaseException as error:
                    print(repr(error), flush=True)
                os._exit(0)
            os.waitpid(child, 0)
            print(stream.closed())
            stream.close()
            context.term()

        {run}(main(), debug=True)
    """)
    assert out.splitlines() == ["closed True", "False"]
