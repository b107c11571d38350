"""Calls climit.c's loops on pyzmq's sockets. Loops that drive a work have a fallback in Python."""

from __future__ import annotations

import ctypes
import functools
from time import perf_counter_ns

import zmq

from zmqstream._core import libzmq_functions

from .compiled import NotCompiled, compiled

NAMES = (  # in the order of climit.c's `libzmq`
    "msg_init",
    "msg_init_size",
    "msg_close",
    "msg_data",
    "msg_more",
    "msg_recv",
    "msg_send",
    "last_error",
)


class LibZmq(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in NAMES]


@functools.cache
def missing() -> str:
    """Why the C loops are missing, or an empty string."""
    try:
        library()
    except (NotCompiled, OSError) as error:
        return str(error)
    return ""


@functools.cache
def library() -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(compiled("climit.c", "-shared", "-fPIC")))
    api = ctypes.POINTER(LibZmq)
    handle, count, data, size = ctypes.c_void_p, ctypes.c_int64, ctypes.c_char_p, ctypes.c_size_t
    handles, results = ctypes.POINTER(handle), ctypes.POINTER(ctypes.c_int64)
    frames = flags = ctypes.c_int
    descriptors = ctypes.POINTER(ctypes.c_int)
    for function, *arguments in (
        (loaded.climit_receive, api, handle, count, flags),
        (loaded.climit_send, api, handle, count, frames, data, size),
        (loaded.climit_send_numbered, api, handle, count),
        (loaded.climit_flood, api, handles, count, count, frames, data, size, results),
        (loaded.climit_echo, api, handle),
        (loaded.climit_requests, api, handle, count, count, data, size),
        (loaded.climit_round_trips, api, handle, count, data, size, results),
        (loaded.climit_ping_pong, api, handles, descriptors, flags, count, data, size),
    ):
        function.argtypes = arguments
        function.restype = ctypes.c_int64
    return loaded


@functools.cache
def functions() -> LibZmq:
    found = libzmq_functions()
    return LibZmq(*(found[name] for name in NAMES))


def _call(name: str, socket: object, *arguments: object) -> int:
    function = getattr(library(), f"climit_{name}")
    result = function(ctypes.byref(functions()), socket, *arguments)
    if result < 0:
        raise zmq.ZMQError(-result)
    return result


# Loops that are measured.


def receive(socket: zmq.Socket, messages: int, flags: int = 0) -> int:
    """Receive and drop messages. Returns nanoseconds."""
    return _call("receive", socket.underlying, messages, flags)


def echo(socket: zmq.Socket) -> None:
    """Send every message back. Never returns."""
    _call("echo", socket.underlying)


def send_numbered(socket: zmq.Socket, messages: int) -> int:
    """Send messages of 16 B that begin with their number, an int64, the last of two frames."""
    return _call("send_numbered", socket.underlying, messages)


def send(socket: zmq.Socket, messages: int, frames: int, data: bytes) -> int:
    """Send messages of `frames` frames of `data`. Returns nanoseconds."""
    return _call("send", socket.underlying, messages, frames, data, len(data))


def ping_pong(ping: zmq.Socket, pong: zmq.Socket, trips: int, data: bytes, events: bool) -> int:
    """Send a message back and forth between two sockets, with or without polls. Nanoseconds."""
    handles = (ctypes.c_void_p * 2)(ping.underlying, pong.underlying)
    descriptors = (ctypes.c_int * 2)(ping.fd, pong.fd)
    return _call("ping_pong", handles, descriptors, events, trips, data, len(data))


# Loops that drive a measurement.


def flood(sockets: list[zmq.Socket], messages: int, frames: int, data: bytes) -> tuple[int, int]:
    """Send messages over the sockets in turn, the last of each with one frame more; nanoseconds,
    and how many of them the sockets had no room."""
    if missing():
        start = perf_counter_ns()
        waited = _flood(sockets, messages, frames, data)
        return perf_counter_ns() - start, waited
    handles = (ctypes.c_void_p * len(sockets))(*(socket.underlying for socket in sockets))
    waited = ctypes.c_int64()
    took = _call(
        "flood", handles, len(sockets), messages, frames, data, len(data), ctypes.byref(waited)
    )
    return took, waited.value


def _flood(sockets: list[zmq.Socket], messages: int, frames: int, data: bytes) -> int:
    waited = 0
    for number in range(messages):
        socket = sockets[number % len(sockets)]
        message = [data] * (frames if number + len(sockets) < messages else frames + 1)
        try:
            socket.send_multipart(message, zmq.DONTWAIT)
        except zmq.Again:
            since = perf_counter_ns()
            socket.send_multipart(message)
            waited += perf_counter_ns() - since
    return waited


def requests(socket: zmq.Socket, count: int, outstanding: int, data: bytes) -> int:
    """Send requests and receive replies, with `outstanding` in transit. Returns nanoseconds."""
    if not missing():
        return _call("requests", socket.underlying, count, outstanding, data, len(data))
    start = perf_counter_ns()
    sent = 0
    for replies in range(count):
        while sent < count and sent - replies < outstanding:
            socket.send(data)
            sent += 1
        socket.recv()
    return perf_counter_ns() - start


def round_trips(socket: zmq.Socket, trips: int, data: bytes) -> list[int]:
    """The time of each of `trips` echoes of `data`, in nanoseconds."""
    if not missing():
        each = (ctypes.c_int64 * trips)()
        _call("round_trips", socket.underlying, trips, data, len(data), each)
        return list(each)
    took = []
    for _ in range(trips):
        start = perf_counter_ns()
        socket.send(data)
        socket.recv()
        took.append(perf_counter_ns() - start)
    return took


def drain(socket: zmq.Socket, messages: int) -> None:
    """Receive `messages` waiting messages, and check that there are no more."""
    if missing():
        for _ in range(messages):
            socket.recv_multipart(zmq.DONTWAIT)
    else:
        receive(socket, messages, zmq.DONTWAIT)
    assert not socket.poll(0)
