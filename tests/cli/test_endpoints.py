"""Endpoints that libzmq accepts but no user means are refused. All others reach libzmq."""

import os
import socket

import pytest
import zmq

from support.commands import ANY_PORT
from zmqstream._cli import Failure, endpoints

BOTH = ("bind", "connect")


def wrong(verb, endpoint):
    """The message, which is one line."""
    with pytest.raises(Failure) as info:
        endpoints.check(verb, endpoint)
    assert info.value.code == 2
    said = str(info.value)
    assert said.startswith(f"cannot {verb} ")
    assert said.isprintable()
    return said


@pytest.mark.parametrize("verb", BOTH)
@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        ("", "not an endpoint; examples are tcp://"),
        ("5555", "not an endpoint; examples are tcp://"),
        ("127.0.0.1:5555", "not an endpoint; examples are tcp://"),
        ("://127.0.0.1:5555", "not an endpoint; examples are tcp://"),
        ("tcp:127.0.0.1:5555", "not an endpoint; examples are tcp://"),
        ("tcp//127.0.0.1:5555", "not an endpoint; examples are tcp://"),
        ("tcp://", "not an endpoint; examples are tcp://"),
        ("ipc://", "not an endpoint; examples are tcp://"),
        ("inproc://a", "no other process can reach it"),
        (" tcp://127.0.0.1:5555", "begins or ends with white space"),
        ("tcp://127.0.0.1:5555 ", "begins or ends with white space"),
        ("tcp://127.0.0.1:5555\n", "begins or ends with white space"),
        ("ipc:///tmp/a ", "begins or ends with white space"),
        ("tcp://127.0.0.1", "the port is missing"),
        ("tcp://127.0.0.1:", "the port is missing"),
        ("tcp://[::1]", "the port is missing"),
        ("tcp://:", "the port is missing"),
        ("tcp://*", "the port is missing"),
        ("tcp://:5555", "the host is missing"),
        ("tcp://127.0.0.1:65536", "'65536' is not a port from 1 to 65535"),
        ("tcp://127.0.0.1:99999", "'99999' is not a port"),
        ("tcp://127.0.0.1:4294967377", "'4294967377' is not a port"),
        (f"tcp://127.0.0.1:{'9' * 5000}", "is not a port"),
        ("tcp://127.0.0.1:00", "'00' is not a port"),
        ("tcp://127.0.0.1:-1", "'-1' is not a port"),
        ("tcp://127.0.0.1:+5555", "'+5555' is not a port"),
        ("tcp://127.0.0.1: 5555", "' 5555' is not a port"),
        ("tcp://127.0.0.1:5555a", "'5555a' is not a port"),
        ("tcp://127.0.0.1:0x15", "'0x15' is not a port"),
        ("tcp://127.0.0.1:5555/", "'5555/' is not a port"),
        ("tcp://127.0.0.1:5555/path", "'5555/path' is not a port"),
        ("tcp://127.0.0.1:*5", "'*5' is not a port"),
        ("tcp://127.0.0.1:http", "'http' is not a port"),
        ("tcp://127.0.0.1:\u0665\u0665", "is not a port"),
        ("tcp:// 127.0.0.1:5555", "' 127.0.0.1' is not a host"),
        ("tcp://127.0.0.1 :5555", "'127.0.0.1 ' is not a host"),
        ("tcp://a\nb:5555", "is not a host"),
        ("tcp:///127.0.0.1:5555", "'/127.0.0.1' is not a host"),
        ("tcp://user@127.0.0.1:5555", "'user@127.0.0.1' is not a host"),
        ("tcp://127.0.0.1:5555:5556", "'127.0.0.1:5555' is not a host"),
        ("tcp://127.0.0.1:5555,tcp://127.0.0.1:5556", "is not a host"),
        ("tcp://::1:5555", "'::1' is not a host; an IPv6 address needs brackets"),
        ("tcp://[::1:5555", "'[::1' is not a host"),
        ("tcp://[]:5555", "[] is not an IPv6 address"),
        ("tcp://[*]:5555", "[*] is not an IPv6 address"),
        ("tcp://[127.0.0.1]:5555", "[127.0.0.1] is not an IPv6 address"),
        ("tcp://256.1.1.1:5555", "256.1.1.1 is not an IPv4 address"),
        ("tcp://1.2.3:5555", "1.2.3 is not an IPv4 address"),
        ("tcp://5555:5555", "5555 is not an IPv4 address"),
        ("tcp://224.0.0.1:5555", "224.0.0.1 is not the address of a single host"),
        ("tcp://255.255.255.255:5555", "255.255.255.255 is not the address of a single host"),
        ("tcp://[ff02::1]:5555", "[ff02::1] is not the address of a single host"),
        ("ipc://~/socket", "ZeroMQ does not expand ~; give the whole path"),
        ("ipc:///no-such-folder/", "/no-such-folder/ is not the path of a socket"),
    ],
)
def test_endpoints_that_no_user_means(verb, endpoint, said):
    assert said in wrong(verb, endpoint)


