"""The implementations: classes of streams, pyzmq's other interfaces, other libraries, and C.

Each is used as its documentation shows. The rows of a peer whose modules are missing say so.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
from collections.abc import Callable, Coroutine
from time import perf_counter_ns
from typing import Any

import zmq

import zmqstream

from . import climit
from .compiled import NotCompiled, compiled

C = "C"
OURS = "zmqstream"
BLOCKING = "pyzmq blocking"
STREAM = "pyzmq ZMQStream"
OURS_AWAITED = f"{OURS}, awaited"
ASYNC = "zmq.asyncio"
AIOZMQ = "aiozmq"
PYOMQ = "pyomq blocking"
PYOMQ_ASYNC = "pyomq.asyncio"
PYOMQ_STREAM = "pyomq ZMQStream"
ZLOOP = "czmq zloop"

Go = Callable[[], None]  # notes the time, and starts the messages


class Peer:
    """An implementation. `needs` are the modules that it imports."""

    def __init__(self, name: str, *needs: str) -> None:
        self.name = name
        self.needs = needs

    def missing(self) -> str:
        """Why it cannot run here, or an empty string."""
        for module in self.needs:
            try:
                importlib.import_module(module)
            except ImportError as error:
                return f"{module} cannot be imported: {error}"
        return ""

    def socket(self, context: zmq.Context, kind: int) -> Any:
        """A socket for receive() or serve(): a zmq.Socket, or the peer's own type."""
        return context.socket(kind)

    def receive(
        self, socket: Any, n: int, frames: int, copy: bool, go: Go, lasts: int = 1
    ) -> tuple[int, Any]:
        """Receive n messages of `frames` frames. `lasts` of them, including the last, have one
        more frame. Returns the time of the last message, and the message."""
        raise NotImplementedError

    def serve(self, socket: Any) -> None:
        """Send every message back for ever."""
        raise NotImplementedError


class InC(Peer):
    def missing(self) -> str:
        return climit.missing()

    def receive(
        self, socket: Any, n: int, frames: int, copy: bool, go: Go, lasts: int = 1
    ) -> tuple[int, Any]:
        go()
        climit.receive(socket, n)
        return perf_counter_ns(), None

    def serve(self, socket: Any) -> None:
        climit.echo(socket)


class Zloop(Peer):
    """A separate process, which some works start."""

    def missing(self) -> str:
        try:
            self.program()
        except NotCompiled as error:
            return f"{error}; it needs czmq's headers (Debian: libczmq-dev)"
        return ""

    @staticmethod
    def program() -> str:
        return str(compiled("zloop.c", "-lczmq", "-lzmq", "-lpthread"))


class Blocking(Peer):
    def receive(
        self, socket: Any, n: int, frames: int, copy: bool, go: Go, lasts: int = 1
    ) -> tuple[int, Any]:
        receive = socket.recv_multipart
        if copy:  # call as a program would: an argument costs some 50 ns
            go()
            for _ in range(n):
                message = receive()
        else:
            go()
            for _ in range(n):
                message = receive(copy=False)
        return perf_counter_ns(), message

    def serve(self, socket: Any) -> None:
        while True:
            socket.send_multipart(socket.recv_multipart())


class PyomqBlocking(Blocking):
    def socket(self, context: zmq.Context, kind: int) -> Any:
        return importlib.import_module("pyomq").Context().socket(kind)


class OnLoop(Peer):
    """An implementation on an event loop. `loop` is the name of its factory in LOOPS."""

    def __init__(self, name: str, loop: str, *needs: str) -> None:
        modules = {"uvloop": ["uvloop"], "Tornado": ["tornado"]}.get(loop, [])
        super().__init__(name, *modules, *needs)
        self.new_loop = LOOPS[loop]

    def run(self, main: Coroutine[Any, Any, Any]) -> Any:
        loop = self.new_loop()
        asyncio.set_event_loop(loop)  # aiozmq and Tornado's IOLoop.current() look there, too
        task = loop.create_task(main)
        try:
            return loop.run_until_complete(task)
        finally:
            if task.cancel():  # a time limit or Ctrl-C has left the loop: clean up
                with contextlib.suppress(asyncio.CancelledError):
                    loop.run_until_complete(task)
            asyncio.set_event_loop(None)
            loop.close()

    def receive(
        self, socket: Any, n: int, frames: int, copy: bool, go: Go, lasts: int = 1
    ) -> tuple[int, Any]:
        return self.run(self._receive(socket, n, frames, copy, go, lasts))

    def serve(self, socket: Any) -> None:
        self.run(self._serve(socket))

    async def _receive(
        self, socket: Any, n: int, frames: int, copy: bool, go: Go, lasts: int
    ) -> tuple[int, Any]:
        raise NotImplementedError

    async def _serve(self, socket: Any) -> None:
        raise NotImplementedError


class Streams(OnLoop):
    """A class of callback streams. stream(socket) in a coroutine uses the running loop, as in the
    documentation of the classes."""

    def __init__(self, name: str, loop: str, path: str, *needs: str) -> None:
        super().__init__(name, loop, *needs)
        self.path = path  # MODULE:CLASS

    @functools.cached_property
    def stream(self) -> Callable[[Any], Any]:
        module, _, name = self.path.partition(":")
        return getattr(importlib.import_module(module), name)

    async def _receive(
        self, socket: Any, n: int, frames: int, copy: bool, go: Go, lasts: int
    ) -> tuple[int, Any]:
        done = asyncio.get_running_loop().create_future()

        def callback(message: list) -> None:
            nonlocal lasts
            if len(message) > frames:
                lasts -= 1
                if not lasts:
                    done.set_result((perf_counter_ns(), message))

        stream = self.stream(socket)
        go()
        stream.on_recv(callback, copy=copy)
        try:
            return await done
        finally:
            await self.close(stream)

    async def _serve(self, socket: Any) -> None:
        stream = self.stream(socket)
        stream.on_recv(stream.send_multipart)
        await asyncio.get_running_loop().create_future()

    async def close(self, *streams: Any) -> None:
        """Close streams after the loop has run their scheduled calls. pyzmq's class would log an
        error for each call that finds it closed."""
        for stream in streams:
            stream.on_recv(None)
        await asyncio.sleep(0.001)
        for stream in streams:
            stream.close()


