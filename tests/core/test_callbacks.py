"""Callback, Receiver and CallbackRunner: what was registered, and how it is run."""

import asyncio
import contextvars
import time
import types

import pytest

from zmqstream import EventLoop
from zmqstream._core import Callback, CallbackRunner, Receiver

place = contextvars.ContextVar("place", default="nowhere")


class Owner:
    """Whose callbacks they are."""

    def __repr__(self):
        return "<the owner>"


class Reports(list):
    """A loop, as far as reports go to it."""

    slow_callback_duration = 3600.0

    def call_exception_handler(self, context):
        self.append(context)


@pytest.fixture
def reports():
    return Reports()


@pytest.fixture
def runner(reports):
    runner = CallbackRunner()
    runner.open(reports, False)
    return runner


@pytest.fixture
def owner(runner):
    owner = Owner()
    owner.runner = runner
    return owner


def raises(error):
    def function(*args):
        raise error

    return function


# -- what was registered ---------------------------------------------------------------------------


def test_context_is_that_of_the_registration(runner, owner):
    places = []
    token = place.set("registration")
    callback = Callback("a callback", lambda: places.append(place.get()))
    receiver = Receiver(print, True)
    place.reset(token)
    runner.call(callback, (), owner, False)
    assert places == ["registration"]
    assert place.get() == "nowhere"
    assert receiver.context[place] == "registration"
    assert receiver.function is print


def test_context_is_not_changed_by_what_runs_there(runner, owner):
    places = []

    def function():
        places.append(place.get())
        place.set("callback")

    callback = Callback("a callback", function)
    runner.call(callback, (), owner, False)
    runner.call(callback, (), owner, False)
    assert places == ["nowhere", "nowhere"]


# -- how it is run ---------------------------------------------------------------------------------


def test_arguments(runner, owner):
    calls = []
    runner.call(Callback("a callback", lambda *args: calls.append(args)), (1, 2), owner, False)
    with_owner = Callback("a callback", lambda *args: calls.append(args), True)
    runner.call(with_owner, (1, 2), owner, False)
    assert calls == [(1, 2), (owner, 1, 2)]


def test_callback_in_itself(runner, owner):
    """Its context is entered twice."""
    depths = []

    def function(depth):
        depths.append(depth)
        if depth < 3:
            runner.call(callback, (depth + 1,), owner, False)

    callback = Callback("a callback", function)
    runner.call(callback, (0,), owner, False)
    assert depths == [0, 1, 2, 3]


def test_report(runner, owner, reports):
    error = ZeroDivisionError("what went wrong")
    function = raises(error)
    runner.call(Callback("the own callback", function), (), owner, False)
    (report,) = reports
    assert report["message"] == "Exception in the own callback of <the owner>"
    assert (report["exception"], report["callback"]) == (error, function)


def test_raising(runner, owner, reports):
    """The exception is the caller's, and not reported."""
    callback = Callback("a callback", raises(ZeroDivisionError))
    with pytest.raises(ZeroDivisionError):
        runner.call(callback, (), owner, True)
    assert reports == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("raising", [True, False])
def test_interrupts_are_the_callers(runner, owner, reports, error, raising):
    with pytest.raises(error):
        runner.call(Callback("a callback", raises(error)), (), owner, raising)
    assert reports == []


# -- how long it took ------------------------------------------------------------------------------


def busy(nanoseconds):
    """Runs for so long, by the clock that the core reads."""

    def function():
        end = time.monotonic_ns() + nanoseconds
        while time.monotonic_ns() < end:
            pass

    return function


def test_time_is_counted_on_demand(runner, owner):
    callback = Callback("a callback", busy(100_000))
    runner.call(callback, (), owner, False)
    assert (runner.timing, runner.callback_ns) == (False, 0)
    runner.time_for_stats(True)
    assert runner.timing
    runner.call(callback, (), owner, False)
    assert runner.callback_ns >= 100_000
    before = runner.callback_ns
    runner.time_for_stats(False)
    runner.call(callback, (), owner, False)
    assert runner.callback_ns == before


def test_time_of_what_fails_is_counted(runner, owner):
    runner.time_for_stats(True)
    runner.call(Callback("a callback", raises(ZeroDivisionError)), (), owner, False)
    assert runner.callback_ns > 0


