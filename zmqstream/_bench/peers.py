"""The implementations: classes of streams, pyzmq's other interfaces, other libraries, and C.

Each is used as its documentation shows. The rows of a peer whose modules are missing say so.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
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
OURS_ASYNC = f"{OURS}.asyncio"
ASYNC = "zmq.asyncio"
AIOZMQ = "aiozmq"
PYOMQ = "pyomq blocking"
PYOMQ_ASYNC = "pyomq.asyncio"
PYOMQ_STREAM = "pyomq ZMQStream"
ZLOOP = "czmq zloop"

Run = Callable[[], Any]  # what is timed
AsyncRun = Callable[[], Coroutine[Any, Any, Any]]


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

    def receiving(
        self, socket: Any, n: int, frames: int, copy: bool, lasts: int = 1
    ) -> contextlib.AbstractContextManager[Run]:
        """Prepare to receive n messages of `frames` frames. `lasts` of them, including the last,
        have one more frame. The function receives them, and returns the last message."""
        raise NotImplementedError

    def sending(self, socket: Any, n: int, data: bytes) -> contextlib.AbstractContextManager[Run]:
        """Prepare to send n messages of one frame. The function waits for room."""
        raise NotImplementedError

    def serve(self, socket: Any) -> None:
        """Send every message back, without an end."""
        raise NotImplementedError


class InC(Peer):
    def missing(self) -> str:
        return climit.missing()

    @contextmanager
    def receiving(
        self, socket: Any, n: int, frames: int, copy: bool, lasts: int = 1
    ) -> Iterator[Run]:
        def run() -> None:
            climit.receive(socket, n)

        yield run

    @contextmanager
    def sending(self, socket: Any, n: int, data: bytes) -> Iterator[Run]:
        yield lambda: climit.send(socket, n, 1, data)

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
    @contextmanager
    def receiving(
        self, socket: Any, n: int, frames: int, copy: bool, lasts: int = 1
    ) -> Iterator[Run]:
        def run() -> Any:
            receive = socket.recv_multipart
            if copy:  # call as a program would: an argument costs some 50 ns
                for _ in range(n):
                    message = receive()
            else:
                for _ in range(n):
                    message = receive(copy=False)
            return message

        yield run

    @contextmanager
    def sending(self, socket: Any, n: int, data: bytes) -> Iterator[Run]:
        def run() -> None:
            send = socket.send_multipart
            for _ in range(n):
                send([data])

        yield run

    def serve(self, socket: Any) -> None:
        while True:
            socket.send_multipart(socket.recv_multipart())


class PyomqBlocking(Blocking):
    def socket(self, context: zmq.Context, kind: int) -> Any:
        return importlib.import_module("pyomq").Context().socket(kind)


def complete(loop: asyncio.AbstractEventLoop, main: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end, or cancel it if a time limit or Ctrl-C leaves the loop."""
    task = loop.create_task(main)
    try:
        return loop.run_until_complete(task)
    finally:
        if task.cancel():
            with contextlib.suppress(asyncio.CancelledError):
                loop.run_until_complete(task)


