"""allow_top(), and `zmqstream top`, which shows what such a program says."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
import zmq

import zmqstream
from support.children import fork
from support.commands import TIMEOUT
from zmqstream import _cli, _dump, _top
from zmqstream._cli import dispatch, top

pytestmark = pytest.mark.ours
unix = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="Unix sockets")
root = pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0, reason="needs root, to be another user"
)

PROGRAM = """\
import sys, zmq, zmqstream

zmqstream.allow_top()

async def main():
    with zmq.Context() as context:
        stream = zmqstream.ZMQStream(context.socket(zmq.PUSH))
        stream.bind("inproc://a")
        stream.send(b"12345")
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        stream.close(linger=0)

import asyncio, logging
logging.disable()
zmqstream.run(main())
"""


@pytest.fixture
def folder(monkeypatch):
    """The folder for temporary files, with a path that is short enough for a socket."""
    path = Path(tempfile.mkdtemp(prefix="zt", dir="/tmp"))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(path))
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    yield path
    if _top._server is not None:
        _top._server.close()
        _top._server.thread.join(TIMEOUT)
        assert not _top._server.thread.is_alive()
        _top._server = None
    shutil.rmtree(path)


@pytest.fixture
def served(folder):
    """The path of this process's socket."""
    zmqstream.allow_top()
    return _top._server.path


