"""PeriodicCallback and DelayedCallback on every kind of loop, and zmqstream.ioloop as a drop-in."""

import asyncio
import concurrent.futures
import contextvars
import gc
import time
import types
import weakref

import pytest
from tornado import ioloop as tornado_ioloop

import zmqstream
from support import TIMEOUT
from support.children import run_script
from support.loops import collect, start, turn
from zmqstream import DelayedCallback, IOLoop, PeriodicCallback, ioloop

pytestmark = pytest.mark.usefixtures("nothing_is_current")


@pytest.fixture(params=["own", "asyncio", "uvloop", "tornado"])
def given(request):
    """What a callback can be given as `io_loop`. Its `facade` runs it; `errors` were reported."""

    given = types.SimpleNamespace(errors=[])
    if request.param == "own":
        given.io_loop = given.facade = IOLoop(make_current=False)
    elif request.param == "tornado":
        given.io_loop = tornado_ioloop.IOLoop(make_current=False)
    elif request.param == "uvloop":
        given.io_loop = pytest.importorskip("uvloop").new_event_loop()
    else:
        given.io_loop = asyncio.SelectorEventLoop()
    if request.param != "own":
        loop = getattr(given.io_loop, "asyncio_loop", given.io_loop)
        given.facade = IOLoop(make_current=False, asyncio_loop=loop)
    given.loop = given.facade.asyncio_loop
    given.loop.set_exception_handler(lambda _, context: given.errors.append(context["exception"]))
    yield given
    if not given.loop.is_closed():
        for task in asyncio.all_tasks(given.loop):
            task.cancel()
        turn(given.facade)
        given.io_loop.close()
    assert given.errors == []


class Calls(list):
    """What was called. (No counting by stop(): uvloop may run a timer once more after it.)"""

    def __init__(self, given):
        super().__init__()
        self.loop = given.loop
        self.waiting = None

    def add(self, item=None):
        self.append(item)
        if self.waiting is not None and len(self) >= self.count and not self.waiting.done():
            self.waiting.set_result(None)

    def wait(self, count):
        """Run the loop until there are `count`."""
        self.count, self.waiting = count, self.loop.create_future()
        self.loop.run_until_complete(asyncio.wait_for(self.waiting, TIMEOUT))


# -- on every kind of loop ------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["keyword", "third", "current"])
def test_calls(given, how):
    calls = Calls(given)
    if how == "keyword":
        periodic = PeriodicCallback(calls.add, 1, jitter=0.5, io_loop=given.io_loop)
    elif how == "third":
        periodic = PeriodicCallback(calls.add, 1, given.io_loop)
    else:
        periodic = PeriodicCallback(calls.add, 1)
    if how == "current":
        given.loop.call_soon(periodic.start)
    else:
        assert periodic.io_loop is given.io_loop
        periodic.start()
    calls.wait(4)
    assert getattr(periodic.io_loop, "asyncio_loop", periodic.io_loop) is given.loop
    periodic.stop()
    calls.clear()
    turn(given.facade)
    assert calls == []


def test_delayed_calls(given):
    calls = Calls(given)
    for count, delayed in enumerate(
        (
            DelayedCallback(calls.add, 1, given.io_loop),
            DelayedCallback(calls.add, 1, io_loop=given.io_loop),
        ),
        start=1,
    ):
        delayed.start()
        calls.wait(count)
        assert not delayed.is_running()
    assert len(calls) == 2


def test_setting_the_clock_does_not_matter(given, monkeypatch):
    calls, real = Calls(given), time.time
    periodic = PeriodicCallback(calls.add, 1, io_loop=given.io_loop)
    periodic.start()
    for jump in (3600, -3600, 0):
        monkeypatch.setattr(time, "time", lambda jump=jump: real() + jump)
        calls.clear()
        calls.wait(3)
    periodic.stop()


async def raise_later(error):
    await asyncio.sleep(0)
    raise error


def raise_now(error):
    raise error


@pytest.mark.parametrize("fail", [raise_now, raise_later], ids=["function", "coroutine"])
@pytest.mark.parametrize("kind", [LookupError, asyncio.CancelledError])
def test_an_error_is_reported_once_and_the_calls_go_on(given, fail, kind):
    calls = Calls(given)
    errors = [kind(n) for n in range(3)]
    waiting = list(errors)

    def callback():
        calls.add()
        return fail(waiting.pop(0)) if waiting else None

    periodic = PeriodicCallback(callback, 1, io_loop=given.io_loop)
    periodic.start()
    calls.wait(4)
    periodic.stop()
    # a coroutine that is cancelled has not failed
    expected = [] if (fail, kind) == (raise_later, asyncio.CancelledError) else errors
    assert given.errors == expected
    given.errors.clear()