class PyomqStreams(Streams):
    def socket(self, context: zmq.Context, kind: int) -> Any:
        return importlib.import_module("pyomq").Context().socket(kind)


class Async(OnLoop):
    """Sockets with an awaitable recv_multipart()."""

    async def _receive(
        self, socket: Any, n: int, frames: int, copy: bool, go: Go, lasts: int
    ) -> tuple[int, Any]:
        socket = self.awaitable(socket)
        receive = socket.recv_multipart
        if copy:
            go()
            for _ in range(n):
                message = await receive()
        else:
            go()
            for _ in range(n):
                message = await receive(copy=False)
        return perf_counter_ns(), message

    async def _serve(self, socket: Any) -> None:
        socket = self.awaitable(socket)
        while True:
            await socket.send_multipart(await socket.recv_multipart())

    def awaitable(self, socket: Any) -> Any:
        import zmq.asyncio

        return zmq.asyncio.Socket(shadow=socket)


class Awaited(Async):
    """zmqstream's class, with messages that are awaited one by one."""

    async def _receive(self, socket: Any, *arguments: Any) -> tuple[int, Any]:
        async with zmqstream.ZMQStream(socket) as stream:
            return await super()._receive(stream, *arguments)

    def awaitable(self, socket: Any) -> Any:
        return socket


class PyomqAsync(Async):
    def socket(self, context: zmq.Context, kind: int) -> Any:
        return importlib.import_module("pyomq.asyncio").Context().socket(kind)

    def awaitable(self, socket: Any) -> Any:
        return socket


class Aiozmq(OnLoop):
    """aiozmq's protocols on asyncio's loop."""

    async def _receive(
        self, socket: Any, n: int, frames: int, copy: bool, go: Go, lasts: int
    ) -> tuple[int, Any]:
        import aiozmq

        done = asyncio.get_running_loop().create_future()

        class Protocol(aiozmq.ZmqProtocol):
            def msg_received(self, message: list[bytes]) -> None:
                nonlocal lasts
                if len(message) > frames:
                    lasts -= 1
                    if not lasts:
                        done.set_result((perf_counter_ns(), message))

        go()
        transport, _ = await aiozmq.create_zmq_connection(Protocol, socket.type, zmq_sock=socket)
        try:
            return await done
        finally:
            transport.close()
            await asyncio.sleep(0.001)

    async def _serve(self, socket: Any) -> None:
        import aiozmq

        class Protocol(aiozmq.ZmqProtocol):
            def connection_made(self, transport: Any) -> None:
                self.transport = transport

            def msg_received(self, message: list[bytes]) -> None:
                self.transport.write(message)

        await aiozmq.create_zmq_connection(Protocol, socket.type, zmq_sock=socket)
        await asyncio.get_running_loop().create_future()


def _uvloop() -> asyncio.AbstractEventLoop:
    return importlib.import_module("uvloop").new_event_loop()


def _tornado() -> asyncio.AbstractEventLoop:
    ioloop = importlib.import_module("tornado.ioloop")
    return ioloop.IOLoop(make_current=False).asyncio_loop


OWN = "its own loop"
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    OWN: zmqstream.EventLoop,
    "asyncio": asyncio.new_event_loop,
    "uvloop": _uvloop,
    "Tornado": _tornado,
}
OTHER_LOOPS = ("uvloop", "asyncio", "Tornado")

_PYZMQ_STREAM = "zmq.eventloop.zmqstream:ZMQStream"
_OUR_STREAM = "zmqstream:ZMQStream"

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        InC(C),
        Streams(OURS, OWN, _OUR_STREAM),
        *(Streams(f"{OURS} on {loop}", loop, _OUR_STREAM) for loop in OTHER_LOOPS),
        Awaited(OURS_AWAITED, OWN),
        Blocking(BLOCKING),
        Async(ASYNC, "asyncio"),
        Async(f"{ASYNC} on uvloop", "uvloop"),
        Streams(STREAM, "asyncio", _PYZMQ_STREAM, "tornado"),
        Streams(f"{STREAM} on uvloop", "uvloop", _PYZMQ_STREAM, "tornado"),
        Streams(f"{STREAM} on Tornado", "Tornado", _PYZMQ_STREAM, "tornado"),
        Aiozmq(AIOZMQ, "asyncio", "aiozmq"),
        PyomqBlocking(PYOMQ, "pyomq"),
        PyomqAsync(PYOMQ_ASYNC, "asyncio", "pyomq.asyncio"),
        PyomqStreams(
            PYOMQ_STREAM, "asyncio", "pyomq.zmqstream:ZMQStream", "pyomq.zmqstream", "tornado"
        ),
        Zloop(ZLOOP),
    )
}


def streams(name: str) -> Streams:
    """The peer of that name, one with streams."""
    peer = PEERS[name]
    assert isinstance(peer, Streams)
    return peer


def is_ours(implementation: str) -> bool:
    return implementation.startswith(OURS)


def is_limit(implementation: str) -> bool:
    """Whether this is not a peer, but shows the time of libzmq itself."""
    return implementation.partition(",")[0] == C
