#!/usr/bin/env python3
"""Measure which lines of the package, and of its compiled core, the tests run. See docs/testing.md.

    python tools/coverage.py [--work FOLDER] [PYTEST-ARGUMENTS]

It builds the core with gcc's coverage in a copy of the checkout, and runs the tests there. Then it
prints the lines that were not run, first those without a reason in tools/not_run.txt. The exit code
is 1 if a test fails or less than LIMIT percent were run. Needs gcc, gcov and Python 3.11.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterable, Iterator
from pathlib import Path

import tomllib

ROOT = Path(__file__).resolve().parent.parent
REASONS = ROOT / "tools" / "not_run.txt"
LIMIT = 95  # percent
MOST = 10  # lines that one entry of REASONS may explain
OPTIONS = ["-q", "-o", "faulthandler_timeout=300"]
# Only the core's lines are counted in these, because tracing Python lines allocates and imports.
NOT_TRACED = [
    "tests/robustness/test_no_memory.py",
    "tests/importing/test_import.py::test_asyncio_is_imported_when_it_is_needed",
]

# gcc's counts are written when a process exits. This function writes them at any time.
DUMP = """\
void __gcov_dump(void);
void __gcov_reset(void);
void core_lines_dump(void) { __gcov_dump(); __gcov_reset(); }
"""

# A .pth file imports this in each Python process, before coverage patches os. It writes the counts
# where the process ends without an exit.
LEAVING = """\
import ctypes, os, sys

def dump():
    core = sys.modules.get("zmqstream._core")
    if core is not None:
        ctypes.PyDLL(core.__file__).core_lines_dump()

def dumping(function):
    def leave(*arguments):
        dump()
        return function(*arguments)
    return leave

def kill(pid, number, kill=os.kill):
    if pid == os.getpid():
        dump()
        coverage = "coverage" in sys.modules and sys.modules["coverage"].Coverage.current()
        if coverage:
            coverage.save()
    return kill(pid, number)

os._exit, os.execv, os.execve = map(dumping, (os._exit, os.execv, os.execve))
os.kill = kill
"""

SETTINGS = """\
[run]
source = zmqstream
omit = */zmqstream/_bench/*
parallel = true
patch = _exit, execv, fork, subprocess
data_file = {folder}/.coverage
disable_warnings = no-data-collected, module-not-measured, module-not-imported
[report]
exclude_also =
    if TYPE_CHECKING:
    @overload
    \\.\\.\\.$
    raise NotImplementedError$
"""

Lines = dict[str, dict[int, bool]]  # {file: {line: whether it was run}}


def run(*command: str | Path, **kwargs: object) -> int:
    return subprocess.run([str(part) for part in command], check=False, **kwargs).returncode  # type: ignore[call-overload,no-any-return]


def copy_checkout(folder: Path) -> None:
    names = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
    for name in names:
        if (ROOT / name).is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)


def python_lines(coverage: list[str | Path], rc: str, report: Path) -> Lines:
    run(*coverage, "combine", "-q", rc)
    run(*coverage, "json", "-q", rc, "-o", report)
    lines: Lines = {}
    for name, file in json.loads(report.read_text())["files"].items():
        lines[name] = dict.fromkeys(file["missing_lines"], False)
        lines[name].update(dict.fromkeys(file["executed_lines"], True))
    return lines


def write_core(python: Path, checkout: Path) -> str:
    """Make Cython write _core.c. Returns its text, with a `#line` above each statement.

    The compiler gets the text without `#line`, so gcov counts lines of C. With `#line`, gcov would
    count utility code for the lines of the source that follow the last `#line`. It would also miss
    lines that Cython copies, such as those of a `finally`.
    """
    core = checkout / "zmqstream" / "_core.pyx"
    subprocess.check_call([python, "-m", "cython", "--line-directives", core], cwd=checkout)
    c = core.with_suffix(".c")
    text = c.read_text()
    c.write_text(re.sub(r"(?m)^#line .*", "", text))
    return text


def core_lines(checkout: Path, text: str) -> Lines:
    """The lines of the fragments, found by `text` of write_core(), and of the C headers.

    A line was run if any of its C statements was. Labels do not count, because the label behind a
    branch has the number of the branch's last line. The end of a function counts for its `def`.
    """
    (counted,) = checkout.glob("build/temp*/**/_core.gcda")
    gcov = ["gcov", "--json-format", "--stdout", "-o", str(counted.parent), str(counted)]
    report = json.loads(subprocess.check_output(gcov, cwd=checkout, text=True))
    lines: Lines = {}
    for file in report["files"]:
        if file["file"].startswith("zmqstream/"):
            of_file = lines.setdefault(file["file"], {})
            for line in file["lines"]:
                number = line["line_number"]
                of_file[number] = of_file.get(number, False) or line["count"] > 0
    statements = lines.pop("zmqstream/_core.c")
    for number, (line, below) in enumerate(itertools.pairwise(text.splitlines()), 2):
        source = re.match(r'#line (\d+) "(zmqstream/.*)"', line)
        if source and number in statements and not below.endswith(":;"):
            of_file, at = lines.setdefault(source[2], {}), int(source[1])
            of_file[at] = of_file.get(at, False) or statements[number]
    return lines


