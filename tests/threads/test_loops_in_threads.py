"""A loop in each of several threads: each with streams of its own, on one context."""

import asyncio
import itertools
import subprocess
import sys
import threading

import pytest
import zmq

import zmqstream
from support import FREE_THREADED, TIMEOUT
from zmqstream import _core
from zmqstream._dump import table_of

THREADS = 4


@pytest.mark.skipif(not FREE_THREADED, reason="this Python always has a GIL")
def test_the_import_leaves_the_gil_off():
    program = "import sys, zmq; before = sys._is_gil_enabled(); import zmqstream.eventloop; "
    program += "assert sys._is_gil_enabled() is before"
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=TIMEOUT)


def in_threads(function):
    """What `function(name)` returns in each of THREADS threads, which begin together."""
    together = threading.Barrier(THREADS, timeout=TIMEOUT)
    results, errors = {}, []

    def run(name):
        try:
            together.wait()
            results[name] = function(name)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(name,)) for name in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert errors == []
    return results


def connected(context, address):
    server, client = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
    server.bind(address)
    client.connect(address)
    return map(zmqstream.ZMQStream, (server, client))


RUNS = {"own": zmqstream.run, "asyncio": asyncio.run}


@pytest.mark.parametrize("kind", RUNS)
def test_streams_of_loops_in_threads(poller, context, kind):
    """They are made, used and closed at the same time. Each echoes the messages of its own peer."""

    async def echo(name, address):
        got = []
        served, asking = connected(context, address)
        async with served, asking:
            served.on_recv(served.send_multipart)
            for number in range(200):
                asking.send(b"%d %d" % (name, number))
            async for message in asking:
                got.append(message)
                if len(got) == 200:
                    break
        assert got == [[b"%d %d" % (name, number)] for number in range(200)]

    def run(name):
        for number in range(5):
            RUNS[kind](echo(name, f"inproc://echo-{name}-{number}"))
        return "done"

    assert in_threads(run) == dict.fromkeys(range(THREADS), "done")


def test_loops_in_threads_send_the_same_frame(context):
    """libzmq notes in the frame itself that it is shared."""
    frames = [zmq.Frame(b"%4d" % number * 100) for number in range(100)]

    async def send(address):
        sending, receiving = connected(context, address)
        async with sending, receiving:
            for frame in frames:
                sending.send_multipart([frame, frame])
            return [await receiving.recv_multipart() for _ in frames]

    expected = [[bytes(frame)] * 2 for frame in frames]
    found = in_threads(lambda name: zmqstream.run(send(f"inproc://frame-{name}")))
    assert found == dict.fromkeys(range(THREADS), expected)
    assert [bytes(frame) for frame in frames] == [each[0] for each in expected]


def test_a_look_at_streams_of_other_threads(context):
    """dump() is for the loop's thread. But `zmqstream top` looks from a thread of its own."""
    over = threading.Event()
    tables = []

    def look():
        while not over.wait(1e-3):
            tables.extend(map(table_of, _core.live_reactors()))

    async def main(address):
        for number in itertools.count():
            if number > 5 and tables:
                break
            served, asking = connected(context, f"{address}-{number}")
            async with served, asking:
                served.on_recv(served.send_multipart)
                asking.send(b"x")
                await asking.recv()

    looking = threading.Thread(target=look)
    looking.start()
    try:
        in_threads(lambda name: zmqstream.run(main(f"inproc://look-{name}")))
    finally:
        over.set()
        looking.join(TIMEOUT)
    assert tables
