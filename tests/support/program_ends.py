#!/usr/bin/env python3
"""Ends programs that have open streams, in many ways, and checks how each program ended.

A program runs as __main__ of a forked child. That takes some 50 ms, because the child need not
start Python. The child goes through the whole end of the interpreter. It must have the expected
exit status.
It must not sleep for LONGEST seconds in its end. It must give a ResourceWarning for each stream
that it leaves open, and print nothing else to stderr.

A program that goes on after what it ends runs several times in a child.

tools/ends.py runs this file.
"""

from __future__ import annotations

import argparse
import collections
import importlib.util
import os
import selectors
import signal
import sys
import tempfile
import textwrap
import time
from dataclasses import dataclass, field

import zmq.asyncio  # noqa: F401  so that the children need not import it

import zmqstream.ioloop  # noqa: F401

LONGEST = 2  # seconds that a program may sleep in its end
STUCK = 20  # seconds that a child may sleep as a whole, beside its ends, before it is killed
IN_A_PROCESS = 10  # how often a program is repeated in a process
LOOPS = ("own", "asyncio", "guest", "uvloop", "tornado")
UNSENT = ("in libzmq", "queued", "nothing")

# What every program begins with. `left` is how many streams it leaves open.
HEAD = """
import asyncio, atexit, contextlib, faulthandler, gc, logging, os
import signal, sys, threading, time, warnings, weakref
import zmq, zmq.asyncio, zmqstream
from zmqstream import ZMQStream

LOOP, UNSENT, TIMES = {loop!r}, {unsent!r}, {times}
if LOOP == "guest":
    os.environ["ZMQSTREAM_LOOP"] = "guest"
logging.getLogger("zmqstream").setLevel(logging.ERROR)  # it logs that queued messages are lost
logging.getLogger("asyncio").setLevel(logging.ERROR)  # unittest makes it log what takes long
warnings.filterwarnings("ignore", category=DeprecationWarning)  # of event loop policies
warnings.filterwarnings("ignore", category=ResourceWarning)
warnings.filterwarnings("always", "unclosed <(ZMQStream|Subclass)", ResourceWarning)
warnings.formatwarning = lambda message, *args: f"{{message}}\\n"

def new_loop():
    if LOOP == "own":
        return zmqstream.EventLoop()
    if LOOP == "uvloop":
        import uvloop
        return uvloop.new_event_loop()
    return asyncio.SelectorEventLoop()

def run(main):
    if LOOP == "own":
        return zmqstream.run(main())
    if LOOP == "tornado":
        import tornado.ioloop
        loop = tornado.ioloop.IOLoop()
        try:
            return loop.run_sync(main)
        finally:
            loop.close()
    loop = new_loop()
    try:
        return loop.run_until_complete(main())
    finally:
        loop.close()

def new_stream(context=None, stream_class=ZMQStream, kind=zmq.DEALER):
    stream = stream_class((context or zmq.Context()).socket(kind))
    if UNSENT == "in libzmq":
        stream.connect("tcp://127.0.0.1:9")
    if UNSENT != "nothing":
        stream.send(b"unsent")
    if UNSENT == "in libzmq":
        stream.flush()
    return stream

def awake(task="self"):
    with open(f"/proc/{{task}}/schedstat") as file:
        return sum(map(int, file.read().split()[:2])) / 1e9

def ends():
    global ended
    ended = time.monotonic(), awake()
    os.write({writer}, b"%f %f %d\\n" % (*ended, left))

def go_on():
    gc.collect()
    slept = time.monotonic() - ended[0] - (awake() - ended[1])
    if slept > {longest}:
        print(f"slept for {{slept:.1f}} s", file=sys.stderr)

left = 1
faulthandler.enable()
"""


@dataclass
class End:
    """A way to end. `needs`: a module that it cannot do without."""

    program: str
    status: int = 0
    needs: str | None = None
    goes_on: bool = True  # after what it ends, so it may be repeated in a process
    many: bool = False  # it repeats itself