def ranges(numbers: Iterable[int]) -> str:
    """The numbers 1, 2, 3, 7 as "1-3, 7"."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def reasons(checkout: Path) -> Iterator[tuple[str, int]]:
    """The file and text of the lines that tools/not_run.txt lists.

    There "file: text" means each line with that text. "file: text ... text" includes the lines
    between two such lines, wherever that is not more than MOST lines.
    """
    for entry in REASONS.read_text().splitlines():
        if not entry or entry.startswith("#"):
            continue
        name, what = entry.split(": ", 1)
        first, _, last = what.partition(" ... ")
        source = [line.strip() for line in (checkout / name).read_text().splitlines()]
        there = False
        for number in (number for number, text in enumerate(source, 1) if text == first):
            near = source[number - 1 : number - 1 + MOST]
            if not last or last in near:
                there = True
                count = near.index(last) + 1 if last else 1
                yield from ((name, each) for each in range(number, number + count))
        if not there:
            print(f"{REASONS.name}: this line does not exist any more: {entry}")


def report(lines: Lines, checkout: Path) -> bool:
    explained = set(reasons(checkout))
    total = missed = 0
    for title, listed in (
        ("Not run, without a reason in tools/not_run.txt:", False),
        ("Not run, with a reason there:", True),
    ):
        print(f"\n{title}")
        for name in sorted(lines):
            numbers = [
                number
                for number, was_run in lines[name].items()
                if not was_run and ((name, number) in explained) == listed
            ]
            if numbers:
                print(f"  {name}: {ranges(numbers)}")
    print(f"\n{'':40} lines  not run")
    for name in sorted(lines):
        of_file = lines[name]
        total += len(of_file)
        missed += (here := list(of_file.values()).count(False))
        print(f"{name:40} {len(of_file):5}  {here:5}  {1 - here / max(1, len(of_file)):7.1%}")
    share = 1 - missed / total
    print(f"{'':40} {total:5}  {missed:5}  {share:7.1%}")
    return share * 100 >= LIMIT


def measure(work: Path, arguments: list[str]) -> int:
    checkout = work / "checkout"
    shutil.rmtree(checkout, ignore_errors=True)
    copy_checkout(checkout)
    environment = work / "venv"
    if not environment.exists():
        venv.create(environment, with_pip=True)
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    settings = tomllib.loads((checkout / "pyproject.toml").read_text())
    tests_need = settings["project"]["optional-dependencies"]["test"]
    needs = ["coverage>=7.11", *settings["build-system"]["requires"], *tests_need]
    if run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *needs):
        return 1
    (work / "dump.c").write_text(DUMP)
    if run("gcc", "-fPIC", "-c", "dump.c", "-o", "dump.o", cwd=work):
        return 1
    build = {
        **os.environ,
        "CC": "gcc",
        "CFLAGS": "-O0 -g0 --coverage -fprofile-update=atomic",
        "LDFLAGS": f"{work / 'dump.o'} --coverage",
        "ZMQSTREAM_COUNTERS": "1",
    }
    core = write_core(python, checkout)
    if run(python, "setup.py", "-q", "build_ext", "--inplace", "--force", cwd=checkout, env=build):
        return 1
    libraries = Path(
        subprocess.check_output(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
        ).strip()
    )
    for old in work.glob(".coverage*"):  # a stopped run leaves files that cannot be read
        old.unlink()
    (libraries / "core_lines.py").write_text(LEAVING)
    (libraries / "a0_core_lines.pth").write_text("import core_lines\n")  # before coverage's
    rcfile = work / "coveragerc"
    rcfile.write_text(SETTINGS.format(folder=work))
    under = {**os.environ, "COVERAGE_PROCESS_START": str(rcfile), "PYTHONPATH": str(checkout)}
    coverage: list[str | Path] = [python, "-m", "coverage"]
    rc = f"--rcfile={rcfile}"
    traced: list[str | Path] = [*coverage, "run", rc, "-m", "pytest", *OPTIONS]
    if arguments:
        status = run(*traced, *arguments, cwd=checkout, env=under)
    else:
        both = ["-n", "auto", "--dist", "worksteal"]
        without = [f"--deselect={name}" for name in NOT_TRACED]
        status = run(*traced, *both, *without, "tests", cwd=checkout, env=under)
        del under["COVERAGE_PROCESS_START"]
        status |= run(python, "-m", "pytest", *OPTIONS, *both, *NOT_TRACED, cwd=checkout, env=under)
    os.chdir(checkout)  # the names of files are relative to this folder
    lines = python_lines(coverage, rc, work / "python.json") | core_lines(checkout, core)
    return 0 if report(lines, checkout) and status == 0 else 1


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--work", type=Path, help="a folder for the copy and its environment")
    options, arguments = parser.parse_known_args()
    if options.work:
        options.work.mkdir(parents=True, exist_ok=True)
        return measure(options.work.resolve(), arguments)
    with tempfile.TemporaryDirectory() as folder:
        return measure(Path(folder), arguments)


if __name__ == "__main__":
    sys.exit(main())
