"""Contract 1: IOLoop's callbacks and timeouts, and what becomes of their errors."""

import asyncio
import concurrent.futures
import datetime
import gc
import os
import signal
import sys
import threading
import time
import weakref

import pytest

from support.loops import collect, pair, start, turn
from zmqstream import IOLoop, ZMQStream

pytestmark = pytest.mark.usefixtures("nothing_is_current")
READ = IOLoop.READ


@pytest.fixture
def loop(io_loop):
    return io_loop


# -- callbacks ------------------------------------------------------------------------------------


def test_add_callback(loop):
    got = []
    loop.add_callback(lambda *args, **kwargs: got.append((args, kwargs)), 1, 2, a=3)
    loop.spawn_callback(got.append, "spawned")
    loop.add_callback_from_signal(got.append, "from a signal")
    loop.add_callback(lambda: loop.add_callback(loop.stop))
    start(loop)
    assert got == [((1, 2), {"a": 3}), "spawned", "from a signal"]


def test_add_callback_from_threads(loop):
    got = []

    def add(name):
        for i in range(100):
            loop.add_callback(collect(loop, got, 400), name, i)

    threads = [threading.Thread(target=add, args=(n,)) for n in range(4)]
    loop.add_callback(lambda: [thread.start() for thread in threads])
    start(loop)
    for thread in threads:
        thread.join()
    for n in range(4):
        assert [i for name, i in got if name == n] == list(range(100))


def test_add_callback_from_signal(loop):
    got = []
    before = signal.signal(
        signal.SIGUSR1,
        lambda *_: loop.add_callback_from_signal(collect(loop, got, 1), "signalled"),
    )
    main = threading.main_thread().ident
    # from a thread, so that it is taken while the loop sleeps, or just before
    thread = threading.Thread(target=signal.pthread_kill, args=(main, signal.SIGUSR1))
    try:
        loop.add_callback(thread.start)
        start(loop)
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)
    assert got == [("signalled",)]


def test_coroutine_callbacks(loop):
    got = []

    async def coroutine(name):
        got.append(f"{name} begins")
        await asyncio.sleep(0)
        got.append(f"{name} ends")

    async def stop():
        while len(got) < 4:
            await asyncio.sleep(0)
        loop.stop()

    loop.add_callback(coroutine, "first")
    loop.add_callback(coroutine, "second")
    loop.call_later(0.01, stop)
    start(loop)
    assert got == ["first begins", "second begins", "first ends", "second ends"]


def test_coroutine_callbacks_are_held(loop):
    class Holder:
        """What the coroutine waits for is only held by itself."""

    got, waiting = [], []

    async def coroutine():
        holder = Holder()
        holder.future = loop.asyncio_loop.create_future()
        waiting.append(weakref.ref(holder))
        loop.stop()
        got.append(await holder.future)
        loop.stop()

    loop.add_callback(coroutine)
    start(loop)
    gc.collect()
    waiting[0]().future.set_result("awake")
    start(loop)
    assert got == ["awake"]


def test_coroutine_callbacks_are_held_without_an_ioloop():
    """IOLoop.current() on somebody else's loop is held by nobody but its callbacks."""
    got = []

    async def coroutine(waiting):
        future = asyncio.get_running_loop().create_future()
        waiting.append(weakref.ref(future))
        got.append(await future)

    async def main():
        waiting = []
        IOLoop.current().add_callback(coroutine, waiting)
        while not waiting:
            await asyncio.sleep(0)
        gc.collect()
        waiting[0]().set_result("awake")
        while not got:
            await asyncio.sleep(0)

    loop = asyncio.SelectorEventLoop()
    loop.run_until_complete(main())
    loop.close()
    assert got == ["awake"]


def test_add_future(loop):
    future, threaded = loop.asyncio_loop.create_future(), concurrent.futures.Future()
    got = []
    for each in (future, threaded):
        loop.add_future(each, lambda done: got.append((done, done.result())))
    loop.add_callback(future.set_result, 1)
    loop.add_callback(threaded.set_result, 2)
    loop.add_callback(lambda: loop.add_callback(lambda: loop.add_callback(loop.stop)))
    start(loop)
    assert sorted(got, key=lambda g: g[1]) == [(future, 1), (threaded, 2)]


def test_a_future_of_a_thread(loop):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        got = []
        future = pool.submit(threading.get_ident)
        loop.add_future(future, lambda done: (got.append(threading.get_ident()), loop.stop()))
        start(loop)
    assert got == [threading.get_ident()]


def test_run_in_executor(loop):
    async def main():
        return await loop.run_in_executor(None, threading.get_ident)

    assert loop.run_sync(main) != threading.get_ident()
    with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="mine") as pool:
        loop.set_default_executor(pool)

        async def name():
            return await loop.run_in_executor(None, lambda: threading.current_thread().name)

        assert loop.run_sync(name).startswith("mine")


# -- time -----------------------------------------------------------------------------------------


