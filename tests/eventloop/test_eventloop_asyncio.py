"""EventLoop is an asyncio loop: all of asyncio works on it, beside streams that are busy."""

import asyncio
import concurrent.futures
import contextlib
import ctypes
import os
import signal
import socket as sockets
import subprocess
import sys
import threading
import time
import warnings

import pytest

from support import TIMEOUT
from support.loops import busy, pair, run
from zmqstream import ZMQStream

pytestmark = pytest.mark.usefixtures("poller")


@pytest.fixture
def loop(event_loop):
    return event_loop


# -- all of asyncio beside a busy stream ----------------------------------------------------------


def test_tasks(context):
    async def main():
        queue, done = asyncio.Queue(1), asyncio.Event()

        async def produce():
            for i in range(50):
                await queue.put(i)
            done.set()

        async def consume():
            return [await queue.get() for _ in range(50)]

        with busy(context):
            _, got = await asyncio.gather(produce(), consume())
            assert got == list(range(50))
            assert done.is_set()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), 0.005)
            task = asyncio.create_task(asyncio.sleep(3600))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            if sys.version_info >= (3, 11):
                with pytest.raises(BaseException, match="unhandled errors in a TaskGroup"):
                    await group()

    async def group():
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(3600))
            group.create_task(asyncio.wait_for(asyncio.Event().wait(), 0.001))

    run(main)


def test_timers(context):
    async def main():
        loop = asyncio.get_running_loop()
        got, done = [], asyncio.Event()
        with busy(context):
            now = loop.time()
            loop.call_at(now + 0.01, got.append, 2)
            third = loop.call_later(0.02, got.append, 3).when()
            loop.call_at(third + 0.01, got.append, 5)
            loop.call_at(third + 0.005, got.append, 4)
            loop.call_later(0.015, got.append, "cancelled").cancel()
            loop.call_soon(got.append, 1)
            loop.call_soon(got.append, "cancelled").cancel()
            loop.call_at(third + 0.015, done.set)
            await done.wait()
            assert loop.time() - now >= 0.034
        assert got == [1, 2, 3, 4, 5]

    run(main)


def test_timers_without_streams():
    """Never early: epoll counts milliseconds, asyncio does not."""

    async def main():
        loop = asyncio.get_running_loop()
        for delay in (0, 0.0001, 0.0004, 0.0011, 0.01, 0.0105):
            before = loop.time()
            await asyncio.sleep(delay)
            assert loop.time() - before >= delay - loop._clock_resolution

    run(main)


@pytest.mark.parametrize("idle", [True, False])
def test_what_a_stream_callback_asks_of_asyncio(context, idle):
    """The loop stays in its selector between messages, and must see what changed for asyncio."""

    async def main():
        loop = asyncio.get_running_loop()
        socket, peer = pair(context)
        stream = ZMQStream(socket)
        later = []
        if not idle:
            later.append(loop.call_later(3600, print))

        async def ask(kind):
            done = loop.create_future()
            actions = {
                "call_soon": lambda: loop.call_soon(done.set_result, kind),
                "call_later": lambda: loop.call_later(0.001, done.set_result, kind),
                "earlier": lambda: (
                    later.append(loop.call_later(1800, print)),
                    loop.call_later(0, done.set_result, kind),
                ),
                "future": lambda: done.set_result(kind),
                "task": lambda: later.append(asyncio.ensure_future(set_result(done, kind))),
                "reader": lambda: loop.add_reader(ready, finish, done, kind),
                "writer": lambda: loop.add_writer(ready, finish, done, kind),
                "thread": lambda: loop.run_in_executor(None, lambda: None).add_done_callback(
                    lambda _: done.set_result(kind)
                ),
            }
            stream.on_recv(lambda message: actions[kind]())
            peer.send(b"go")
            assert await done == kind
            stream.on_recv(None)

        def finish(future, value):  # readers may be called again
            loop.remove_reader(ready)
            loop.remove_writer(ready)
            future.set_result(value)

        async def set_result(future, value):
            await asyncio.sleep(0)
            future.set_result(value)

        ready, other = sockets.socketpair()
        other.send(b"readable")
        with ready, other:
            for kind in (
                "call_soon", "call_later", "earlier", "future", "task", "reader", "writer", "thread"
            ):  # fmt: skip
                await ask(kind)
        for each in later:
            each.cancel()
        stream.close()

    run(main)


def test_a_stream_callback_cancels_the_next_timer(context):
    async def main():
        loop = asyncio.get_running_loop()
        socket, peer = pair(context)
        stream = ZMQStream(socket)
        got, done = [], loop.create_future()
        first = loop.call_later(0.2, got.append, "cancelled")
        loop.call_at(first.when() + 0.01, done.set_result, None)
        stream.on_recv(lambda message: first.cancel())
        peer.send(b"go")
        await done
        assert got == []
        stream.close()

    run(main)