def test_handle_callback_exception(given):
    calls = Calls(given)

    class Loop(IOLoop):
        def handle_callback_exception(self, callback):
            calls.add(callback)

    def fail():
        raise LookupError

    loop = Loop(make_current=False, asyncio_loop=given.loop)
    for kind in (PeriodicCallback, DelayedCallback):
        periodic = kind(fail, 1, io_loop=loop)
        calls.clear()
        periodic.start()
        calls.wait(1)
        periodic.stop()
        assert set(calls) == {fail}


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("fail", [raise_now, raise_later], ids=["function", "coroutine"])
def test_what_leaves_the_loop(given, kind, fail):
    calls = Calls(given)

    def callback():
        calls.add()
        return fail(kind()) if len(calls) == 2 else None

    periodic = PeriodicCallback(callback, 1, io_loop=given.io_loop)
    periodic.start()
    with pytest.raises(kind):
        given.loop.run_forever()
    assert periodic.is_running()
    calls.wait(5)
    periodic.stop()


def test_a_coroutine_callback_is_held(given):
    calls, waiting = Calls(given), []

    async def callback():
        future = given.loop.create_future()
        waiting.append(weakref.ref(future))
        calls.add()
        await future
        calls.add()

    DelayedCallback(callback, 0, given.io_loop).start()
    calls.wait(1)
    gc.collect()
    waiting[0]().set_result(None)
    calls.wait(2)


def test_the_context_is_that_of_start(given):
    variable = contextvars.ContextVar("variable", default=0)
    calls = Calls(given)
    periodic = PeriodicCallback(lambda: calls.add(variable.get()), 1, io_loop=given.io_loop)
    contextvars.copy_context().run(lambda: (variable.set(1), periodic.start()))
    calls.wait(3)
    periodic.stop()
    assert set(calls) == {1}


def test_a_loop_that_is_closed_meanwhile():
    """start() on the next loop begins anew, whatever the old one has left."""
    got = []

    async def callback():
        got.append(asyncio.get_running_loop())
        got[-1].stop()
        periodic.callback_time = 3_600_000  # no second call while the loop's tasks are cancelled
        if len(got) == 1:
            await asyncio.Event().wait()

    periodic = PeriodicCallback(callback, 1)
    loops = [zmqstream.EventLoop() for _ in range(3)]
    for loop in loops:
        periodic.callback_time = 1
        loop.call_soon(periodic.start)
        limit = loop.call_later(TIMEOUT, loop.stop)
        loop.run_forever()
        limit.cancel()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
    assert got == loops
    periodic.stop()


def test_no_reference_is_left():
    loop = IOLoop(make_current=False)

    class Callback:
        def __call__(self):
            loop.stop()

    callback = Callback()
    for kind in (PeriodicCallback, DelayedCallback):
        periodic = kind(callback, 1, io_loop=loop)
        periodic.start()
        start(loop)
        periodic.stop()
    turn(loop)
    gone = weakref.ref(callback)
    del callback, periodic
    gc.collect()
    assert gone() is None
    loop.close()


def test_many_threads_each_with_a_loop():
    def main():
        loop, got = IOLoop(), []
        periodic = PeriodicCallback(collect(loop, got, 20), 0.1)
        periodic.start()
        start(loop)
        periodic.stop()
        loop.close()
        return len(got)

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        assert [f.result(TIMEOUT) for f in [pool.submit(main) for _ in range(3)]] == [20] * 3


# -- a drop-in for zmq.eventloop.ioloop ------------------------------------------------------------


def test_the_names_of_the_module():
    assert ioloop.PeriodicCallback is PeriodicCallback
    assert ioloop.DelayedCallback is DelayedCallback
    assert ioloop.ZMQIOLoop is IOLoop
    assert issubclass(DelayedCallback, PeriodicCallback)
    with pytest.raises(ioloop.TimeoutError):
        IOLoop().run_sync(asyncio.Event().wait, timeout=0.001)


def test_a_program_of_old():
    program = """
        import zmqstream.ioloop as ioloop

        ioloop.install()
        loop = ioloop.IOLoop.instance()
        got = []
        end = ioloop.DelayedCallback(lambda: got.append("end") or loop.stop(), 1, loop)

        def on_beat():
            got.append("beat")
            if len(got) == 2:
                end.start()

        beat = ioloop.PeriodicCallback(on_beat, 1, loop)
        beat.start()
        loop.start()
        assert got.count("end") == 1 and got.count("beat") > 1, got
        loop.close(all_fds=True)
    """
    run_script(program)


def test_install_is_for_tornado_too():
    program = """
        import asyncio, zmqstream
        from zmqstream import ioloop
        from tornado.ioloop import IOLoop, PeriodicCallback

        ioloop.install()
        theirs = IOLoop.current()
        assert type(theirs.asyncio_loop) is zmqstream.EventLoop
        loop = ioloop.IOLoop.instance()
        assert theirs.asyncio_loop is loop.asyncio_loop
        ioloop.install()
        assert ioloop.IOLoop.current() is loop is ioloop.IOLoop.instance()
        beat = PeriodicCallback(loop.stop, 1)
        beat.start()
        IOLoop.current().start()
        beat.stop()
        loop.close()
    """
    run_script(program)