ENDS = {
    "main returns": End("""
        async def main():
            new_stream()
            ends()
        run(main)
        """),
    "main returns, and the garbage is collected": End("""
        class Server:
            def __init__(self):
                self.context = zmq.Context()
                self.stream = new_stream(self.context)
                self.socket = self.stream.socket
                self.stream.on_recv(self.handle)
            def handle(self, message): ...
        async def main():
            Server()
            ends()
        run(main)
        gc.collect()
        """),
    "streams in globals": End("""
        left = 3
        context = zmq.Context()
        async def main():
            global stream, streams
            stream = new_stream(context)
            streams = [new_stream(zmq.Context.instance(), kind=zmq.PUSH) for _ in range(2)]
            stream.on_recv(lambda message: stream)
        run(main)
        ends()
        """, goes_on=False),
    "the loop is never closed": End("""
        loop = new_loop()
        stream = None
        async def main():
            global stream
            stream = new_stream()
            stream.on_recv(print)
        loop.run_until_complete(main())
        ends()
        """, goes_on=False),
    "a subclass keeps itself": End("""
        class Subclass(ZMQStream):
            def __init__(self, socket):
                super().__init__(socket)
                self.itself, self.kept = self, socket.context
        async def main():
            new_stream(stream_class=Subclass)
            ends()
        run(main)
        gc.collect()
        """),
    "a socket of zmq.asyncio": End("""
        warnings.filterwarnings("ignore", category=RuntimeWarning)
        async def main():
            new_stream(zmq.asyncio.Context())
            ends()
        run(main)
        gc.collect()
        """),
    "a shadow": End("""
        async def main():
            socket = zmq.Context().socket(zmq.DEALER)
            stream = ZMQStream(zmq.Socket(shadow=socket))
            if UNSENT != "nothing":
                stream.send(b"unsent")
            ends()
        run(main)
        gc.collect()
        """),
    "a monitor": End("""
        async def main():
            stream = new_stream()
            stream.on_monitor(lambda event: stream)
            stream.bind("tcp://127.0.0.1:*")
            ends()
        run(main)
        """),
    "the exception of a callback": End("""
        class Failure(Exception): ...
        async def main():
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: done.set())
            done = asyncio.Event()
            context = zmq.Context()
            a, b = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
            a.bind("inproc://here")
            b.connect("inproc://here")
            def fail(message):
                raise Failure(stream, kept)
            stream = ZMQStream(b)
            kept = new_stream()
            stream.on_recv(fail)
            a.send(b"x")
            await done.wait()
            a.close()
            ends()
        left = 2
        run(main)
        """),
    "the exception of main": End("""
        class Failure(Exception): ...
        async def main():
            stream = new_stream()
            ends()
            raise Failure(stream)
        try:
            run(main)
        except Failure as failure:
            kept = failure
        """),
    "sys.exit() in main": End("""
        async def main():
            stream = new_stream()
            ends()
            sys.exit(3)
        run(main)
        """, status=3, goes_on=False),
    "sys.exit() in a callback": End("""
        async def main():
            context = zmq.Context()
            a, b = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
            a.bind("inproc://here")
            b.connect("inproc://here")
            stream, other = ZMQStream(b), new_stream(context)
            def leave(message):
                ends()
                sys.exit(3)
            stream.on_recv(leave)
            a.send(b"x")
            await asyncio.sleep(20)
        left = 2
        run(main)
        """, status=3, goes_on=False),
    "os._exit() in main": End("""
        left = 0
        async def main():
            stream = new_stream()
            ends()
            os._exit(3)
        run(main)
        """, status=3, goes_on=False),
    "Ctrl-C": End("""
        async def main():
            stream = new_stream()
            ends()
            asyncio.get_running_loop().call_later(0.001, signal.raise_signal, signal.SIGINT)
            await asyncio.sleep(20)
        try:
            run(main)
        except KeyboardInterrupt:
            pass
        """),
    "SIGTERM": End("""
        left = 0
        async def main():
            stream = new_stream()
            ends()
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(20)
        run(main)
        """, status=-signal.SIGTERM, goes_on=False),
    "SIGTERM, whose handler exits": End("""
        signal.signal(signal.SIGTERM, lambda *args: sys.exit(3))
        async def main():
            stream = new_stream()
            ends()
            asyncio.get_running_loop().call_later(0.001, signal.raise_signal, signal.SIGTERM)
            await asyncio.sleep(20)
        run(main)
        """, status=3, goes_on=False),
    "dropped by atexit": End("""
        async def main():
            global stream
            stream = new_stream()
            stream.on_recv(lambda message: stream)
        run(main)
        ends()
        atexit.register(lambda: (globals().pop("stream"), gc.collect()))
        """, goes_on=False),
    "closed by atexit": End("""
        left = 0
        async def main():
            global stream
            stream = new_stream()
            stream.on_recv(lambda message: stream)
        run(main)
        ends()
        atexit.register(lambda: stream.close(linger=0))
        """, goes_on=False),
    "the context is terminated": End("""
        context = zmq.Context()
        async def main():
            new_stream(context)
            ends()
        run(main)
        gc.collect()
        context.term()
        """),
    "a daemon thread": End("""
        begun = threading.Event()
        async def main():
            stream = new_stream()
            stream.on_recv(print)
            begun.set()
            await asyncio.sleep(20)
        threading.Thread(target=run, args=(main,), daemon=True).start()
        begun.wait()
        ends()
        """, goes_on=False),
    "a thread that ends the context": End("""
        context = zmq.Context()
        class Server:
            def __init__(self):
                self.stream = new_stream(context)
                self.socket = self.stream.socket
                self.stream.on_recv(self.handle)
            def handle(self, message): ...
        async def main():
            Server()
        def work():
            run(main)
            began = time.monotonic() - awake("thread-self")
            gc.collect()
            context.term()
            assert time.monotonic() - awake("thread-self") - began < 2
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        ends()
        """),
    "waiting tasks": End("""
        left = 2
        async def main():
            global tasks
            context = zmq.Context()
            streams = [new_stream(context), new_stream(context)]
            for stream in streams:
                stream.set_write_buffer_limits(1)
            tasks = [asyncio.ensure_future(c) for s in streams for c in (s.recv(), s.drain())]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            tasks = None
            ends()
        run(main)
        """),
    "Runner.close()": End("""
        async def main():
            stream = new_stream()
            stream.on_recv(lambda message: stream)
            ends()
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main())
        gc.collect()
        """, needs="asyncio.Runner"),
    "a unittest": End("""
        import io, unittest
        class Case(unittest.IsolatedAsyncioTestCase):
            async def asyncSetUp(self):
                self.context = zmq.Context()
                self.stream = new_stream(self.context)
                self.socket = self.stream.socket
                self.stream.on_recv(self.handle)
            def handle(self, message): ...
            async def test(self):
                self.stream.flush()
                ends()
        class Loops(asyncio.DefaultEventLoopPolicy):
            new_event_loop = staticmethod(new_loop)
        asyncio.set_event_loop_policy(Loops())
        unittest.main(argv=["test"], testRunner=unittest.TextTestRunner(io.StringIO()), exit=False)
        gc.collect()
        """),
    "pytest-asyncio": End("""
        import io, pathlib, tempfile, pytest
        left = TIMES
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        class Loops(asyncio.DefaultEventLoopPolicy):
            new_event_loop = staticmethod(new_loop)
        asyncio.set_event_loop_policy(Loops())
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "test_it.py")
            path.write_text(
                "import __main__, pytest\\n"
                "@pytest.mark.asyncio\\n"
                f"@pytest.mark.parametrize('_', range({TIMES}))\\n"
                "async def test(_):\\n"
                "    stream = __main__.new_stream()\\n"
                "    stream.on_recv(lambda message: stream)\\n"
            )
            options = ["-qs", "-p", "no:cacheprovider", "-p", "no:warnings", "--rootdir", folder]
            options += ["-p", "pytest_asyncio.plugin", "-p", "no:faulthandler"]
            with contextlib.redirect_stdout(io.StringIO()) as out:
                status = pytest.main([*options, str(path)])
        ends()
        gc.collect()
        sys.exit(out.getvalue() if status else 0)
        """, needs="pytest_asyncio", goes_on=False, many=True),
    "anyio": End("""
        import anyio
        async def main():
            stream = new_stream()
            stream.on_recv(lambda message: stream)
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep, 0)
            ends()
        anyio.run(main, backend_options={"loop_factory": new_loop})
        gc.collect()
        """, needs="anyio"),
}  # fmt: skip


