"""Runs CPython's tests of asyncio with zmqstream's EventLoop in the place of asyncio's loop.

These are the tests that come with the interpreter. in_place_of_asyncio.py runs each module in its
own process, in a temporary directory. If a test fails, or is skipped for a reason that is not in
that file, the module runs again on asyncio's own loop. A test that passes there is a failure. A
test that does not pass there either, for example because there is no IPv6, is only shown. It is
also a failure if a selector loop of another class was created, or none of ours where asyncio
creates its own.
"""

from __future__ import annotations

import collections
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from support import in_place_of_asyncio
from support.in_place_of_asyncio import (
    FAILED,
    NOT_FOR_OURS,
    OUR_SELECTORS,
    OURS,
    OURS_FAKED,
    PASSED,
    SKIP,
    THEIRS,
)

TEST_LIMIT = 60  # seconds a test
MODULE_LIMIT = 600


class SuiteError(Exception):
    """A module did not run to its end, or did not run on our loops."""


def shipped(name="test_events"):
    """Whether this Python has the module of CPython's tests that `name` begins with."""
    module = in_place_of_asyncio.full_name(name.partition(".")[0])
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def run_child(names, loop=None, streams="none", limit=TEST_LIMIT):
    """Run tests of one module in a new process. Returns its report. Raises SuiteError."""
    # the child imports the same zmqstream as this process
    package = Path(importlib.util.find_spec("zmqstream").origin).absolute().parent
    path = os.pathsep.join([str(package.parent), os.environ.get("PYTHONPATH", "")])
    options = json.dumps({"loop": loop, "streams": streams, "limit": limit})
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        try:
            done = subprocess.run(
                [sys.executable, in_place_of_asyncio.__file__, str(report), options, *names],
                cwd=folder,
                env=os.environ | {"PYTHONPATH": path},
                capture_output=True,
                text=True,
                timeout=MODULE_LIMIT,
            )
        except subprocess.TimeoutExpired as error:
            raise SuiteError(f"{names}: not done after {MODULE_LIMIT} s\n{error.stderr}") from None
        if not report.exists():
            raise SuiteError(f"{names}: exit status {done.returncode}\n{done.stderr}")
        return json.loads(report.read_text())


def run_module(names, loop="zmqstream:EventLoop", streams="none", limit=TEST_LIMIT):
    """Run tests of one module on our loop, and if a test does not pass, on asyncio's own loop.

    Returns a report. A test that does not pass is "failed" if it passes on asyncio's own loop, else
    "unsuitable". Raises SuiteError.
    """
    report = run_child(names, loop, streams, limit)
    others = [
        name
        for name, outcome in report["outcomes"].items()
        if outcome != PASSED and not report["details"][name].startswith(NOT_FOR_OURS)
    ]
    made = collections.Counter(report["made"])
    none_of_ours = not (made[OURS] or made[OURS_FAKED] or made[OUR_SELECTORS])
    stock = run_child(names) if others or none_of_ours else {}
    report["unsuitable"] = [n for n in others if stock["outcomes"].get(n) in (SKIP, FAILED)]
    report["failed"] = [name for name in others if name not in report["unsuitable"]]
    if made[THEIRS] or (none_of_ours and not report["failed"] and stock["made"].get(THEIRS)):
        raise SuiteError(f"{names}: {made[THEIRS]} {THEIRS}, {made[OURS]} {OURS}")
    return report


def describe(names, report):
    """The lines of a report for people."""
    outcomes, details = report["outcomes"], report["details"]
    count = collections.Counter(outcomes.values())
    made = [f"{number} {what}" for what, number in sorted(report["made"].items()) if number]
    if report["messages"]:
        made.append(f"{report['messages']} messages")
    yield (
        f"{' '.join(names)}: {count[PASSED]} passed, {count[SKIP]} skipped, {count[FAILED]} failed "
        f"in {report['seconds']:.1f} s; {', '.join(made) or 'no loops'}"
    )
    reasons = collections.Counter(details[n] for n, outcome in outcomes.items() if outcome == SKIP)
    for reason, number in reasons.most_common():
        yield f"  skipped {number}: {reason}"
    for name in report.get("unsuitable", ()):
        if outcomes[name] == FAILED:
            yield f"  failed, as on asyncio's own loop: {name}"
    for name in report.get("failed", ()):
        yield f"  FAILED on ours alone: {name}: {outcomes[name]}: {details[name]}"
