"""python -m zmqstream: each command as a process of its own, with real peers."""

import asyncio
import ctypes
import errno
import json
import os
import re
import select
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import zmq
from helpers import run, run_script, until

import zmqstream
from zmqstream import _cli, _core
from zmqstream._cli import frames, info, peer
from zmqstream._cli import traffic as traffic_module

TIMEOUT = 30  # seconds
ANY_PORT = "tcp://127.0.0.1:*"
TRAFFIC = ("push", "pull", "pub", "sub", "echo")


class Command:
    """`python -m zmqstream` with these arguments, while it runs."""

    def __init__(self, *arguments, **kwargs):
        kwargs["env"] = {**os.environ, **kwargs.pop("env", {})}
        kwargs["env"].pop("PYTHONUNBUFFERED", None)  # there, Python ends a write with a signal
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "zmqstream", *map(str, arguments)],
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **kwargs},
            stderr=subprocess.PIPE,
        )
        self.stdin, self.stdout = self.process.stdin, self.process.stdout

    def bound(self):
        """The endpoint that was chosen; the first thing that is said."""
        line = self.process.stderr.readline().decode()
        assert line.startswith("bound to "), line + self.process.stderr.read().decode()
        return line.split()[-1]

    def signal(self, number=signal.SIGINT):
        self.process.send_signal(number)

    def end(self, code=0):
        """Wait for its end. Returns what it wrote last: to stdout, and to stderr."""
        out, err = self.process.communicate(timeout=TIMEOUT)
        assert self.process.returncode == code, err.decode()
        assert b"Traceback" not in err, err.decode()
        return (out or b"").decode(), err.decode()


@pytest.fixture
def command():
    started = []

    def start(*arguments, **kwargs):
        started.append(Command(*arguments, **kwargs))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()
        for file in (each.process.stdin, each.process.stdout, each.process.stderr):
            if file is not None and not isinstance(file, int):
                file.close()


@pytest.fixture
def context(context):
    """Its sockets wait for ever for nothing."""
    context.linger = 0
    context.rcvtimeo = context.sndtimeo = TIMEOUT * 1000
    return context


def bound_socket(context, kind):
    socket = context.socket(kind)
    socket.bind(ANY_PORT)
    return socket, socket.last_endpoint.decode()


# -- push and pull ---------------------------------------------------------------------------------


def test_push_connects(command, context):
    socket, endpoint = bound_socket(context, zmq.PULL)
    push = command("push", "--connect", endpoint, "--count", 3, "--size", 5)
    assert [socket.recv_multipart() for _ in range(3)] == [[b"xxxxx"]] * 3
    out, err = push.end()
    assert out == ""
    assert re.fullmatch(r"sent 3 messages, 15 bytes in .* s: .* messages/s, .* MB/s\n", err)


def test_pull_binds(command, context):
    pull = command("pull", "--bind", ANY_PORT, "--count", 2, "--print")
    socket = context.socket(zmq.PUSH)
    socket.connect(pull.bound())
    for message in ([b"one", b"two"], [b""], [b"one too many"]):
        socket.send_multipart(message)
    out, err = pull.end()
    assert out == "one\ttwo\n\n"
    assert err.startswith("received 2 messages, 6 bytes in ")


def test_several_endpoints(command, context):
    one, endpoint = bound_socket(context, zmq.PUSH)
    pull = command("pull", "--bind", ANY_PORT, "--connect", endpoint, "--count", 2, "--print")
    two = context.socket(zmq.PUSH)
    two.connect(pull.bound())
    one.send(b"1")
    two.send(b"2")
    assert sorted(pull.end()[0].split()) == ["1", "2"]


def test_from_push_to_pull(command):
    """More than libzmq holds: the sender is as fast as the receiver, and nothing is lost."""
    pull = command("pull", "--bind", ANY_PORT, "--count", 50_000, "--interval", 0.01)
    push = command("push", "--connect", pull.bound(), "--count", 50_000, "--size", 100, "--quiet")
    assert push.end() == ("", "")
    *rates, total = pull.end()[1].splitlines()
    assert rates
    assert all(re.fullmatch(r"[\d,]+ messages/s, [\d,.]+ MB/s", line) for line in rates)
    assert total.startswith("received 50,000 messages, 5.0 MB in ")


def test_big_messages(command, context):
    """One buffer is all of them: they are not copied."""
    socket, endpoint = bound_socket(context, zmq.PULL)
    push = command("push", "--connect", endpoint, "--count", 20, "--size", 10_000_000, "--quiet")
    assert [len(socket.recv(copy=False)) for _ in range(20)] == [10_000_000] * 20
    assert push.end() == ("", "")