@contextlib.contextmanager
def program(**kwargs):
    """Another process that allows it, until a line comes."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **kwargs,
    ) as process:  # fmt: skip
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


# -- who may look ----------------------------------------------------------------------------------


@unix
class TestPrivate:
    def test_the_socket_and_its_folder(self, served, folder):
        assert served.parent == folder / f"zmqstream-{os.getuid()}"
        assert (mode(served.parent), mode(served)) == (0o700, 0o600)
        assert stat.S_ISSOCK(os.stat(served).st_mode)

    def test_whatever_the_umask(self, folder, request):
        before = os.umask(0)
        try:
            request.getfixturevalue("served")
        finally:
            os.umask(before)
        assert (mode(_top._server.path.parent), mode(_top._server.path)) == (0o700, 0o600)

    def test_the_runtime_folder_comes_first(self, folder, monkeypatch, request):
        (folder / "run").mkdir()
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder / "run"))
        assert request.getfixturevalue("served").parent == folder / "run" / "zmqstream"
        monkeypatch.delenv("XDG_RUNTIME_DIR")
        assert list(top.programs(None)) == []  # another one was chosen
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder / "none"))
        assert [path.name for path in _top.folders()] == [f"zmqstream-{os.getuid()}"]

    @pytest.mark.parametrize("bits", [0o701, 0o710, 0o755, 0o777])
    def test_a_folder_that_others_may_use(self, folder, bits):
        (folder / f"zmqstream-{os.getuid()}").mkdir()
        (folder / f"zmqstream-{os.getuid()}").chmod(bits)
        with pytest.raises(PermissionError, match="belongs to you and has mode 700"):
            zmqstream.allow_top()
        with pytest.raises(_cli.Failure, match="belongs to you and has mode 700"):
            top.chosen(None)
        assert _top._server is None

    def test_a_link_in_its_place(self, folder):
        (folder / "elsewhere").mkdir(mode=0o700)
        (folder / f"zmqstream-{os.getuid()}").symlink_to(folder / "elsewhere")
        with pytest.raises(PermissionError, match="belongs to you"):
            zmqstream.allow_top()
        assert list((folder / "elsewhere").iterdir()) == []

    @root
    def test_a_folder_of_another_user(self, folder):
        (folder / f"zmqstream-{os.getuid()}").mkdir(mode=0o700)
        os.chown(folder / f"zmqstream-{os.getuid()}", 65534, 65534)
        with pytest.raises(PermissionError, match="belongs to you"):
            zmqstream.allow_top()

    @root
    def test_another_user_cannot_connect(self, served, folder):
        folder.chmod(0o755)  # as /tmp: others may pass
        connect = f"import socket; socket.socket(socket.AF_UNIX).connect({str(served)!r})"
        command = ["/usr/bin/env", "python3", "-c", connect]
        assert subprocess.run(command, check=False, timeout=TIMEOUT).returncode == 0
        done = subprocess.run(
            command, user=65534, group=65534, extra_groups=[], cwd="/",
            capture_output=True, text=True, check=False, timeout=TIMEOUT,
        )  # fmt: skip
        assert done.stderr.endswith("PermissionError: [Errno 13] Permission denied\n")


def test_no_unix_sockets(monkeypatch, capsys):
    monkeypatch.delattr(socket, "AF_UNIX", raising=False)
    with pytest.raises(
        NotImplementedError, match=r"needs Unix sockets, .* on \w+; zmqstream\.dump"
    ):
        zmqstream.allow_top()
    with pytest.raises(SystemExit) as left:
        dispatch.main(["top"])
    assert left.value.code == 1
    assert "needs Unix sockets" in capsys.readouterr().err


# -- what a program says ---------------------------------------------------------------------------


@unix
def test_streams_of_a_running_loop(backend, served):
    sender, receiver = map(backend.stream, backend.pair())
    got = backend.recorder()
    receiver.on_recv(got.append)
    sender.send(b"12345")
    backend.wait(got)

    async def look():
        return await asyncio.get_running_loop().run_in_executor(None, top.ask, served)

    document = backend.run(look())
    (loop,) = document["loops"]
    assert loop["table"].title.startswith(f"2 streams on {repr(backend.loop)[:8]}")
    assert loop["table"].rows[0].counts.keys() == _dump.COUNTS.keys()
    assert sorted((r.counts["in"], r.counts["out"]) for r in loop["table"].rows) == [(0, 1), (1, 0)]
    assert {row.receives for row in loop["table"].rows} == {"yes", "no"}
    assert loop["running"]
    assert 0 <= loop["lag"] < TIMEOUT


@unix
def test_a_stalled_loop(backend, served):
    """The answer comes while the loop does nothing but wait for it."""
    backend.stream(backend.socket(zmq.PULL))

    async def stalled():
        first = top.ask(served)
        second = top.ask(served)
        return first, second

    for document in backend.run(stalled()):
        (loop,) = document["loops"]
        assert loop["lag"] >= _top.PATIENCE
        assert "late by" in top.lateness(loop)
    assert loop["lag"] >= 2 * _top.PATIENCE  # it is the same call that waits


@unix
def test_a_loop_that_does_not_run(backend, served):
    backend.stream(backend.socket(zmq.PULL))
    (loop,) = top.ask(served)["loops"]
    assert (loop["running"], loop["lag"]) == (False, None)
    assert top.lateness(loop) == "not running"


@unix
def test_once_is_enough(served):
    zmqstream.allow_top()
    assert _top._server.path == served
    assert len(list(served.parent.iterdir())) == 1


@unix
@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
def test_a_forked_child_needs_a_call_of_its_own(served):
    def child():
        nothing = _top._server
        zmqstream.allow_top()
        document = top.ask(_top._server.path)
        _top._server.close()
        return nothing, document["pid"], os.getpid()

    nothing, said, pid = fork(child).result()
    assert nothing is None
    assert said == pid != os.getpid()
    assert top.ask(served)["pid"] == os.getpid()
    assert list(served.parent.iterdir()) == [served]


# -- which program ---------------------------------------------------------------------------------


@unix
class TestChosen:
    def test_none(self, folder):
        with pytest.raises(_cli.Failure, match=r"no program of yours that has called .*allow_top"):
            top.chosen(None)
        with pytest.raises(_cli.Failure, match="no process 1 of yours"):
            top.chosen(1)

    def test_the_only_one(self, served):
        assert top.chosen(None)[0] == top.chosen(os.getpid())[0] == served

    def test_several(self, served):
        other = _top.Server()
        try:
            with pytest.raises(_cli.Failure, match="there are several programs") as failure:
                top.chosen(None)
            assert str(failure.value).count(f"\n    {os.getpid()} ") == 2
            assert failure.value.code == 2
        finally:
            other.close()

    def test_one_that_was_killed(self, folder):
        with program() as process:
            (path,) = folder.glob("zmqstream-*/*")
            assert path.name.startswith(f"{process.pid}-")
        process.wait()
        assert path.exists()
        assert list(top.programs(None)) == []
        assert not path.exists()

    def test_one_that_is_stopped(self, served, monkeypatch):
        monkeypatch.setattr(top, "READ_LIMIT", 0.01)
        monkeypatch.setattr(_top.Server, "document", lambda self: release.wait(TIMEOUT))
        release = threading.Event()
        try:
            with pytest.raises(_cli.Failure, match=f"process {os.getpid()} does not answer"):
                top.chosen(os.getpid())
            first = {"pid": 1, "program": "x", "time": 0, "loops": []}
            documents = top.watch(served, first, 0)
            next(documents)
            assert "it does not answer" in top.text_of(*next(documents))
        finally:
            release.set()


# -- the command -----------------------------------------------------------------------------------


def a_document(seconds, count):
    counts = dict.fromkeys(_dump.COUNTS, 0) | {"in": count}
    row = _dump.Row("PULL", "tcp://a", "armed", "yes", counts, 7)
    table = _dump.Table("1 stream on x, own, epoll", [row], {"polls": 5})
    loop = {"table": table, "running": True, "lag": 0.0021}
    return {"pid": 5, "program": "x.py", "time": seconds, "loops": [loop]}


def test_rates():
    before, after = a_document(10, 1000), a_document(12, 6000)
    (first,), (second,) = top.tables_of(before, None), top.tables_of(after, before)
    assert first.rows[0].counts["in/s"] == 0
    assert (second.rows[0].counts["in/s"], second.rows[0].counts["in"]) == (2500, 6000)
    (renewed,) = top.tables_of(a_document(14, 0), after)  # another stream, at the same address
    assert renewed.rows[0].counts["in/s"] == 0
    assert second.title.endswith(", late by 2.1 ms")
    assert [line.split() for line in _dump.lines_of(second)][1:3] == [
        ["socket", "endpoint", "state", "receives", "in/s", "out/s", *_dump.COUNTS],
        ["PULL", "tcp://a", "armed", "yes", "2,500", "0", "6,000", *"0" * 10],
    ]


def test_what_does_not_fit_is_left_out():
    console = pytest.importorskip("rich.console")
    (table,) = top.tables_of(a_document(1, 1000), None)
    for width in (60, 90, 200):
        shown = console.Console(width=width)
        with shown.capture() as capture:
            shown.print(top.picture(a_document(1, 1000), [table], width))
        headings = next(line for line in capture.get().splitlines() if "endpoint" in line).split()
        assert (
            headings
            == ["socket", "endpoint", "state", "receives", "in/s", "out/s", *_dump.COUNTS][
                : len(headings)
            ]
        )
        assert "tcp://a" in capture.get()
        assert ("repaired" in headings) == (width == 200)


@unix
class TestCommand:
    def test_once(self, folder, command):
        with program() as process:
            out, err = command("top", process.pid, "--once").end()
        assert err == ""
        assert out.startswith(f"{process.pid} -c, ")
        assert re.search(r"^PUSH +inproc://a +\w+ +no ", out, re.M)
        assert "queued" in out

    def test_until_the_program_ends(self, folder, command):
        with program() as process:
            table = command("top", "--interval", "0.01")
            lines = iter(table.stdout.readline, b"")
            for _ in range(2):
                assert next(line for line in lines if line.startswith(b"PUSH"))
            process.communicate("\n", timeout=TIMEOUT)
            assert process.returncode == 0
            out, err = table.end()
        assert err == f"{process.pid} -c has ended\n"
        assert list(folder.glob("zmqstream-*/*")) == []

    def test_a_signal_ends_it(self, folder, command):
        with program():
            table = command("top", "--interval", "3600")
            table.stdout.readline()
            table.signal()
            assert table.end(-signal.SIGINT)[1] == ""

    def test_on_a_terminal(self, folder, command):
        pytest.importorskip("rich")
        os_pty = pytest.importorskip("pty")
        ours, theirs = os_pty.openpty()
        with program() as process, open(ours, "rb", 0) as terminal:
            table = command(
                "top", "--interval", "0.01", stdout=theirs, env={"TERM": "xterm", "COLUMNS": "200"}
            )
            os.close(theirs)
            shown = b""
            while b"inproc://a" not in shown:
                shown += terminal.read(4096)
            assert b"\x1b[?1049h" in shown  # a screen of its own
            process.communicate("\n", timeout=TIMEOUT)
            with contextlib.suppress(OSError):  # EIO: nobody has it open any more
                while data := terminal.read(4096):
                    shown += data
            assert b"\x1b[?1049l" in shown
            assert table.end()[1].endswith("has ended\n")

    def test_usage(self, command):
        assert "0.01 to 3600 seconds" in command("top", "--interval", "0").end(2)[1]
