"""Sweeper: when to look for events that user code has swallowed, and at whom.

What a look finds is in tests/receiving/test_never_deaf.py: that needs sockets.
"""

import time

import pytest

from zmqstream._core import Source, Sweeper

ALWAYS = 8  # up to so many sources are looked at before every sleep
SWEEP_NS = 50_000_000


@pytest.fixture
def sweeper():
    return Sweeper()


def sources(count):
    """Closed ones: there is nothing to be found."""
    return [Source() for _ in range(count)]


def swept(sweeper, sources):
    sweeper.sweep(sources, len(sources) or 1)
    return time.monotonic_ns()


def test_few_that_cannot_be_deaf_need_no_sweep(sweeper):
    assert sweeper.wait(sources(ALWAYS), 0) == -1
    assert sweeper.swept_epoch == sweeper.epoch


def test_many_are_swept_once_in_a_while(sweeper):
    many = sources(ALWAYS + 1)
    now = swept(sweeper, many)
    assert sweeper.wait(many, now) == -1  # no user code has run since
    assert not sweeper.overdue(now)
    sweeper.epoch += 1
    assert 0 < sweeper.wait(many, now) <= SWEEP_NS * 1e-9
    assert sweeper.wait(many, now - 10_000_000) == pytest.approx(sweeper.wait(many, now) + 0.01)
    assert not sweeper.overdue(now)
    now += SWEEP_NS
    assert sweeper.wait(many, now) == 0
    assert sweeper.overdue(now)
    swept(sweeper, many)
    assert sweeper.wait(many, now) == -1


def test_sweep_in_parts(sweeper):
    """Each call goes on where the last one stopped. Until it has ended, it is due at once."""
    many, now = sources(25), time.monotonic_ns()
    left = []
    while sweeper.sweeps == 0:
        sweeper.sweep(many, 10)
        left.append(sweeper.cursor)
        assert sweeper.wait(many, now) == (0 if sweeper.cursor else -1)
    assert left == [15, 5, 0]


def test_user_code_during_a_sweep(sweeper):
    """Another sweep is due after this one: it began in an older epoch."""
    many = sources(25)
    sweeper.sweep(many, 10)
    sweeper.epoch += 1
    sweeper.sweep(many, 100)
    assert sweeper.sweeps == 1
    assert sweeper.swept_epoch == sweeper.epoch - 1
    assert sweeper.wait(many, time.monotonic_ns()) > 0
    sweeper.sweep(many, 100)
    assert sweeper.swept_epoch == sweeper.epoch


def test_sources_that_go_during_a_sweep(sweeper):
    many = sources(25)
    sweeper.sweep(many, 10)
    del many[3:]
    sweeper.sweep(many, 5)
    assert (sweeper.cursor, sweeper.sweeps) == (10, 0)
    sweeper.sweep(many, 10)
    assert (sweeper.cursor, sweeper.sweeps) == (0, 1)
    many.clear()
    sweeper.sweep(many, 10)
    assert (sweeper.cursor, sweeper.sweeps) == (0, 2)


def test_each_source_is_looked_at(sweeper):
    """From the last to the first. (What is no source is an error only where it is looked at.)"""
    many = [*sources(3), "no source", *sources(3)]
    sweeper.sweep(many, 3)
    with pytest.raises(TypeError):
        sweeper.sweep(many, 1)
    sweeper.sweep(many, 3)
    assert sweeper.sweeps == 1


def test_touched_sources_are_looked_at_once(sweeper):
    sweeper.touched.extend(sources(3))
    sweeper.sweep_touched()
    assert sweeper.touched == []
    assert sweeper.repaired == 0


def test_forgetting_what_was_not_touched(sweeper):
    others = sources(2)
    sweeper.touched.extend(others)
    sweeper.forget(Source())
    assert sweeper.touched == others
