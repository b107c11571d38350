"""README.md and docs/: every block of code is run as it stands there.

A page is read as GitHub shows it; nothing of this is seen by who reads it there:

    ```python name.py      a program. It is run to its end, with warnings as errors, and prints
                           nothing to stderr. Where a block of `sh` names it, that runs it.
    ```python              a fragment: the body of a coroutine, after what FRAGMENT prepares
    ```text                what the block before has printed; `...` stands for anything
    ```sh                  commands, run in the order of the page
    ```sh background       one command, which runs until the page ends
    ```json, ```ini, ...   data: nothing is run
    <!-- needs: x -->      in the line before a block: it is for those who have installed x
    <!-- not run: why -->  likewise: it is skipped, with that reason. `pytest -rs` lists these.

Programs that do not end are ended by ENDS. TCP ports are replaced by free ones. Commands that are
indented, without a fence, are for people: they install, measure, or take minutes.
docs/guides needs other programs: tests/docs/test_guides.py.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import zmq

import zmqstream

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    *(p for p in sorted(ROOT.glob("docs/**/*.md")) if "guides" not in p.parts),
]
TIMEOUT = 30  # seconds, for one program; nothing takes so long when all is well

DATA = {"text", "json", "ini", "toml", "none"}

# What fragments find: a stream on a loop that runs, and its peer, a plain socket.
FRAGMENT = """\
import asyncio, threading, zmq, zmqstream
from zmqstream import ZMQStream

def handle(msg): pass

async def fragment(context, socket, stream, peer, loop):
{body}

async def main():
    with zmq.Context() as context:
        peer = context.socket(zmq.PAIR)
        peer.bind("inproc://fragment")
        peer.sndtimeo = peer.rcvtimeo = 10_000  # ms: it raises, and says where
        socket = context.socket(zmq.PAIR)
        socket.connect("inproc://fragment")
        stream = ZMQStream(socket)
        await fragment(context, socket, stream, peer, asyncio.get_running_loop())
        if not stream.closed():  # a PAIR without a peer would wait
            peer.send(b"for the fragment's callback")
        while not stream.closed() and (stream.sending() or stream.receiving() and peer.poll(0)):
            await asyncio.sleep(0)
        stream.close(linger=0)
        peer.close(linger=0)

