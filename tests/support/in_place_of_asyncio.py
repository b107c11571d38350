"""Runs a module of CPython's tests with zmqstream's EventLoop, or ReactorSelector.

    python in_place_of_asyncio.py REPORT OPTIONS NAME...

asyncio_suite.py starts this process for each module. REPORT is the JSON file to write. OPTIONS is
JSON with "loop", a "module:Class" or null to replace nothing; "streams"; and "limit", the seconds
for a test. A test that takes longer ends the process with a traceback.

All loops that are created are counted by their kind, and asyncio_suite.py checks the numbers.
"""

from __future__ import annotations

import asyncio
import collections
import faulthandler
import fnmatch
import functools
import importlib
import importlib.util
import itertools
import json
import selectors
import sys
import time
import traceback
import unittest
from asyncio import base_events, selector_events
from pathlib import Path
from unittest import mock

# Modules that derive loops from BaseSelectorEventLoop, or create such loops.
OF_THE_BASE_CLASS = ("test_selector_events", "test_base_events")

# Tests that do not apply if our poller is epoll, with the reason. So do all tests with another
# selector: see reactor_selector().
SKIPPED_WITH_EPOLL = {
    "test_selectors.*.test_above_fd_setsize": (
        "select() returns up to 256 events at a time, the others with the next calls"
    ),
    "test_selectors.*.test_modify_unregister": "its epoll object is a mock, without a descriptor",
}

PASSED, SKIP, FAILED = "passed", "skipped", "failed"
NOT_FOR_OURS = "not for ours: "  # the beginning of reasons to skip that are ours

# The kinds of loops and selectors that are counted.
OURS = "loops of ours"
OURS_FAKED = "loops of ours with the test's selector"
OUR_SELECTORS = "selectors of ours"
THEIRS = "loops of asyncio's"
ADOPTED = "of them adopted"
NEITHER = "loops of the tests' without any selector"
made: collections.Counter[str] = collections.Counter()
messages: collections.Counter[str] = collections.Counter()

STOCK = asyncio.SelectorEventLoop
STOCK_BASE = selector_events.BaseSelectorEventLoop


def full_name(name):
    """The name test_x.Class.test with its package."""
    return f"test.{name}" if name.startswith("test_selectors") else f"test.test_asyncio.{name}"


def short_name(name):
    return name.removeprefix("test.").removeprefix("test_asyncio.")


# -- ours in the place of theirs -------------------------------------------------------------------


def version_of(base_loop, base_selector):
    """zmqstream.eventloop as if asyncio had this SelectorEventLoop and DefaultSelector."""
    import zmqstream.eventloop

    name = f"zmqstream_eventloop_on_{base_loop.__name__}_{base_selector.__name__}"
    spec = importlib.util.spec_from_file_location(name, zmqstream.eventloop.__file__)
    module = importlib.util.module_from_spec(spec)
    with (
        mock.patch.object(asyncio, "SelectorEventLoop", base_loop),
        mock.patch.object(selectors, "DefaultSelector", base_selector),
    ):
        spec.loader.exec_module(module)
    return module


@functools.cache
def reactor_selector(base_selector):
    """Our ReactorSelector as if this were the best selector. Raises SkipTest."""
    import zmqstream.eventloop as ours

    if base_selector is selectors.DefaultSelector:
        return ours.ReactorSelector
    if ours.poller() == "epoll":
        raise unittest.SkipTest(
            f"{NOT_FOR_OURS}a {base_selector.__name__}, where our poller is epoll"
        )
    return version_of(STOCK, base_selector).ReactorSelector


class InPlace:
    """Makes our EventLoop accept asyncio's argument: SelectorEventLoop(selector=None)."""

    served = "none"

    def __init__(self, selector=None):
        import zmqstream.eventloop as ours

        self._streams = []
        if isinstance(selector, mock.Mock):
            # the test checks the loop's calls of its selector, so our loop gets the test's selector
            super().__init__()
            self._selector.close()
            self._selector = selector
            made[OURS] -= 1
            made[OURS_FAKED] += 1
            return
        kind = selectors.DefaultSelector
        if selector is not None:
            kind = type(selector)
            selector.close()
        with mock.patch.object(ours, "ReactorSelector", reactor_selector(kind)):
            super().__init__()
        self.serve()

    def serve(self):
        if self.served != "none":
            self._streams = streams_on(self, busy=self.served == "busy")

    def close(self):
        import zmqstream.eventloop as ours

        made[ADOPTED] += self._streams != [] and ours.reactor_of(self).kind == "adopted"
        if not self.is_running():
            for stream in self._streams:
                stream.close(linger=0)
            self._streams = []
        super().close()


class AsTheirs(InPlace):
    """asyncio's own loop. Streams make its selector ours, if that is asyncio's default."""

    def __init__(self, selector=None):
        self._streams = []
        super(InPlace, self).__init__(selector)
        if type(self._selector) is selectors.DefaultSelector:
            self.serve()


numbers = itertools.count()


