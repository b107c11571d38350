"""Which programs `python -m zmqstream run` gives to Python, and which it executes as they are."""

import os
import shutil
import sys
import zipapp

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no first lines that name a program")

# Python started it, with these options
PYTHON = """\
import sys
from zmq.eventloop.zmqstream import ZMQStream
print("python", ZMQStream.__module__.partition(".")[0], *sys.orig_argv[1:])
"""
SHELL = '#!/bin/sh\necho shell "$0" "$@"\n'


@pytest.fixture
def run(command, tmp_path):
    """Runs in tmp_path with tmp_path/bin in the PATH; what it prints, or what it said it cannot."""
    bin = tmp_path / "bin"
    bin.mkdir()
    path = os.pathsep.join([str(bin), os.path.dirname(sys.executable), os.environ["PATH"]])

    def run(*arguments, code=0):
        out, err = command("run", *arguments, cwd=tmp_path, env={"PATH": path}).end(code)
        assert err.count("\n") == bool(code), err
        return out or err

    return run


@pytest.fixture
def write(tmp_path):
    def write(name, text, mode=0o755):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    return write


def ran(*words):
    """What PYTHON prints. The options `-W error` are those with which `command` starts Python."""
    return " ".join(["python zmqstream -W error", *map(str, words)]) + "\n"


# -- Python source ---------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".py", ".pyw"])
@pytest.mark.parametrize("mode", [0o644, 0o755])
def test_a_suffix(run, write, suffix, mode):
    path = write(f"prog{suffix}", PYTHON, mode)
    assert run(path.name, "a", "-b") == ran(path.name, "a", "-b")
    assert run(f"./{path.name}") == ran(f"./{path.name}")
    assert run(path) == ran(path)


def test_a_zip(run, write, tmp_path):
    write("app/__main__.py", PYTHON)
    zipapp.create_archive(tmp_path / "app", tmp_path / "app.pyz")
    assert run("app.pyz", "a") == ran("app.pyz", "a")


@pytest.mark.parametrize(
    ("line", "options"),
    [
        (f"#!{sys.executable}", []),
        (f"#! {sys.executable} -u", ["-u"]),
        (f"#!{sys.executable} -X utf8\r", ["-X", "utf8"]),
        ("#!/usr/bin/env python", []),
        ("#!/usr/bin/env -S python -bb -u", ["-bb", "-u"]),
    ],
)
@pytest.mark.parametrize("mode", [0o644, 0o755])
def test_a_first_line_that_names_this_python(run, write, line, options, mode):
    path = write("tool", f"{line}\n{PYTHON}", mode)
    assert run("./tool", "a") == ran(*options, "./tool", "a")
    assert run(path) == ran(*options, path)


def test_a_command_that_names_this_python(run, write):
    path = write("bin/tool", f"#!{sys.executable}\n{PYTHON}")
    assert run("tool", "a") == ran(path, "a")


def test_a_command_with_a_suffix(run, write):
    path = write("bin/tool.py", PYTHON)
    assert run("tool.py", "a") == ran(path, "a")


@pytest.mark.parametrize("name", ["./app", "app/", "other/../app"])
def test_a_folder_with_a_slash(run, write, name):
    write("app/__main__.py", PYTHON)
    write("other/file", "")
    write("bin/app", SHELL)
    assert run(name, "a") == ran(name, "a")


def test_this_folder(run, write):
    write("__main__.py", PYTHON)
    assert run(".", "a") == ran(".", "a")


# -- what is executed ------------------------------------------------------------------------------


def test_this_python_itself(run, write):
    write("prog.py", PYTHON)
    expected = "python zmqstream prog.py a\n"
    assert run(sys.executable, "prog.py", "a") == expected
    assert run("python", "prog.py", "a") == expected
    assert run(sys.executable, "-m", "prog", "a") == "python zmqstream -m prog a\n"


@pytest.mark.parametrize("name", ["start.sh", "./start.sh"])
def test_a_script_of_the_shell(run, write, name):
    write("start.sh", SHELL)
    assert run(name, "a", "-b") == f"shell {name} a -b\n"


def test_a_python_of_another_environment(run, write, tmp_path):
    """Its folder makes the environment, not the file that it is a link to."""
    other = tmp_path / "python"
    other.symlink_to("/bin/echo")
    write("tool", f"#!{other}\n{PYTHON}")
    assert run("./tool", "a") == "./tool a\n"
    link = tmp_path / "elsewhere" / "python"
    link.parent.mkdir()
    link.symlink_to(sys.executable)
    write("tool", f"#!{link} -S\nimport sys; print(*sys.orig_argv)")
    assert run("./tool") == f"{link} -S ./tool\n"


def test_a_program_that_cannot_be_read(run, tmp_path):
    shutil.copy("/bin/echo", tmp_path / "tool")
    (tmp_path / "tool").chmod(0o111)
    assert run("./tool", "a") == "a\n"


# -- a name without a slash ------------------------------------------------------------------------


def test_the_path_is_first(run, write):
    """What has the name of a command in this folder is not in its way."""
    command = write("bin/tool", SHELL)
    write("tool", f"#!{sys.executable}\n{PYTHON}")
    assert run("tool", "a") == f"shell {command} a\n"
    assert run("./tool", "a") == ran("./tool", "a")


def test_a_folder_is_not_in_the_way(run, write):
    write("echo/__main__.py", PYTHON)
    assert run("echo", "hello") == "hello\n"


# -- what cannot be run ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nothing", "nothing.py", "./nothing", "bin", "./bin", ""])
def test_what_is_not_there(run, name):
    said = f"python -m zmqstream run: {name} is neither a file nor a command of your PATH\n"
    assert run(name, code=2) == said


def test_a_folder_without_a_slash(run, write):
    write("app/__main__.py", PYTHON)
    assert "app is neither a file nor a command" in run("app", code=2)


@pytest.mark.parametrize(
    "line", ["", "#!", "#!/usr/bin/env", "#!a\0b", "#!/no/such/python", "#!/bin/sh"]
)
def test_a_file_that_is_neither(run, write, line):
    write("notes", f"{line}\n", 0o644)
    assert "notes is not executable, and does not look like Python source" in run("notes", code=2)


def test_what_cannot_be_started(run, write):
    write("tool", "#!/no/such/program\n")
    assert "cannot start ./tool: No such file or directory" in run("./tool", code=2)
