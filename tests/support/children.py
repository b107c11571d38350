"""Forked children of a test, and separate programs.

    child = fork(lambda: what_to_do_there())   # runs in the child
    child.result()                             # what it returned

A child is a copy of the test's process, so it takes no time to start Python. It creates its own
context, loop and streams. It ends with `os._exit()`, so no code of pytest runs at its end.
"""

from __future__ import annotations

import gc
import os
import pickle
import select
import signal
import subprocess
import sys
import tempfile
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
            # Python 3.12 and newer warn because of libzmq's threads
            warnings.filterwarnings("ignore", ".*multi-threaded", DeprecationWarning)
            self.pid = os.fork()
        if self.pid == 0:
            os.close(self.reader)
            gc.freeze()  # a collection would copy the whole suite's memory, page by page
            _run(function, writer)
        os.close(writer)

    def result(self):
        """The function's result. Fails if it raised or is stuck, or if the child died."""
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
        """End a child that would run for ever."""
        os.close(self.reader)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def fork(function):
    return Child(function)


def results(*children):
    """The results of all children. Shows all failures: a child may have waited for another."""
    answers, failures = [], []
    for child in children:
        try:
            answers.append(child.result())
        except AssertionError as error:
            failures.append(str(error))
    assert not failures, "\n".join(failures)
    return answers


def result_unless_libzmq_aborts(function):
    """What `function` returned in a forked child, for what may make libzmq abort its process.

    libzmq 4.3.5 does so now and then when a TCP connection ends in the middle of a message:
    "session_base.cpp:233". No binding can prevent that. So such a child is forked again.
    """

    def in_child():
        os.dup2(errors.fileno(), 2)
        return function()

    for _ in range(20):
        with tempfile.TemporaryFile() as errors:
            child = fork(in_child)
            try:
                return child.result()
            except AssertionError as error:
                errors.seek(0)
                text = errors.read().decode(errors="replace")
                sys.stderr.write(text)
                if "session_base.cpp" not in text:
                    raise AssertionError(f"{error}\n{text}") from None
    raise AssertionError("libzmq has aborted each child")


def _run(function, writer):
    status = 1
    try:
        try:
            answer = pickle.dumps(("returned", function()))
        except BaseException as error:
            # Keep the exception and its frames: the collection of a context waits for its
            # sockets, so the child would be stuck.
            _kept.append(error)
            answer = pickle.dumps(("raised", traceback.format_exc()))
        with os.fdopen(writer, "wb") as file:
            file.write(answer)
        status = 0
    finally:
        os._exit(status)


def _count_waits():
    """The number of times that this thread has waited."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


count_waits = _count_waits if hasattr(resource, "RUSAGE_THREAD") else None


def cpu_seconds():
    """The processor time that this process has used."""
    return time.process_time()


class Asleep:
    """The time that this thread has waited for something other than a processor.

    asleep = Asleep()
    asleep.seconds()    # since then, also on a busy machine; None if the system does not count it
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
    """Run a script in a new process, with warnings as errors. Returns what it prints."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *args],
        check=True,
        timeout=TIMEOUT,
        capture_output=True,
        text=True,
    ).stdout
