"""Tornado applications on our EventLoop, with ZMQStreams that feed them.

Each runs in the ways in which programs come to a loop: see WAYS. The loop has no timers but those
of the application, so a lost event shows as a test that does not end.
"""

import asyncio
import os
import threading

import pytest
import zmq
from tornado import gen, locks, web, websocket
from tornado.httpclient import HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop, PeriodicCallback
from tornado.tcpclient import TCPClient
from tornado.testing import bind_unused_port

from support import TIMEOUT
from support.tornado_programs import (
    WAYS,
    Feed,
    busy,
    made_current,
    serving,
    starting,
)
from zmqstream import EventLoop, ZMQStream

pytestmark = pytest.mark.usefixtures("poller")


@pytest.fixture(params=WAYS)
def start(request, caplog):
    yield from starting(request.param, caplog)


class Echo(web.RequestHandler):
    def get(self):
        self.write(self.get_argument("text"))

    def post(self):
        self.write(self.request.body)


class EchoSocket(websocket.WebSocketHandler):
    def on_message(self, message):
        self.write_message(message, binary=isinstance(message, bytes))


# -- HTTP ------------------------------------------------------------------------------------------


def test_requests_while_streams_are_busy(start, context):
    async def main():
        async with serving(("/echo", Echo)) as (address, client):
            bodies = [os.urandom(1 << n) for n in range(19)]
            url, headers = f"http://{address}/echo", {"Content-Type": "application/octet-stream"}
            with busy(context):
                replies = await gen.multi(
                    [client.fetch(url, method="POST", body=b, headers=headers) for b in bodies]
                )
                assert [reply.body for reply in replies] == bodies
                reply = await client.fetch(f"{url}?text=some+text")
                assert reply.body == b"some text"

    start(main)


def test_long_polling(start, context):
    """A request is answered when the message that it waits for has come, and not before."""
    messages = []
    arrived = locks.Condition()

    class Poll(web.RequestHandler):
        async def get(self):
            number = int(self.get_argument("number"))
            while len(messages) <= number:
                await arrived.wait()
            self.write(messages[number])

    def on_message(message):
        messages.append(message[0])
        arrived.notify_all()

    async def main():
        feed = Feed(context)
        feed.on_message(on_message)
        async with serving(("/poll", Poll)) as (address, client):
            waiting = [client.fetch(f"http://{address}/poll?number={n}") for n in range(5)]
            for n, reply in enumerate(waiting):
                feed.send(b"message %d" % n)
                assert (await reply).body == b"message %d" % n
                assert not any(later.done() for later in waiting[n + 1 :])
            assert (await client.fetch(f"http://{address}/poll?number=2")).body == b"message 2"
        feed.close()

    start(main)


def test_a_streamed_response(start, context):
    """Each message is a chunk of one response, and the next is sent when that has arrived."""
    chunks = []

    class Events(web.RequestHandler):
        async def get(self):
            messages = asyncio.Queue()
            feed.on_message(lambda message: messages.put_nowait(message[0]))
            while (message := await messages.get()) != b"end":
                self.write(message)
                await self.flush()

    def on_chunk(chunk):
        chunks.append(chunk)
        feed.send(b"chunk %d" % len(chunks) if len(chunks) < 100 else b"end")

    async def main():
        nonlocal feed
        feed = Feed(context)
        async with serving(("/events", Events)) as (address, client):
            feed.send(b"chunk 0")
            request = HTTPRequest(f"http://{address}/events", streaming_callback=on_chunk)
            assert (await client.fetch(request)).code == 200
            assert chunks == [b"chunk %d" % n for n in range(100)]
        feed.close()

    feed = None
    start(main)


