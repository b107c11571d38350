"""What is wrong with a command, info, the overview, and help."""

import ctypes
import errno
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import zmq

import zmqstream
from support.children import run_script
from support.commands import ANY_PORT, TIMEOUT, bound_socket
from zmqstream import _cli, _core
from zmqstream._cli import dispatch, info

TRAFFIC = ("push", "pull", "pub", "sub", "echo")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["push"], "a --bind or --connect ENDPOINT is missing"),
        (["push", "--bind"], "--bind: expected one argument"),
        (["pull", "--bind", "nonsense"], "cannot bind nonsense: not an endpoint; examples"),
        (["pull", "--connect", "tcp:/x:1"], "cannot connect tcp:/x:1: not an endpoint"),
        (
            ["pull", "--connect", "tcp://127.0.0.1"],
            "cannot connect tcp://127.0.0.1: not an endpoint",
        ),
        (["pull", "--connect", "xyz://a"], "cannot connect xyz://a: Protocol not supported"),
        (["pull", "--bind", "inproc://a"], "inproc://a: no other process can reach it"),
        (["pull", "--bind", ANY_PORT, "--count", "0"], "'0' is not a whole number of at least 1"),
        (["push", "--bind", ANY_PORT, "--size", "1.5"], "'1.5' is not a whole number"),
        (["push", "--bind", ANY_PORT, "--rate", "nan"], "'nan' is not a number greater than 0"),
        (["push", "--bind", ANY_PORT, "--rate", "inf"], "'inf' is not a number greater than 0"),
        (["push", "--bind", ANY_PORT, "--duration", "-1"], "not a number greater than 0"),
        (["push", "--bind", ANY_PORT, "--stdin", "--size", "5"], "--size and --stdin exclude"),
        (["pull", "--bind", ANY_PORT, "--print", "xml"], "invalid choice: 'xml'"),
        (["pull", "--bind", ANY_PORT, "--size", "1"], "unrecognized arguments: --size 1"),
        (["info", "more"], "unrecognized arguments: more"),
    ],
)
def test_usage(command, arguments, said):
    out, err = command(*arguments).end(2)
    assert out == ""
    assert said in err
    assert f"python -m zmqstream {arguments[0]}" in err


def test_an_address_in_use(command, context):
    _, endpoint = bound_socket(context, zmq.PULL)
    said = f"python -m zmqstream pull: cannot bind {endpoint}: {os.strerror(errno.EADDRINUSE)}\n"
    assert command("pull", "--bind", endpoint).end(1) == ("", said)


def test_an_address_of_another_machine(command):
    said = "cannot bind tcp://no-such-interface:1: no such address or interface on this machine"
    assert said in command("pull", "--bind", "tcp://no-such-interface:1").end(1)[1]


def test_info(command):
    out, err = command("info").end()
    assert err == ""
    told = dict(re.split(r"  +", line, maxsplit=1) for line in out.splitlines())
    assert told["zmqstream"].startswith(f"{zmqstream.__version__}, ")
    assert told["Python"].startswith(sys.version.split()[0])
    assert told["pyzmq"] == f"{zmq.pyzmq_version()}, backend zmq.backend.cython"
    assert told["libzmq"].startswith(f"{zmq.zmq_version()}, ")
    assert "zmqstream.eventloop.EventLoop" in told["loop"]
    assert f"compiler {_core.build()['compiler']}" in told["build"]
    assert "platform" in told


def test_info_for_programs(command):
    facts = json.loads(command("info", "--json").end()[0])
    assert facts["zmqstream"]["version"] == zmqstream.__version__
    assert facts["build"] == _core.build()
    assert facts["build"]["counters"] == (_core.counters() is not None)
    assert facts["poller"] in ("epoll", "selectors")
    if sys.platform == "linux":
        with open("/proc/self/maps") as maps:
            files = {line.split()[-1] for line in maps if "libzmq" in line}
        found = Path(facts["libzmq"]["where"]).name
        assert any(Path(file).name == found for file in files) or found.startswith("_zmq.")