def test_debug_mode_counts_and_logs_what_is_slow(runner, owner, reports, caplog):
    runner.open(reports, True)
    assert runner.debug
    callback = Callback("the own callback", busy(0))
    runner.call(callback, (), owner, False)
    assert caplog.records == []
    runner.time_for_stats(False)
    assert runner.timing  # debug mode needs it all the same
    reports.slow_callback_duration = 0.0
    runner.call(callback, (), owner, False)
    (record,) = caplog.records
    assert record.getMessage().startswith("<the owner>: the own callback took 0.")
    assert runner.callback_ns > 0


# -- coroutines ------------------------------------------------------------------------------------


@pytest.fixture
def loop(runner):
    loop = EventLoop()
    loop.reports = []
    loop.set_exception_handler(lambda _, context: loop.reports.append(context))
    runner.open(loop, False)
    yield loop
    loop.close()


def finish(loop, runner):
    """Run until all tasks have ended."""

    async def end():
        while tasks := {task for task in runner.alive() if not task.done()}:
            await asyncio.wait(tasks)

    loop.run_until_complete(end())


def test_coroutine_is_kept_until_it_ends(runner, owner, loop):
    done = []

    async def function(number):
        await asyncio.sleep(0)
        done.append(number)

    runner.call(Callback("a callback", function), (1,), owner, False)
    (task,) = runner.alive()
    assert done == []
    finish(loop, runner)
    assert done == [1]
    assert task.done()
    assert runner.alive() == set()
    assert loop.reports == []


def test_coroutine_has_the_context_of_the_registration(runner, owner, loop):
    places = []

    async def function():
        places.append(place.get())

    token = place.set("registration")
    callback = Callback("a callback", function)
    place.reset(token)
    runner.call(callback, (), owner, False)
    finish(loop, runner)
    assert places == ["registration"]


def test_result_that_cannot_be_awaited(runner, owner, loop):
    runner.returned(5, print, owner)
    runner.returned(None, print, owner)
    assert runner.alive() == set()


def test_failure_of_a_coroutine_is_reported(runner, owner, loop):
    error = ZeroDivisionError()

    async def function():
        raise error

    runner.call(Callback("a callback", function), (), owner, False)
    (task,) = runner.alive()
    finish(loop, runner)
    (report,) = loop.reports
    assert report["message"] == "Exception in a coroutine callback of <the owner>"
    assert (report["exception"], report["callback"]) == (error, task)


def test_cancelled_coroutine_is_not_reported(runner, owner, loop):
    runner.call(Callback("a callback", lambda: asyncio.sleep(3600)), (), owner, False)
    (task,) = runner.alive()
    task.cancel()
    finish(loop, runner)
    assert loop.reports == []


def test_what_cannot_become_a_task_is_reported(runner, owner, loop):
    """A future of another loop."""
    other = asyncio.SelectorEventLoop()
    foreign = other.create_future()
    try:
        runner.returned(foreign, print, owner)
    finally:
        other.close()
    assert runner.alive() == set()
    (report,) = loop.reports
    assert report["message"] == "Exception in starting a coroutine callback of <the owner>"
    assert type(report["exception"]) is ValueError


def started(runner, owner, result):
    task = runner.start_bounded(result, print, owner)
    task.add_done_callback(lambda task: runner.task_ended(task, owner))
    return task


def test_bounded_coroutines_are_alive_too(runner, owner, loop):
    task = started(runner, owner, asyncio.sleep(0))
    runner.call(Callback("a callback", lambda: asyncio.sleep(0)), (), owner, False)
    assert len(runner.alive()) == 2
    assert task in runner.alive()
    finish(loop, runner)
    assert task.done()
    assert runner.alive() == set()


def test_cancel_of_bounded_coroutines(runner, owner, loop):
    """The others go on, and so does the one that cancels them."""
    bounded = [started(runner, owner, asyncio.sleep(3600)) for _ in range(3)]
    event = asyncio.Event()
    runner.call(Callback("a callback", event.wait), (), owner, False)
    (unbounded,) = runner.alive().difference(bounded)

    async def ends_it():
        runner.cancel_bounded()
        event.set()
        await asyncio.sleep(0)
        return "the end"

    last = started(runner, owner, ends_it())
    finish(loop, runner)
    assert all(task.cancelled() for task in bounded)
    assert last.result() == "the end"
    assert unbounded.result() is True


def test_cancel_when_the_loop_is_closed(runner, owner):
    closed = types.SimpleNamespace(is_closed=lambda: True)
    runner.open(closed, False)
    runner.cancel_bounded()
