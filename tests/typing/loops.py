"""What type checkers say about loops, subclasses and the rest. See receiving.py."""

import asyncio
from typing import Any

import zmq
import zmq.asyncio
from typing_extensions import assert_type, override

import zmqstream
from zmqstream import (
    DelayedCallback,
    EventLoop,
    IOLoop,
    LoopStats,
    PeriodicCallback,
    StreamStats,
    ZMQStream,
    install,
    new_event_loop,
    run,
    uninstall,
)


def streams(socket: zmq.Socket[bytes], other: zmq.asyncio.Socket) -> None:
    stream = ZMQStream(socket)
    ZMQStream(socket, IOLoop.current())
    ZMQStream(socket, io_loop=EventLoop())
    ZMQStream(other, asyncio.new_event_loop())
    assert_type(stream.socket, zmq.Socket[bytes])
    assert_type(stream.poller, zmq.Poller)
    stream.bind("tcp://127.0.0.1:*")
    stream.anything_of_ones_own = 1  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]

    ZMQStream()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    ZMQStream(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


class Counting(ZMQStream):
    """A subclass: with attributes of its own, a method more, and one overridden."""

    def __init__(self, socket: zmq.Socket[bytes], io_loop: Any = None) -> None:
        super().__init__(socket, io_loop)
        self.count = 0
        self.on_recv(self.received)

    def received(self, msg: list[bytes]) -> None:
        self.count += len(msg)
        self.reply(msg)

    def reply(self, msg: list[bytes]) -> None:
        self.send_multipart(msg)

    @override
    def close(self, linger: int | None = None) -> None:
        super().close(linger)


class Wrong(ZMQStream):
    @override
    def close(self, linger: str = "") -> None: ...  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]


def subclasses(socket: zmq.Socket[bytes]) -> None:
    assert_type(Counting(socket).count, int)


async def main() -> str: ...  # type: ignore[empty-body]


def loops() -> None:
    assert_type(run(main()), str)
    assert_type(run(main(), debug=True), str)
    assert_type(new_event_loop(), EventLoop)
    assert_type(IOLoop.current(), IOLoop)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert_type(runner.run(main()), str)
    loop: asyncio.AbstractEventLoop = EventLoop()
    loop.close()
    install()
    uninstall()
    assert_type(zmqstream.__version__, str)

    run(main)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    zmqstream.start()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


def counts(stream: ZMQStream, loop: IOLoop) -> None:
    stats = stream.stats()
    assert_type(stats, StreamStats)
    assert_type(stats.messages_in, int)
    assert_type(stats.callback_time, float | None)
    assert_type(loop.stats(), LoopStats)
    assert_type(loop.stats().sweeps, int)
    assert_type(zmqstream.ioloop.IOLoop.instance(), IOLoop)
    assert_type(IOLoop.current(instance=False), IOLoop | None)
    stream.set_turn_limits(messages=10, seconds=0.5)
    stream.set_callback_timing(True)

    stream.set_turn_limits("10")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def callbacks() -> None:
    PeriodicCallback(print, 100).start()
    DelayedCallback(print, 100).stop()
    PeriodicCallback("print", 100)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
