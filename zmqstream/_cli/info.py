"""info: versions and build, as text or JSON.

Bug reports are public. So info prints only paths below site-packages or in system directories, and
only the environment variables that affect zmqstream.
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
Print what a bug report needs: versions, the libzmq in use, loop and poller, and how the core was
built. It does not contain your private paths.

    {prog} info            paste this into a bug report
    {prog} info --json     print JSON for programs
"""
}

VARIABLES = (
    "ZMQSTREAM_POLLER",
    "ZMQSTREAM_LOOP",
    "ZMQSTREAM_DEBUG",
    "PYTHONASYNCIODEBUG",
    "PYZMQ_BACKEND",
)
BITS = 8 * ctypes.sizeof(ctypes.c_void_p)
OTHERS = ("uvloop", "tornado", "gevent")  # packages that may be installed too


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
    """The facts by name. A fact is a string, or a dict of strings and bools."""
    return {
        "zmqstream": {
            "version": zmqstream.__version__,
            "where": public_path(Path(zmqstream.__file__)),
        },
        "Python": {
            "version": platform.python_version(),
            "kind": f"{platform.python_implementation()} of {BITS} bits",
            "GIL": getattr(sys, "_is_gil_enabled", lambda: True)(),
        },
        "pyzmq": {"version": zmq.pyzmq_version()}
        | {"backend": zmq.backend.Frame.__module__.rpartition(".")[0]},
        "libzmq": {"version": zmq.zmq_version(), "where": public_path(libzmq())}
        | {name: zmq.has(name) for name in ("curve", "ipc", "draft")},
        "poller": result_or_error(eventloop.poller),
        "loop": {"zmqstream.run()": result_or_error(loop_class, zmqstream.new_event_loop)}
        | {"asyncio.run()": result_or_error(loop_class, asyncio.new_event_loop)},
        "installed": {name: found for name in OTHERS if (found := version_of(name))},
        "build": _core.build(),
        "platform": {"kind": platform.platform(), "cpus": str(os.cpu_count())},
        "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def in_words(fact: Any) -> str:
    """A fact on one line. True values are shown as their name, false ones as "no" and it."""
    if isinstance(fact, str):
        return fact
    words = []
    for name, value in fact.items():
        if isinstance(value, bool):
            words.append(name if value else f"no {name}")
        else:
            words.append(value if name in ("version", "kind", "where") else f"{name} {value}")
    return ", ".join(words) or "none"


def version_of(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def result_or_error(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except Exception as error:
        return f"none: {error}"


def loop_class(make: Any) -> str:
    """The class of a new loop, and how its streams are served."""
    loop = make()
    try:
        kind = eventloop.reactor_of(loop).kind
    finally:
        loop.close()
    return f"{type(loop).__module__}.{type(loop).__qualname__} ({kind})"


def public_path(path: Path | None) -> str:
    """The path of a file without its private parts."""
    if path is None:
        return "at an unknown path"
    for name in ("platlib", "purelib"):
        library = Path(sysconfig.get_path(name)).resolve()
        if library in path.resolve().parents:
            return f"site-packages/{path.resolve().relative_to(library).as_posix()}"
    if any(path.is_relative_to(place) for place in ("/usr", "/lib", "/lib64", "/opt")):
        return str(path)
    return f"not in site-packages: .../{path.parent.name}/{path.name}"


class DlInfo(ctypes.Structure):
    """Dl_info of dladdr(3)."""

    _fields_ = [("file", ctypes.c_char_p), ("others", ctypes.c_void_p * 3)]


def libzmq() -> Path | None:
    """The file of the libzmq that pyzmq has loaded, or None if it cannot be found."""
    address = _core.libzmq_functions()["msg_recv"]
    if sys.platform == "win32":
        return module_of(address)
    place = DlInfo()
    try:
        found = ctypes.CDLL(None).dladdr(ctypes.c_void_p(address), ctypes.byref(place))
    except (OSError, AttributeError):  # this system has no dladdr()
        return None
    return Path(os.fsdecode(place.file)) if found and place.file else None


def module_of(address: int) -> Path | None:
    """Like libzmq(), on Windows."""
    if sys.platform != "win32":
        return None
    kernel = ctypes.windll.kernel32
    handle = ctypes.c_void_p()
    name = ctypes.create_unicode_buffer(1024)
    # GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | ..._UNCHANGED_REFCOUNT
    if not kernel.GetModuleHandleExW(6, ctypes.c_void_p(address), ctypes.byref(handle)):
        return None
    kernel.GetModuleFileNameW.argtypes = [ctypes.c_void_p, ctypes.c_wchar_p, ctypes.c_uint]
    return Path(name.value) if kernel.GetModuleFileNameW(handle, name, len(name)) else None
