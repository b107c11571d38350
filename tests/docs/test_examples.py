"""examples/: each does its work, as processes that talk to each other.

A test waits for what a process prints, or for the answer of a socket of its own, and for the
process's end.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import queue
import random
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest
import zmq

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TIMEOUT = 30  # seconds; nothing waits so long when all is well


class Process:
    """An example that runs. What it prints is read line by line."""

    def __init__(self, folder, name, *arguments):
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, str(EXAMPLES / f"{name}.py"), *map(str, arguments)],
            cwd=folder, env={**os.environ, "PYTHONWARNINGS": "error", "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.lines = queue.Queue()
        self.errors = []
        self.readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self.lines.put)),
            threading.Thread(target=self._read, args=(self.process.stderr, self.errors.append)),
        ]
        for reader in self.readers:
            reader.start()

    def _read(self, file, to):
        with file:
            for line in file:
                to(line.rstrip("\n"))
        to(None)

    def line(self):
        """The next line that it prints; None at its end."""
        try:
            return self.lines.get(timeout=TIMEOUT)
        except queue.Empty:
            pytest.fail(f"{self.name} is silent: {self.errors}")

    def until(self, wanted):
        """The lines up to `wanted`."""
        lines = []
        while wanted not in lines:
            lines.append(self.line())
            assert lines[-1] is not None, f"{self.name} has ended: {lines} {self.errors}"
        return lines

    def address(self):
        said = self.line() or str(self.errors)
        assert said.startswith("listening on "), said
        return said.split()[-1]

    def end(self, status=0, complains=False):
        """Wait for its end; the lines that it printed, and the errors."""
        try:
            found = self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            pytest.fail(f"{self.name} does not end")
        for reader in self.readers:
            reader.join()
        lines = []
        while (line := self.lines.get()) is not None:
            lines.append(line)
        errors = [line for line in self.errors if line is not None]
        assert found == status, f"{self.name}: {found}, {lines} {errors}"
        if status == 0 and not complains:
            assert errors == []
        return lines, errors

    def interrupt(self):
        """As Ctrl-C: it ends well."""
        self.process.send_signal(signal.SIGINT)
        return self.end()[0]

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for reader in self.readers:
            reader.join()


@pytest.fixture
def start(tmp_path):
    processes = []

    def start(name, *arguments):
        processes.append(Process(tmp_path, name, *arguments))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()


@pytest.fixture
def socket():
    """Sockets of the test, that fail after a time."""
    with contextlib.ExitStack() as stack:
        context = stack.enter_context(zmq.Context())

        def socket(kind, address=None, **options):
            made = stack.enter_context(context.socket(kind))
            made.linger = 0
            made.sndtimeo = made.rcvtimeo = TIMEOUT * 1000
            for name, value in options.items():
                setattr(made, name, value)
            if address:
                made.connect(address)
            return made

        yield socket


ANY = "tcp://127.0.0.1:*"


# -- broker.py -----------------------------------------------------------------------------------


@pytest.fixture
def broker(start):
    def broker(*arguments):
        process = start("broker", "--clients", ANY, "--workers", ANY, "serve", *arguments)
        return process, process.address(), process.address()

    return broker


def test_broker_clients_take_turns_whoever_came_first(broker, socket):
    process, clients, workers = broker("--limit", "20")
    flooding, modest = (socket(zmq.DEALER, clients, routing_id=name) for name in (b"A", b"B"))
    for client in (flooding, modest):
        for number in range(21):
            client.send_multipart([b"%d" % number, b"hello"])
        # beyond the limit: so all others are waiting now
        assert client.recv_multipart() == [b"20", b"busy"]
    worker = socket(zmq.DEALER, workers)
    worker.send(b"ready")
    order = []
    for number in range(40):
        client, *request = worker.recv_multipart()
        assert request == [b"%d" % (number // 2), b"hello"]
        order.append(client)
        worker.send_multipart([b"ready", client, request[0], b"ok"])
    assert order == [b"A", b"B"] * 20
    for client in (flooding, modest):
        assert [client.recv_multipart()[0] for _ in range(20)] == [b"%d" % n for n in range(20)]
    process.interrupt()


def test_broker_gives_the_request_of_a_dead_worker_to_another(broker, socket):
    process, clients, workers = broker("--patience", "0.2")
    dead, hanging, client = (
        socket(zmq.DEALER, workers),
        socket(zmq.DEALER, workers),
        socket(zmq.DEALER, clients),
    )
    for worker in (dead, hanging):
        client.send_multipart([b"0", b"hello"])
        worker.send(b"ready")
        who, *request = worker.recv_multipart()
        assert request == [b"0", b"hello"]
    dead.close()
    worker = socket(zmq.DEALER, workers)
    answer = [b"ready", who, b"0", b"from another"]
    worker.send(b"ready")
    assert worker.recv_multipart() == [who, b"0", b"hello"]
    worker.send_multipart(answer)
    assert worker.recv_multipart() == [who, b"0", b"hello"]
    # both were given up; the one that hung answers too late
    hanging.send_multipart([b"ready", who, b"0", b"from who hung"])
    worker.send_multipart(answer)
    answers = []
    poller = zmq.Poller()
    poller.register(worker, zmq.POLLIN)
    poller.register(client, zmq.POLLIN)
    while len(answers) < 2:
        for ready, _ in poller.poll(TIMEOUT * 1000):
            if ready is client:
                answers.append(client.recv_multipart())
            else:  # on a slow machine this one was given up, too
                worker.recv_multipart()
                worker.send_multipart(answer)
    assert answers == [[b"0", b"from another"]] * 2
    process.interrupt()


def test_broker_workers_and_clients_are_processes(broker, start):
    process, clients, workers = broker()
    working = [start("broker", "--workers", workers, "work") for _ in range(2)]
    for each in working:
        assert each.line() == f"working for {workers}"
    words = [f"word{number}" for number in range(50)]
    lines, _ = start("broker", "--clients", clients, "ask", *words).end()
    assert sorted(lines) == sorted(f"{n} ok {word.upper()}" for n, word in enumerate(words))
    for each in (*working, process):
        each.interrupt()


# -- heartbeat.py --------------------------------------------------------------------------------


def test_heartbeat_sees_who_dies_who_hangs_and_who_leaves(start):
    watch = start("heartbeat", "--address", ANY, "--interval", 0.03, "--liveness", 40, "watch")
    address = watch.address()

    def beat(name):
        return start("heartbeat", "--address", address, "--interval", 0.03, "beat", name)

    said = {}

    def until(name, word):
        """Read until it said `word` of `name`. On a slow machine, others may be down meanwhile."""
        while said.get(name) != word:
            said_now, who = watch.line().split()
            said[who] = said_now

    first, second, third = beat("first"), beat("second"), beat("third")
    for name in ("first", "second", "third"):
        until(name, "up")
    first.process.kill()
    until("first", "down")
    if hasattr(signal, "SIGSTOP"):
        second.process.send_signal(signal.SIGSTOP)
        until("second", "down")
        second.process.send_signal(signal.SIGCONT)
    until("second", "up")
    until("third", "up")
    third.interrupt()
    until("third", "left")
    beat("first")
    until("first", "up")
    until("second", "up")
    assert not any(line.split()[1] == "third" for line in watch.interrupt()), "it has left"


# -- transfer.py ---------------------------------------------------------------------------------


@pytest.fixture
def served(start, tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    return folder, start("transfer", "--address", ANY, "serve", folder)


def test_transfer_brings_files_whole_to_several_clients(start, served, tmp_path):
    folder, server = served
    address = server.address()
    data = random.Random(1).randbytes(5_000_000)
    (folder / "data").write_bytes(data)
    (folder / "chunks").write_bytes(data[: 10 * 65536])
    (folder / "empty").write_bytes(b"")

    def fetch(name, to, *options):
        return start("transfer", "--address", address, "fetch", name, "--to", to, *options)

    fetching = {
        "data": (fetch("data", "one"), fetch("data", "two", "--credit", "1", "--chunk", "1000000")),
        "chunks": (fetch("chunks", "chunks"),),
        "empty": (fetch("empty", "empty"),),
    }
    for name, processes in fetching.items():
        wanted = (folder / name).read_bytes()
        for process in processes:
            digest, path = process.end()[0][0].split()
            assert digest == hashlib.sha256(wanted).hexdigest()
            assert (tmp_path / path).read_bytes() == wanted
    server.interrupt()


def test_transfer_refuses_what_is_not_in_the_folder(start, served):
    folder, server = served
    address = server.address()
    (folder.parent / "secret").write_text("secret")
    for name, error in (("absent", "No such file"), ("../secret", "leads out of the folder")):
        process = start("transfer", "--address", address, "fetch", name, "--to", "got")
        assert error in process.end(status=1)[1][0]
    server.interrupt()


def test_transfer_sends_no_more_than_credit_was_given_for(served, socket):
    folder, server = served
    client = socket(zmq.DEALER, server.address())
    (folder / "data").write_bytes(bytes(1000))
    for offset in (b"0", b"300", b"900"):
        client.send_multipart([b"data", offset, b"300"])
    client.send_multipart([b"absent", b"0", b"300"])
    answers = [client.recv_multipart() for _ in range(4)]
    assert [(a[0], len(a[-1])) for a in answers[:3]] == [(b"0", 300), (b"300", 300), (b"900", 100)]
    assert answers[3][:1] == [b"0"]
    assert len(answers[3]) == 2, "an error, and no more of the file before it"
    server.interrupt()


def test_transfer_goes_on_with_another_server(start, socket, tmp_path):
    data = random.Random(2).randbytes(10_500)
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "data").write_bytes(data)
    first = socket(zmq.ROUTER)
    address = f"tcp://127.0.0.1:{first.bind_to_random_port('tcp://127.0.0.1')}"
    options = ("--credit", "2", "--chunk", "1000", "--timeout", "0.2", "--retries", "1000")
    client = start("transfer", "--address", address, "fetch", "data", "--to", "got", *options)
    for offset in (0, 1000, 2000):
        who, *credit = first.recv_multipart()
        assert credit == [b"data", b"%d" % offset, b"1000"]
        if offset < 2000:
            first.send_multipart([who, credit[1], b"", data[offset : offset + 1000]])
    first.close()  # with a credit that it has taken
    second = start("transfer", "--address", address, "serve", "served")
    second.address()
    lines, _ = client.end(complains=True)
    assert lines[0].split()[0] == hashlib.sha256(data).hexdigest()
    second.interrupt()


# -- secure.py -----------------------------------------------------------------------------------


def test_secure_lets_in_who_is_allowed(start, socket, tmp_path):
    start("secure", "keys", "keys", "server", "alice", "mallory").end()
    server = start("secure", "--address", ANY, "serve", "keys", "--allow", "alice")
    address = server.address()

    def ask(name, *options):
        return start("secure", "--address", address, "ask", "keys", name, "hello", *options)

    assert ask("alice").end()[0] == ["HELLO"]
    assert server.line() == "asked by alice"
    refused, *more = ask("mallory").end(status=1)[1]
    assert refused == "refused, with ZAP status 400"
    # if it was refused before the word was handed over, the stream tells that, and nothing else
    lost = "1 queued messages could not be handed to libzmq and are lost"
    assert all(line.endswith(lost) for line in more)
    assert len(more) <= 1
    # without CURVE at all: it is never let in, and the server goes on
    plain = socket(zmq.DEALER)
    monitor = plain.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    monitor.rcvtimeo = TIMEOUT * 1000
    plain.connect(address)
    plain.send(b"hello")
    monitor.recv_multipart()
    plain.disable_monitor()
    monitor.close()
    assert ask("alice").end()[0] == ["HELLO"]
    assert server.interrupt() == ["asked by alice"]


# -- proxy.py ------------------------------------------------------------------------------------


def test_proxy_drops_what_the_filter_says_and_keeps_the_order(start, socket):
    proxy = start("proxy", "--front", ANY, "--back", ANY, "streamer", "--drop", "^debug")
    push, pull = socket(zmq.PUSH, proxy.address()), socket(zmq.PULL, proxy.address())
    for number in range(3000):
        push.send_multipart([b"log", (b"debug %d" if number % 3 else b"info %d") % number])
    wanted = [[b"log", b"info %d" % number] for number in range(0, 3000, 3)]
    assert [pull.recv_multipart() for _ in wanted] == wanted
    push.send(b"the last")
    assert pull.recv() == b"the last"
    assert proxy.interrupt()[0].startswith("1001 of 3001 messages forwarded, ")


def test_proxy_reads_no_more_than_goes_on(start, socket):
    limits = ("--high", 10, "--hwm", 10)
    proxy = start("proxy", "--front", ANY, "--back", ANY, "streamer", *limits)
    push, back = socket(zmq.PUSH, proxy.address(), sndhwm=10), proxy.address()
    sent = 0
    while push.poll(300, zmq.POLLOUT):  # nobody receives: all queues are full after a while
        assert sent < 5000, "something takes whatever comes"
        push.send(b"%d " % sent + bytes(100_000))
        sent += 1
    pull = socket(zmq.PULL, back)
    assert [int(pull.recv().split()[0]) for _ in range(sent)] == list(range(sent))
    assert int(proxy.interrupt()[0].split()[-2]) <= 11


def test_proxy_takes_subscriptions_back(start, socket):
    proxy = start("proxy", "--front", ANY, "--back", ANY, "forwarder", "--drop", "secret")
    publisher = socket(zmq.XPUB, proxy.address())
    subscriber = socket(zmq.SUB, proxy.address())
    subscriber.subscribe(b"topic")
    assert publisher.recv() == b"\1topic"
    for text in (b"first", b"a secret", b"last"):
        publisher.send_multipart([b"topic", text])
        publisher.send_multipart([b"other", text])
    assert [subscriber.recv_multipart()[1] for _ in range(2)] == [b"first", b"last"]
    proxy.interrupt()


def test_proxy_brings_answers_back(start, socket):
    proxy = start("proxy", "--front", ANY, "--back", ANY, "queue", "--drop", "secret")
    front, back = proxy.address(), proxy.address()
    clients = [socket(zmq.REQ, front) for _ in range(3)]
    server = socket(zmq.REP, back)
    for number, client in enumerate(clients):
        client.send(b"%d" % number)
    for _ in clients:
        server.send(b"answer to " + server.recv())
    for number, client in enumerate(clients):
        assert client.recv() == b"answer to %d" % number
    proxy.interrupt()


# -- ticker.py -----------------------------------------------------------------------------------


def test_ticker_drops_for_the_slow_subscriber_alone(start):
    count = 2000  # of 32 kB, more than buffers of TCP hold, at a pace that a busy machine keeps
    publisher = start(
        "ticker", "--address", ANY, "--hwm", 200, "publish",
        "--count", count, "--size", 32_000, "--interval", 0.02, "--burst", 25, "--subscribers", 3,
    )  # fmt: skip
    address = publisher.address()

    def subscribe(hwm, *options):
        return start("ticker", "--address", address, "--hwm", hwm, "subscribe", *options)

    fast = subscribe(count)
    slow = subscribe(100, "--seconds", 0.004)
    latest = subscribe(count, "--seconds", 0.004, "--latest")
    figures = {}
    for name, process in (("fast", fast), ("slow", slow), ("latest", latest)):
        words = process.end()[0][0].split()
        seen, missed, handled = figures[name] = int(words[0]), int(words[2]), int(words[4])
        assert seen + missed == count
        assert handled <= seen
    assert figures["slow"][1] > count / 2, "the queues are bounded, and were full"
    assert figures["fast"][1] < figures["slow"][1]
    assert figures["fast"][2] == figures["fast"][0]
    assert figures["latest"][1] < figures["slow"][1]
    assert figures["latest"][2] < figures["latest"][0], "it left out what was old"
    assert publisher.end()[0] == [f"published {count}"]


# -- metrics.py ----------------------------------------------------------------------------------


def test_metrics_are_what_prometheus_reads(start, socket):
    pytest.importorskip("prometheus_client", reason="pip install prometheus_client")
    from prometheus_client.parser import text_string_to_metric_families

    relay = start("metrics", "--source", ANY, "--target", ANY, "--port", 0)
    push, pull = socket(zmq.PUSH, relay.address()), socket(zmq.PULL, relay.address())
    url = relay.address()
    for number in range(500):
        push.send_multipart([b"%03d" % number, bytes(100)])
    assert [pull.recv_multipart()[0] for _ in range(500)] == [b"%03d" % n for n in range(500)]
    with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
        assert response.headers["Content-Type"].startswith("text/plain")
        text = response.read().decode()
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        for sample in family.samples:
            found[family.type, sample.name, sample.labels["stream"]] = sample.value
    assert found["counter", "zmqstream_messages_in_total", "source"] == 500
    assert found["counter", "zmqstream_bytes_in_total", "source"] == 500 * 103
    assert found["counter", "zmqstream_messages_out_total", "target"] == 500
    assert found["counter", "zmqstream_messages_in_total", "target"] == 0
    assert found["gauge", "zmqstream_queued", "target"] == 0
    relay.interrupt()


# -- dashboard.py --------------------------------------------------------------------------------


def test_dashboard_shows_live_figures(start, socket):
    pytest.importorskip("tornado")
    from tornado.websocket import websocket_connect

    relay = start("dashboard", "--source", ANY, "--target", ANY, "--port", 0, "--interval", 0.05)
    push = socket(zmq.PUSH, relay.address())
    relay.address()
    url = relay.address()
    with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
        page = response.read().decode()
    assert "new WebSocket(`ws://${location.host}/stats`)" in page

    async def watch():
        """What comes before and after the messages."""
        watching = await websocket_connect(f"{url.replace('http', 'ws')}/stats")
        first = json.loads(await watching.read_message())
        for _ in range(500):
            push.send_multipart([b"topic", b"text"])
        figures = first
        while figures["streams"]["target"]["messages_out"] < 500:
            figures = json.loads(await watching.read_message())
        watching.close()
        while await watching.read_message() is not None:
            pass  # until the connection is closed
        return first, figures

    first, last = asyncio.run(asyncio.wait_for(watch(), TIMEOUT))
    assert first["streams"]["source"]["messages_in"] == 0
    assert last["streams"]["source"]["messages_in"] == 500
    assert last["streams"]["source"]["bytes_in"] == 500 * 9
    assert last["streams"]["source"]["callback_time"] > 0
    assert last["loop"]["streams"] == 2
    assert relay.interrupt() == []


# -- front_end.py --------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], ["--pyzmq"]])
def test_front_end(start, arguments):
    process = start("front_end", *arguments)
    assert process.line() == "500 requests, 10000 tokens"
    assert re.fullmatch(r"\d+ us of processor time a token", process.end(complains=True)[1][0])


# -- cores.py ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["--threads", "--processes"])
def test_cores_answers_all_that_it_has_at_its_end(start, socket, tmp_path, kind):
    server = start("cores", "--clients", ANY, "serve", "--workers", "2", kind)
    address = server.address()
    file = tmp_path / "words.txt"
    file.write_text("A rose is a rose is a rose")
    asking = start("cores", "--clients", address, "ask", file)
    assert asking.end()[0] == [f"{file}: a 3, rose 3, is 2"]
    client = socket(zmq.DEALER, address)
    for number in range(50):
        client.send_multipart([b"%d" % number, b"b a b c b a " * 2000])
    got = [client.recv_multipart()]
    (last,) = server.interrupt()
    answered = int(last.removeprefix("answered "))
    got += [client.recv_multipart() for _ in range(answered - 2)]  # one answer was for `asking`
    assert sorted(int(name) for name, _ in got) == list(range(answered - 1))
    assert {words for _, words in got} == {b"b 6000, a 4000, c 2000"}