def test_it_waits_until_peers_have_what_was_sent(command, context):
    """Which may be long after libzmq has taken it, and the total was told."""
    socket, endpoint = bound_socket(context, zmq.PULL)
    socket.unbind(endpoint)
    push = command("push", "--connect", endpoint, "--count", 3)
    assert push.process.stderr.readline().startswith(b"sent 3 messages")
    socket.bind(endpoint)
    assert [socket.recv() for _ in range(3)] == [b"x" * 16] * 3
    push.end()


def test_control_c_ends_the_wait_for_peers(command, context):
    socket, endpoint = bound_socket(context, zmq.PULL)
    socket.close()
    push = command("push", "--connect", endpoint, "--count", 1)
    assert push.process.stderr.readline().startswith(b"sent 1 message, 16 bytes")
    assert b"waiting for peers" in push.process.stderr.readline()
    push.signal()
    push.end(-signal.SIGINT)


# -- stdin and stdout ------------------------------------------------------------------------------


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


def test_a_closed_pipe_for_the_rates(command):
    """stderr goes the same way: 2>&1 | head -1."""
    pull = command("pull", "--bind", ANY_PORT, "--interval", 0.01, stdout=subprocess.DEVNULL)
    pull.bound()
    pull.process.stderr.close()
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


# -- signals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_good_order(command, context, number):
    """With the total, and it dies of the signal, so that a shell's loop ends, too."""
    socket, endpoint = bound_socket(context, zmq.PUSH)
    pull = command("pull", "--connect", endpoint, "--print")
    for word in (b"one", b"two"):
        socket.send(word)
        assert pull.stdout.readline() == word + b"\n"
    pull.signal(number)
    assert pull.end(-number)[1].startswith("received 2 messages")


def test_a_signal_ends_a_sender(command, context):
    """What it has counted arrives, and no more."""
    socket, endpoint = bound_socket(context, zmq.PULL)
    ends = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    push = command("push", "--connect", endpoint, "--interval", 0)
    got = 0
    for _ in range(2000):
        assert socket.recv() == b"x" * 16
        got += 1
    push.signal()
    # libzmq may disconnect before all is read, but tells of it after the last message came
    while not ends.poll(0) or socket.poll(0):
        if socket.poll(10):
            socket.recv()
            got += 1
    socket.disable_monitor()
    assert push.end(-signal.SIGINT)[1].startswith(f"sent {got:,} messages")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="pipes of Unix")
def test_a_signal_while_stdout_is_blocked(command, context):
    """Its reader sleeps: that is no reason not to end."""
    socket, endpoint = bound_socket(context, zmq.PUSH)
    reader, writer = os.pipe()
    pull = command("pull", "--connect", endpoint, "--print", stdout=writer)
    os.close(writer)
    socket.send(b"x" * 1_000_000)  # more than a pipe holds
    assert os.read(reader, 1) == b"x"  # it writes, and cannot end that
    pull.signal()
    assert pull.end(-signal.SIGINT)[1].startswith("received 1 message, 1.0 MB")
    os.close(reader)


def test_a_second_signal_ends_it_at_once(command, context):
    """What is under way gets a second; who does not want to wait for that need not."""
    socket, endpoint = bound_socket(context, zmq.PULL)
    socket.unbind(endpoint)
    push = command("push", "--connect", endpoint)
    push.process.stderr.readline()  # rates: it has sent what libzmq takes
    push.signal()
    assert push.process.stderr.readline().startswith(b"sent 1,000 messages")
    push.signal(signal.SIGTERM)
    push.end(-signal.SIGTERM)


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
def test_a_signal_that_was_ignored_stays_ignored(command, context):
    """nohup, and `&` in a shell's script."""
    socket, endpoint = bound_socket(context, zmq.PUSH)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        pull = command("pull", "--connect", endpoint, "--print", "--count", 2)
    finally:
        signal.signal(signal.SIGINT, before)
    socket.send(b"one")
    assert pull.stdout.readline() == b"one\n"
    pull.signal()
    socket.send(b"two")
    assert pull.end()[0] == "two\n"


