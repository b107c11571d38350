"""The source folder: what it says where it is not built, and the commands of dev.py."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
import venv
from pathlib import Path

import pytest
import zmq

import zmqstream
from support.commands import TIMEOUT
from zmqstream._cli import dispatch

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(zmqstream.__file__).resolve().parent
NOT_BUILT = "is the source folder of zmqstream, not built for this Python: use `python3 dev.py "

PROGRAM = """\
import sys
from zmq.eventloop.zmqstream import ZMQStream
from zmqstream import ZMQStream as ours
print(ZMQStream is ours, *sys.argv[1:])
sys.exit(7)
"""


@pytest.fixture
def checkout(tmp_path):
    """The package's Python files and what Cython would compile."""
    folder = tmp_path / "checkout"
    python_only = shutil.ignore_patterns("*.so", "*.pyd", "*.c", "__pycache__")
    shutil.copytree(PACKAGE, folder / "zmqstream", ignore=python_only)
    (folder / "zmqstream" / "_core.pyx").touch()
    return folder


def start(*arguments, cwd, **kwargs):
    return subprocess.run(
        [str(each) for each in arguments],
        cwd=cwd, capture_output=True, text=True, timeout=TIMEOUT, check=False, **kwargs,
    )  # fmt: skip


# -- not built -------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [[], ["-S"]], ids=["", "without pyzmq"])
def test_importing_it(checkout, options):
    done = start(sys.executable, *options, "-c", "import zmqstream", cwd=checkout)
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert said.startswith(f"ImportError: {checkout / 'zmqstream'} {NOT_BUILT}")
    assert "circular" not in done.stderr


@pytest.mark.parametrize("options", [[], ["-S"]], ids=["", "without pyzmq"])
def test_calling_it(checkout, options):
    done = start(sys.executable, *options, "-m", "zmqstream", "info", cwd=checkout)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert NOT_BUILT in done.stderr


def test_built_for_another_python(checkout):
    """Such a package is no source folder, as in the site-packages of another Python."""
    (checkout / "zmqstream" / "_core.pyx").rename(checkout / "zmqstream" / "_core.cp27.pyd")
    done = start(sys.executable, "-m", "zmqstream", cwd=checkout)
    assert done.stderr.count("\n") == 1
    assert f"{checkout / 'zmqstream'} has no compiled core for {sys.executable}: pip" in done.stderr


def test_a_module_of_the_core_that_is_missing(checkout):
    """What is missing is named, as ever."""
    (checkout / "zmqstream" / "_core.pyx").unlink()
    (checkout / "zmqstream" / "_core.py").write_text("import no_such_module\n")
    done = start(sys.executable, "-c", "import zmqstream", cwd=checkout)
    assert done.stderr.endswith("ModuleNotFoundError: No module named 'no_such_module'\n")


# -- dev.py ----------------------------------------------------------------------------------------