class OnLoop(Peer):
    """An implementation on an event loop. `loop` is the name of its factory in LOOPS."""

    def __init__(self, name: str, loop: str, *needs: str) -> None:
        modules = {"uvloop": ["uvloop"], "Tornado": ["tornado"]}.get(loop, [])
        super().__init__(name, *modules, *needs)
        self.new_loop = LOOPS[loop]

    @contextmanager
    def on_loop(self, prepare: AbstractAsyncContextManager[AsyncRun]) -> Iterator[Run]:
        """What `prepare` prepares, as a function that runs it on a new loop."""
        loop = self.new_loop()
        asyncio.set_event_loop(loop)  # aiozmq and Tornado's IOLoop.current() look there, too
        try:
            work = complete(loop, prepare.__aenter__())
            try:
                yield lambda: complete(loop, work())
            except BaseException as error:
                complete(loop, prepare.__aexit__(type(error), error, error.__traceback__))
                raise
            complete(loop, prepare.__aexit__(None, None, None))
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    def run(self, main: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on a new loop."""

        @asynccontextmanager
        async def prepared() -> AsyncIterator[AsyncRun]:
            async def work() -> Any:
                return await main

            yield work

        with self.on_loop(prepared()) as run:
            return run()

    def receiving(
        self, socket: Any, n: int, frames: int, copy: bool, lasts: int = 1
    ) -> contextlib.AbstractContextManager[Run]:
        return self.on_loop(self._receiving(socket, n, frames, copy, lasts))

    def sending(self, socket: Any, n: int, data: bytes) -> contextlib.AbstractContextManager[Run]:
        return self.on_loop(self._sending(socket, n, data))

    def serve(self, socket: Any) -> None:
        self.run(self._serve(socket))

    def _receiving(
        self, socket: Any, n: int, frames: int, copy: bool, lasts: int
    ) -> AbstractAsyncContextManager[AsyncRun]:
        raise NotImplementedError

    def _sending(self, socket: Any, n: int, data: bytes) -> AbstractAsyncContextManager[AsyncRun]:
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

    @asynccontextmanager
    async def _receiving(
        self, socket: Any, n: int, frames: int, copy: bool, lasts: int
    ) -> AsyncIterator[AsyncRun]:
        done = asyncio.get_running_loop().create_future()

        def callback(message: list) -> None:
            nonlocal lasts
            if len(message) > frames:
                lasts -= 1
                if not lasts:
                    done.set_result(message)

        stream = self.stream(socket)

        async def work() -> Any:
            stream.on_recv(callback, copy=copy)
            return await done

        try:
            yield work
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

    @asynccontextmanager
    async def _receiving(
        self, socket: Any, n: int, frames: int, copy: bool, lasts: int
    ) -> AsyncIterator[AsyncRun]:
        socket = self.awaitable(socket)

        async def work() -> Any:
            receive = socket.recv_multipart
            if copy:
                for _ in range(n):
                    message = await receive()
            else:
                for _ in range(n):
                    message = await receive(copy=False)
            return message

        yield work

    @asynccontextmanager
    async def _sending(self, socket: Any, n: int, data: bytes) -> AsyncIterator[AsyncRun]:
        send = self.awaitable(socket).send_multipart

        async def work() -> None:
            for _ in range(n):
                await send([data])

        yield work

    async def _serve(self, socket: Any) -> None:
        socket = self.awaitable(socket)
        while True:
            await socket.send_multipart(await socket.recv_multipart())

    def awaitable(self, socket: Any) -> Any:
        import zmq.asyncio

        return zmq.asyncio.Socket(shadow=socket)


class Awaited(Async):
    """zmqstream's class, with messages that are awaited one by one."""

    @asynccontextmanager
    async def _receiving(self, socket: Any, *arguments: Any) -> AsyncIterator[AsyncRun]:
        async with (
            zmqstream.ZMQStream(socket) as stream,
            super()._receiving(stream, *arguments) as work,
        ):
            yield work

    @asynccontextmanager
    async def _sending(self, socket: Any, n: int, data: bytes) -> AsyncIterator[AsyncRun]:
        async with zmqstream.ZMQStream(socket) as stream:
            send = stream.asend_multipart

            async def work() -> None:
                for _ in range(n):
                    await send([data])

            yield work

    def awaitable(self, socket: Any) -> Any:
        return socket


class OurAsync(Async):
    """zmqstream.asyncio: zmq.asyncio's classes on zmqstream's core."""

    def awaitable(self, socket: Any) -> Any:
        import zmqstream.asyncio

        return zmqstream.asyncio.Socket(shadow=socket)


class PyomqAsync(Async):
    def socket(self, context: zmq.Context, kind: int) -> Any:
        return importlib.import_module("pyomq.asyncio").Context().socket(kind)

    def awaitable(self, socket: Any) -> Any:
        return socket


class Aiozmq(OnLoop):
    """aiozmq's protocols on asyncio's loop."""

    @asynccontextmanager
    async def _receiving(
        self, socket: Any, n: int, frames: int, copy: bool, lasts: int
    ) -> AsyncIterator[AsyncRun]:
        import aiozmq

        done = asyncio.get_running_loop().create_future()
        transports = []

        class Protocol(aiozmq.ZmqProtocol):
            def msg_received(self, message: list[bytes]) -> None:
                nonlocal lasts
                if len(message) > frames:
                    lasts -= 1
                    if not lasts:
                        done.set_result(message)

        async def work() -> Any:
            transport, _ = await aiozmq.create_zmq_connection(
                Protocol, socket.type, zmq_sock=socket
            )
            transports.append(transport)
            return await done

        try:
            yield work
        finally:
            for transport in transports:
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
        OurAsync(OURS_ASYNC, "asyncio"),
        OurAsync(f"{OURS_ASYNC} on uvloop", "uvloop"),
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
