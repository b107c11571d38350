"""Count the instructions of five small works, and compare the counts with a baseline.

    python bench/guard.py             fails if a work takes over 2 % more instructions a message
    python bench/guard.py --renew     writes the counts of this run to bench/guard.json

Times depend on the other programs of the machine; counts do not. Two runs differ by less than
0.5 %, because the program removes what else could change a count:

- The count of one message is the difference of the counts of N and 2 N messages, divided by N.
  So it does not include the start of a work.
- Each work runs in its own process, so that works do not affect each other.
- Only the main thread is counted. libzmq starts two threads for each context, and valgrind decides
  when these run.
- The garbage collector is off, and the hashes of strings are the same in each run.
- Python's allocator hands out memory from pools. If each message takes the last free block of a
  pool and returns it, the message costs up to 20 instructions more. The repeats begin with
  different numbers of free blocks, and the least count is taken.

Callbacks are C functions where possible. Counts depend on the machine code, so they are compared
only with a baseline of the same architecture, Python, compiler and libzmq. Without such a baseline,
or without valgrind, the program prints a notice and succeeds; with --strict it fails.

After a change that is worth its instructions, run --renew on each platform in guard.json, and
explain in the commit what they buy.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import ctypes
import functools
import gc
import itertools
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import zmq

import zmqstream
from zmqstream._bench.compiled import NotCompiled, compile_at
from zmqstream._bench.machine import build, compiler_version
from zmqstream._bench.sockets import filled_queue, new_context, unbounded_pair

BASELINE = Path(__file__).with_suffix(".json")
MORE = 0.02  # the increase that a work may have, as a part of its baseline
N = 2_000
REPEATS = 8  # the least count of these is used
COUNTING = "--count"  # the option of this program inside valgrind


class CannotCount(Exception):
    """Why instructions cannot be counted here."""


# -- what is counted: in valgrind ------------------------------------------------------------------


class Counter:
    """Runs one work in this process, and makes callgrind write a dump for each repeat."""

    def __init__(self, library: str) -> None:
        self.library = ctypes.CDLL(library)
        self.loop = zmqstream.EventLoop()
        asyncio.set_event_loop(self.loop)

    def run(self, work: Work) -> None:
        gc.disable()
        held = []
        for n in (N // 10, *(N, 2 * N) * REPEATS):  # the first warms up
            held.append(some_blocks())
            work(self, n)
        self.loop.close()

    def count(self, n: int, function: Callable[[], object]) -> None:
        """Call the function, and dump its instructions as the count of n messages."""
        self.library.guard_begin()
        function()
        self.library.guard_end(str(n).encode())

    def until(self, stream: zmqstream.ZMQStream, field: str, n: int) -> Callable[[], object]:
        """A function that runs the loop until the statistic `field` of the stream is n."""

        async def wait() -> None:
            while getattr(stream.stats(), field) < n:
                await asyncio.sleep(0)

        return lambda: self.loop.run_until_complete(wait())


def some_blocks() -> list[object]:
    """Seven blocks of each size for which Python's allocator has pools."""
    return [[object(), float(i), *map(bytes, range(0, 480, 16))] for i in range(7)]


def receive(counter: Counter, n: int, frames: int) -> None:
    with filled_queue(n, frames, 16) as pull:
        stream = zmqstream.ZMQStream(pull, counter.loop)
        stream.set_turn_limits(n + 1, 3600)  # the number of turns must not depend on time
        stream.on_recv(len)
        counter.count(n, counter.until(stream, "messages_in", n))
        stream.close()


def send(counter: Counter, n: int) -> None:
    with new_context() as context:
        push, _ = unbounded_pair(context)
        stream = zmqstream.ZMQStream(push, counter.loop)
        stream.set_turn_limits(n + 1, 3600)
        drained = counter.until(stream, "messages_out", n)
        messages = itertools.repeat([b"x" * 16], n)

        def send_all() -> None:
            collections.deque(map(stream.send_multipart, messages), maxlen=0)
            drained()

        counter.count(n, send_all)
        stream.close()


def flush(counter: Counter, n: int) -> None:
    with filled_queue(n, 1, 16) as pull:
        stream = zmqstream.ZMQStream(pull, counter.loop)
        stream.on_recv(len)

        def flush_all() -> None:
            left = n
            while left:
                left -= stream.flush(limit=100)

        counter.count(n, flush_all)
        stream.close()


def ping_pong(counter: Counter, n: int) -> None:
    with new_context() as context:
        sockets = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        sockets[0].bind("inproc://ping-pong")
        sockets[1].connect("inproc://ping-pong")
        ping, pong = (zmqstream.ZMQStream(socket, counter.loop) for socket in sockets)
        for stream in ping, pong:
            stream.set_turn_limits(256, 3600)
        done = counter.loop.create_future()
        left = n

        def returned(message: list[bytes]) -> None:
            nonlocal left
            left -= 1
            if left:
                ping.send_multipart(message)
            else:
                done.set_result(None)

        pong.on_recv(pong.send_multipart)
        ping.on_recv(returned)
        ping.send_multipart([b"x" * 16])
        counter.count(n, lambda: counter.loop.run_until_complete(done))
        ping.close()
        pong.close()


