#!/usr/bin/env python3
"""Run other projects' tests with pyzmq's ZMQStream and with zmqstream's, and compare.

    python tools/suites/run.py [--asyncio] [SUITE ...] [--runs N] [-- PYTEST-ARGUMENTS]

With --asyncio, zmqstream's classes also replace those of zmq.asyncio, and the suites that use
zmq.asyncio are run.

The exit code is 1 if a test fails with zmqstream's class that never fails with pyzmq's, or if a
process created an object of pyzmq's class although zmqstream's was in its place. The versions are
in table.py. See docs/testing.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
from pathlib import Path

from outcome import Run, Verdict, made, outcomes, report
from processes import adopt_orphans, end_descendants, wait
from table import PLATFORM, SUITES, TOOLS, Suite

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def say(text: str) -> None:
    print(f"== {text}", file=sys.stderr, flush=True)


class Environment:
    """A virtual environment with zmqstream, the suites' requirements, and the count of streams."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.venv = work / "venv"
        self.python = self.venv / ("Scripts" if os.name == "nt" else "bin") / "python"
        self.sources = work / "sources"
        self.constructions = self.venv / "constructions.jsonl"

    def pip(self, *arguments: str | Path) -> None:
        command = [self.python, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"]
        subprocess.run([str(part) for part in command], check=True)

    def set_up(self, suites: list[Suite], zmqstream: str) -> None:
        if not self.python.exists():
            say(f"creating a virtual environment in {self.venv}")
            venv.create(self.venv, with_pip=True)
        say("installing the suites' requirements")
        needs = {need for suite in suites for need in suite.needs}
        self.pip("install", *PLATFORM, *TOOLS, *sorted(needs))
        self.pip("install", "--no-deps", "--force-reinstall", zmqstream)
        code = "import sysconfig; print(sysconfig.get_path('purelib'))"
        packages = Path(subprocess.check_output([self.python, "-c", code], text=True).strip())
        shutil.copy(HERE / "constructions.py", packages / "_zmqstream_constructions.py")
        (packages / "_zmqstream_constructions.pth").write_text("import _zmqstream_constructions\n")
        for suite in suites:
            self.fetch(suite)

    def fetch(self, suite: Suite) -> Path:
        """The unpacked sdist of a suite."""
        name, _, version = suite.sdist.partition("==")
        folder = self.sources / f"{name}-{version}"
        if not folder.exists():
            say(f"downloading {suite.sdist}")
            self.pip("download", "--no-deps", "--no-binary", name, "--dest", self.sources,
                     suite.sdist)  # fmt: skip
            with tarfile.open(f"{folder}.tar.gz") as archive:
                if hasattr(tarfile, "data_filter"):
                    archive.extractall(self.sources, filter="data")
                else:
                    archive.extractall(self.sources)
        return folder


def run(
    environment: Environment,
    suite: Suite,
    ours: bool,
    number: int,
    with_asyncio: bool,
    extra: list[str],
) -> Run:
    result = Run(suite, ours, number)
    in_place = ("zmqstream", "run", *(["--asyncio"] if with_asyncio else []), "-m") if ours else ()
    folder = environment.work / "runs" / f"{suite.name}-{result.name.replace(' ', '-')}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    source = environment.fetch(suite)
    for name in suite.files:
        copy = shutil.copytree if (source / name).is_dir() else shutil.copy
        copy(source / name, folder / name)
    environment.constructions.unlink(missing_ok=True)
    command = [
        str(environment.python), "-m", *in_place, "pytest",
        *(suite.asyncio if with_asyncio else suite.arguments), "--junit-xml=junit.xml",
        f"--timeout={suite.timeout}", "--timeout-method=signal", "--color=no",
        "--override-ini=asyncio_default_fixture_loop_scope=function", *extra,
    ]  # fmt: skip
    began = time.monotonic()
    # a short path, because ipc sockets are created in it and their paths are limited
    with tempfile.TemporaryDirectory(prefix="home", ignore_cleanup_errors=True) as home:
        ours_only = ("PYTHON", "PYTEST", "JUPYTER", "IPYTHON", "ZMQSTREAM", "XDG_", "VIRTUAL_ENV")
        variables = {k: v for k, v in os.environ.items() if not k.startswith(ours_only)}
        variables["HOME"] = home
        variables["PATH"] = f"{environment.python.parent}{os.pathsep}{variables['PATH']}"
        with open(folder / "log.txt", "wb") as log:
            process = subprocess.Popen(
                command, cwd=folder, env=variables, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
            try:
                if not wait(process, suite.limit):
                    result.problem = f"not ready after {suite.limit} s"
            finally:
                result.left = end_descendants(process)
                wait(process, 10)
    result.seconds = time.monotonic() - began
    junit = folder / "junit.xml"
    if junit.exists():
        result.outcomes = outcomes(junit)
    if not result.problem and (not result.outcomes or process.returncode not in (0, 1)):
        result.problem = f"pytest's exit code was {process.returncode}"
    if environment.constructions.exists():
        shutil.copy(environment.constructions, folder)
        result.made = made(environment.constructions, "Socket" if with_asyncio else "ZMQStream")
    return result


def main() -> None:
    arguments = [*sys.argv[1:], "--"]
    own, extra = arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 : -1]
    names = [suite.name for suite in SUITES]
    parser = argparse.ArgumentParser(
        description="Run other projects' tests with pyzmq's ZMQStream and with zmqstream's",
        epilog="Arguments after -- go to pytest.",
    )
    parser.add_argument("suite", nargs="*", help=f"one of {', '.join(names)}; by default all")
    parser.add_argument(
        "--asyncio",
        action="store_true",
        help="replace the classes of zmq.asyncio too, and count its sockets instead of streams",
    )
    parser.add_argument("--runs", type=int, default=2, help="runs of each suite with each class")
    parser.add_argument(
        "--no-stock",
        action="store_true",
        help="do not run with pyzmq's class: every failure counts",
    )
    parser.add_argument(
        "--work", type=Path, default=ROOT / ".suites", help="folder for environment and results"
    )
    parser.add_argument(
        "--zmqstream",
        metavar="WHAT",
        default=str(ROOT),
        help="the argument of pip install; by default this",
    )
    options = parser.parse_args(own)
    if unknown := set(options.suite) - set(names):
        parser.error(f"no such suite: {', '.join(sorted(unknown))}")
    suites = [
        suite
        for suite in SUITES
        if (suite.asyncio if options.asyncio else suite.arguments)
        and (not options.suite or suite.name in options.suite)
    ]
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it ends its children too
    adopt_orphans()
    environment = Environment(options.work.resolve())
    environment.set_up(suites, options.zmqstream)
    verdicts = []
    for suite in suites:
        runs = []
        for number in range(1, options.runs + 1):
            for with_ours in (True,) if options.no_stock else (False, True):
                say(f"{suite.sdist}: {'zmqstream' if with_ours else 'pyzmq'}'s class, run {number}")
                runs.append(run(environment, suite, with_ours, number, options.asyncio, extra))
        verdicts.append(Verdict(runs, "sockets" if options.asyncio else "streams"))
    print(report(verdicts))
    sys.exit(any(verdict.new or verdict.problems for verdict in verdicts))


if __name__ == "__main__":
    main()
