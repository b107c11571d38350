"""PeriodicCallback and DelayedCallback: when they call, and what they refuse."""

import asyncio
import datetime
import itertools
import random
import selectors
import time

import pytest
from tornado import ioloop as tornado_ioloop

from support.loops import in_thread, start
from zmqstream import DelayedCallback, IOLoop, PeriodicCallback

pytestmark = pytest.mark.usefixtures("nothing_is_current")


# -- when, by a clock that only moves when told to -------------------------------------------------


class ClockLoop(asyncio.SelectorEventLoop):
    """Where others sleep, its clock jumps to the next timer."""

    def __init__(self):
        self.now = 5000.0

        class Selector(selectors.DefaultSelector):
            def select(selector, timeout=None):
                assert timeout is not None, "nothing would ever happen"
                self.now += timeout
                return super().select(0)

        super().__init__(Selector())

    def time(self):
        return self.now


class Clock:
    """Makes callbacks of either implementation, and runs them to a time."""

    def __init__(self, periodic):
        self.periodic = periodic  # PeriodicCallback, ours or Tornado's
        self.loop = ClockLoop()
        self.began = self.loop.now
        self.calls = []  # when they were made, in milliseconds since the beginning

    def passed(self):
        return (self.loop.now - self.began) * 1000

    def calling(self, *costs):
        """A callback that takes so many milliseconds, and at last nothing."""
        costs = itertools.chain(costs, itertools.repeat(0))

        def callback():
            self.calls.append(self.passed())
            self.spend(next(costs))

        return callback

    def spend(self, milliseconds):
        """The loop is busy meanwhile."""
        self.loop.now += milliseconds / 1000

    def at(self, milliseconds, function, *args):
        self.loop.call_at(self.began + milliseconds / 1000, function, *args)

    def run_to(self, milliseconds):
        async def main():
            await asyncio.sleep((milliseconds - self.passed()) / 1000)

        self.loop.run_until_complete(main())
        calls, self.calls[:] = list(self.calls), []
        return calls

    def start(self, periodic):
        self.loop.call_soon(periodic.start)
        return periodic


@pytest.fixture(params=["ours", "tornado"])
def clock(request, monkeypatch):
    """Tornado's semantics are the reference: the same tests run on both."""
    ours = request.param == "ours"
    clock = Clock(PeriodicCallback if ours else tornado_ioloop.PeriodicCallback)
    if not ours:
        io_loop = tornado_ioloop.IOLoop(make_current=False, asyncio_loop=clock.loop)
        monkeypatch.setattr(time, "time", clock.loop.time)
    yield clock
    if ours:
        clock.loop.close()
    else:
        io_loop.close()


@pytest.fixture
def ours():
    clock = Clock(PeriodicCallback)
    yield clock
    clock.loop.close()


def test_calls_do_not_drift(clock):
    clock.start(clock.periodic(clock.calling(*[3, 0, 7.5] * 1000), 10))
    calls = clock.run_to(20_005)
    assert calls == pytest.approx([10 * n for n in range(1, 2001)], abs=1e-3)


def test_what_a_long_call_misses_is_skipped(clock):
    clock.start(clock.periodic(clock.calling(0, 25, 0, 9.9, 10.1), 10))
    calls = clock.run_to(95)
    assert calls == pytest.approx([10, 20, 50, 60, 70, 90], abs=1e-3)


def test_what_a_busy_loop_misses_is_skipped(clock):
    """The call that is late is made, the others are not: no burst."""
    clock.start(clock.periodic(clock.calling(), 10))
    clock.at(15, clock.spend, 37)
    calls = clock.run_to(85)
    assert calls == pytest.approx([10, 52, 60, 70, 80], abs=1e-3)


def test_a_timer_that_is_early(clock):
    """uvloop's clock counts milliseconds: a call may seem to come before it is due, not twice."""
    clock.start(clock.periodic(clock.calling(-0.4, -0.4, -0.4), 10))
    calls = clock.run_to(45)
    assert calls == pytest.approx([10, 20, 30, 40], abs=1e-3)


def test_a_coroutine_callback_is_not_called_while_it_runs(clock):
    """Nor is the loop woken for calls that are not to be made."""
    running = []
    lasting = itertools.chain([25, 3, 10.5], itertools.repeat(0))

    async def callback():
        clock.calls.append(clock.passed())
        running.append(1)
        assert len(running) == 1
        await asyncio.sleep(next(lasting) / 1000)
        running.clear()

    clock.start(clock.periodic(callback, 10))
    calls = clock.run_to(95)
    assert calls == pytest.approx([10, 40, 50, 70, 80, 90], abs=1e-3)


