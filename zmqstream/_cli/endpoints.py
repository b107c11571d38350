"""Endpoints of the command line: refuses those that are mistakes, and binds or connects the others.

libzmq accepts endpoints that it does not use as they are written. It takes a port modulo 65536. It
reads port "5555/path" as 5555. It connects to addresses that no peer can have. It removes a file
at the path of an ipc socket. The command would then wait forever without a message.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import stat
from typing import Any

import zmq

from zmqstream._cli import USAGE, Failure, frames

FORM = "not an endpoint; examples are tcp://127.0.0.1:5555 and ipc:///tmp/name"


def check(verb: str, endpoint: str) -> None:
    """Raise Failure if to bind, or to connect, this endpoint is a mistake."""
    transport, found, address = endpoint.partition("://")
    wrong = ""  # libzmq reports transports that it does not have
    if endpoint != endpoint.strip():
        wrong = "it begins or ends with white space"
    elif not (transport and found and address):
        wrong = FORM
    elif transport == "inproc":
        wrong = "no other process can reach it"
    elif transport == "tcp":
        wrong = wrong_tcp(verb, address)
    elif transport == "ipc":
        wrong = wrong_ipc(verb, address)
    if wrong:
        raise failure(verb, endpoint, wrong, USAGE)


def wrong_tcp(verb: str, address: str) -> str:
    """The mistake in HOST:PORT, or in SOURCE:PORT;HOST:PORT to connect from a source address."""
    source, semicolon, address = address.rpartition(";")
    if semicolon:
        if verb == "bind":
            return "only --connect takes a source address and a semicolon"
        if wrong := wrong_tcp("bind", source):
            return wrong
    host, _, port = address.rpartition(":")
    if not port or ":" not in address or address.endswith("]"):
        return "not an endpoint; the port is missing"
    if not host:
        return "not an endpoint; the host is missing"
    return wrong_host(verb, host) or wrong_port(verb, port)


def wrong_port(verb: str, port: str) -> str:
    if port in ("*", "0"):
        return "" if verb == "bind" else f"port {port} is for --bind; give the port of the peer"
    if re.fullmatch("[0-9]{1,5}", port) and 1 <= int(port) <= 65535:
        return ""
    return f"'{port}' is not a port from 1 to 65535"


def wrong_host(verb: str, host: str) -> str:
    everywhere = host == "*"
    in_brackets = host.startswith("[") and host.endswith("]")
    if in_brackets or re.fullmatch("[0-9.]+", host):
        try:
            ip = ipaddress.IPv6Address(host[1:-1]) if in_brackets else ipaddress.IPv4Address(host)
        except ValueError:
            return f"{host} is not an IPv{6 if in_brackets else 4} address"
        if ip.is_multicast or host == "255.255.255.255":
            return f"{host} is not the address of a single host"
        everywhere = ip.is_unspecified
    elif not everywhere and not re.fullmatch(r"[\w.-]+", host):
        return f"'{host}' is not a host; an IPv6 address needs brackets"
    if everywhere and verb == "connect":
        return f"{host} is for --bind; give the address of the peer"
    return ""


def wrong_ipc(verb: str, path: str) -> str:
    if path == "*":
        return "" if verb == "bind" else "* is for --bind; give the path of the peer"
    if os.path.expanduser(path) != path:
        return f"ZeroMQ does not expand {path.partition('/')[0]}; give the whole path"
    if path.endswith("/"):
        return f"{path} is not the path of a socket"
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return ""
    if os.name != "nt" and not stat.S_ISSOCK(mode):
        return f"{path} exists and is not a socket"
    return ""


def attach(socket: zmq.Socket[Any], verb: str, endpoint: str) -> None:
    """Bind or connect an endpoint that check() has accepted."""
    socket.ipv6 = "[" in endpoint
    try:
        getattr(socket, verb)(endpoint)
    except (zmq.ZMQError, ValueError, TypeError) as error:
        number = getattr(error, "errno", zmq.EINVAL)
        reason = zmq.strerror(number)
        if number == zmq.EINVAL:
            reason = FORM
        elif number == errno.ENODEV:
            reason = "no such address or interface on this machine"
        wrong = (zmq.EINVAL, zmq.EPROTONOSUPPORT, zmq.ENOCOMPATPROTO, errno.ENAMETOOLONG)
        raise failure(verb, endpoint, reason, USAGE if number in wrong else 1) from None


def failure(verb: str, endpoint: str, reason: str, code: int) -> Failure:
    return Failure(frames.text(os.fsencode(f"cannot {verb} {endpoint}: {reason}")), code)
