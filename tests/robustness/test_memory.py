"""Memory is bounded when asked, and nothing leaks: what is queued costs little.

Each runs in a process of its own, where nobody else allocates. Resident memory is read from
/proc, descriptors are counted there.

    ZMQSTREAM_MEMORY=long pytest tests/robustness/test_memory.py

opens and closes 1,000 streams 100 times, and moves 10 million messages, on each loop; memory grows
by less than 1 %.

Where glibc tells it, it is what malloc() has handed out that is measured: the resident memory of a
program that only opens and closes sockets grows by megabytes, by what its threads leave unused.
"""

import os
import subprocess
import sys

import pytest

from support import FREE_THREADED

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")

LONG = os.environ.get("ZMQSTREAM_MEMORY") == "long"
STREAMS, ROUNDS = (1000, 100) if LONG else (200, 10)
MESSAGES = 10_000_000 if LONG else 200_000

COMMON = f"""
STREAMS, ROUNDS, MESSAGES = {STREAMS}, {ROUNDS}, {MESSAGES}
"""
COMMON += """
import asyncio, ctypes, gc, itertools, os, sys
import zmq
from zmqstream import EventLoop, ZMQStream

context = zmq.Context()
loop = EventLoop() if sys.argv[1] == "own" else asyncio.SelectorEventLoop()

numbers = itertools.count()

def pair():
    address = f"inproc://{next(numbers)}"
    a, b = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
    a.linger = b.linger = 0
    a.hwm = b.hwm = 0
    b.bind(address)
    a.connect(address)
    return a, b

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def descriptors():
    return len(os.listdir("/proc/self/fd"))

def spin():
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(asyncio.sleep(0))

class Mallinfo(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
        ).split()
    ]

def used():
    try:
        function = ctypes.CDLL(None).mallinfo2  # of glibc, from 2.33
    except AttributeError:
        return resident()
    function.restype = Mallinfo
    info = function()
    return info.uordblks + info.hblkhd

def allowed(memory):
    return memory + (memory // 100 if hasattr(ctypes.CDLL(None), "mallinfo2") else 2**20)

def settled(measure, limit):
    # libzmq frees sockets in a thread of its own: look until it has
    for _ in range(2000):
        if measure() <= limit:
            break
        loop.run_until_complete(asyncio.sleep(0.005))
    return measure()
"""


# all of it from one arena of malloc(), where it is counted
COUNTED = {"PYTHONMALLOC": "malloc", "MALLOC_ARENA_MAX": "1"}
counted = pytest.mark.skipif(FREE_THREADED, reason="this Python cannot use malloc() for objects")


def run(program, backend, **environment):
    result = subprocess.run(
        [sys.executable, "-c", COMMON + program, backend],
        capture_output=True,
        text=True,
        timeout=3600 if LONG else 100,
        env={**os.environ, **environment},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(params=["own", "asyncio"])
def backend(request):
    return request.param


@counted
def test_opened_and_closed(backend):
    out = run(
        """
for socket in pair():
    socket.close()
nothing = descriptors()

def cycle():
    for i in range(STREAMS):
        if i % 100 == 0:  # a context has no more than some 1,000 sockets at once
            settled(descriptors, nothing + 20)
        a, b = pair()
        stream = ZMQStream(a, loop)
        stream.on_recv(lambda message, stream=stream: None)
        stream.on_send(lambda *args, stream=stream: None)
        stream.set_close_callback(lambda stream=stream: None)
        stream.send(b"x", callback=lambda *args, stream=stream: None)
        stream.send_multipart([b"x", bytearray(b"y")])
        b.send_multipart([b"x", b"y"])
        spin()
        stream.send(b"left in the queue")
        stream.close()
        b.close()
    gc.collect()

cycle(); cycle()
fds, memory, objects = descriptors(), used(), len(gc.get_objects())
for _ in range(ROUNDS - 2):
    cycle()
assert settled(descriptors, fds + 4) <= fds + 4, (fds, descriptors())
count = lambda: len(gc.get_objects())  # asyncio keeps cancelled timers until they are due
assert settled(count, objects + 20) <= objects + 20, (objects, count())
assert settled(used, allowed(memory)) <= allowed(memory), (memory, used())
print(f"{ROUNDS} rounds of {STREAMS}: {memory} bytes after the second, {used()} after the last")
""",
        backend,
        **COUNTED,
    )
    print(out)


@counted
def test_messages_of_all_kinds(backend):
    out = run(
        """
a, b = pair()
stream = ZMQStream(a, loop)
count = 0

def callback(message):
    global count
    count += 1
    if count % 7 == 0:
        raise ValueError
    if count % 5 == 0:
        message.append(None)
    if count % 11 == 0:
        stream.on_recv(callback, copy=count % 2 == 0)

loop.set_exception_handler(lambda loop, context: None)
stream.on_recv(callback)
frames = [b"x", b"y" * 200, b""]

def cycle(messages):
    for i in range(messages):
        b.send_multipart(frames[: 1 + i % 3])
        stream.send_multipart([b"x", zmq.Frame(b"y" * 100), bytearray(b"z")][: 1 + i % 3])
        if i % 100 == 0:
            spin()
            try:
                stream.flush(limit=50)
            except ValueError:
                pass
            while b.poll(0):
                b.recv_multipart()

cycle(20_000)
gc.collect()
memory, objects = used(), len(gc.get_objects())
for _ in range(MESSAGES // 40_000 - 1):
    cycle(20_000)  # in each direction
gc.collect()
assert len(gc.get_objects()) <= objects + 20, (objects, len(gc.get_objects()))
assert used() <= allowed(memory), (memory, used())
print(f"{MESSAGES} messages: {memory} bytes at the beginning, {used()} in the end")
""",
        backend,
        **COUNTED,
    )
    print(out)


@pytest.mark.skipif(
    "libasan" in os.environ.get("LD_PRELOAD", ""), reason="of AddressSanitizer's malloc"
)
def test_what_a_queued_message_costs(backend):
    """At most 200 bytes beyond its payload; pyzmq's class: 389."""
    out = run(
        """
socket = context.socket(zmq.PUSH)
stream = ZMQStream(socket, loop)
before = resident()
for i in range(200_000):
    stream.send_multipart([b"%0100d" % i])
print((resident() - before) / 200_000 - 100)
""",
        backend,
    )
    assert float(out) < 200


def test_a_loop_that_is_dropped_with_its_streams(backend):
    run(
        """
import warnings, weakref
warnings.simplefilter("ignore", ResourceWarning)

def drop():
    loop = EventLoop() if sys.argv[1] == "own" else asyncio.SelectorEventLoop()
    a, b = pair()
    stream = ZMQStream(a, loop)
    stream.on_recv(lambda message: loop)
    stream.send(b"x", callback=lambda *args: stream)
    return weakref.ref(stream), weakref.ref(loop), a, b

before = descriptors()
references = [drop() for _ in range(20)]
gc.collect()
assert [r[0]() for r in references] == [None] * 20, "streams"
assert [r[1]() for r in references] == [None] * 20, "loops"
for _, _, a, b in references:
    a.close()
    b.close()
assert settled(descriptors, before + 4) <= before + 4, (before, descriptors())
""",
        backend,
    )
