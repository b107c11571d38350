"""What the tests of IOLoop and EventLoop share."""

import asyncio
import concurrent.futures
import contextlib

import zmq

import zmqstream
from support import TIMEOUT
from zmqstream import ZMQStream

# -- of IOLoop ------------------------------------------------------------------------------------


def start(loop):
    """start(), which a test that has failed ends, too."""
    late = []
    timer = loop.call_later(TIMEOUT, lambda: (late.append(1), loop.stop()))
    try:
        loop.start()
    finally:
        loop.remove_timeout(timer)
    assert not late, f"not stopped within {TIMEOUT} s"


def turn(loop, times=3):
    """Run the loop for a few iterations, for what must not happen in them."""
    for _ in range(times):
        loop.add_callback(loop.stop)
        start(loop)


def collect(loop, got, count):
    """A callback that keeps what it is called with, and stops the loop at the last."""

    def callback(*args):
        got.append(args)
        if len(got) >= count:
            loop.stop()

    return callback


# -- of EventLoop ---------------------------------------------------------------------------------


def run(main, **kwargs):
    """zmqstream.run() with a limit."""

    async def limited():
        return await asyncio.wait_for(main(), TIMEOUT)

    return zmqstream.run(limited(), **kwargs)


@contextlib.contextmanager
def busy(context):
    """Two streams on the running loop that play ping-pong meanwhile, without a pause."""
    streams = [ZMQStream(socket) for socket in pair(context)]
    hits = []
    for stream in streams:
        stream.on_recv(lambda message, stream=stream: stream.send_multipart(message))
    streams[0].on_send(lambda message, status: hits.append(message))
    streams[0].send(b"ball")
    yield hits
    for stream in streams:
        stream.close()
    assert hits


async def until(condition):
    """A timer, a handle, or both in each iteration."""
    delay = 0
    while not condition():
        await asyncio.sleep(delay)
        delay = 0.001 - delay


# -- of both --------------------------------------------------------------------------------------


def pair(context, kind=zmq.PAIR, other=zmq.PAIR):
    first, second = context.socket(kind), context.socket(other)
    first.bind(f"inproc://{id(first)}")
    second.connect(first.last_endpoint.decode())
    second.rcvtimeo = second.sndtimeo = TIMEOUT * 1000
    return first, second


def in_thread(function):
    """The result of a function that runs in another thread."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result(TIMEOUT)
