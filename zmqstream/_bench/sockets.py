"""Contexts, filled queues and other processes, which are all cleaned up."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import zmq

import zmqstream

from . import climit

try:
    import resource
except ImportError:  # Windows, which has no such limit
    resource = None


# Python's -m and -c import from the current folder first. This folder has the zmqstream of this
# process, not the sources of the user's current checkout.
ROOT = Path(zmqstream.__file__).resolve().parents[1]


@contextmanager
def new_context(max_sockets: int = 1000) -> Iterator[zmq.Context]:
    """A context. At its end the sockets are closed, and unsent messages dropped."""
    allow_descriptors(max_sockets + 100)
    context = zmq.Context()
    context.set(zmq.MAX_SOCKETS, max_sockets)
    try:
        yield context
    finally:
        context.destroy(linger=0)


def allow_descriptors(count: int) -> None:
    """Let this process open `count` descriptors. Every socket has one, even for inproc."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        limit = hard if hard == resource.RLIM_INFINITY else max(count, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (count, limit))
        except (ValueError, OSError) as error:
            raise OSError(f"{count} descriptors are needed, {hard} allowed (ulimit -n)") from error


def unbounded_pair(context: zmq.Context) -> tuple[zmq.Socket, zmq.Socket]:
    """A PUSH and its PULL, inproc, with no high-water mark: sends never wait."""
    push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    push.hwm = pull.hwm = 0
    pull.bind("inproc://pair")
    push.connect("inproc://pair")
    return push, pull


@contextmanager
def filled_queue(messages: int, frames: int, size: int) -> Iterator[zmq.Socket]:
    """A PULL with `messages` waiting messages. Their sender stays connected.

    The last message has one more frame, so a callback can recognise it without counting. To count
    would create an int for each message, which is a third of the measured time.
    """
    with new_context() as context:
        push, pull = unbounded_pair(context)
        climit.flood([push], messages, frames, b"x" * size)
        yield pull
        assert not push.closed  # this reference also keeps the socket alive


@contextmanager
def new_endpoint(transport: str) -> Iterator[str]:
    """An endpoint to bind to."""
    if transport == "tcp":
        yield "tcp://127.0.0.1:*"
        return
    with tempfile.TemporaryDirectory() as folder:
        yield f"ipc://{Path(folder, 'socket')}"


def endpoint_of(socket: object) -> str:
    """The last endpoint of a socket. pyzmq has bytes, pyomq may have a str."""
    found = socket.last_endpoint
    return found.decode() if isinstance(found, bytes) else found


class Process:
    """A process that prints and reads lines. It is killed at the end in any case."""

    def __init__(self, *command: str) -> None:
        path = os.pathsep.join(entry for entry in sys.path if entry)
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
            cwd=ROOT,
        )

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.kill()
        self.process.communicate()

    def hear(self) -> str:
        """The next line that it prints."""
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process ended: {self.process.args}")
        return line.strip()

    def tell(self, line: str) -> None:
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def ask(self, line: str = "") -> str:
        self.tell(line)
        return self.hear()


class Child(Process):
    """child.py in another process, with one of its roles."""

    def __init__(self, *arguments: str) -> None:
        super().__init__(sys.executable, "-m", f"{__package__}.child", *arguments)
