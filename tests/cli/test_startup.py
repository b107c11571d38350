"""The sitecustomize of `python -m zmqstream run`, in Pythons of all kinds that may read it."""

import ast
import functools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.commands import TIMEOUT
from zmqstream._cli.run import STARTUP

OLDER = ("2.7", "3.5", "3.6", "3.7", "3.8", "3.9")
THIS = f"{sys.version_info.major}.{sys.version_info.minor}"

# What Python 2.7 has, of what the file may need. Whatever is newer is not in here.
SYNTAX = re.findall(
    r"\w+",
    """
    Module FunctionDef ClassDef Return Delete Assign AugAssign For While If Try ExceptHandler With
    Raise Import ImportFrom alias Expr Pass Break Continue
    BoolOp BinOp UnaryOp Lambda IfExp Dict ListComp GeneratorExp comprehension Compare Call keyword
    Constant Attribute Subscript Name List Tuple Slice Load Store Del arguments arg
    And Or Not Add Sub Mod Eq NotEq Lt LtE Gt GtE Is IsNot In
    """,
)


def test_the_syntax_is_python_2s():
    """Also where no Python 2 is: each node is one that it has, without what was added later."""
    source = (STARTUP / "sitecustomize.py").read_bytes()
    assert source.isascii()  # Python 2 wants to be told of another encoding
    assert not re.search(rb"\d_\d", source)  # of a number, ast keeps the value
    for node in ast.walk(ast.parse(source)):
        said = ast.dump(node)
        assert type(node).__name__ in SYNTAX, said
        for name in ("returns", "annotation", "posonlyargs", "kwonlyargs", "cause", "type_params"):
            assert not getattr(node, name, None), said
        if isinstance(node, ast.ImportFrom):
            assert node.module != "__future__", said
        if isinstance(node, ast.ClassDef):
            assert not node.keywords, said


@functools.cache
def python(version):
    """An executable of this version, beside the one that runs this or in the PATH."""
    if version == THIS:
        return sys.executable
    beside = Path(sys.base_prefix).resolve().parent.glob(f"*/bin/python{version}")
    for found in (*beside, shutil.which(f"python{version}")):
        # that of a version manager may only say that the version is not activated
        if found and subprocess.run([found, "-c", ""], capture_output=True).returncode == 0:
            return found
    return None


@pytest.fixture(params=[*OLDER, THIS])
def start(request, tmp_path):
    """Starts such a Python with PYTHONPATH; returns its exit code, and what it prints."""
    executable = python(request.param)
    if executable is None:
        pytest.skip(f"no Python {request.param} here")

    def start(*paths):
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        look = "import sys; print('sitecustomize' in sys.modules, len(sys.path))"
        done = subprocess.run(
            [executable, "-c", look],
            env=environment, cwd=tmp_path, timeout=TIMEOUT, capture_output=True, text=True,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    return start


@pytest.mark.parametrize(
    "theirs",
    [
        None,
        "import sys; sys.stdout.write('theirs ' + __name__ + '\\n')",
        "import no_such_module",
        "import sitecustomize.no_such_module",
        "raise ValueError('of theirs')",
        "import os, sys; sys.path.insert(0, os.curdir)",
    ],
)
def test_the_other_sitecustomize_is_run_as_without_ours(start, tmp_path, theirs):
    """Whatever it does, and where there is none. A folder stands for ours: there is one more."""
    for name in ("empty", "theirs"):
        (tmp_path / name).mkdir()
    if theirs is not None:
        (tmp_path / "theirs" / "sitecustomize.py").write_text(theirs)
    assert start(STARTUP, tmp_path / "theirs") == start(tmp_path / "empty", tmp_path / "theirs")


@pytest.mark.parametrize("version", OLDER)
def test_an_older_python_gets_nothing_else(version):
    """It could not import zmqstream."""
    if (executable := python(version)) is None:
        pytest.skip(f"no Python {version} here")
    look = "import sys; print([f for f in sys.meta_path if 'InstallFirst' in repr(f)])"
    environment = {**os.environ, "PYTHONPATH": str(STARTUP), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [executable, "-c", look]
    assert subprocess.check_output(command, env=environment, text=True, timeout=TIMEOUT) == "[]\n"