def possible(end, loop):
    """Whether there is what it needs here."""
    if loop in ("uvloop", "tornado") and importlib.util.find_spec(loop) is None:
        return False
    if end.needs == "asyncio.Runner":
        return sys.version_info >= (3, 11)
    return end.needs is None or importlib.util.find_spec(end.needs) is not None


def times(end, rounds):
    """How often it is done in a process, if it is to be done so often as a whole."""
    return min(rounds, IN_A_PROCESS) if end.goes_on or end.many else 1


def awake(pid):
    """How long the process has run or waited for a processor, in seconds."""
    with open(f"/proc/{pid}/schedstat") as file:
        return sum(map(int, file.read().split()[:2])) / 1e9


@dataclass
class Child:
    """A process in which a program is run, or the same program several times."""

    name: str
    loop: str
    unsent: str
    times: int
    pid: int
    reader: int
    stderr: int
    began: float = field(default_factory=time.monotonic)

    def __str__(self):
        return f"{self.name}; loop {self.loop}; unsent: {self.unsent}"

    def slept(self, since, awake_then, until):
        """How long it has slept in that time. To wait for a processor is no sleep."""
        return until - since - (awake(self.pid) - awake_then)

    def ended(self, gone):
        """What is wrong with its end, and for how long it slept there. The process is a zombie."""
        marks = [line.split() for line in os.read(self.reader, 1 << 16).splitlines()]
        os.close(self.reader)
        slept = self.slept(*map(float, marks[-1][:2]), gone) if marks else 0.0
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.lseek(self.stderr, 0, os.SEEK_SET)
        lines = os.read(self.stderr, 1 << 20).decode(errors="replace").splitlines()
        os.close(self.stderr)
        left = sum(int(mark[2]) for mark in marks)
        warned = sum(line.startswith("unclosed <") for line in lines)
        wrong = []
        if status != ENDS[self.name].status:
            wrong.append(f"status {status}")
        if len(marks) != (self.times if ENDS[self.name].goes_on else 1):
            wrong.append(f"{len(marks)} ends")
        if slept > LONGEST:
            wrong.append(f"slept for {slept:.1f} s")
        if warned != left:
            wrong.append(f"{warned} warnings instead of {left}")
        if warned != len(lines):
            wrong.append("said more")
        return "\n".join([*wrong, *lines]) if wrong else None, slept


