"""docs/guides: every example is followed as it stands there, and the programs are looked into.

A guide's code blocks are what is run. The word after the language is the name of the file that the
block is; `sh` is run to its end, and `sh background` beside what follows; `text` is what the last
`sh` prints. They are followed in a folder, and with a HOME, of their own.

What guides need is installed by: pip install '.[programs]'
"""

import asyncio
import importlib.util
import json
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import textwrap
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import zmqstream

psutil = pytest.importorskip("psutil", reason="needs pip install '.[programs]'")
if not Path("/proc/self/maps").exists():
    pytest.skip("the guides' checks read /proc/PID/maps", allow_module_level=True)

GUIDES = Path(__file__).resolve().parents[2] / "docs" / "guides"
TIMEOUT = 60  # seconds, for one command; nothing takes so long when all is well
OURS = ["zmqstream.stream.ZMQStream"]

# First in the PYTHONPATH of all that is started: on a signal, a process says whose streams it has.
LOOK = signal.SIGRTMIN + 7
SITECUSTOMIZE = f"""
import gc, json, os, signal, socket

def look(signum, frame):
    streams = [type(o) for o in gc.get_objects() if type(o).__name__ == "ZMQStream"]
    names = sorted({{f"{{kind.__module__}}.{{kind.__qualname__}}" for kind in streams}})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.sendto(json.dumps(names).encode(), os.environ["LOOK_SOCKET"])

signal.signal({int(LOOK)}, look)
"""

# ssh and scp to hosts that are folders here, with the bare environment that a login has
SSH = """\
#!/bin/sh
# ssh HOST [--] COMMAND...
host={folder}/hosts/$1; shift
[ "$1" != -- ] || shift
mkdir -p "$host"; cd "$host"
exec env -i HOME="$host" PATH="$PATH" PLACE="$PLACE" PYTHONPATH={package} sh -c "$*"
"""
SCP = """\
#!/bin/sh
# scp FILE HOST:FILE
cp "$1" "{folder}/hosts/${{2%%:*}}/${{2#*:}}"
"""


def needs(*modules):
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(
        bool(missing), reason=f"not installed: {', '.join(missing)} (pip install '.[programs]')"
    )


# -- what is in a guide ----------------------------------------------------------------------------


@dataclass
class Block:
    language: str
    name: str  # of the file, or "background"
    text: str
    prints: str | None = None


@dataclass
class Section:
    blocks: list[Block] = field(default_factory=list)


def read(guide):
    """The sections of a guide that have blocks, by their headings."""
    sections = {}
    heading = ""
    text = (GUIDES / f"{guide}.md").read_text()
    for found in re.finditer(r"^## (.+)$|^```(\w+) ?(.*)\n((?s:.*?))^```$", text, re.MULTILINE):
        title, language, name, body = found.groups()
        if title:
            heading = title
        elif language == "text":
            sections[heading].blocks[-1].prints = body
        else:
            sections.setdefault(heading, Section()).blocks.append(Block(language, name, body))
    assert text.count("\n```") == 2 * len(re.findall(r"^```\w+", text, re.MULTILINE))
    return sections


# -- where it is followed --------------------------------------------------------------------------


