#!/usr/bin/env python3
"""Run the tests of Tornado, or of uvloop, with an idle stream on each loop.

    python tools/loop_suites.py tornado           # the tests are in Tornado's wheel
    python tools/loop_suites.py uvloop FOLDER     # FOLDER: of uvloop's sdist, unpacked
    python tools/loop_suites.py --stock tornado   # without streams, to compare

It ends with a line of counts, and the names of what failed. A checkout that is built in place needs
PYTHONPATH=.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import logging
import os
import sys
import unittest
import weakref
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.in_place_of_asyncio import streams_on

served: collections.Counter[str] = collections.Counter()


def add_streams(loop_class):
    """Give each loop of this class streams when it runs first; close them when it is closed."""
    import zmqstream.eventloop

    run_forever, close = loop_class.run_forever, loop_class.close
    streams = weakref.WeakKeyDictionary()

    def run(self):
        if self not in streams and not self.is_closed() and not self.is_running():
            streams[self] = streams_on(self, busy=False)
            served[zmqstream.eventloop.reactor_of(self).kind] += 1
        run_forever(self)

    def close_both(self):
        for stream in () if self.is_running() else streams.pop(self, ()):
            stream.close(linger=0)
        close(self)

    loop_class.run_forever, loop_class.close = run, close_both


def tests_of(options):
    load = unittest.defaultTestLoader
    if options.suite == "tornado":
        from tornado.test import runtests

        logging.getLogger("tornado.access").setLevel(logging.CRITICAL)  # as runtests does
        return load.loadTestsFromNames(runtests.TEST_MODULES)
    os.chdir(options.folder)  # tests start programs that are there
    sys.path.insert(0, "")
    return load.discover("tests", options.pattern, top_level_dir=".")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("suite", choices=["tornado", "uvloop"])
    parser.add_argument("folder", nargs="?", help="of uvloop's sdist")
    parser.add_argument("--pattern", default="test*.py", help="of uvloop's files")
    parser.add_argument("--stock", action="store_true", help="without streams")
    options = parser.parse_args()
    tests = tests_of(options)
    if not options.stock:
        import uvloop

        for loop_class in (asyncio.SelectorEventLoop, uvloop.Loop):
            add_streams(loop_class)
    result = unittest.TextTestRunner(verbosity=0, buffer=True).run(tests)
    bad = [test.id() for test, _ in (*result.failures, *result.errors)]
    print(
        f"{result.testsRun} run, {len(result.skipped)} skipped, {len(bad)} failed; {dict(served)}"
    )
    print(*sorted(bad), sep="\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
