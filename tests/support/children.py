"""Forked children of a test, and programs of their own.

    child = fork(lambda: what_to_do_there())   # runs in the child
    child.result()                             # what it returned

A child is a copy of the test's process that makes its own context, loop and streams: no time is
spent on starting Python. It ends with `os._exit()`, so nothing of pytest's runs in it.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import subprocess
import sys
import textwrap
import time
import traceback
import warnings

try:
    import resource
except ImportError:  # Windows
    resource = None

from support import TIMEOUT

_kept: list[BaseException] = []


class Child:
    """A forked child that runs `function`."""

    def __init__(self, function):
        self.reader, writer = os.pipe()
        with warnings.catch_warnings():
            # Python 3.12 counts the threads of libzmq
            warnings.filterwarnings("ignore", ".*multi-threaded", DeprecationWarning)
            self.pid = os.fork()
        if self.pid == 0:
            os.close(self.reader)
            _run(function, writer)
        os.close(writer)

    def result(self):
        """What the function returned. Fails if it raised, if it is stuck, or if the child died."""
        answer = b""
        end = time.monotonic() + TIMEOUT
        while select.select([self.reader], [], [], max(0, end - time.monotonic()))[0]:
            data = os.read(self.reader, 1 << 16)
            if not data:
                break
            answer += data
        else:
            os.kill(self.pid, signal.SIGABRT)  # pytest's faulthandler shows where it was
        os.close(self.reader)
        _, status = os.waitpid(self.pid, 0)
        assert status == 0, f"the child ended with {os.waitstatus_to_exitcode(status)}"
        kind, value = pickle.loads(answer)
        assert kind == "returned", value
        return value

    def kill(self):
        """End a child that would go on for ever."""
        os.close(self.reader)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def fork(function):
    return Child(function)


def results(*children):
    """What each of them returned. All that failed are told of: who waited for whom is not known."""
    answers, failures = [], []
    for child in children:
        try:
            answers.append(child.result())
        except AssertionError as error:
            failures.append(str(error))
    assert not failures, "\n".join(failures)
    return answers


def _run(function, writer):
    status = 1
    try:
        try:
            answer = pickle.dumps(("returned", function()))
        except BaseException as error:
            # Kept, with all that its frames hold: a context that is collected waits for its
            # sockets, and the test would see a child that is stuck.
            _kept.append(error)
            answer = pickle.dumps(("raised", traceback.format_exc()))
        with os.fdopen(writer, "wb") as file:
            file.write(answer)
        status = 0
    finally:
        os._exit(status)


def _count_waits():
    """How often this thread has waited so far."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


count_waits = _count_waits if hasattr(resource, "RUSAGE_THREAD") else None


def cpu_seconds():
    """What this process has used so far."""
    return time.process_time()


class Asleep:
    """How long this thread has been waiting for something other than a processor.

    asleep = Asleep()
    asleep.seconds()    # since then, on however busy a machine; None where it cannot be told
    """

    def __init__(self):
        self.start = self._now()

    def seconds(self):
        return None if self.start is None else self._now() - self.start

    @staticmethod
    def _now():
        try:
            with open("/proc/thread-self/schedstat") as file:  # ran, was runnable; nanoseconds
                awake = sum(map(int, file.read().split()[:2]))
        except OSError:
            return None
        return time.monotonic() - awake / 1e9


def run_script(script, *args):
    """What a program of its own prints; its warnings are errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *args],
        check=True,
        timeout=TIMEOUT,
        capture_output=True,
        text=True,
    ).stdout
