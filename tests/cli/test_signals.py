"""Ctrl-C and its like: commands end in good order, by the signal."""

import asyncio
import os
import signal

import pytest
import zmq

import zmqstream
from support.commands import ANY_PORT, bound_socket
from support.loops import run, until
from zmqstream import _cli
from zmqstream._cli import dispatch, peer
from zmqstream._cli import traffic as traffic_module


def traffic_of(name, socket):
    options = dispatch.parser_of(name).parse_args(["--bind", ANY_PORT])
    traffic_module.check(options)
    return peer.Traffic(zmqstream.ZMQStream(socket), options)


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
