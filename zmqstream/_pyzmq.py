"""Refuses a pyzmq that the compiled core cannot work with, before the core is imported.

The core uses pyzmq's Socket and Frame as C structures. If their layout differs, the import fails
with an unhelpful message about sizes in bytes, or does not fail and the core is wrong.
"""

from __future__ import annotations

import os
import sys

import zmq

NEEDED = 27  # the first pyzmq with these C structures


def check(version: str, backend: str) -> None:
    """Raise ImportError unless pyzmq of this version and backend can be used."""
    major = version.partition(".")[0]
    if not major.isdigit() or int(major) < NEEDED:
        raise ImportError(
            f"zmqstream needs pyzmq {NEEDED} or newer and found pyzmq {version} in {zmq.__file__}: "
            "pip install --upgrade pyzmq"
        )
    if backend != "zmq.backend.cython._zmq":
        raise ImportError(
            f"zmqstream needs pyzmq's Cython backend and found pyzmq {version} running on "
            f"{backend.rpartition('.')[0] or backend}: unset PYZMQ_BACKEND, and use CPython with a "
            "pyzmq wheel: pip install --force-reinstall --only-binary pyzmq pyzmq"
        )


check(zmq.pyzmq_version(), zmq.backend.Frame.__module__)

try:
    import zmqstream._core  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "zmqstream._core":
        raise
    raise ImportError(
        f"zmqstream in {os.path.dirname(__file__)} has no compiled core for {sys.executable}: "
        "pip install --force-reinstall --no-cache-dir zmqstream",
        name="zmqstream",
    ) from None
except ValueError as error:  # Cython: the size of a structure differs from that at compile time
    raise ImportError(
        f"zmqstream was not built for the installed pyzmq {zmq.pyzmq_version()} "
        f"({error}): pip install --force-reinstall --no-cache-dir zmqstream"
    ) from error