def test_timeouts(loop):
    got = []
    now = loop.time()
    assert abs(now - time.time()) < 5
    # what counts from `now` is due before what counts from a call, or long after it
    loop.add_timeout(datetime.timedelta(milliseconds=120), got.append, 5)
    loop.call_at(now + 0.115, got.append, 4)
    loop.add_timeout(now + 0.11, got.append, 3)
    loop.call_later(0.01, lambda i, a: got.append((i, a)), 2, a="kwarg")
    loop.call_later(-1, got.append, 1)
    for timeout in (
        loop.call_later(0.001, got.append, "removed"),
        loop.call_at(now, got.append, "removed"),
        loop.add_timeout(now + 0.001, got.append, "removed"),
    ):
        loop.remove_timeout(timeout)
        loop.remove_timeout(timeout)
    before = time.monotonic()
    loop.call_later(0.14, loop.stop)
    start(loop)
    assert time.monotonic() - before >= 0.139
    assert got == [1, (2, "kwarg"), 3, 4, 5]


def test_a_deadline_must_be_a_time(loop):
    for deadline in (None, "soon", datetime.datetime.now()):
        with pytest.raises(TypeError, match="deadline"):
            loop.add_timeout(deadline, print)


# -- errors ---------------------------------------------------------------------------------------


async def raise_later(error):
    await asyncio.sleep(0)
    raise error


def raise_now(error):
    raise error


@pytest.mark.parametrize("fail", [raise_now, raise_later], ids=["function", "coroutine"])
def test_errors_are_reported_once(loop, fail):
    errors = [LookupError(i) for i in range(3)]
    loop.add_callback(fail, errors[0])
    loop.call_later(0.001, fail, errors[1])
    loop.add_timeout(loop.time() + 0.005, fail, errors[2])

    async def stop():
        while len(loop.errors) < 3:
            await asyncio.sleep(0)
        loop.stop()

    loop.call_later(0.02, stop)
    start(loop)
    assert sorted(loop.errors, key=str) == errors  # uvloop may run a due timer before a callback
    loop.errors.clear()


def test_a_cancelled_error_is_an_error_like_others(loop):
    loop.add_callback(raise_now, asyncio.CancelledError())
    turn(loop)
    assert [type(e) for e in loop.errors] == [asyncio.CancelledError]
    loop.errors.clear()


def test_a_report_names_the_callback(loop):
    reports = []
    loop.asyncio_loop.set_exception_handler(lambda _, context: reports.append(context["message"]))
    loop.add_callback(raise_now, LookupError())
    loop.add_callback(raise_later, LookupError())
    turn(loop, 5)
    assert ["raise_now" in r for r in reports] == [True, False]
    assert ["raise_later" in r for r in reports] == [False, True]


def test_handle_callback_exception_may_be_overridden(loop):
    seen = []

    class Loop(IOLoop):
        def handle_callback_exception(self, callback):
            seen.append((callback, sys.exc_info()[1]))

    own = Loop(asyncio_loop=loop.asyncio_loop, make_current=False)
    error = LookupError()
    own.add_callback(raise_now, error)
    turn(own)
    assert seen == [(raise_now, error)]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("fail", [raise_now, raise_later], ids=["function", "coroutine"])
def test_what_leaves_the_loop(loop, kind, fail):
    got = []
    loop.add_callback(fail, kind())
    with pytest.raises(kind):
        loop.start()
    assert not loop.running()
    loop.add_callback(got.append, "runs again")
    turn(loop, 5)
    assert got == ["runs again"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_leaves_the_loop_from_handlers_and_timeouts(loop, context, kind):
    socket, peer = pair(context)
    received, sent = os.pipe()
    peer.send(b"x")
    os.write(sent, b"x")
    got = []

    def fail(fd, events):
        loop.remove_handler(fd)
        raise kind

    loop.add_handler(socket, fail, READ)
    with pytest.raises(kind):
        loop.start()
    loop.add_handler(received, fail, READ)
    with pytest.raises(kind):
        loop.start()
    loop.call_later(0.001, raise_now, kind())
    with pytest.raises(kind):
        loop.start()
    loop.add_handler(socket, collect(loop, got, 1), READ)
    start(loop)
    assert got[0] == (socket, READ)
    loop.remove_handler(socket)
    os.close(received)
    os.close(sent)


def test_control_c(loop, context):
    """A SIGINT while the loop sleeps in poll."""
    socket, _ = pair(context)
    stream = ZMQStream(socket, loop)
    stream.on_recv(print)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    main = threading.main_thread().ident
    thread = threading.Thread(target=signal.pthread_kill, args=(main, signal.SIGINT))
    try:
        loop.add_callback(thread.start)
        with pytest.raises(KeyboardInterrupt):
            start(loop)
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)
    turn(loop)
    stream.close()


def test_callbacks_for_a_loop_that_was_closed():
    """Nobody calls them, and it is no error: threads come too late when programs end."""
    loop = IOLoop(make_current=False)
    loop.close()
    called = []
    for add in loop.add_callback, loop.spawn_callback, loop.add_callback_from_signal:
        assert add(called.append, 1) is None
    future = concurrent.futures.Future()
    loop.add_future(future, called.append)
    future.set_result(None)
    assert called == []
