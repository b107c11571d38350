"""Functions for the tests of IOLoop and EventLoop."""

import asyncio
import concurrent.futures
import contextlib

import zmq

import zmqstream
from support import TIMEOUT
from zmqstream import ZMQStream

# -- of IOLoop ------------------------------------------------------------------------------------


def start(loop):
    """Call start(), and stop the loop after TIMEOUT, which fails the test."""
    late = []
    timer = loop.call_later(TIMEOUT, lambda: (late.append(1), loop.stop()))
    try:
        loop.start()
    finally:
        loop.remove_timeout(timer)
    assert not late, f"not stopped within {TIMEOUT} s"


def turn(loop, times=3):
    """Run the loop for a few iterations, to see that something does not happen."""
    for _ in range(times):
        loop.add_callback(loop.stop)
        start(loop)


def collect(loop, got, count):
    """A callback that appends its arguments to `got`, and stops the loop at the last call."""

    def callback(*args):
        got.append(args)
        if len(got) >= count:
            loop.stop()

    return callback


# -- of EventLoop ---------------------------------------------------------------------------------


def run(main, **kwargs):
    """zmqstream.run() with a time limit."""

    async def limited():
        return await asyncio.wait_for(main(), TIMEOUT)

    return zmqstream.run(limited(), **kwargs)


@contextlib.contextmanager
def busy(context):
    """Two streams on the running loop that play ping-pong without a pause in the block."""
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
    """Wait for `condition`, with a timer, a handle or both in each iteration."""
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
    """Run a function in another thread, and return its result."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result(TIMEOUT)


def run_inside(backend, coroutine):
    """Run the loop inside a callback of its own, as nest_asyncio does."""
    loop = backend.loop
    task = loop.create_task(asyncio.wait_for(coroutine, 10))
    outer = asyncio.tasks._current_tasks.pop(loop, None)
    queued = len(loop._ready)
    try:
        while not task.done():
            loop._run_once()
            if loop._stopping:
                loop._stopping = False
                raise RuntimeError("the loop was stopped")
        return task.result()
    finally:
        # the outer loop counted its queue before it ran what is in it, and expects as many
        for _ in range(queued - len(loop._ready)):
            loop.call_soon(lambda: None)
        if outer is not None:
            asyncio.tasks._current_tasks[loop] = outer