Work = Callable[[Counter, int], None]  # the arguments: where to count, and the number of messages

WORKS: dict[str, Work] = {
    "receive 1 x 16 B": functools.partial(receive, frames=1),
    "receive 3 x 16 B": functools.partial(receive, frames=3),
    "send 1 x 16 B": send,
    "flush(limit=100)": flush,
    "ping-pong": ping_pong,
}


# -- how it is counted -----------------------------------------------------------------------------


def measure() -> dict[str, float]:
    """Instructions a message, work by work."""
    if not shutil.which("valgrind"):
        raise CannotCount("valgrind is not installed")
    try:
        library = compile_at(Path(__file__).with_suffix(".c"), "-shared", "-fPIC")
    except NotCompiled as error:
        raise CannotCount(f"{error} (the headers come with valgrind)") from error
    return {name: a_message(dumps_of(name, library)) for name in WORKS}


def dumps_of(name: str, library: Path) -> list[str]:
    """The dumps that callgrind writes for a work, which runs in its own process."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                *("valgrind", "--tool=callgrind", "--separate-threads=yes"),
                f"--callgrind-out-file={folder}/out",
                *(sys.executable, __file__, COUNTING, name, str(library)),
            ],
            env={**os.environ, "PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode:
            raise CannotCount(f"status {done.returncode} in valgrind:\n{done.stderr[-2000:]}")
        return [path.read_text() for path in Path(folder).iterdir()]


def a_message(dumps: list[str]) -> float:
    """Instructions a message, from callgrind's dumps for N and for 2 N messages."""
    least: dict[int, int] = {}
    for dump in dumps:
        trigger = re.search(r"^desc: Trigger: Client Request: (\d+)$", dump, re.M)
        total = re.search(r"^(?:summary|totals): (\d+)", dump, re.M)
        if trigger and total:
            n = int(trigger[1])
            least[n] = min(int(total[1]), least.get(n, sys.maxsize))
    if not {N, 2 * N} <= least.keys():
        raise CannotCount("callgrind wrote no dump of the work")
    return round((least[2 * N] - least[N]) / N, 1)


def here() -> str:
    """The platform: everything that determines the machine code."""
    version = re.search(r"\d+\.\d+\.\d+", compiler_version())
    return ", ".join(
        (
            platform.machine(),
            f"{platform.python_implementation()} {platform.python_version()}",
            build(),
            f"pyzmq {zmq.pyzmq_version()}",
            f"libzmq {zmq.zmq_version()}",
            f"compiler {version[0] if version else 'unknown'}",
        )
    )


# -- what is said about it -------------------------------------------------------------------------


def compare(counts: dict[str, float], baseline: dict[str, float]) -> tuple[list[str], bool]:
    """A table, and whether all is well: no work takes over MORE more, and none is missing."""
    well = True
    lines = []
    for name in sorted(counts.keys() | baseline.keys()):
        counted, before = counts.get(name), baseline.get(name)
        if counted is None or before is None:
            lines.append(
                f"{name:20}  {'NOT COUNTED' if counted is None else 'NOT IN THE BASELINE'}"
            )
            well = False
            continue
        change = counted / before - 1
        remark = ""
        if change > MORE:
            remark, well = f"MORE THAN {MORE:.0%}", False
        elif change < -MORE:
            remark = "less: renew the baseline to keep this"
        lines.append(
            f"{name:20} {before:10.1f} -> {counted:10.1f}  {change:+6.1%}  {remark}".rstrip()
        )
    return lines, well


def skip(reason: str, strict: bool) -> None:
    line = "!" * 78
    print(f"{line}\nINSTRUCTION COUNTS ARE NOT GUARDED HERE: {reason}\n{line}")
    sys.exit(1 if strict else 0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--renew", action="store_true", help="write the baseline of this platform")
    parser.add_argument("--strict", action="store_true", help="fail if nothing can be compared")
    parser.add_argument(COUNTING, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.count:
        name, library = options.count
        Counter(library).run(WORKS[name])
        return
    known = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    platform_here = here()
    if not options.renew and platform_here not in known:
        there_are = "".join(f"\n    {name}" for name in known) or " none"
        skip(f"no baseline for\n    {platform_here}\nonly for{there_are}", options.strict)
    try:
        counts = measure()
    except CannotCount as error:
        skip(str(error), options.strict or options.renew)
    print(f"Instructions for each message, baseline -> now, on {platform_here}:\n")
    lines, well = compare(counts, known.get(platform_here, {}))
    print("\n".join(lines))
    if options.renew:
        known[platform_here] = counts
        BASELINE.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
        print(f"\nWritten to {BASELINE}")
    elif not well:
        sys.exit(
            f"\nIf that is worth it: python {sys.argv[0]} --renew, and explain it in the commit"
        )


if __name__ == "__main__":
    main()