class Place:
    def __init__(self, folder):
        self.folder = folder
        self.mark = uuid.uuid4().hex  # in the environment of all that is started here
        self.looks = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.looks.bind(str(folder / "look"))
        self.looks.settimeout(TIMEOUT)
        self.home = folder / "home"
        self.bin = folder / "bin"
        for new in (self.home, self.bin, folder / "site"):
            new.mkdir()
        (folder / "site" / "sitecustomize.py").write_text(SITECUSTOMIZE)
        python = str(Path(sys.executable).parent)
        self.env = {
            "HOME": str(self.home),
            "PATH": os.pathsep.join([str(self.bin), python, os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join([str(folder / "site"), os.environ["PYTHONPATH"]]),
            "LOOK_SOCKET": str(folder / "look"),
            "PLACE": self.mark,
        }

    def follow(self, section):
        """Do what it says, and give each block after it was done."""
        for block in section.blocks:
            if block.language != "sh":
                path = self.path(block.name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text)
            elif block.name == "background":
                self.start(block.text)
            else:
                printed = self.run("sh", "-eu", "-c", block.text)
                if block.prints is not None:
                    assert printed == block.prints
            yield block

    def path(self, name):
        return self.home / name[2:] if name.startswith("~/") else self.folder / name

    def run(self, *command):
        """What it prints, which is read from a file: daemons keep pipes open."""
        with open(self.folder / "out", "w+") as out, open(self.folder / "err", "w+") as err:
            status = subprocess.run(
                command, cwd=self.folder, env=self.env, timeout=TIMEOUT, check=False,
                stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            ).returncode  # fmt: skip
            out.seek(0)
            err.seek(0)
            printed = out.read()
            assert status == 0, f"{command}: {status}\n{printed}\n{err.read()}"
        return printed

    def python(self, text):
        """Run a script, and give what it prints."""
        script = self.folder / "script.py"
        script.write_text(textwrap.dedent(text))
        return self.run("python", "script.py")

    def start(self, command):
        """Run one simple command beside what follows: `exec` makes it the process that we know."""
        self.heard = ""
        self.started = subprocess.Popen(
            ["sh", "-c", f"exec {command}"], cwd=self.folder, env=self.env,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def hear(self, text):
        """Wait until what was started prints a line with `text`, and give it."""
        end = time.monotonic() + TIMEOUT
        with selectors.DefaultSelector() as selector:
            selector.register(self.started.stdout, selectors.EVENT_READ)
            while text not in self.heard.rpartition("\n")[0]:
                assert selector.select(end - time.monotonic()), f"only heard:\n{self.heard}"
                said = os.read(self.started.stdout.fileno(), 65536).decode()
                assert said, f"it ended, and said:\n{self.heard}"
                self.heard += said
        return next(line for line in self.heard.splitlines() if text in line)

    def streams(self, pid):
        """The classes of the streams of a process."""
        os.kill(pid, LOOK)
        return json.loads(self.looks.recv(65536))

    def processes(self):
        """What was started here, and its children: circus gives its own no environment."""
        found = set()
        for process in psutil.process_iter():
            try:
                if process.environ().get("PLACE") == self.mark:
                    found.update([process, *process.children(recursive=True)])
            except psutil.Error:
                continue  # another user's, or gone
        return found

    def everything_ends(self):
        """Without being killed."""
        if hasattr(self, "started"):
            self.started.communicate(timeout=TIMEOUT)
        _, left = psutil.wait_procs(self.processes(), timeout=TIMEOUT)
        assert not left

    def clean_up(self):
        self.looks.close()
        while left := self.processes():  # again: they may have started others meanwhile
            for process in left:
                process.kill()
            psutil.wait_procs(left, timeout=TIMEOUT)
        if hasattr(self, "started"):
            self.started.communicate()


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    yield place
    place.clean_up()


# -- the guides ------------------------------------------------------------------------------------

FOLLOWED = {  # by which test
    "jupyter": {
        "A kernel": "test_a_kernel",
        "Back again": "test_a_kernel",
        "A server, with all of its kernels": "test_a_jupyter_server",
    },
    "ipyparallel": {
        "One program": "test_ipyparallel_in_one_program",
        "A cluster that stays": "test_ipyparallel_by_configuration",
        "Engines on other machines": "test_ipyparallel_by_configuration",
    },
    "circus": {"The daemon": "test_circus"},
    "figures": {},
}


def test_every_example_is_followed():
    assert {path.stem for path in GUIDES.glob("*.md")} == set(FOLLOWED)
    for guide, sections in FOLLOWED.items():
        assert list(read(guide)) == list(sections)
        assert all(test in globals() for test in sections.values())


@needs("ipykernel", "jupyter_client")
def test_a_kernel(place):
    guide = read("jupyter")
    for _ in place.follow(guide["A kernel"]):
        pass
    printed = place.python("""
        import jupyter_client

        def run(code):
            said = []
            reply = client.execute_interactive(code, timeout=60, output_hook=said.append)
            text = "".join(m["content"].get("text", "") for m in said)
            return text.strip() or reply["content"].get("ename", "")

        manager, client = jupyter_client.manager.start_new_kernel(kernel_name="zmqstream")
        print(manager.provisioner.pid == int(run("import os; print(os.getpid())")))
        whose = (
            "import gc; kernel = get_ipython().kernel; print({type(o).__module__ for o in "
            "[*gc.get_objects(), kernel.shell_stream, kernel.control_stream] "
            "if type(o).__name__ == 'ZMQStream'})"
        )
        print(run(whose))
        many = run("for i in range(5000): print(i, flush=i % 100 == 0)")
        print(many.split() == [str(i) for i in range(5000)])
        client.execute("print('go', flush=True); import threading; threading.Event().wait()")
        while client.get_iopub_msg(timeout=60)["content"].get("text") != "go\\n":
            pass
        manager.interrupt_kernel()
        while True:
            message = client.get_iopub_msg(timeout=60)
            if message["msg_type"] == "error":
                print(message["content"]["ename"])
                break
        client.get_shell_msg(timeout=60)
        manager.restart_kernel(now=False)
        client.wait_for_ready(timeout=60)
        print(run("print('i' in globals())"), run(whose))
        client.stop_channels()
        manager.shutdown_kernel(now=False)
        print(manager.has_kernel)
    """)
    assert printed.splitlines() == [
        "True",
        "{'zmqstream.stream'}",
        "True",
        "KeyboardInterrupt",
        "False {'zmqstream.stream'}",
        "False",
    ]
    for _ in place.follow(guide["Back again"]):
        pass
    assert '"zmqstream"' not in place.run("jupyter", "kernelspec", "list", "--json")
    place.everything_ends()


@needs("ipykernel", "jupyter_server")
def test_a_jupyter_server(place):
    place.env.update(JUPYTER_TOKEN="token", JUPYTER_PORT="0")
    config = place.home / ".jupyter" / "jupyter_server_config.py"
    config.parent.mkdir()
    config.write_text("c.ServerApp.allow_root = True\nc.ServerApp.open_browser = False\n")
    for block in place.follow(read("jupyter")["A server, with all of its kernels"]):
        if block.name == "background":
            place.env["PID"] = str(place.started.pid)
            url = place.hear("http://127.0.0.1").split()[-1].partition("?")[0]
            asyncio.run(asyncio.wait_for(use_a_kernel(place, url), TIMEOUT))
    place.started.send_signal(signal.SIGTERM)
    place.everything_ends()


async def use_a_kernel(place, url):
    """Have the server start its ordinary kernel, and ask that by the server's websocket."""
    from tornado.httpclient import AsyncHTTPClient, HTTPRequest
    from tornado.websocket import websocket_connect

    code = "print(type(get_ipython().kernel.shell_stream).__module__)"
    headers = {"Authorization": "token token"}
    start = HTTPRequest(f"{url}api/kernels", method="POST", headers=headers, body="{}")
    kernel = json.loads((await AsyncHTTPClient().fetch(start)).body)["id"]
    address = f"{url}api/kernels/{kernel}/channels".replace("http", "ws", 1)
    channel = await websocket_connect(HTTPRequest(address, headers=headers))
    header = {"msg_id": "1", "msg_type": "execute_request", "session": "1", "username": "x"}
    message = {"channel": "shell", "header": {**header, "date": "", "version": "5.3"}}
    content = {"code": code, "silent": False}
    message.update(parent_header={}, metadata={}, buffers=[], content=content)
    await channel.write_message(json.dumps(message))
    while message["header"]["msg_type"] != "stream":
        message = json.loads(await channel.read_message())
    assert message["content"]["text"] == "zmqstream.stream\n"
    assert place.streams(place.started.pid) == OURS
    channel.close()


@needs("ipyparallel")
def test_ipyparallel_in_one_program(place):
    quick_heartbeat(place)
    for _ in place.follow(read("ipyparallel")["One program"]):
        pass
    place.everything_ends()


@needs("ipyparallel")
def test_ipyparallel_by_configuration(place):
    guide = read("ipyparallel")
    quick_heartbeat(place)
    for block in place.follow(guide["A cluster that stays"]):
        if "ipcluster start" in block.text:
            look_into_the_cluster(place)
    place.everything_ends()
    for name, text in (("ssh", SSH), ("scp", SCP)):
        command = place.bin / name
        package = Path(zmqstream.__file__).parent.parent
        command.write_text(text.format(folder=place.folder, package=package))
        command.chmod(0o755)
    for _ in place.follow(guide["Engines on other machines"]):
        pass
    assert {path.name for path in (place.folder / "hosts").iterdir()} == {"node1", "node2"}
    place.everything_ends()


def quick_heartbeat(place):
    """An engine is there when it has answered two heartbeats, by default of 3 s."""
    for profile in ("default", "ssh"):
        path = place.path(f"~/.ipython/profile_{profile}/ipcontroller_config.py")
        path.parent.mkdir(parents=True)
        path.write_text("c = get_config()\nc.HeartMonitor.period = 200\n")


def look_into_the_cluster(place):
    """The controller, its schedulers in Python, the engines and their nannies."""
    place.python("import ipyparallel; ipyparallel.Client().wait_for_engines(2)")
    log = next(place.home.glob(".ipython/profile_default/log/ipcontroller-*.log")).read_text()
    assert "using Python leastload Task scheduler" in log
    security = place.home / ".ipython" / "profile_default" / "security"
    ports = json.loads((security / "ipcontroller-client.json").read_text())
    listens = {}
    for process in sorted(place.processes(), key=lambda process: process.create_time()):
        for connection in process.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN:  # the first's: forks inherit descriptors
                listens.setdefault(connection.laddr.port, process)
    found = [listens[ports[name]] for name in ("registration", "task", "broadcast")]
    for module in ("ipyparallel.engine", "ipyparallel.engine.nanny"):
        matching = [p for p in place.processes() if p.cmdline()[-1] == module]
        assert len(matching) == 2
        found += matching
    assert len(set(found)) == 7
    for process in found:
        assert place.streams(process.pid) == OURS, process.cmdline()


@needs("circus")
def test_circus(place):
    for block in place.follow(read("circus")["The daemon"]):
        if block.name == "background":
            place.hear("Arbiter now waiting for commands")
            assert int((place.folder / "circus.pid").read_text()) == place.started.pid
            assert place.streams(place.started.pid) == OURS
            place.hear("Starting the stats streamer")
            [helper] = [
                p for p in place.processes() if "from circus import stats" in " ".join(p.cmdline())
            ]
            assert place.streams(helper.pid) == OURS
    place.everything_ends()