def test_info_tells_nothing_private(command, tmp_path):
    """A bug report is public."""
    package = Path(zmqstream.__file__).parent
    private = {"HOME": str(tmp_path), "USER": "somebody-private", "SECRET": "a-token"}
    places = (str(tmp_path), str(Path.home()), str(package), sys.prefix)
    said = "".join(command("info", env=private, cwd=tmp_path).end())
    for text in (*places, "somebody-private", "a-token"):
        assert text not in said


def test_info_of_what_cannot_be_found(monkeypatch):
    assert info.version_of("no-such-distribution") is None
    assert info.public_path(None) == "at an unknown path"
    assert info.public_path(Path("/usr/lib/libzmq.so.5")) == "/usr/lib/libzmq.so.5"

    def fail(name):
        raise OSError

    monkeypatch.setattr(ctypes, "CDLL", fail)  # a system without dladdr()
    if sys.platform != "win32":
        assert info.libzmq() is None


def test_info_where_the_poller_is_unknown(command):
    """What is wrong is told, and the rest, too."""
    environment = {"ZMQSTREAM_POLLER": "kqueue"}
    out = command("info", env=environment).end()[0]
    assert "poller       none: ZMQSTREAM_POLLER must be " in out
    assert "environment  ZMQSTREAM_POLLER kqueue\n" in out


@pytest.mark.parametrize(("wish", "kind"), [("", "adopted"), ("guest", "guest")])
def test_info_tells_how_loops_are_served(command, wish, kind):
    loops = json.loads(command("info", "--json", env={"ZMQSTREAM_LOOP": wish}).end()[0])["loop"]
    assert loops["zmqstream.run()"].endswith("EventLoop (own)")
    assert loops["asyncio.run()"].endswith(f"EventLoop ({kind})")


def test_the_overview_names_every_command(command):
    out = command().end()[0]
    for name, (_, text) in dispatch.COMMANDS.items():
        assert re.search(rf"^ +{name} +{re.escape(text)}$", out, re.MULTILINE), name


@pytest.mark.parametrize("name", TRAFFIC)
def test_examples_of_the_help_are_valid(name):
    """Each command line in it, and there are some."""
    parser = dispatch.parser_of(name)
    start = f"{_cli.prog()} {name} "
    lines = [
        line.partition(start)[2].partition(" | ")[0]
        for line in parser.format_help().splitlines()
        if start in line and "usage:" not in line
    ]
    assert len(lines) >= 2
    for line in lines:
        options = parser.parse_args(shlex.split(line.partition("   ")[0]))
        assert options.bind or options.connect


def test_help_in_a_process(command):
    assert "python -m zmqstream pub --bind tcp://" in command("pub", "--help").end()[0]


def test_a_command_is_imported_when_it_is_used():
    script = "import sys, zmqstream._cli.dispatch; print([m for m in sys.modules if '_cli.' in m])"
    assert run_script(script) == "['zmqstream._cli.dispatch']\n"


def test_the_script(tmp_path):
    """What pip makes of the entry point: the same, under its own name."""
    script = tmp_path / "zmqstream"
    script.write_text("from zmqstream._cli.dispatch import main\nmain()\n")
    tell = tmp_path / "tell.py"
    tell.write_text("import sys; print(*sys.orig_argv[1:], sep='|')\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

    def output(*arguments, **kwargs):
        return subprocess.run(
            [sys.executable, "-X", "utf8", *map(str, arguments)],
            env=environment, cwd=tmp_path, check=True, capture_output=True, text=True,
            timeout=TIMEOUT,
        ).stdout  # fmt: skip

    assert "usage: zmqstream [-h]" in output(script)
    assert output(script, "run", tell, "x") == f"-X|utf8|{tell}|x\n"
    assert output("zmqstream", "run", tell) == f"-X|utf8|{tell}\n"