@pytest.fixture
def dev(checkout, monkeypatch):
    """Calls dev.py, which finds its virtual environment made; in it is what is installed here."""
    monkeypatch.delenv("ZMQSTREAM_VENV", raising=False)  # of the program that runs these tests
    shutil.copy(ROOT / "dev.py", checkout)
    where = checkout / ".venv"
    venv.create(where, symlinks=os.name != "nt")
    bin = where / ("Scripts" if os.name == "nt" else "bin")
    library = subprocess.check_output(
        [bin / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    ).strip()
    installed = {str(Path(module.__file__).resolve().parents[1]) for module in (zmqstream, zmq)}
    Path(library, "installed.pth").write_text("\n".join(installed))
    script = bin / "zmqstream"
    script.write_text(f"#!{bin / 'python'}\nfrom zmqstream._cli.dispatch import main\nmain()\n")
    script.chmod(0o755)
    (where / "built-from").touch()

    def dev(*arguments, cwd=checkout, **kwargs):
        return start(sys.executable, checkout / "dev.py", *arguments, cwd=cwd, **kwargs)

    return dev


@pytest.mark.skipif(os.name == "nt", reason="there, pip makes a program of the script")
class TestCommands:
    def test_info(self, dev):
        done = dev("info")
        assert done.stderr == ""
        assert f"zmqstream    {zmqstream.__version__}, " in done.stdout

    def test_what_is_wrong(self, dev):
        done = dev("pull", "--bind", "nonsense")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("zmqstream pull: cannot bind nonsense: ")

    @pytest.mark.parametrize("beside", [True, False], ids=["beside the sources", "elsewhere"])
    def test_run(self, dev, checkout, tmp_path, beside):
        """The program's own folder is the current one."""
        folder = checkout if beside else tmp_path
        (folder / "prog.py").write_text(PROGRAM)
        for program in (["prog.py"], ["-m", "prog"]):
            done = dev("run", *program, "a", "-b", cwd=folder)
            assert (done.returncode, done.stdout, done.stderr) == (7, "True a -b\n", "")

    def test_bench(self, dev):
        assert "receive" in dev("bench", "--list").stdout

    def test_test(self, dev, checkout, tmp_path):
        (checkout / ".venv" / "bin" / "pytest").write_text('#!/bin/sh\necho "$PWD" "$@"\n')
        (checkout / ".venv" / "bin" / "pytest").chmod(0o755)
        assert dev("test", "-n", "0", cwd=tmp_path).stdout == f"{checkout} -n 0\n"

    def test_calling_the_sources_builds_nothing_anew(self, dev, checkout):
        start(sys.executable, "-m", "zmqstream", cwd=checkout)
        assert list(checkout.glob("zmqstream/__pycache__/*.pyc")) or sys.dont_write_bytecode
        assert dev("info").stderr == ""


def test_what_dev_py_names():
    """All commands, and the README no other ones."""
    text = (ROOT / "dev.py").read_text(encoding="utf-8").partition('"""')[2].partition('"""')[0]
    for name in dispatch.COMMANDS:
        assert re.search(rf"\b{name}\b", text), name
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"python3 dev\.py ([a-z]+)", readme))
    assert {"demo", "test", "bench", "run", "info"} <= named <= {"demo", "test", *dispatch.COMMANDS}


def test_without_a_command():
    done = start(sys.executable, ROOT / "dev.py", cwd=ROOT)
    assert done.returncode == 1
    assert textwrap.dedent(done.stderr).startswith("Build zmqstream")


# -- tools/release ---------------------------------------------------------------------------------


@pytest.fixture
def release(tmp_path):
    """Calls tools/release in a repository that has only what it looks at first."""
    if os.name == "nt" or not shutil.which("git"):
        pytest.skip("needs a Unix and git")
    folder = tmp_path / "repository"
    for name in ("tools", "zmqstream"):
        (folder / name).mkdir(parents=True)
    shutil.copy(ROOT / "tools" / "release", folder / "tools")
    (folder / "zmqstream" / "__init__.py").write_text('__version__ = "1.2.0"\n')
    (folder / "CHANGELOG.md").write_text("## 1.2.1 (2026-01-01)\n")

    def git(*arguments):
        identity = ["-c", "user.name=x", "-c", "user.email=x@localhost"]
        done = start("git", *identity, *arguments, cwd=folder)
        assert done.returncode == 0, done.stderr

    def release(*arguments):
        return start("bash", folder / "tools" / "release", *arguments, cwd=tmp_path)

    release.folder = folder
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "x")
    git("tag", "v1.3.0")
    return release


class TestRelease:
    @pytest.mark.parametrize(
        "arguments", [[], ["--help"], ["--dry-run", "1.4.0", "more"], ["1.4.0", "--dry-run"]]
    )
    def test_usage(self, release, arguments):
        done = release(*arguments)
        assert done.returncode == 2
        assert "tools/release --dry-run VERSION" in done.stderr

    @pytest.mark.parametrize(
        ("version", "says"),
        [
            ("1.4", "1.4 is not a version such as 1.2.3 or 1.2.3rc1"),
            ("v1.4.0", "v1.4.0 is not a version"),
            ("1.3.0", "there is a tag v1.3.0 already"),
            ("1.2.1", "CHANGELOG.md has version 1.2.1 already"),
            ("1.1.9", "1.1.9 is older than 1.2.0, the version of the package"),
        ],
    )
    def test_versions(self, release, version, says):
        done = release("--dry-run", version)
        assert done.returncode == 1
        assert f"tools/release: {says}" in done.stderr

    def test_what_is_not_committed(self, release):
        (release.folder / "forgotten.py").touch()
        done = release("--dry-run")
        assert done.returncode == 1
        assert "commit or remove first: ?? forgotten.py" in done.stderr
