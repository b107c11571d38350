"""info: versions and build, for people and for machines.

Bug reports are public: of paths, only what lies below site-packages or in the system is told, and
of the environment only the variables that change what zmqstream does.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import importlib.metadata
import json
import os
import platform
import sys
import sysconfig
from pathlib import Path
from typing import Any

import zmq

import zmqstream
from zmqstream import _core, eventloop
from zmqstream._cli import out

DESCRIPTION = {
    "info": """\
Print what a bug report needs: versions, where libzmq comes from, loop and poller, how the core was
built. There are no paths of yours in it.

    {prog} info            paste this
    {prog} info --json     for programs
"""
}

VARIABLES = ("ZMQSTREAM_POLLER", "ZMQSTREAM_DEBUG", "PYTHONASYNCIODEBUG", "PYZMQ_BACKEND")
BITS = 8 * ctypes.sizeof(ctypes.c_void_p)
OTHERS = ("uvloop", "tornado", "gevent")  # installed beside it, perhaps


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument("--json", action="store_true", help="print a JSON object")


def main(options: argparse.Namespace) -> int:
    facts = collect()
    if options.json:
        out(json.dumps(facts, indent=2) + "\n")
    else:
        width = max(map(len, facts))
        out("".join(f"{name:{width}}  {in_words(fact)}\n" for name, fact in facts.items()))
    return 0


def collect() -> dict[str, Any]:
    """What is known, by name: strings, and dicts of strings and bools."""
    return {
        "zmqstream": {"version": zmqstream.__version__, "where": shown(Path(zmqstream.__file__))},
        "Python": {
            "version": platform.python_version(),
            "kind": f"{platform.python_implementation()} of {BITS} bits",
            "GIL": getattr(sys, "_is_gil_enabled", lambda: True)(),
        },
        "pyzmq": {"version": zmq.pyzmq_version(), "backend": backend()},
        "libzmq": {"version": zmq.zmq_version(), "where": shown(libzmq())}
        | {name: zmq.has(name) for name in ("curve", "ipc", "draft")},
        "poller": poller(),
        "loop": {"zmqstream.run()": loop_class(zmqstream.new_event_loop)}
        | {"asyncio.run()": loop_class(asyncio.new_event_loop)},
        "installed": {name: found for name in OTHERS if (found := version_of(name))},
        "build": _core.build(),
        "platform": {"kind": platform.platform(), "cpus": str(os.cpu_count())},
        "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def in_words(fact: Any) -> str:
    """On one line: a version stands alone, what is true as its name, what is false as "no ..."."""
    if isinstance(fact, str):
        return fact
    words = []
    for name, value in fact.items():
        if isinstance(value, bool):
            words.append(name if value else f"no {name}")
        else:
            words.append(value if name in ("version", "kind", "where") else f"{name} {value}")
    return ", ".join(words) or "none"


def backend() -> str:
    return str(zmq.backend.Frame.__module__.rpartition(".")[0])


def version_of(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def poller() -> str:
    try:
        return eventloop.poller()
    except ValueError as error:
        return f"none: {error}"


def loop_class(make: Any) -> str:
    """The loop that is made when one is needed. It may not be possible, and that is told, too."""
    try:
        loop = make()
    except Exception as error:
        return f"none: {error}"
    loop.close()
    return f"{type(loop).__module__}.{type(loop).__qualname__}"


def shown(path: Path | None) -> str:
    """Where a file is, without what is private."""
    if path is None:
        return "in a place that cannot be found"
    for name in ("platlib", "purelib"):
        library = Path(sysconfig.get_path(name)).resolve()
        if library in path.resolve().parents:
            return f"site-packages/{path.resolve().relative_to(library).as_posix()}"
    if any(path.is_relative_to(place) for place in ("/usr", "/lib", "/lib64", "/opt")):
        return str(path)
    return f"not in site-packages: .../{path.parent.name}/{path.name}"


class Place(ctypes.Structure):
    """Dl_info of dladdr(3)."""

    _fields_ = [
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("symbol", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    ]


def libzmq() -> Path | None:
    """The file of the libzmq in use, which is the one that pyzmq has loaded."""
    address = _core.libzmq_functions()["msg_recv"]
    if sys.platform == "win32":
        return module_of(address)
    place = Place()
    try:
        found = ctypes.CDLL(None).dladdr(ctypes.c_void_p(address), ctypes.byref(place))
    except (OSError, AttributeError):  # no dladdr() here
        return None
    return Path(os.fsdecode(place.file)) if found and place.file else None


def module_of(address: int) -> Path | None:
    """As libzmq(), on Windows."""
    if sys.platform != "win32":
        return None
    kernel = ctypes.windll.kernel32
    handle = ctypes.c_void_p()
    name = ctypes.create_unicode_buffer(1024)
    # 6: by an address in it, without a reference
    if not kernel.GetModuleHandleExW(6, ctypes.c_void_p(address), ctypes.byref(handle)):
        return None
    kernel.GetModuleFileNameW.argtypes = [ctypes.c_void_p, ctypes.c_wchar_p, ctypes.c_uint]
    return Path(name.value) if kernel.GetModuleFileNameW(handle, name, len(name)) else None
