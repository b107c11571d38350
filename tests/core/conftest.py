"""Tests of the core's parts by themselves: without a socket, and mostly without a loop."""

import gc
import random

import hypothesis
import pytest

from zmqstream import _core


@pytest.fixture(autouse=True)
def no_garbage_left():
    """In place of the suite's fixture: nothing that is put into a part here was counted before."""
    yield
    if _core.counters() is not None:
        gc.collect()  # rings count what they still hold: not in the next test


@pytest.fixture
def seeded():
    """Has a test's examples follow pytest-randomly, whose seed makes the same examples again."""

    def seed(test):
        return hypothesis.seed(random.getrandbits(64))(test)

    return seed