def test_stop_in_a_stream_callback(context, loop):
    socket, peer = pair(context)
    stream = ZMQStream(socket, loop)
    got = []
    stream.on_recv(lambda message: (got.append(message), loop.stop()))
    peer.send(b"x")
    loop.run_forever()
    assert got == [[b"x"]]
    stream.close()


def test_executors(context):
    async def main():
        loop = asyncio.get_running_loop()
        with busy(context) as hits:
            assert await asyncio.to_thread(sum, [1, 2]) == 3
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                got = await asyncio.gather(
                    *(loop.run_in_executor(pool, pow, 2, i) for i in range(20))
                )
                assert got == [2**i for i in range(20)]
                before = len(hits)  # the streams go on while a thread is waited for
                await loop.run_in_executor(pool, wait_for_hits, hits, before + 10)

    def wait_for_hits(hits, count):
        end = time.monotonic() + TIMEOUT
        while len(hits) < count:
            assert time.monotonic() < end
            time.sleep(0.0001)

    run(main)


def test_subprocesses(context):
    async def main():
        with busy(context):
            process = await asyncio.create_subprocess_exec(
                "cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            out, _ = await process.communicate(b"through a pipe" * 10_000)
            assert out == b"through a pipe" * 10_000
            assert process.returncode == 0
            process = await asyncio.create_subprocess_shell("exit 3")
            assert await process.wait() == 3
            process = await asyncio.create_subprocess_exec("sleep", "3600")
            process.kill()
            assert await process.wait() == -signal.SIGKILL

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of child watchers, in 3.12
        run(main)


@pytest.mark.parametrize("flood", [True, False])
def test_signal_handlers(context, flood):
    async def main():
        loop = asyncio.get_running_loop()
        for _ in range(3):
            got = asyncio.Event()
            loop.add_signal_handler(signal.SIGUSR1, got.set)
            with busy(context) if flood else contextlib.nullcontext():
                await asyncio.sleep(0.002)
                os.kill(os.getpid(), signal.SIGUSR1)
                await got.wait()
        assert loop.remove_signal_handler(signal.SIGUSR1)

    run(main)


def test_plain_signal_handlers_while_the_loop_sleeps(context):
    """They run at once, and an exception of theirs leaves the loop."""

    async def main():
        loop = asyncio.get_running_loop()
        socket, _ = pair(context)
        stream = ZMQStream(socket)
        stream.on_recv(print)
        got = loop.create_future()
        signal.signal(
            signal.SIGUSR1, lambda number, frame: loop.call_soon_threadsafe(got.set_result, number)
        )
        thread.start()
        assert await got == signal.SIGUSR1
        stream.close()

    thread = threading.Thread(
        target=lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
    )
    before = signal.getsignal(signal.SIGUSR1)
    try:
        run(main)
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)


def test_a_signal_between_a_turn_and_sleep(context, loop):
    """It comes while C code runs, so it interrupts no sleep, and is seen all the same."""

    class Number:
        @staticmethod
        def from_param(message):
            return signal.SIGUSR1

    throw = ctypes.CDLL(None)["raise"]  # signal.raise_signal() would call the handler itself
    throw.argtypes = [Number]
    socket, peer = pair(context)
    stream = ZMQStream(socket, loop)
    got = []

    def handler(number, frame):
        got.append(number)
        loop.call_soon_threadsafe(loop.stop)

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        stream.on_recv(throw)
        for _ in range(3):
            limit = loop.call_later(TIMEOUT, got.append, "too late")
            loop.call_later(0.002, peer.send, b"x")
            loop.run_forever()
            limit.cancel()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert got == [signal.SIGUSR1] * 3
    stream.close()


def test_an_exception_of_a_signal_handler(context, loop):
    class Alarm(KeyboardInterrupt):
        pass

    def alarm(number, frame):
        raise Alarm

    socket, peer = pair(context)
    stream = ZMQStream(socket, loop)
    got = []
    stream.on_recv(lambda message: (got.append(message), loop.stop()))
    thread = threading.Thread(
        target=lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
    )
    before = signal.signal(signal.SIGUSR1, alarm)
    try:
        loop.call_later(0, thread.start)
        with pytest.raises(Alarm):
            loop.run_until_complete(asyncio.wait_for(forever(), TIMEOUT))
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    peer.send(b"x")
    loop.run_forever()
    assert got == [[b"x"]]
    stream.close()


async def forever():
    await asyncio.Event().wait()
