"""Ends processes that a suite leaves behind, such as kernels in their own sessions. Linux only."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Make this process the parent of its descendants that lose their parent."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def wait(process: subprocess.Popen[bytes], limit: float) -> bool:
    """Wait at most `limit` seconds for `process` to end, and reap orphans as init would."""
    end = time.monotonic() + limit
    while process.returncode is None and time.monotonic() < end:
        reap(process)
        time.sleep(0.02)
    return process.returncode is not None


def reap(process: subprocess.Popen[bytes]) -> None:
    if sys.platform != "linux":
        process.poll()
        return
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == process.pid:
                process.returncode = os.waitstatus_to_exitcode(ended[1])


def end_descendants(process: subprocess.Popen[bytes]) -> int:
    """End all descendants. Returns their number, without `process`."""
    if sys.platform != "linux":
        process.kill()
    reap(process)
    left = len(descendants() - {process.pid})
    while children := sorted(descendants()):
        for pid in children:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        reap(process)
        time.sleep(0.02)
    return left


def descendants() -> set[int]:
    if sys.platform != "linux":
        return set()
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = status.read_text().rpartition(")")[2].split()[:2]
            if state != "Z" or int(parent) == os.getpid():
                parents[int(status.parent.name)] = int(parent)
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {os.getpid()}
