"""Tests of the core's parts by themselves: without a socket, and mostly without a loop."""

import gc
import random
from pathlib import Path

import hypothesis
import pytest

from zmqstream import _core


@pytest.fixture(autouse=True)
def no_garbage_left():
    """In place of the suite's fixture: nothing that is put into a part here was counted before."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Collect a test's parts when pytest has released it too. Rings count what they still hold.

    They would be counted in the next test of the suite, whose counters must balance.
    """
    result = yield
    is_here = item.path.parent == Path(__file__).parent  # pytest-xdist calls this for all tests
    if is_here and _core.counters() is not None:
        gc.collect()
    return result


@pytest.fixture
def seeded():
    """Has a test's examples follow pytest-randomly, whose seed makes the same examples again."""

    def seed(test):
        return hypothesis.seed(random.getrandbits(64))(test)

    return seed