@pytest.mark.parametrize(
    ("verb", "endpoint", "said"),
    [
        ("connect", "tcp://127.0.0.1:0", "port 0 is for --bind; give the port of the peer"),
        ("connect", ANY_PORT, "port * is for --bind"),
        ("connect", "tcp://*:5555", "* is for --bind; give the address of the peer"),
        ("connect", "tcp://0.0.0.0:5555", "0.0.0.0 is for --bind"),
        ("connect", "tcp://[::]:5555", "[::] is for --bind"),
        ("connect", "ipc://*", "* is for --bind; give the path of the peer"),
        ("connect", "tcp://127.0.0.1;127.0.0.1:5555", "the port is missing"),
        ("connect", "tcp://127.0.0.1:99999;127.0.0.1:5555", "'99999' is not a port"),
        ("connect", "tcp://127.0.0.1:0;*:5555", "* is for --bind"),
        ("bind", "tcp://127.0.0.1:0;127.0.0.1:5555", "only --connect takes a source address"),
    ],
)
def test_endpoints_for_the_other_end(verb, endpoint, said):
    assert said in wrong(verb, endpoint)


@pytest.mark.parametrize("verb", BOTH)
@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.skipif(os.name == "nt", reason="a socket's file cannot be told from others")
def test_an_ipc_path_where_something_else_is(tmp_path, verb, kind):
    """libzmq removes what is in the way of its own socket."""
    path = tmp_path / "there"
    path.mkdir() if kind == "folder" else path.write_text("precious")
    assert f"{path} exists and is not a socket" in wrong(verb, f"ipc://{path}")
    assert path.exists()


@pytest.mark.parametrize(
    ("verb", "endpoint"),
    [
        *((verb, "tcp://127.0.0.1:1") for verb in BOTH),
        *((verb, "tcp://127.0.0.1:65535") for verb in BOTH),
        *((verb, "tcp://localhost:5555") for verb in BOTH),
        *((verb, "tcp://a-host.example.org:5555") for verb in BOTH),
        *((verb, "tcp://service_1:5555") for verb in BOTH),
        *((verb, "tcp://eth0.5:5555") for verb in BOTH),
        *((verb, "tcp://[::1]:5555") for verb in BOTH),
        *((verb, "tcp://[fe80::1%eth0]:5555") for verb in BOTH),
        *((verb, "ipc:///no-such-folder/my socket") for verb in BOTH),
        *((verb, "ipc://no-such-folder/socket") for verb in BOTH),
        *((verb, "ipc://@abstract") for verb in BOTH),
        *((verb, "epgm://eth0;239.192.1.1:5555") for verb in BOTH),  # libzmq's to refuse
        ("bind", "tcp://*:5555"),
        ("bind", "tcp://*:*"),
        ("bind", "tcp://127.0.0.1:0"),
        ("bind", "tcp://0.0.0.0:5555"),
        ("bind", "tcp://[::]:5555"),
        ("bind", "ipc://*"),
        ("connect", "tcp://127.0.0.1:0;127.0.0.1:5555"),
        ("connect", "tcp://eth0:*;192.168.1.1:5555"),
    ],
)
def test_endpoints_that_users_mean(verb, endpoint):
    endpoints.check(verb, endpoint)


@pytest.mark.skipif(not zmq.has("ipc") or os.name == "nt", reason="no ipc")
def test_an_ipc_path_where_a_socket_is(tmp_path):
    with socket.socket(socket.AF_UNIX) as theirs:
        theirs.bind(str(tmp_path / "s"))
        for verb in BOTH:
            endpoints.check(verb, f"ipc://{tmp_path / 's'}")


@pytest.mark.parametrize(
    "arguments",
    [
        ["pull", "--bind", "tcp://127.0.0.1:99999"],
        ["push", "--connect", "tcp://127.0.0.1:0"],
        ["pull", "--bind", ANY_PORT, "--connect", "tcp://*:5555"],
        ["sub", "--connect", "inproc://a"],
        ["pub", "--bind", "ipc:///" + "x" * 200],
    ],
)
def test_a_command_says_so_in_one_line(command, arguments):
    """And it has bound nothing before."""
    out, err = command(*arguments).end(2)
    assert out == ""
    assert err.startswith(f"python -m zmqstream {arguments[0]}: cannot {arguments[-2][2:]} ")
    assert err.count("\n") == 1


def test_ipv6(command):
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    pull = command("pull", "--bind", "tcp://[::1]:*", "--print", "--count", 1)
    push = command("push", "--connect", pull.bound(), "--count", 1, "--size", 1)
    assert pull.end()[0] == "x\n"
    push.end()