def test_a_client_that_leaves(start, context):
    """The handler is told at once, with nothing but the loop to tell it."""
    left = asyncio.Event()
    entered = asyncio.Event()

    class Poll(web.RequestHandler):
        async def get(self):
            entered.set()
            await left.wait()

        def on_connection_close(self):
            left.set()

    async def main():
        async with serving(("/poll", Poll)) as (address, client):
            host, port = address.split(":")
            stream = await TCPClient().connect(host, int(port))
            await stream.write(b"GET /poll HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await entered.wait()
            stream.close()
            await left.wait()

    start(main)


# -- websockets ------------------------------------------------------------------------------------


def test_websocket_echo_while_streams_are_busy(start, context):
    async def main():
        async with serving(("/echo", EchoSocket)) as (address, _):
            connection = await websocket.websocket_connect(f"ws://{address}/echo")
            messages = ["text", b"\x00binary", "", os.urandom(1_000_000), *map(str, range(100))]
            with busy(context):
                for message in messages:
                    connection.write_message(message, binary=isinstance(message, bytes))
                assert [await connection.read_message() for _ in messages] == messages
            connection.close(1000, "enough")
            assert await connection.read_message() is None
            assert connection.close_code == 1000

    start(main)


def test_messages_are_pushed_to_websockets(start, context):
    """PUSH to PULL, and from there to each client: all messages, in order."""
    clients = set()

    class Updates(websocket.WebSocketHandler):
        def open(self):
            clients.add(self)

        def on_close(self):
            clients.discard(self)

    def on_message(message):
        for client in clients:
            client.write_message(message[0], binary=True)

    async def main():
        feed = Feed(context)
        feed.on_message(on_message)
        async with serving(("/updates", Updates)) as (address, _):
            connections = [
                await websocket.websocket_connect(f"ws://{address}/updates") for _ in range(5)
            ]
            # one at a time: each message is the only event there is
            for n in range(20):
                feed.send(b"single %d" % n)
                for connection in connections:
                    assert await connection.read_message() == b"single %d" % n
            # and many at once
            for n in range(500):
                feed.send(b"%d" % n)
            for connection in connections:
                got = [await connection.read_message() for _ in range(500)]
                assert got == [b"%d" % n for n in range(500)]
            for connection in connections:
                connection.close()
                assert await connection.read_message() is None
        assert not clients
        feed.close()

    start(main)


def test_websockets_ask_a_zeromq_server(start, context):
    """A gateway: what a client says goes to a DEALER, the answer comes back on the websocket."""
    router = context.socket(zmq.ROUTER)
    port = router.bind_to_random_port("tcp://127.0.0.1")

    def serve():
        while (message := router.recv_multipart())[-1] != b"end":
            router.send_multipart([*message[:-1], message[-1].upper()])

    class Gateway(websocket.WebSocketHandler):
        def open(self):
            self.stream = ZMQStream(context.socket(zmq.DEALER))
            self.stream.connect(f"tcp://127.0.0.1:{port}")
            self.stream.on_recv(lambda message: self.write_message(message[0]))
            assert self.stream.io_loop is IOLoop.current()

        def on_message(self, message):
            self.stream.send_string(message)

        def on_close(self):
            self.stream.close()
            closed.set()

    async def main():
        async with serving(("/gateway", Gateway)) as (address, _):
            connection = await websocket.websocket_connect(f"ws://{address}/gateway")
            for n in range(100):
                connection.write_message(f"question {n}")
                assert await connection.read_message() == f"QUESTION {n}"
            connection.close()
            await closed.wait()

    closed = asyncio.Event()
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        start(main)
    finally:
        last = context.socket(zmq.DEALER)
        last.connect(f"tcp://127.0.0.1:{port}")
        last.send(b"end")
        thread.join(TIMEOUT)
    assert not thread.is_alive()


# -- a program that is set up before its loop runs -------------------------------------------------


@pytest.mark.parametrize("way", ["set_event_loop", "asyncio_loop"])
@pytest.mark.parametrize("given", [True, False])
def test_a_program_that_is_set_up_before_it_starts(way, given, context):
    """As Jupyter's servers are: everything is made, then start() runs it until stop()."""
    if way == "set_event_loop":
        asyncio.set_event_loop(EventLoop())
        io_loop = IOLoop.current()
    else:
        io_loop = made_current()
    clients = set()

    class Updates(websocket.WebSocketHandler):
        def open(self):
            clients.add(self)
            feed.send(b"welcome")

    def on_message(message):
        for client in clients:
            client.write_message(message[0])

    def on_client_message(message):
        got.append(message)
        if message is None:
            io_loop.stop()
        else:
            io_loop.add_future(connected, lambda done: done.result().close())

    def on_last_message(message):
        got.append(message)
        io_loop.stop()

    got = []
    feed = Feed(context, io_loop if given else None)
    assert feed.stream.io_loop is io_loop
    feed.on_message(on_message)
    server = HTTPServer(web.Application([("/updates", Updates)]))
    socket, port = bind_unused_port()
    server.add_socket(socket)
    connected = io_loop.asyncio_loop.create_task(connect(port, on_client_message))
    ticks = []
    periodic = PeriodicCallback(lambda: ticks.append(1), 1)
    periodic.start()
    limit = io_loop.call_later(TIMEOUT, io_loop.stop)
    io_loop.start()
    assert got == ["welcome", None]

    # stopped is not closed: it goes on where it was
    feed.on_message(on_last_message)
    feed.send(b"last")
    io_loop.start()
    assert got[2:] == [[b"last"]]
    ticks.clear()
    waiting = PeriodicCallback(lambda: ticks and io_loop.stop(), 1)
    waiting.start()
    io_loop.start()
    waiting.stop()
    assert ticks

    io_loop.remove_timeout(limit)
    periodic.stop()
    server.stop()
    io_loop.run_sync(server.close_all_connections)
    feed.close()
    io_loop.close()
    asyncio.set_event_loop(None)


async def connect(port, on_message):
    return await websocket.websocket_connect(
        f"ws://127.0.0.1:{port}/updates", on_message_callback=on_message
    )
