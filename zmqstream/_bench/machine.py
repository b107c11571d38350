"""The machine that measures: its description, and its other load."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import zmq

import zmqstream

from . import climit
from .compiled import NotCompiled, compiler

PACKAGES = ("pyzmq", "tornado", "uvloop", "aiozmq", "pyomq")


def environment() -> dict[str, Any]:
    """The description of the machine and of the software, for the readers of the figures."""
    return {
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processor": processor(),
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "build": build(),
        "compiler": compiler_version(),
        "libzmq": zmq.zmq_version(),
        "zmqstream": zmqstream.__version__,
        "revision": revision(),
        "packages": {name: found for name in PACKAGES if (found := version(name))},
        "c": climit.missing() or "compiled",
    }


def load() -> float | None:
    """The load average of the last minute."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def build() -> str:
    """How Python was built, as far as it knows. Without optimisation it is a quarter slower.
    Distributions such as Debian may run make profile-opt themselves, which leaves no trace."""
    told = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    level = re.findall(r"-O\S", sysconfig.get_config_var("CFLAGS") or "")
    return (
        f"configured {'with' if told else 'without'} optimizations, {level[-1] if level else '-O?'}"
    )


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()


def compiler_version() -> str:
    try:
        command = [*compiler(), "--version"]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (NotCompiled, OSError, subprocess.SubprocessError) as error:
        return f"unknown: {error}"
    return next(iter(shown.stdout.splitlines()), "")


def revision() -> str:
    """The git revision of the checkout of the package, or else of the current folder. It ends with
    "+ changes" if files differ, and is empty without a checkout."""
    for folder in (Path(zmqstream.__file__).parent, Path.cwd()):
        git = ["git", "-C", str(folder)]
        try:
            tracked = git + ["ls-files", "--error-unmatch", "zmqstream/_core.pyx"]
            top = git + ["rev-parse", "--show-toplevel"]
            root = subprocess.check_output(top, text=True, stderr=subprocess.DEVNULL).strip()
            tracked[2] = root  # some other project's checkout has not that file
            subprocess.check_output(tracked, stderr=subprocess.DEVNULL)
            git[2] = root
            head = subprocess.check_output([*git, "rev-parse", "--short=12", "HEAD"], text=True)
            changed = subprocess.check_output(
                [*git, "status", "--porcelain", "--untracked-files=no"], text=True
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        return head.strip() + (" + changes" if changed else "")
    return ""


class Machine:
    """Measures from now on how much other processes use the processors, which scatters figures.

    No measurement is dropped or repeated because of it.
    """

    def __init__(self) -> None:
        self.start = self._seconds()

    def disturbance(self) -> float | None:
        """Processor time of other processes (and, in a virtual machine, of its neighbours, as far
        as it knows), as a part of the time that all processors had. None: unknown."""
        if self.start is None:
            return None
        total, busy, own = (
            now - then for now, then in zip(self._seconds(), self.start, strict=True)
        )
        return max(0.0, busy - own) / total if total else 0.0

    @staticmethod
    def _seconds() -> tuple[float, float, float] | None:
        try:
            with open("/proc/stat") as file:
                ticks = [int(word) for word in file.readline().split()[1:9]]
        except OSError:
            return None
        idle = ticks[3] + ticks[4]
        total = sum(ticks)
        tick = os.sysconf("SC_CLK_TCK")
        return total / tick, (total - idle) / tick, sum(os.times()[:4])
