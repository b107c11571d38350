#!/usr/bin/env python3
"""Run CPython's tests of asyncio with zmqstream's EventLoop in the place of asyncio's loop.

    python tools/asyncio_suite.py                       # the modules that test event loops
    python tools/asyncio_suite.py --all                 # every module that uses them
    python tools/asyncio_suite.py --poller selectors test_streams test_events.TestServer
    python tools/asyncio_suite.py --streams busy        # with streams on every loop
    python tools/asyncio_suite.py --stock               # with asyncio's own loop

tests/support/asyncio_suite.py explains how a module is run, and what counts as a failure.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.asyncio_suite import SuiteError, describe, run_child, run_module, shipped

# Modules that test selector loops.
REQUIRED = ("test_events", "test_selector_events", "test_unix_events")

# Modules that test selectors, or use selector loops. (The loops of test_futures, test_pep492 and
# test_runners have no selectors.)
OTHERS = (
    "test_selectors",
    "test_base_events",
    "test_buffered_proto",
    "test_context",
    "test_eager_task_factory",
    "test_futures2",
    "test_locks",
    "test_queues",
    "test_sendfile",
    "test_server",
    "test_sock_lowlevel",
    "test_ssl",
    "test_sslproto",
    "test_streams",
    "test_subprocess",
    "test_taskgroups",
    "test_tasks",
    "test_threads",
    "test_timeouts",
    "test_waitfor",
)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="MODULE[.CLASS[.TEST]]")
    parser.add_argument("--all", action="store_true", help="every module that uses loops")
    parser.add_argument("--poller", choices=["epoll", "selectors"], help="sets ZMQSTREAM_POLLER")
    parser.add_argument("--streams", choices=["none", "idle", "busy"], default="none")
    parser.add_argument("--loop", default="zmqstream:EventLoop", metavar="MODULE:CLASS")
    parser.add_argument("--stock", action="store_true", help="asyncio's own loop")
    options = parser.parse_args(arguments)
    if options.poller:
        os.environ["ZMQSTREAM_POLLER"] = options.poller
    if not shipped():
        sys.exit(f"this Python has no test.test_asyncio: {sys.executable}")
    if not importlib.util.find_spec("zmqstream"):
        sys.exit(
            "zmqstream is not installed; use PYTHONPATH=. for a checkout that is built in place"
        )
    bad = 0
    for name in options.names or [*REQUIRED, *(OTHERS if options.all else ())]:
        if not shipped(name):
            print(f"{name}: this Python does not have it")
            continue
        try:
            if options.stock:
                report = run_child([name])
            else:
                report = run_module([name], options.loop, options.streams)
        except SuiteError as error:
            print(f"FAILED {error}", flush=True)
            bad += 1
            continue
        bad += len(report.get("failed", ()))
        print(*describe([name], report), sep="\n", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