def test_a_callback_that_returns_a_future(clock):
    futures = []

    def callback():
        clock.calls.append(clock.passed())
        futures.append(clock.loop.create_future())
        return futures[-1]

    clock.start(clock.periodic(callback, 10))
    clock.at(33, lambda: futures[0].set_result(None))
    calls = clock.run_to(75)
    assert calls == pytest.approx([10, 40], abs=1e-3)
    futures[1].cancel()
    assert clock.run_to(85) == pytest.approx([80], abs=1e-3)


def test_a_timedelta(clock):
    clock.start(clock.periodic(clock.calling(), datetime.timedelta(seconds=0.5)))
    assert clock.run_to(1600) == pytest.approx([500, 1000, 1500], abs=1e-3)


def test_callback_time_may_be_changed(clock):
    periodic = clock.start(clock.periodic(clock.calling(), 10))
    assert periodic.callback_time == 10
    assert clock.run_to(25) == pytest.approx([10, 20], abs=1e-3)
    periodic.callback_time = 100
    assert clock.run_to(250) == pytest.approx([30, 130, 230], abs=1e-3)


@pytest.mark.parametrize(("jitter", "least", "most"), [(0.1, 9.5, 10.5), (1, 5, 15)])
def test_jitter(clock, monkeypatch, jitter, least, most):
    numbers = [0, 0.5, 0.999999, 0]
    draws = iter(numbers)
    monkeypatch.setattr(random, "random", lambda: next(draws))
    clock.start(clock.periodic(clock.calling(), 10, jitter=jitter))
    calls = clock.run_to(32)
    assert calls == pytest.approx([least, least + 10, least + 10 + most], abs=1e-3)


def test_jitter_is_random():
    clock = Clock(PeriodicCallback)
    clock.start(PeriodicCallback(clock.calling(), 10, 0.5))
    calls = clock.run_to(1000)
    periods = [b - a for a, b in itertools.pairwise(calls)]
    assert 7.499 < min(periods) < max(periods) < 12.501
    assert len({round(p, 3) for p in periods}) > 10
    clock.loop.close()


def test_stop_and_start_again(clock):
    periodic = clock.periodic(clock.calling(), 10)
    assert not periodic.is_running()
    clock.start(periodic)
    clock.at(25, periodic.stop)
    assert clock.run_to(44) == pytest.approx([10, 20], abs=1e-3)
    assert not periodic.is_running()
    clock.start(periodic)  # the periods begin here
    assert clock.run_to(70) == pytest.approx([54, 64], abs=1e-3)
    assert periodic.is_running()


def test_stopping_what_was_not_started(clock):
    periodic = clock.periodic(clock.calling(), 10)
    periodic.stop()
    clock.start(periodic)
    assert clock.run_to(15) == pytest.approx([10], abs=1e-3)
    periodic.stop()
    periodic.stop()
    assert clock.run_to(50) == []


def test_a_callback_stops_it(clock):
    def callback():
        clock.calls.append(clock.passed())
        periodic.stop()

    periodic = clock.start(clock.periodic(callback, 10))
    assert clock.run_to(50) == pytest.approx([10], abs=1e-3)


def test_starting_twice_does_not_double_it(ours):
    periodic = ours.start(PeriodicCallback(ours.calling(), 10))
    ours.at(14, periodic.start)
    assert ours.run_to(45) == pytest.approx([10, 20, 30, 40], abs=1e-3)


def test_a_callback_starts_it_again(ours):
    """The periods begin anew, and there is one chain of calls, not two."""

    def callback():
        ours.calls.append(ours.passed())
        if len(ours.calls) == 2:
            ours.spend(4)
            periodic.stop()
            periodic.start()
            ours.spend(1)

    periodic = ours.start(PeriodicCallback(callback, 10))
    assert ours.run_to(59) == pytest.approx([10, 20, 34, 44, 54], abs=1e-3)


def test_starting_it_again_while_a_coroutine_runs(ours):
    """The old call is waited for, and then there is one chain of calls."""

    async def callback():
        ours.calls.append(ours.passed())
        if len(ours.calls) == 1:
            await asyncio.sleep(0.023)

    periodic = ours.start(PeriodicCallback(callback, 10))
    ours.at(15, periodic.stop)
    ours.at(15, periodic.start)
    assert ours.run_to(59) == pytest.approx([10, 35, 45, 55], abs=1e-3)


def test_starting_it_on_another_loop_while_a_coroutine_runs():
    """The end of that call concerns the old loop alone."""
    clocks = [Clock(PeriodicCallback), Clock(PeriodicCallback)]
    futures = []

    async def callback():
        futures.append(asyncio.get_running_loop().create_future())
        await futures[-1]

    periodic = PeriodicCallback(callback, 10)
    for clock in clocks:
        periodic.stop()
        clock.start(periodic)
        clock.run_to(15)
    assert len(futures) == 2
    futures[0].set_result(None)
    clocks[0].run_to(55)
    clocks[1].run_to(55)
    assert len(futures) == 2  # the second call is still under way
    futures[1].set_result(None)
    clocks[1].run_to(65)
    assert len(futures) == 3
    futures[2].set_result(None)
    periodic.stop()
    for clock in clocks:
        clock.run_to(70)
        clock.loop.close()


