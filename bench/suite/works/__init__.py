"""The works, in the order they are run."""

from . import imports, pingpong, receive, send, tcp, timer

WORKS = [*receive.WORKS, *send.WORKS, *pingpong.WORKS, *tcp.WORKS, *timer.WORKS, *imports.WORKS]