class Server:
    """Forks a child for each process that is to be run, some at a time."""

    def __init__(self, processes, jobs):
        self.processes = processes  # an iterator of (name, loop, unsent, times)
        self.jobs = jobs
        self.selector = selectors.DefaultSelector()
        self.counts = collections.defaultdict(collections.Counter)
        self.longest = collections.defaultdict(float)

    def run(self):
        """Run all programs. In a child: returns the program that is to be run there."""
        for process in self.processes:
            program = self.fork(*process)
            if program is not None:
                return program
            while len(self.selector.get_map()) >= self.jobs:
                self.wait()
        while self.selector.get_map():
            self.wait()
        return None

    def fork(self, name, loop, unsent, times):
        reader, writer = os.pipe()
        with tempfile.TemporaryFile() as file:
            stderr = os.dup(file.fileno())
        pid = os.fork()
        if pid == 0:
            self.selector.close()
            os.dup2(stderr, 2)
            os.dup2(os.open(os.devnull, os.O_RDWR), 1)
            text = HEAD.format(
                loop=loop, unsent=unsent, times=times, writer=writer, longest=LONGEST
            )
            program = textwrap.dedent(ENDS[name].program)
            if ENDS[name].goes_on:
                program += "go_on()\n"
                text += "for _ in range(TIMES):\n"
                program = textwrap.indent(program, "    ")
            return compile(text + program, name, "exec")
        os.close(writer)
        child = Child(name, loop, unsent, times, pid, reader, stderr)
        self.selector.register(os.pidfd_open(pid), selectors.EVENT_READ, child)
        return None

    def wait(self):
        before = awake(os.getpid())
        ready = {key.fd for key, _ in self.selector.select(1)}
        gone = time.monotonic() - (awake(os.getpid()) - before)  # not later, if we had to wait
        for key in list(self.selector.get_map().values()):
            child = key.data
            if key.fd in ready:
                self.selector.unregister(key.fd)
                os.close(key.fd)
                self.note(child, *child.ended(gone))
            elif child.slept(child.began, 0, gone) > STUCK + LONGEST * child.times:
                self.counts[child.name]["stuck"] += 1
                os.kill(child.pid, signal.SIGABRT)

    def note(self, child, wrong, slept):
        counts = self.counts[child.name]
        counts["rounds"] += child.times
        self.longest[child.name] = max(self.longest[child.name], slept)
        if wrong:
            counts["wrong"] += 1
            print(f"{child}: {wrong}", flush=True)

    def report(self):
        """Print a table. Returns the exit status."""
        width = max(map(len, self.counts))
        print(f"{'end':{width}}  rounds  stuck  wrong  longest sleep, s")
        for name, counts in self.counts.items():
            print(
                f"{name:{width}} {counts['rounds']:7,} {counts['stuck']:6} {counts['wrong']:6}"
                f" {self.longest[name]:17.2f}"
            )
        return int(any(counts["stuck"] + counts["wrong"] for counts in self.counts.values()))


def processes(names, rounds, loops):
    """At least `rounds` of each end on each loop, in turns with what is unsent."""
    for loop in loops:
        if loop == "tornado":
            importlib.import_module("tornado.ioloop")  # not before: streams notice that it is there
        for name in names:
            if possible(ENDS[name], loop):
                often = times(ENDS[name], -(-rounds // len(UNSENT)))
                for number in range(-(-rounds // often)):
                    yield name, loop, UNSENT[number % len(UNSENT)], often


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ends", nargs="*", metavar="end", help=", ".join(ENDS))
    parser.add_argument("--rounds", type=int, default=3, help="of each end on each loop; 3")
    parser.add_argument("--loop", action="append", choices=LOOPS)
    parser.add_argument("--jobs", type=int, default=4, help="processes at a time; 4")
    options = parser.parse_args()
    server = Server(
        processes(options.ends or ENDS, options.rounds, options.loop or LOOPS), options.jobs
    )
    program = server.run()
    if program is not None:
        return program
    sys.exit(server.report())


if __name__ == "__main__":
    exec(main())  # in a child
