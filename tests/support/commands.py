"""`python -m zmqstream` as a process, for its tests."""

import contextlib
import os
import signal
import socket
import subprocess
import sys

TIMEOUT = 30  # seconds
ANY_PORT = "tcp://127.0.0.1:*"


class Command:
    """A running `python -m zmqstream` with these arguments."""

    def __init__(self, *arguments, **kwargs):
        kwargs["env"] = {**os.environ, **kwargs.pop("env", {})}
        kwargs["env"].pop("PYTHONUNBUFFERED", None)  # with it, a signal ends a write in Python
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "zmqstream", *map(str, arguments)],
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **kwargs},
            stderr=subprocess.PIPE,
        )
        # Unbuffered, because readline() could otherwise take output from end().
        for name in ("stdout", "stderr"):
            if (stream := getattr(self.process, name)) is not None:
                setattr(self.process, name, stream.detach())
        self.stdin, self.stdout = self.process.stdin, self.process.stdout

    def bound(self):
        """The endpoint that was bound, from the first line of stderr."""
        line = self.process.stderr.readline().decode()
        assert line.startswith("bound to "), line + self.process.stderr.read().decode()
        return line.split()[-1]

    def signal(self, number=signal.SIGINT):
        self.process.send_signal(number)

    def end(self, code=0):
        """Wait for its end. Returns the rest of its stdout and stderr."""
        out, err = self.process.communicate(timeout=TIMEOUT)
        assert self.process.returncode == code, err.decode()
        assert b"Traceback" not in err, err.decode()
        return (out or b"").decode(), err.decode()


def bound_socket(context, kind):
    bound = context.socket(kind)
    bound.bind(ANY_PORT)
    return bound, bound.last_endpoint.decode()


@contextlib.contextmanager
def reserved_port():
    """An endpoint where nothing listens, with a port that no other program gets."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # libzmq sets it too
        reserved.bind(("127.0.0.1", 0))
        host, port = reserved.getsockname()
        yield f"tcp://{host}:{port}"
