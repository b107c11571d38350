"""allow_top(): lets `zmqstream top` show the streams of this process, from another terminal.

A thread listens at a Unix socket. Each connection gets one JSON document, and is closed. The thread
reads counters that exist anyway, so programs pay only while somebody looks.

The socket is in a folder that only the user can enter:

- `$XDG_RUNTIME_DIR/zmqstream`, if that variable is set and names a folder;
- else `zmqstream-UID` in the folder for temporary files. Other users can create files there, so the
  folder is used only if it belongs to this user and has mode 700.

The thread can answer while a loop is stalled, unless the loop holds the GIL.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import os
import secrets
import socket
import stat
import sys
import sysconfig
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zmqstream import _core
from zmqstream._dump import table_of
from zmqstream.eventloop import open_streams

__all__ = ["allow_top"]

PATIENCE = 0.05  # seconds that an answer waits for loops, to find out how late they are
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
WRITE_LIMIT = 1  # seconds that a client may take to read


def allow_top() -> None:
    """Let `zmqstream top` show the streams of this process, from another terminal.

    The counts of all loops are shown, with how late each loop is. Only the same user can see
    them, and root. A further call does nothing. A forked child needs a call of its own.

    Raises
    ------
    NotImplementedError
        This system has no Unix sockets, as Windows.
    PermissionError
        The folder for the socket could be used by other users.
    OSError
        The socket cannot be created.
    """
    global _server
    check_system()
    with _lock:
        if _server is None:
            _server = Server()


def check_system() -> None:
    if not hasattr(socket, "AF_UNIX"):
        raise NotImplementedError(
            f"zmqstream top needs Unix sockets, which Python does not have on {sys.platform}; "
            "zmqstream.dump() prints the same table"
        )


# -- where the sockets are -------------------------------------------------------------------------


def folders() -> Iterator[Path]:
    """The folders that may have sockets of this user, the best one first."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime) and os.path.isdir(runtime):
        yield Path(runtime, "zmqstream")
    yield Path(tempfile.gettempdir(), f"zmqstream-{os.getuid()}")


def check_private(folder: Path) -> None:
    """Raise PermissionError if another user may use `folder`, or has put something there."""
    found = os.lstat(folder)
    if (
        not stat.S_ISDIR(found.st_mode)  # a link, for example
        or found.st_uid != os.getuid()
        or stat.S_IMODE(found.st_mode) & 0o077
    ):
        raise PermissionError(
            f"{folder} must be a folder that belongs to you and has mode 700, so that no other "
            "user can see or replace what is in it"
        )


def own_folder() -> Path:
    """The folder for a new socket."""
    folder = next(folders())
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    check_private(folder)
    return folder


# -- the server ------------------------------------------------------------------------------------


class Probe:
    """Measures how late a loop is: how long a scheduled call waits until the loop runs it."""

    def __init__(self) -> None:
        self.sent: float | None = None  # when the call was scheduled that has not run yet
        self.lag: float | None = None  # of the last call that has run
        self.arrived = threading.Event()

    def send(self, loop: asyncio.AbstractEventLoop) -> None:
        if self.sent is None and loop.is_running():
            self.arrived.clear()
            self.sent = time.monotonic()
            with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
                loop.call_soon_threadsafe(self._run)

    def _run(self) -> None:
        assert self.sent is not None
        if FREE_THREADED:  # only this thread may ask the sockets for their endpoints
            for stream in open_streams(asyncio.get_running_loop()):
                stream._where()
        self.lag = time.monotonic() - self.sent
        self.sent = None
        self.arrived.set()

    def result(self, deadline: float) -> float | None:
        """Seconds that the loop is late. The call may still be waiting."""
        self.arrived.wait(max(0.0, deadline - time.monotonic()))
        sent = self.sent
        return self.lag if sent is None else time.monotonic() - sent


class Server:
    def __init__(self) -> None:
        self.pid = os.getpid()
        self.closed = False
        self.probes: weakref.WeakKeyDictionary[_core.Reactor, Probe] = weakref.WeakKeyDictionary()
        self.path = own_folder() / f"{self.pid}-{secrets.token_hex(4)}"
        self.listener = socket.socket(socket.AF_UNIX)
        try:
            self.listener.bind(os.fspath(self.path))
            os.chmod(self.path, 0o600)
            self.listener.listen()
        except BaseException:
            self.listener.close()
            raise
        atexit.register(self.close)
        self.thread = threading.Thread(target=self.serve, name="zmqstream-top", daemon=True)
        self.thread.start()

    def serve(self) -> None:
        while not self.closed:
            try:
                client, _ = self.listener.accept()
            except OSError:  # it is closed, or there are no descriptors at the moment
                if not self.closed:
                    time.sleep(1)
                continue
            with client, contextlib.suppress(OSError):
                client.settimeout(WRITE_LIMIT)
                client.sendall(json.dumps(self.document()).encode())

    def document(self) -> dict[str, Any]:
        reactors = [reactor for reactor in _core.live_reactors() if len(reactor)]
        for reactor in reactors:
            self.probes.setdefault(reactor, Probe()).send(reactor.loop)
        deadline = time.monotonic() + PATIENCE
        loops = [self.loop(reactor, deadline) for reactor in reactors]
        return {
            "pid": self.pid,
            "program": os.path.basename(sys.argv[0]) if sys.argv else "",
            "time": time.monotonic(),
            "loops": sorted(loops, key=lambda loop: str(loop["table"][0])),
        }

    def loop(self, reactor: _core.Reactor, deadline: float) -> dict[str, Any]:
        running = reactor.loop.is_running()
        lag = self.probes[reactor].result(deadline) if running else None
        return {"table": table_of(reactor), "running": running, "lag": lag}

    def close(self) -> None:
        """Stop listening. A forked child must not remove its parent's socket."""
        self.closed = True
        atexit.unregister(self.close)
        with contextlib.suppress(OSError):
            if os.getpid() == self.pid:
                self.path.unlink()
                self.listener.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self.listener.close()


_lock = threading.Lock()
_server: Server | None = None


def _after_fork_in_child() -> None:
    """The child has the parent's socket, but not its thread."""
    global _lock, _server
    _lock = threading.Lock()
    if _server is not None:
        _server.close()
        _server = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
