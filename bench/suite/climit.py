"""Compiles climit.c, once for each version of it, and calls its loops on pyzmq's sockets."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shlex
import subprocess
import sysconfig
import tempfile
from pathlib import Path

import zmq

from zmqstream._core import libzmq_functions

SOURCE = Path(__file__).with_name("climit.c")
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
FLAGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]


class LibZmq(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in NAMES]


def compiler() -> list[str]:
    return shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")


def cache_folder() -> Path:
    """A folder for compiled files that nobody else can write to."""
    folder = Path(tempfile.gettempdir()) / f"zmqstream-bench-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise RuntimeError(f"{folder} belongs to somebody else")
    return folder


@functools.cache
def library() -> ctypes.CDLL:
    command = [*compiler(), *FLAGS]
    key = hashlib.sha256(SOURCE.read_bytes() + " ".join(command).encode()).hexdigest()[:16]
    compiled = cache_folder() / f"climit-{key}.so"
    if not compiled.exists():
        fresh = compiled.with_suffix(f".{os.getpid()}")
        subprocess.run([*command, str(SOURCE), "-o", str(fresh)], check=True, timeout=60)
        fresh.replace(compiled)
    loaded = ctypes.CDLL(str(compiled))
    api = ctypes.POINTER(LibZmq)
    handle, count, data, size = ctypes.c_void_p, ctypes.c_int64, ctypes.c_char_p, ctypes.c_size_t
    trips = ctypes.POINTER(ctypes.c_int64)
    for function, *arguments in (
        (loaded.climit_receive, api, handle, count, ctypes.c_int),
        (loaded.climit_send, api, handle, count, ctypes.c_int, data, size),
        (loaded.climit_send_numbered, api, handle, count),
        (loaded.climit_echo, api, handle),
        (loaded.climit_round_trips, api, handle, count, data, size, trips),
    ):
        function.argtypes = arguments
        function.restype = ctypes.c_int64
    return loaded


@functools.cache
def functions() -> LibZmq:
    found = libzmq_functions()
    return LibZmq(*(found[name] for name in NAMES))


def _call(name: str, socket: zmq.Socket, *arguments: object) -> int:
    function = getattr(library(), f"climit_{name}")
    result = function(ctypes.byref(functions()), socket.underlying, *arguments)
    if result < 0:
        raise zmq.ZMQError(-result)
    return result


def receive(socket: zmq.Socket, messages: int, flags: int = 0) -> int:
    """Receive and drop messages; nanoseconds."""
    return _call("receive", socket, messages, flags)


def send(socket: zmq.Socket, messages: int, frames: int, data: bytes) -> int:
    """Send messages of `frames` frames of `data`; nanoseconds."""
    return _call("send", socket, messages, frames, data, len(data))


def send_numbered(socket: zmq.Socket, messages: int) -> int:
    """Send messages of 16 B that begin with their number, an int64, the last of two frames."""
    return _call("send_numbered", socket, messages)


def echo(socket: zmq.Socket) -> None:
    """Send every message back; never returns."""
    _call("echo", socket)


def round_trips(socket: zmq.Socket, trips: int, data: bytes) -> list[int]:
    """What each of `trips` echoes of `data` took, in nanoseconds."""
    each = (ctypes.c_int64 * trips)()
    _call("round_trips", socket, trips, data, len(data), each)
    return list(each)
