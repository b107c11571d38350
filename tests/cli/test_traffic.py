"""push, pull, pub, sub and echo, nearly all as processes of their own, with real peers."""

import asyncio
import re
import signal
import subprocess

import pytest
import zmq

from support.commands import ANY_PORT, bound_socket, reserved_port
from zmqstream._cli import meter, peer

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
    with reserved_port() as endpoint:
        push = command("push", "--connect", endpoint, "--count", 3)
        assert push.process.stderr.readline().startswith(b"sent 3 messages")
        pull = context.socket(zmq.PULL)
        pull.bind(endpoint)
        assert [pull.recv() for _ in range(3)] == [b"x" * 16] * 3
        push.end()


def test_control_c_ends_the_wait_for_peers(command):
    with reserved_port() as endpoint:
        push = command("push", "--connect", endpoint, "--count", 1)
        assert push.process.stderr.readline().startswith(b"sent 1 message, 16 bytes")
        assert b"waiting for peers" in push.process.stderr.readline()
        push.signal()
        push.end(-signal.SIGINT)


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


# -- rates -----------------------------------------------------------------------------------------


def test_rates_of_nothing_are_told_once(monkeypatch):
    """A slow rate is not told as 0."""
    now = [100.0]
    monkeypatch.setattr(meter.time, "perf_counter", lambda: now[0])
    counted = [0, 0]
    measured = meter.Meter(lambda: tuple(counted))

    def rates(messages, seconds=1):
        now[0] += seconds
        counted[0] += messages
        counted[1] += 100_000 * messages
        return measured.rates()

    nothing = "0 messages/s, 0.0 MB/s"
    assert [rates(0) for _ in range(3)] == [nothing, "", ""]
    assert rates(2000) == "2,000 messages/s, 200.0 MB/s"
    assert [rates(0) for _ in range(3)] == [nothing, "", ""]
    assert rates(1, seconds=20) == "0.05 messages/s, 0.0 MB/s"
    assert [rates(0), rates(0)] == [nothing, ""]


def test_an_idle_command_says_so_once(command):
    pull = command("pull", "--bind", ANY_PORT, "--interval", 0.001, "--duration", 0.05)
    pull.bound()
    assert pull.end()[1].splitlines() == ["0 messages/s, 0.0 MB/s", "received 0 messages, 0 bytes"]
