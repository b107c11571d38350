"""push --stdin, what pull shows, and stdin and stdout that are closed, full or blocked."""

import asyncio
import errno
import os
import select
import signal
import subprocess
import sys

import pytest
import zmq

from support.commands import ANY_PORT, TIMEOUT, bound_socket
from zmqstream._cli import frames


def test_lines_are_messages(command, context):
    """Also where they are cut by a read, and where they are no text."""
    socket, endpoint = bound_socket(context, zmq.PULL)
    lines = [b"first", b"", b"\xff\r", *(b"%d" % i for i in range(30_000)), b"x" * 200_000, b"last"]
    push = command("push", "--connect", endpoint, "--stdin", stdin=subprocess.PIPE)
    read = [b""]

    async def both():
        loop = asyncio.get_running_loop()
        written = loop.run_in_executor(None, push.process.stdin.write, b"\n".join(lines))
        read[:] = await loop.run_in_executor(None, lambda: [socket.recv() for _ in lines[:-1]])
        await written

    asyncio.run(both())
    push.process.stdin.close()
    push.process.stdin = None
    assert [*read, socket.recv()] == lines
    assert push.end()[1].startswith(f"sent {len(lines):,} messages")


def test_a_line_is_sent_at_once(command, context):
    socket, endpoint = bound_socket(context, zmq.PULL)
    push = command("push", "--connect", endpoint, "--stdin", stdin=subprocess.PIPE)
    for word in (b"one", b"two"):
        push.stdin.write(word + b"\n")
        push.stdin.flush()
        assert socket.recv() == word
    push.signal()  # while it reads
    assert push.end(-signal.SIGINT)[1].startswith("sent 2 messages")


def test_a_file_as_stdin(command, context, tmp_path):
    socket, endpoint = bound_socket(context, zmq.PULL)
    (tmp_path / "lines").write_bytes(b"a\nb\nc\n")
    with open(tmp_path / "lines", "rb") as file:
        push = command("push", "--connect", endpoint, "--stdin", "--count", 2, stdin=file)
    assert [socket.recv(), socket.recv()] == [b"a", b"b"]
    assert push.end()[1].startswith("sent 2 messages")


def test_stdin_that_cannot_be_read(command):
    reader, writer = os.pipe()
    push = command("push", "--bind", ANY_PORT, "--stdin", "--quiet", stdin=writer)
    os.close(reader)
    os.close(writer)
    assert push.end(1)[1].endswith(f"push: cannot read stdin: {os.strerror(errno.EBADF)}\n")


def test_what_waits_is_bounded(command, context):
    """A peer takes nothing: soon, nothing is read from stdin any more."""
    socket = context.socket(zmq.PULL)
    socket.rcvbuf = 65_536  # else the system lets what it holds for the receiver grow, to 32 MiB
    socket.bind(ANY_PORT)
    endpoint = socket.last_endpoint.decode()
    push = command("push", "--connect", endpoint, "--stdin", stdin=subprocess.PIPE)
    push.stdin.write(b"there\n")
    push.stdin.flush()
    assert socket.recv() == b"there"
    descriptor, accepted, most = push.stdin.fileno(), 0, 64_000_000
    os.set_blocking(descriptor, False)
    while accepted < most and select.select([], [descriptor], [], 0.5)[1]:
        accepted += os.write(descriptor, (b"x" * 999 + b"\n") * 4)
    # 1,000 messages of 1,000 bytes on each side, what was read ahead, and what is under way:
    # the system's 4 MiB for the sender, and the receiver's above
    assert accepted < most / 4
    push.signal()
    push.end(-signal.SIGINT)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("text", "caf\u00e9\\xff\\n\\x1b[31m\\\\\\u202e\\u0085\\x00\t\\t\n"),
        ("hex", "636166c3a9ff0a1b5b33316d5ce280aec28500\t09\n"),
    ],
)
def test_messages_are_shown_safely(command, context, how, expected):
    socket, endpoint = bound_socket(context, zmq.PUSH)
    environment = {"PYTHONIOENCODING": "utf-8"}
    pull = command(
        "pull", "--connect", endpoint, "--print", how, "--count", 1, "--quiet", env=environment
    )
    nasty = "caf\u00e9".encode() + b"\xff\n\x1b[31m\\" + "\u202e\u0085\0".encode()
    socket.send_multipart([nasty, b"\t"])
    assert pull.end() == (expected, "")


def test_a_terminal_that_cannot_show_it(command, context):
    socket, endpoint = bound_socket(context, zmq.PUSH)
    environment = {"PYTHONIOENCODING": "ascii"}
    pull = command("pull", "--connect", endpoint, "--print", "--count", 1, env=environment)
    socket.send("\u20ac".encode())
    assert pull.end()[0] == "\\u20ac\n"


def test_escapes_are_ascii_and_can_be_undone():
    for code in (*range(0x250), 0x202E, 0xFEFF, 0x1F600, 0xE0001, 0x10FFFF):
        shown = frames.text(chr(code).encode())
        assert shown.isprintable(), code
        if shown != chr(code):
            assert shown.startswith("\\"), code
            assert shown.encode("ascii").decode("unicode_escape") == chr(code)


def test_a_closed_pipe(command, context):
    """As of `| head`: it ends as other programs do, and without a word."""
    socket, endpoint = bound_socket(context, zmq.PUSH)
    pull = command("pull", "--connect", endpoint, "--print")
    socket.send(b"seen")
    assert pull.stdout.readline() == b"seen\n"
    pull.stdout.close()
    pull.process.stdout = None
    socket.send(b"unseen")
    assert pull.end(-signal.SIGPIPE) == ("", "")


def test_a_closed_pipe_for_the_rates(command, context):
    """stderr goes the same way: 2>&1 | head -1."""
    pull = command("pull", "--bind", ANY_PORT, "--interval", 0.01, stdout=subprocess.DEVNULL)
    socket = context.socket(zmq.PUSH)
    socket.connect(pull.bound())
    pull.process.stderr.close()
    socket.send(b"x")  # a rate is written for each message, but not for long without any
    assert pull.process.wait(TIMEOUT) == -signal.SIGPIPE


@pytest.mark.skipif(os.name == "nt", reason="a shell closes them")
def test_stdin_and_stdout_that_were_closed():
    for arguments in (["info"], ["push", "--bind", ANY_PORT, "--stdin", "--quiet"]):
        command = ["sh", "-c", 'exec "$@" <&- >&-', "sh", sys.executable, "-m", "zmqstream"]
        done = subprocess.run(
            [*command, *arguments], timeout=TIMEOUT, stderr=subprocess.PIPE, check=False
        )
        assert (done.returncode, done.stderr) == (0, b"")


def test_a_full_disk(command, context):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    with open("/dev/full", "wb") as full:
        info = command("info", stdout=full)
        socket, endpoint = bound_socket(context, zmq.PUSH)
        pull = command("pull", "--connect", endpoint, "--print", stdout=full)
    socket.send(b"something")
    said = f"cannot write to stdout: {os.strerror(errno.ENOSPC)}\n"
    assert info.end(1)[1].endswith(said)
    assert pull.end(1)[1].endswith(said)