def test_stopping_it_while_a_coroutine_runs(clock):
    ended = []

    async def callback():
        clock.calls.append(clock.passed())
        await asyncio.sleep(0.007)
        ended.append(clock.passed())

    periodic = clock.start(clock.periodic(callback, 10))
    clock.at(12, periodic.stop)
    assert clock.run_to(50) == pytest.approx([10], abs=1e-3)
    assert ended == pytest.approx([17], abs=1e-3)


def test_delayed(ours):
    delayed = ours.start(DelayedCallback(ours.calling(), 10))
    ours.at(9, delayed.start)  # it is running: nothing happens
    ours.at(9.5, lambda: ours.calls.append(delayed.is_running()))
    ours.at(10.5, lambda: ours.calls.append(delayed.is_running()))
    assert ours.run_to(50) == pytest.approx([True, 10, False], abs=1e-3)
    ours.start(delayed)
    assert ours.run_to(100) == pytest.approx([60], abs=1e-3)
    ours.at(101, delayed.start)
    ours.at(103, delayed.stop)
    assert ours.run_to(150) == []


def test_delayed_starts_itself_again(ours):
    def callback():
        ours.calls.append(ours.passed())
        if len(ours.calls) < 4:
            delayed.start()
            ours.spend(len(ours.calls) * 6)

    delayed = ours.start(DelayedCallback(callback, datetime.timedelta(milliseconds=10)))
    assert ours.run_to(100) == pytest.approx([10, 20, 32, 50], abs=1e-3)


@pytest.mark.parametrize("callback_time", [0, -5])
def test_delayed_by_nothing(ours, callback_time):
    ours.start(DelayedCallback(ours.calling(), callback_time))
    assert ours.run_to(20) == pytest.approx([0], abs=0.01)


# -- which loop, and what is refused --------------------------------------------------------------


def test_the_loop_is_found_at_start():
    """Made in one thread, started in another's loop."""
    got = []
    periodic = PeriodicCallback(lambda: (got.append(IOLoop.current()), got[-1].stop()), 1)
    assert periodic.io_loop is None

    def main():
        loop = IOLoop()
        periodic.start()
        assert periodic.io_loop is loop
        start(loop)
        periodic.stop()
        loop.close()
        return loop

    loops = [in_thread(main), in_thread(main)]
    assert got == loops
    assert periodic.io_loop is loops[1]


@pytest.mark.parametrize("kind", [PeriodicCallback, DelayedCallback])
def test_what_is_not_callable(kind):
    for callback in (None, "text", 5):
        with pytest.raises(
            TypeError, match=f"{kind.__name__}: the callback is not callable"
        ) as info:
            kind(callback, 10)
        assert isinstance(info.value, AssertionError)


def test_times_that_are_refused():
    periodic = PeriodicCallback(print, 10)
    for value in (0, -1, 0.0, float("nan"), float("inf"), datetime.timedelta(0)):
        with pytest.raises(ValueError, match="callback_time must be"):
            PeriodicCallback(print, value)
        with pytest.raises(ValueError, match="callback_time must be"):
            periodic.callback_time = value
    for value in (None, "10", [10]):
        with pytest.raises(TypeError, match="callback_time must be"):
            PeriodicCallback(print, value)
        with pytest.raises(TypeError, match="callback_time must be"):
            DelayedCallback(print, value)
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="callback_time must be"):
            DelayedCallback(print, value)
    assert periodic.callback_time == 10
    periodic.callback_time = datetime.timedelta(seconds=1)
    assert periodic.callback_time == 1000


def test_jitters_and_loops_that_are_refused():
    for value in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="jitter must be from 0 to 1"):
            PeriodicCallback(print, 10, value)
    for value in ("loop", [], print):
        with pytest.raises(TypeError, match=r"third argument must be a jitter.* or an event loop"):
            PeriodicCallback(print, 10, value)
        with pytest.raises(TypeError, match="io_loop must be zmqstream's or Tornado's IOLoop"):
            PeriodicCallback(print, 10, io_loop=value)
        with pytest.raises(TypeError, match="io_loop must be zmqstream's or Tornado's IOLoop"):
            DelayedCallback(print, 10, value)
    loop = IOLoop(make_current=False)
    with pytest.raises(TypeError, match="third argument"):
        PeriodicCallback(print, 10, loop, loop)
    periodic = PeriodicCallback(print, 10, None, loop)
    assert periodic.io_loop is loop
    assert periodic.jitter == 0
    periodic = PeriodicCallback(print, 10, loop)
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        PeriodicCallback(print, 10, loop)
    with pytest.raises(RuntimeError, match="closed"):
        periodic.start()
    assert not periodic.is_running()
