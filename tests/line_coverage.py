#!/usr/bin/env python3
"""Which lines of the package the tests run, the compiled core's too: see docs/testing.md.

    python tests/line_coverage.py [--work FOLDER] [PYTEST-ARGUMENTS]

Builds the core with line tracing in a copy of the checkout, runs the tests there, which takes four
times as long as ever, and prints the lines that were not run. The exit code is 1 if a test fails
or less than LIMIT percent were run. CPython 3.11 or 3.13 are needed: 3.12 cannot trace the core.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 95  # percent
NEEDS = ["cython>=3.3.1", "setuptools>=77", "coverage>=7.10"]

# Tests of what tracing itself changes: how long things take, how much memory, and errno: between a
# system call and the look at it tracing runs Python code. And all with "thread" in their names:
# where the core relies on no bytecode being run, so that no other thread sends, tracing runs some.
NOT_HERE = [
    "test_memory.py",
    "test_no_memory.py",
    "test_no_descriptors.py",
    "test_docs.py::test_a_block_does_what_the_page_says[README.md:6-echo.py]",
    "test_docs.py::test_a_block_does_what_the_page_says[docs/tutorial.md:10-echo.py]",
    "test_eventloop_io.py::test_streams_that_are_busy_in_c_stop_nobody",
    "test_import.py::test_asyncio_is_imported_when_it_is_needed",
    "test_ioloop.py::test_the_echo_server",
    "test_peers.py::test_a_peer_that_goes_between_two_frames",
]

# The core's lines have the names of files relative to the checkout. Where a program runs in another
# folder Cython's plugin looks beside the module's main file, of which coverage tells nothing.
PLUGIN = """\
from Cython import Coverage

found = Coverage._find_dep_file_path
Coverage._find_dep_file_path = lambda main, *rest, **more: found(main or {main!r}, *rest, **more)
coverage_init = Coverage.coverage_init

configure = Coverage.Plugin.configure

def and_definitions(plugin, config):
    # what is at the left margin runs before tracing begins, and a definition is no event of its own
    configure(plugin, config)
    plugin._excluded_line_patterns = [
        *plugin._excluded_line_patterns, r"^\\S", r"^\\s*@", r"^\\s*(cdef|cpdef|def)\\b.*(:|\\()$"
    ]

Coverage.Plugin.configure = and_definitions
"""

SETTINGS = """\
[run]
core = ctrace
plugins = cython_lines
source = zmqstream
parallel = true
patch = _exit, fork, subprocess
data_file = {folder}/.coverage
disable_warnings = no-data-collected, module-not-measured, module-not-imported
[report]
omit = */_core.pyx
show_missing = true
precision = 1
exclude_also =
    if TYPE_CHECKING:
    @overload
    \\.\\.\\.$
    raise NotImplementedError$
"""


def run(*command: str | Path, **kwargs: object) -> int:
    return subprocess.run([str(part) for part in command], check=False, **kwargs).returncode  # type: ignore[call-overload,no-any-return]


def copy_checkout(folder: Path) -> None:
    names = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
    for name in names:
        if (ROOT / name).is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)


def measure(work: Path, arguments: list[str]) -> int:
    checkout = work / "checkout"
    copy_checkout(checkout)
    environment = work / "venv"
    if not environment.exists():
        venv.create(environment, with_pip=True)
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if run(*install, f"{checkout}[test]", *NEEDS) or run(
        python, "-m", "pip", "uninstall", "--quiet", "--yes", "zmqstream"
    ):
        return 1
    # pip has built it here, without tracing
    shutil.rmtree(checkout / "build", ignore_errors=True)
    for made in checkout.glob("zmqstream/_core.c*"):
        made.unlink()
    build = {**os.environ, "ZMQSTREAM_TRACE": "1", "CFLAGS": "-O1 -g0"}
    if run(python, "setup.py", "-q", "build_ext", "--inplace", cwd=checkout, env=build):
        return 1
    libraries = subprocess.check_output(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    )
    for old in work.glob(".coverage*"):  # of a run that was stopped: it could not be read
        old.unlink()
    plugin = PLUGIN.format(main=str(checkout / "zmqstream" / "_core.pyx"))
    (Path(libraries.strip()) / "cython_lines.py").write_text(plugin)
    settings = work / "coveragerc"
    settings.write_text(SETTINGS.format(folder=work))
    under = {**os.environ, "COVERAGE_PROCESS_START": str(settings), "PYTHONPATH": str(checkout)}
    coverage = [python, "-m", "coverage"]
    rc = f"--rcfile={settings}"
    status = run(
        *coverage, "run", rc, "-m", "pytest", "-q", "-o", "faulthandler_timeout=300",
        *(arguments or [
            "-n", "auto", "--dist", "worksteal", "-k", "not thread", "tests",
            *(f"--deselect=tests/{name}" for name in NOT_HERE),
        ]),
        cwd=checkout, env=under,
    )  # fmt: skip
    run(*coverage, "combine", "-q", rc, cwd=checkout)
    return run(*coverage, "report", rc, f"--fail-under={LIMIT}", cwd=checkout) or status


def main() -> int:
    if sys.version_info[:2] == (3, 12) or sys.implementation.name != "cpython":
        sys.exit("line coverage of the core needs CPython 3.11 or 3.13")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--work", type=Path, help="a folder for the copy and what it needs")
    options, arguments = parser.parse_known_args()
    if options.work:
        options.work.mkdir(parents=True, exist_ok=True)
        return measure(options.work.resolve(), arguments)
    with tempfile.TemporaryDirectory() as folder:
        return measure(Path(folder), arguments)


if __name__ == "__main__":
    sys.exit(main())