zmqstream.run(asyncio.wait_for(main(), 10))
"""


# -- what is in a page ---------------------------------------------------------------------------


@dataclass
class Block:
    line: int
    language: str
    name: str
    text: str
    mark: str = ""  # "needs: ..." or "not run: ..."
    prints: str | None = None


@dataclass
class Unit:
    """What is run together: a program, a fragment, or all commands of a page."""

    page: Path
    blocks: list[Block] = field(default_factory=list)

    @property
    def where(self):
        return self.page.relative_to(ROOT).as_posix()

    def __str__(self):
        first = self.blocks[0]
        return f"{self.where}:{first.line}" + (f"-{first.name}" if first.name else "")


def blocks(page):
    text = page.read_text(encoding="utf-8")
    pattern = r"^(?:<!-- ([^\n]*) -->\n)?```(\w+) ?(.*)\n((?s:.*?))^```$"
    found = []
    for match in re.finditer(pattern, text, re.MULTILINE):
        mark, language, name, body = match.groups()
        line = text.count("\n", 0, match.start(2)) + 1
        if language == "text" and found and found[-1].prints is None:
            found[-1].prints = body
        else:
            found.append(Block(line, language, name, body, mark or ""))
    fences = len(re.findall(r"^ *```", text, re.MULTILINE))
    directives = 2 * len(re.findall(r"^ *```\{", text, re.MULTILINE))
    shown = 2 * len(re.findall(r"^```\w", text, re.MULTILINE))
    assert fences == shown + directives, f"{page}: a fence without a language, or indented"
    return found


def units(page):
    everything = [block for block in blocks(page) if block.language not in DATA]
    commands = "\n".join(b.text for b in everything if b.language == "sh" and not skipped(b))
    together = Unit(page)
    for block in everything:
        if block.language not in ("python", "sh"):
            pytest.fail(f"{page}:{block.line}: nobody knows how to run {block.language!r}")
        named = block.language == "python" and block.name and block.name in commands
        if not skipped(block) and (named or block.language == "sh"):
            together.blocks.append(block)
        else:
            yield Unit(page, [block])
    if together.blocks:
        yield together


def skipped(block):
    return block.mark.startswith("not run:")


# -- running it ----------------------------------------------------------------------------------


class Place:
    """A folder for one unit, with ports of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.ports = {}
        self.started = []
        self.env = {**os.environ, "PYTHONWARNINGS": "error", "PYTHONUNBUFFERED": "1"}
        self.env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

    def port(self, documented):
        if documented not in self.ports:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.ports[documented] = str(probe.getsockname()[1])
        return self.ports[documented]

    def localised(self, text):
        pattern = r"(?<=127\.0\.0\.1:)\d{4,5}\b|(?<=localhost:)\d{4,5}\b"
        return re.sub(pattern, lambda match: self.port(match[0]), text)

    def write(self, name, text):
        path = self.folder / name
        path.write_text(self.localised(text), encoding="utf-8")
        return path

    def start(self, *command):
        process = subprocess.Popen(
            command, cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        self.started.append(process)
        return process

    def kill(self, process):
        """With what a shell has started, which would keep the pipes open."""
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()

    def ended(self, process):
        try:
            return process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill(process)
            out, err = process.communicate()
            pytest.fail(f"{process.args} does not end:\n{out}{err}")

    def run(self, block, *command):
        process = self.start(*command)
        out, err = self.ended(process)
        assert process.returncode == 0, f"it ended with {process.returncode}:\n{err}\n{out}"
        assert err == ""
        self.check_prints(block, out)

    def check_prints(self, block, out):
        if block.prints is not None:
            wanted = re.escape(self.localised(block.prints))
            wanted = wanted.replace("\\\n\\.\\.\\.\\\n", r"\n(?:.*\n)?").replace(r"\.\.\.", ".*")
            assert re.fullmatch(wanted, out, re.DOTALL), f"{out!r} and not {block.prints!r}"

    def interrupt(self, process):
        """As Ctrl-C would. Gives what it printed; it complains of nothing but the interrupt."""
        process.send_signal(signal.SIGINT)
        out, err = self.ended(process)
        # sockets that nobody closed, as in a program that nobody thought would end
        complaints = re.sub(r"(?m)^.*(ResourceWarning|Exception ignored).*\n", "", err)
        expected = r"\s|Traceback|During handling|KeyboardInterrupt|asyncio\.exceptions\.Cancelled"
        errors = re.findall(rf"(?m)^(?!{expected}).+$", complaints)
        assert not errors, err
        assert process.returncode in (0, 1, 130, -signal.SIGINT), err
        return out

    def clean_up(self):
        for process in self.started:
            if process.poll() is None:
                self.kill(process)
            process.communicate()


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    yield place
    place.clean_up()


def program(block):
    if block.name:
        return block.text
    return FRAGMENT.format(body=textwrap.indent(block.text, "    "))


@pytest.mark.parametrize("unit", [unit for page in PAGES for unit in units(page)], ids=str)
def test_a_block_does_what_the_page_says(unit, place):
    background = []
    for block in unit.blocks:
        for module in re.findall(r"needs: (.*)", block.mark):
            if importlib.util.find_spec(module) is None:
                pytest.skip(f"needs {module}")
        if skipped(block):
            pytest.skip(block.mark)
        if block.language == "sh":
            if block.name == "background":
                background.append((block, place.start("sh", "-c", f"exec {block.text}")))
            else:
                place.run(block, "sh", "-eu", "-c", place.localised(block.text))
            continue
        path = place.write(block.name or "fragment.py", program(block))
        if unit.blocks == [block]:
            ends = ENDS.get((unit.where, block.name))
            if ends is None:
                place.run(block, sys.executable, path.name)
            else:
                ends(place, place.start(sys.executable, path.name))
    for block, process in background:
        place.check_prints(block, place.interrupt(process))


def test_what_ends_programs_is_used():
    everything = [unit for page in PAGES for unit in units(page)]
    assert set(ENDS) <= {(unit.where, block.name) for unit in everything for block in unit.blocks}


def test_the_api_page_has_every_public_name():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    names = [f"zmqstream.{name}" for name in zmqstream.__all__]
    for name in dir(zmqstream.ZMQStream):
        if not name.startswith("_"):
            names.append(f"zmqstream.ZMQStream.{name}")
    sockets = re.findall(r"`(\w+)`", page[page.index("these methods of its socket") :])
    missing = [
        name
        for name in names
        if not re.search(rf"{re.escape(name)}$", page, re.MULTILINE)
        and name.rpartition(".")[2] not in sockets
    ]
    assert not missing


# -- the ends of programs that have none -----------------------------------------------------------


@contextlib.contextmanager
def peer(place, kind, port):
    with zmq.Context() as context, context.socket(kind) as socket:
        socket.linger = TIMEOUT * 1000
        socket.rcvtimeo = socket.sndtimeo = TIMEOUT * 1000
        socket.connect(f"tcp://127.0.0.1:{place.port(port)}")
        yield socket


def an_echo(place, process):
    with peer(place, zmq.REQ, "5555") as socket:
        socket.send_multipart([b"hello", b"world"])
        assert socket.recv_multipart() == [b"hello", b"world"]
    place.interrupt(process)


def a_printed_message(place, process):
    with peer(place, zmq.PUSH, "5556") as socket:
        socket.send_multipart([b"hello", b"world"])
    assert process.stdout.readline() == "[b'hello', b'world']\n"
    place.interrupt(process)


def an_answer_after_the_interrupt(place, process):
    with peer(place, zmq.DEALER, "5557") as socket:
        for seconds in (b"0.5", b"0"):
            socket.send(seconds)
        answers = [socket.recv()]  # so the server has both requests
        place.interrupt(process)
        assert process.returncode == 0
        answers.append(socket.recv())
        assert sorted(answers) == [b"slept 0", b"slept 0.5"]


def a_table_of_its_streams(place, process):
    command = [sys.executable, "-m", "zmqstream", "top", "--once", str(process.pid)]
    while True:  # until it has allowed that, and made its streams
        done = subprocess.run(command, env=place.env, capture_output=True, text=True, check=False)
        if "PUSH" in done.stdout:
            break
        assert process.poll() is None
        assert done.returncode == 0 or "there is no process" in done.stderr, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"{process.pid} watched.py, ")
    assert re.match(r"2 streams on <EventLoop running=True .*>, own, \w+, late by ", lines[2])
    page = (ROOT / "docs" / "howto" / "top.md").read_text(encoding="utf-8")
    headings = re.search(r"(?m)^socket  endpoint .*  errors", page)[0]
    assert lines[3].split()[:12] == headings.split()
    place.interrupt(process)


ENDS = {
    ("docs/howto/top.md", "watched.py"): a_table_of_its_streams,
    ("README.md", "echo.py"): an_echo,
    ("README.md", "on_asyncio.py"): a_printed_message,
    ("docs/tutorial.md", "polite.py"): an_answer_after_the_interrupt,
}
