"""Instruction counts of five small works, held against a baseline: what makes them slower is seen.

    python bench/guard.py             fails if a work takes over 5 % more instructions a message
    python bench/guard.py --renew     writes what is counted here into bench/guard.json

Counts do not depend on what else the machine does, as times do: two runs differ by 0.1 %.
They are of one message: the difference of N and 2 N of them, so that nothing of a start is in
them; callbacks are C functions where they can be. They are of this very machine code, so they are
compared only where the baseline was counted on the same architecture, Python, compiler and libzmq.
Where that is not so, or valgrind is not there, this says so loudly and succeeds: --strict fails.

After a change that is worth its instructions: --renew on each platform that guard.json has, and
say in the commit what it pays for.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import ctypes
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

BASELINE = Path(__file__).with_suffix(".json")
MORE = 0.05  # what a work may take more than in the baseline, as a part of that
N = 2_000
REPEATS = 4  # of which the least counts: libzmq looks for commands once a millisecond or so
COUNTING = "--count"  # what this program is called with inside of valgrind


class CannotCount(Exception):
    """Why there are no counts here."""


# -- what is counted: in valgrind ------------------------------------------------------------------


def count(library: str) -> None:
    """Do each work N and 2 N times, each a dump of callgrind's named after it."""
    from zmqstream._bench.suite.sockets import filled_queue, new_context, unbounded_pair

    import zmqstream

    here = ctypes.CDLL(library)
    loop = zmqstream.EventLoop()
    asyncio.set_event_loop(loop)

    def counted(name: str, n: int, function: Callable[[], object]) -> None:
        here.guard_begin()
        function()
        here.guard_end(f"{name}={n}".encode())

    def until(stream: zmqstream.ZMQStream, field: str, n: int) -> Callable[[], object]:
        """Run the loop until that statistic of the stream has come to n."""

        async def wait() -> None:
            while getattr(stream.stats(), field) < n:
                await asyncio.sleep(0)

        return lambda: loop.run_until_complete(wait())

    def receive(frames: int, n: int) -> None:
        with filled_queue(n, frames, 16) as pull:
            stream = zmqstream.ZMQStream(pull, loop)
            stream.set_turn_limits(n + 1, 3600)  # no clock decides how many turns there are
            stream.on_recv(len)
            counted(f"receive {frames} x 16 B", n, until(stream, "messages_in", n))
            stream.close()

    def send(n: int) -> None:
        with new_context() as context:
            push, _ = unbounded_pair(context)
            stream = zmqstream.ZMQStream(push, loop)
            stream.set_turn_limits(n + 1, 3600)
            drained = until(stream, "messages_out", n)
            messages = itertools.repeat([b"x" * 16], n)

            def send_all() -> None:
                collections.deque(map(stream.send_multipart, messages), maxlen=0)
                drained()

            counted("send 1 x 16 B", n, send_all)
            stream.close()

    def flush(n: int) -> None:
        with filled_queue(n, 1, 16) as pull:
            stream = zmqstream.ZMQStream(pull, loop)
            stream.on_recv(len)

            def flush_all() -> None:
                left = n
                while left:
                    left -= stream.flush(limit=100)

            counted("flush(limit=100)", n, flush_all)
            stream.close()

    def ping_pong(n: int) -> None:
        import zmq

        with new_context() as context:
            sockets = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
            sockets[0].bind("inproc://ping-pong")
            sockets[1].connect("inproc://ping-pong")
            ping, pong = (zmqstream.ZMQStream(socket, loop) for socket in sockets)
            for stream in ping, pong:
                stream.set_turn_limits(256, 3600)
            done = loop.create_future()
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
            counted("ping-pong", n, lambda: loop.run_until_complete(done))
            ping.close()
            pong.close()

    for n in (N // 10, *(N, 2 * N) * REPEATS):  # the first warms up
        receive(1, n)
        receive(3, n)
        send(n)
        flush(n)
        ping_pong(n)
    loop.close()


# -- how it is counted -----------------------------------------------------------------------------


def measure() -> dict[str, float]:
    """Instructions a message, work by work."""
    from zmqstream._bench.suite.compiled import NotCompiled, compile_at

    if not shutil.which("valgrind"):
        raise CannotCount("valgrind is not installed")
    try:
        library = compile_at(Path(__file__).with_suffix(".c"), "-shared", "-fPIC")
    except NotCompiled as error:
        raise CannotCount(f"{error} (the headers come with valgrind)") from error
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out"]
        # hashes decide the order of dicts' slots, and with it some instructions
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        done = subprocess.run(
            [*command, sys.executable, __file__, COUNTING, str(library)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode:
            raise CannotCount(f"status {done.returncode} in valgrind:\n{done.stderr[-2000:]}")
        return each([path.read_text() for path in Path(folder).iterdir()])


def each(dumps: list[str]) -> dict[str, float]:
    """Instructions a message, from callgrind's dumps of N and of 2 N."""
    totals: dict[str, dict[int, int]] = {}
    for dump in dumps:
        trigger = re.search(r"^desc: Trigger: Client Request: (.+)=(\d+)$", dump, re.M)
        total = re.search(r"^(?:summary|totals): (\d+)", dump, re.M)
        if trigger and total:
            counted = totals.setdefault(trigger[1], {})
            n = int(trigger[2])
            counted[n] = min(int(total[1]), counted.get(n, sys.maxsize))
    if not totals:
        raise CannotCount("callgrind wrote no dump of a work")
    return {name: round((found[2 * N] - found[N]) / N, 1) for name, found in totals.items()}


def here() -> str:
    """What machine code runs: the baseline's counts are of one such platform."""
    import zmq
    from zmqstream._bench.suite.machine import build, compiler_version

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
            remark = "less: renew the baseline, so that it stays so"
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
    parser.add_argument("--strict", action="store_true", help="fail where nothing can be compared")
    parser.add_argument(COUNTING, metavar="LIBRARY", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.count:
        count(options.count)
        return
    known = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    platform_here = here()
    if not options.renew and platform_here not in known:
        there_are = "".join(f"\n    {name}" for name in known) or " none"
        skip(f"no baseline for\n    {platform_here}\nbut for{there_are}", options.strict)
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
        sys.exit(f"\nIf that is worth it: python {sys.argv[0]} --renew, and say why in the commit")


if __name__ == "__main__":
    main()