@pytest.fixture
def signals():
    """Commands change the handlers of their processes, and do not put them back."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def traffic_of(name, socket):
    options = _cli.parser_of(name).parse_args(["--bind", ANY_PORT])
    traffic_module.check(options)
    return peer.Traffic(zmqstream.ZMQStream(socket), options)


def test_what_is_handed_over_at_the_end_is_counted(context, signals):
    socket, other = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    socket.sndhwm = other.rcvhwm = 1
    socket.bind("inproc://count")
    other.connect("inproc://count")

    async def main():
        traffic = traffic_of("push", socket)
        sending = asyncio.ensure_future(traffic.send())
        await until(lambda: traffic.stream.stats().messages_out > 1)
        sending.cancel()
        before = traffic.stream.stats().messages_out
        other.recv()  # makes room
        traffic.close()
        return before, traffic.meter.messages

    before, counted = run(main)
    got = 1
    while other.poll(0):
        other.recv()
        got += 1
    assert counted == got > before


def test_what_was_received_at_the_end_is_counted(context, signals):
    async def main():
        traffic = traffic_of("pull", context.socket(zmq.PULL))
        traffic.received([b"a", b"message"])
        traffic.close()
        return traffic.meter.messages, traffic.meter.bytes

    assert run(main) == (1, 8)


@pytest.mark.parametrize(("number", "linger"), [(0, None), (signal.SIGINT, 1000)])
def test_what_is_under_way_gets_time(context, signals, number, linger):
    async def main():
        traffic = traffic_of("push", context.socket(zmq.PUSH))
        traffic.ending.signal = number
        close, lingers = traffic.stream.close, []
        traffic.stream.close = lambda linger: (lingers.append(linger), close(linger))
        traffic.close()
        return lingers

    assert run(main) == [linger]


def test_the_second_signal_is_not_waited_for(context, signals, monkeypatch):
    deaths = []
    monkeypatch.setattr(_cli, "die_of", deaths.append)

    async def main():
        traffic = traffic_of("pull", context.socket(zmq.PULL))
        signal.raise_signal(signal.SIGTERM)
        assert deaths == []
        signal.raise_signal(signal.SIGINT)
        await traffic.ending.wait(traffic.receive())
        traffic.close()

    run(main)
    assert deaths == [signal.SIGINT]


# -- pub and sub -----------------------------------------------------------------------------------


def test_pub_waits_for_subscribers(command, context):
    pub = command("pub", "--bind", ANY_PORT, "--wait", 2, "--count", 100, "--topic", "weather")
    endpoint = pub.bound()
    sockets = [context.socket(zmq.SUB) for _ in range(2)]
    for socket in sockets:
        socket.subscribe("wea")
        socket.connect(endpoint)
    for socket in sockets:
        assert [socket.recv_multipart() for _ in range(100)] == [[b"weather", b"x" * 16]] * 100
    assert pub.end()[1].startswith("sent 100 messages")


def test_pub_without_subscribers(command):
    """Nobody misses it: it does not wait."""
    pub = command("pub", "--bind", ANY_PORT, "--count", 5000)
    pub.bound()
    assert pub.end()[1].startswith("sent 5,000 messages")


def test_sub_to_topics(command, context):
    socket, endpoint = bound_socket(context, zmq.XPUB)
    sub = command(
        "sub", "--connect", endpoint, "--topic", "a", "--topic", "b", "--print", "--count", 2
    )
    assert sorted(socket.recv() for _ in range(2)) == [b"\1a", b"\1b"]
    for message in ([b"b", b"1"], [b"c", b"2"], [b"all", b"3"]):
        socket.send_multipart(message)
    assert sub.end()[0] == "b\t1\nall\t3\n"


def test_from_pub_to_sub(command):
    sub = command("sub", "--bind", ANY_PORT, "--print", "--count", 3)
    pub = command("pub", "--connect", sub.bound(), "--wait", "--stdin", stdin=subprocess.PIPE)
    pub.stdin.write(b"a\nb\nc\n")
    pub.stdin.close()
    pub.process.stdin = None
    assert sub.end()[0] == "a\nb\nc\n"
    pub.end()


# -- echo ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [zmq.REQ, zmq.DEALER])
def test_echo(command, context, kind):
    echo = command("echo", "--bind", ANY_PORT, "--count", 2)
    socket = context.socket(kind)
    socket.connect(echo.bound())
    for message in ([b"one"], [b"", b"two", b"frames"]):
        socket.send_multipart(message)
        assert socket.recv_multipart() == message
    said = echo.end()[1]  # a REQ sends an empty frame before its own
    assert said.startswith("received 2 messages, 12 bytes in ")


def test_echo_until_control_c(command, context):
    socket, endpoint = bound_socket(context, zmq.DEALER)
    echo = command("echo", "--connect", endpoint)
    for i in range(3000):
        socket.send(b"%d" % i)
    assert [socket.recv() for _ in range(3000)] == [b"%d" % i for i in range(3000)]
    echo.signal()
    assert "received 3,000 messages" in echo.end(-signal.SIGINT)[1]


# -- time ------------------------------------------------------------------------------------------


def test_a_duration(command):
    pull = command("pull", "--bind", ANY_PORT, "--duration", 0.01)
    pull.bound()
    assert pull.end()[1] == "received 0 messages, 0 bytes\n"


def test_a_duration_that_was_too_short(command):
    pull = command("pull", "--bind", ANY_PORT, "--duration", 0.01, "--count", 5, "--quiet")
    assert pull.end(1)[1] == "python -m zmqstream pull: 0 of 5 messages in 0.01 s\n"


def test_a_rate(monkeypatch):
    """On time where it can be, and what was missed for long is not made up for."""
    now = [100.0]

    async def sleep(seconds):
        now[0] += seconds

    monkeypatch.setattr(peer.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(peer.asyncio, "sleep", sleep)

    async def main():
        pace = peer.Pace(1000)
        assert await pace.take(1) == 1
        now[0] += 0.0101
        assert await pace.take(1000) == 10
        for _ in range(5):
            assert await pace.take(1000) == 1
        now[0] += 60
        assert await pace.take(1000) == 51
        assert await peer.Pace(None).take(1000) == 1000

    asyncio.run(main())


def test_a_rate_that_is_kept(command, context):
    socket, endpoint = bound_socket(context, zmq.PULL)
    push = command("push", "--connect", endpoint, "--count", 200, "--rate", 1000)
    assert len([socket.recv() for _ in range(200)]) == 200
    seconds = float(re.search(r" in ([\d.]+) s", push.end()[1])[1])
    assert seconds >= 0.199 - peer.BURST - 0.01  # it is told in hundredths


# -- what is wrong ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["push"], "give it a --bind or a --connect ENDPOINT"),
        (["push", "--bind"], "--bind: expected one argument"),
        (["pull", "--bind", "nonsense"], "cannot bind nonsense: no endpoint; one is as tcp://"),
        (["pull", "--connect", "tcp:/x:1"], "cannot connect tcp:/x:1: no endpoint"),
        (["pull", "--connect", "tcp://127.0.0.1"], "cannot connect tcp://127.0.0.1: no endpoint"),
        (["pull", "--connect", "xyz://a"], "cannot connect xyz://a: Protocol not supported"),
        (["pull", "--bind", "inproc://a"], "inproc://a: an inproc endpoint reaches nobody"),
        (["pull", "--bind", ANY_PORT, "--count", "0"], "'0' is not a whole number of at least 1"),
        (["push", "--bind", ANY_PORT, "--size", "1.5"], "'1.5' is not a whole number"),
        (["push", "--bind", ANY_PORT, "--rate", "nan"], "'nan' is not a number greater than 0"),
        (["push", "--bind", ANY_PORT, "--rate", "inf"], "'inf' is not a number greater than 0"),
        (["push", "--bind", ANY_PORT, "--duration", "-1"], "not a number greater than 0"),
        (["push", "--bind", ANY_PORT, "--stdin", "--size", "5"], "not with --stdin"),
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


# -- info ------------------------------------------------------------------------------------------


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
    assert info.shown(None) == "in a place that cannot be found"
    assert info.shown(Path("/usr/lib/libzmq.so.5")) == "/usr/lib/libzmq.so.5"

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


# -- the overview, and help ------------------------------------------------------------------------


def test_the_overview_names_every_command(command):
    out = command().end()[0]
    for name, (_, text) in _cli.COMMANDS.items():
        assert re.search(rf"^ +{name} +{re.escape(text)}$", out, re.MULTILINE), name


@pytest.mark.parametrize("name", TRAFFIC)
def test_examples_of_the_help_are_valid(name):
    """Each command line in it, and there are some."""
    parser = _cli.parser_of(name)
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
    script = "import sys, zmqstream._cli; print([m for m in sys.modules if '_cli.' in m])"
    assert run_script(script) == "[]\n"


def test_the_script(tmp_path):
    """What pip makes of the entry point: the same, under its own name."""
    script = tmp_path / "zmqstream"
    script.write_text("from zmqstream._cli import main\nmain()\n")
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
