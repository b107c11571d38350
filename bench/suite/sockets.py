"""Contexts, queues filled beforehand, and processes beside this one; all cleaned up."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import zmq

from . import climit


@contextmanager
def new_context(max_sockets: int = 1000) -> Iterator[zmq.Context]:
    """A context; at the end its sockets are closed and what they had to send is dropped."""
    allow_descriptors(max_sockets + 100)
    context = zmq.Context()
    context.set(zmq.MAX_SOCKETS, max_sockets)
    try:
        yield context
    finally:
        context.destroy(linger=0)


def allow_descriptors(count: int) -> None:
    """Have this process open so many descriptors: every socket has one, even when inproc."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def unbounded_pair(context: zmq.Context) -> tuple[zmq.Socket, zmq.Socket]:
    """A PUSH and its PULL, inproc, with no high-water mark: sends never wait."""
    push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    push.hwm = pull.hwm = 0
    pull.bind("inproc://pair")
    push.connect("inproc://pair")
    return push, pull


@contextmanager
def filled_queue(messages: int, frames: int, size: int) -> Iterator[zmq.Socket]:
    """A PULL with so many messages waiting; their sender stays connected.

    The last has a frame more, by which a callback knows it without having to count: counting
    makes an int for each message, and would be a third of what is measured.
    """
    with new_context() as context:
        push, pull = unbounded_pair(context)
        climit.send(push, messages - 1, frames, b"x" * size)
        climit.send(push, 1, frames + 1, b"x" * size)
        yield pull
        assert not push.closed  # and so it was kept, too


class Child:
    """child.py in another process, in one of its roles; killed at the end, whatever happens."""

    def __init__(self, *arguments: str) -> None:
        path = os.pathsep.join(entry for entry in sys.path if entry)
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.child", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.kill()
        self.process.communicate()

    def hear(self) -> str:
        """The next line that it prints."""
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the child ended: {self.process.args}")
        return line.strip()

    def tell(self, line: str) -> None:
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