def streams_on(loop, busy):
    """Add two streams, which wait, or send a message back and forth for ever."""
    import zmq

    import zmqstream

    def count(message):
        messages["to and fro"] += 1
        second.send_multipart(message)

    context = zmq.Context.instance()
    context.max_sockets = 8192
    sockets = [context.socket(zmq.PAIR) for _ in range(2)]
    address = f"inproc://{next(numbers)}"
    sockets[0].bind(address)
    sockets[1].connect(address)
    first, second = (zmqstream.ZMQStream(socket, loop) for socket in sockets)
    first.on_recv(first.send_multipart)
    second.on_recv(count)
    if busy:
        first.send(b"")
    return [first, second]


def replace_loops(event_loop, served, names):
    """Replace asyncio's selector loop by `event_loop`, our EventLoop, in asyncio and its tests."""

    if issubclass(event_loop, STOCK) and event_loop is not STOCK:
        base_loop, mixin = version_of(STOCK_BASE, selectors.DefaultSelector).EventLoop, InPlace
    else:
        base_loop, mixin = STOCK_BASE, AsTheirs

    class Loop(mixin, event_loop):
        pass

    class BaseLoop(mixin, base_loop):
        pass

    Loop.served = served
    for module in (asyncio, asyncio.unix_events):
        for name, value in list(vars(module).items()):
            if value is STOCK:  # SelectorEventLoop, and EventLoop since Python 3.13
                setattr(module, name, Loop)
    for value in vars(asyncio.unix_events).values():  # in the default policy
        if getattr(value, "_loop_factory", None) is STOCK:
            value._loop_factory = Loop
    if any(name.startswith(OF_THE_BASE_CLASS) for name in names):
        selector_events.BaseSelectorEventLoop = BaseLoop


def replace_selectors():
    """Replace the selectors that test_selectors tests by our ReactorSelector."""

    def replacement(kind):
        def new():
            selector = reactor_selector(kind)(loop)
            made[OUR_SELECTORS] += 1
            return selector

        new.__name__ = kind.__name__
        return new

    loop = asyncio.new_event_loop()
    kinds = {name: kind for name, kind in vars(selectors).items() if name.endswith("Selector")}
    test_selectors = importlib.import_module("test.test_selectors")
    for case in vars(test_selectors).values():
        if getattr(case, "SELECTOR", None) in kinds.values():
            case.SELECTOR = staticmethod(replacement(case.SELECTOR))


def count_loops():
    """Count the loops that derive from asyncio's base class of loops."""
    init = base_events.BaseEventLoop.__init__

    def counting(self, *args, **kwargs):
        if isinstance(self, InPlace):
            made[OURS] += 1
        elif isinstance(self, STOCK_BASE):
            made[THEIRS] += 1
        else:
            made[NEITHER] += 1
        init(self, *args, **kwargs)

    base_events.BaseEventLoop.__init__ = counting


# -- running the tests -----------------------------------------------------------------------------


class Result(unittest.TestResult):
    """The `outcomes` of all tests, and `details` of those that did not pass."""

    def __init__(self, limit):
        super().__init__()
        self.limit = limit
        self.outcomes = {}
        self.details = {}

    def startTest(self, test):
        super().startTest(test)
        faulthandler.dump_traceback_later(self.limit, exit=True)

    def record(self, test, outcome, detail=""):
        name = short_name(test.id())
        if outcome == FAILED or self.outcomes.get(name) != FAILED:
            self.outcomes[name] = outcome
            self.details[name] = detail

    def addSuccess(self, test):
        self.record(test, PASSED)

    def addSkip(self, test, reason):
        self.record(test, SKIP, reason)

    def addError(self, test, err):
        self.record(test, FAILED, "".join(traceback.format_exception(*err)))

    addFailure = addError

    def addExpectedFailure(self, test, err):
        self.record(test, PASSED)

    def addUnexpectedSuccess(self, test):
        self.record(test, FAILED, "it passed, which the test does not expect")

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.addError(test, err)


def tests_of(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from tests_of(test)
        else:
            yield test


def skip_what_is_not_for_ours(suite):
    from zmqstream.eventloop import poller

    if poller() != "epoll":
        return
    for test in tests_of(suite):
        for pattern, reason in SKIPPED_WITH_EPOLL.items():
            if fnmatch.fnmatchcase(short_name(test.id()), pattern):
                skip = unittest.skip(NOT_FOR_OURS + reason)
                setattr(test, test._testMethodName, skip(lambda: None))


def run(names, loop, streams, limit):
    """Run tests. Returns the report."""
    count_loops()
    if loop is not None:
        module, _, name = loop.partition(":")
        replace_loops(getattr(importlib.import_module(module), name), streams, names)
        if any(name.startswith("test_selectors") for name in names):
            replace_selectors()
    suite = unittest.defaultTestLoader.loadTestsFromNames([full_name(name) for name in names])
    if loop is not None:
        skip_what_is_not_for_ours(suite)
    result = Result(limit)
    started = time.monotonic()
    suite.run(result)
    faulthandler.cancel_dump_traceback_later()
    return {
        "outcomes": result.outcomes,
        "details": result.details,
        "made": made,
        "messages": messages["to and fro"],
        "seconds": time.monotonic() - started,
    }


if __name__ == "__main__":
    report, options = sys.argv[1:3]
    Path(report).write_text(json.dumps(run(sys.argv[3:], **json.loads(options))))
