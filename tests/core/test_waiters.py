"""Waiters: coroutines that wait for a message, in order."""

import pytest

from zmqstream._core import Stream, Waiters


@pytest.fixture
def waiters():
    return Waiters()


@pytest.fixture
def receivers(waiters):
    """Three that wait."""
    never_opened = Stream()
    receivers = [never_opened.recv() for _ in range(3)]
    for receiver in receivers:
        waiters.join(receiver)
    return receivers


def test_nobody_waits(waiters):
    assert waiters.first() is None
    assert not waiters.wants_message


def test_order(waiters, receivers):
    for receiver in receivers:
        assert waiters.first() is receiver
        waiters.leave(receiver)
    assert waiters.first() is None


def test_joining_twice(waiters, receivers):
    """Who waits already keeps the place."""
    waiters.join(receivers[0])
    assert list(waiters.receivers) == receivers


def test_joining_again(waiters, receivers):
    """Who has left comes last."""
    waiters.leave(receivers[0])
    waiters.join(receivers[0])
    assert list(waiters.receivers) == [*receivers[1:], receivers[0]]


def test_next_is_to_be_woken_when_the_first_leaves(waiters, receivers):
    waiters.leave(receivers[0])
    assert waiters.wants_message
    waiters.leave(receivers[1])
    assert waiters.wants_message
    waiters.leave(receivers[2])
    assert not waiters.wants_message


def test_leaving_from_the_middle(waiters, receivers):
    """The first waits on as it did: it is not woken a second time."""
    waiters.leave(receivers[1])
    assert not waiters.wants_message
    assert list(waiters.receivers) == [receivers[0], receivers[2]]


def test_leaving_twice(waiters, receivers):
    waiters.leave(receivers[0])
    waiters.leave(receivers[0])
    assert list(waiters.receivers) == receivers[1:]


def test_all_leave(waiters, receivers):
    for receiver in receivers:
        waiters.leave(receiver)
    assert waiters.first() is None
    assert not waiters.wants_message
    waiters.leave(receivers[1])
    assert not waiters.wants_message
