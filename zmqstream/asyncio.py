"""zmq.asyncio's Context, Socket and Poller on zmqstream's core.

    import zmqstream.asyncio  # instead of: import zmq.asyncio

    context = zmqstream.asyncio.Context()
    socket = context.socket(zmq.PULL)
    message = await socket.recv_multipart()

The classes are subclasses of pyzmq's, with the same methods. They are faster, and a receive that is
cancelled loses no message. docs/howto/from-zmq-asyncio.md has what else differs.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal, overload

import zmq
import zmq.asyncio as pyzmq

from zmqstream import _core, eventloop
from zmqstream._polling import Polling
from zmqstream.stats import StreamStats

if TYPE_CHECKING:
    import selectors
    from collections.abc import Callable

__all__ = ["Context", "Poller", "Socket", "ZMQEventLoop", "install"]

_core.make_future_classes()

_running_loop = asyncio._get_running_loop


def _loop_in_use() -> asyncio.AbstractEventLoop:
    """The running loop, or else the thread's current one."""
    return _running_loop() or asyncio.get_event_loop()


def _reactor_here() -> _core.Reactor | None:
    """The reactor of the loop in use, or None if that loop has no add_reader()."""
    loop = _loop_in_use()
    if isinstance(loop, getattr(asyncio, "ProactorEventLoop", ())):
        return None
    return eventloop.reactor_of(loop)


class Poller(pyzmq.Poller):
    """zmq.asyncio's Poller: poll() returns a future."""

    def poll(self, timeout: float | None = -1) -> asyncio.Future[list[tuple[Any, int]]]:  # type: ignore[override]
        """Wait for events of the registered sockets.

        Parameters
        ----------
        timeout : float, optional
            Milliseconds. None or a negative number: no limit.

        Returns
        -------
        asyncio.Future
            Its result is the list of (socket, events), empty after `timeout`.
        """
        done = _core.poll_now(self.sockets, Socket, timeout)
        if done is not None:
            return done
        reactor = _reactor_here()
        if reactor is None:
            return super().poll(timeout)  # type: ignore[return-value]
        loop = reactor.loop
        try:
            return Polling(self, reactor).start(timeout)
        except Exception as error:
            future: asyncio.Future[list[tuple[Any, int]]] = loop.create_future()
            future.set_exception(error)
            return future


def _then_look(name: str) -> Any:
    """pyzmq's method `name`, which may swallow an event that others wait for."""
    method = getattr(zmq.Socket, name)

    def call(self: Socket, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        finally:
            if self._stream is not None:
                self._stream._touch()

    call.__name__ = name
    call.__qualname__ = f"Socket.{name}"
    call.__doc__ = method.__doc__
    return call


class Socket(pyzmq.Socket):
    """zmq.asyncio's Socket: its methods return futures that have begun at the call."""

    _stream: Any = None  # our SocketStream in the loop that was used last
    _poller_class = Poller
    _shadow_sock: Any

    def _find_stream(self) -> Any:
        """The stream of this socket in the loop in use, or None without add_reader()."""
        if self.closed:
            raise zmq.ZMQError(zmq.ENOTSOCK)
        stream = self._stream
        if stream is not None:
            _core.check_socket_process(stream)
        reactor = _reactor_here()
        if stream is not None:
            if stream._is_of(reactor):
                return stream
            self._stream = None
            stream._leave()
        if reactor is None or self.type in _core.THREAD_SAFE_TYPES:
            return None
        stream = _core.stream_of(reactor, self, self._shadow_sock)
        if isinstance(stream, _core.SocketStream):
            self._stream = stream
        return stream

    # -- receiving -------------------------------------------------------------------------------

    if TYPE_CHECKING:

        @overload  # type: ignore[override]
        def recv(
            self, flags: int = 0, copy: Literal[True] = True, track: bool = False
        ) -> asyncio.Future[bytes]: ...
        @overload
        def recv(
            self, flags: int = 0, *, copy: Literal[False], track: bool = False
        ) -> asyncio.Future[zmq.Frame]: ...
        @overload
        def recv(
            self, flags: int = 0, copy: bool = True, track: bool = False
        ) -> asyncio.Future[bytes | zmq.Frame]: ...
        def recv(
            self, flags: int = 0, copy: bool = True, track: bool = False
        ) -> asyncio.Future[Any]: ...
        @overload  # type: ignore[override]
        def recv_multipart(
            self, flags: int = 0, copy: Literal[True] = True, track: bool = False
        ) -> asyncio.Future[list[bytes]]: ...
        @overload
        def recv_multipart(
            self, flags: int = 0, *, copy: Literal[False], track: bool = False
        ) -> asyncio.Future[list[zmq.Frame]]: ...
        @overload
        def recv_multipart(
            self, flags: int = 0, copy: bool = True, track: bool = False
        ) -> asyncio.Future[list[bytes] | list[zmq.Frame]]: ...
        def recv_multipart(
            self, flags: int = 0, copy: bool = True, track: bool = False
        ) -> asyncio.Future[Any]: ...
        def recv_into(  # type: ignore[override]
            self, buf: Any, /, *, nbytes: int = 0, flags: int = 0
        ) -> asyncio.Future[int]: ...
        def send(  # type: ignore[override]
            self, data: Any, flags: int = 0, copy: bool = True, track: bool = False, **kwargs: Any
        ) -> asyncio.Future[zmq.MessageTracker | None]: ...
        def send_multipart(  # type: ignore[override]
            self,
            msg_parts: Any,
            flags: int = 0,
            copy: bool = True,
            track: bool = False,
            **kwargs: Any,
        ) -> asyncio.Future[zmq.MessageTracker | None]: ...
        def poll(  # type: ignore[override]
            self, timeout: float | None = None, flags: int = zmq.POLLIN
        ) -> asyncio.Future[int]: ...
    else:
        recv = _core.socket_recv
        recv_multipart = _core.socket_recv_multipart
        recv_into = _core.socket_recv_into
        send = _core.socket_send
        send_multipart = _core.socket_send_multipart
        poll = _core.socket_poll

    def _receive_as_pyzmq(
        self, whole: bool, into: bool, flags: int, copy: bool, buffer: Any, size: int
    ) -> Any:
        if into:
            return super().recv_into(buffer, nbytes=size, flags=flags)
        if whole:
            return super().recv_multipart(flags, copy)
        return super().recv(flags, copy)

    def _send_as_pyzmq(
        self, message: Any, flags: int, copy: bool, track: bool, kwargs: dict[str, Any]
    ) -> Any:
        if type(message) is tuple and len(message) == 1:
            return super().send(message[0], flags, copy, track, **kwargs)
        return super().send_multipart(message, flags, copy, track, **kwargs)

    def _poll_as_pyzmq(self, timeout: Any, flags: int) -> Any:
        return super().poll(timeout, flags)  # type: ignore[call-arg]

    def _deserialize(self, recvd: Any, load: Callable[[Any], Any]) -> Any:
        future = _core.socket_deserialize(recvd, load)
        return super()._deserialize(recvd, load) if future is None else future

    # -- the rest --------------------------------------------------------------------------------

    def stats(self) -> StreamStats:
        """Counts of this socket since it was first used in its loop."""
        return StreamStats(*self._find_stream()._stats())

    def get(self, option: int) -> Any:
        value = zmq.Socket.get(self, option)
        if option == zmq.EVENTS and self._stream is not None:
            self._stream._touch()
        return value

    getsockopt = get

    bind = _then_look("bind")
    connect = _then_look("connect")
    unbind = _then_look("unbind")
    disconnect = _then_look("disconnect")

    def close(self, linger: int | None = None) -> None:
        """Close the socket. What waits is cancelled."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream._leave()
        super().close(linger)

    def __del__(self) -> None:
        stream = self._stream
        if stream is not None and not stream._is_used():
            stream._leave()
        super().__del__()

    # what pyzmq's own Poller calls

    def _add_recv_event(
        self, kind: str, *, args: Any = None, kwargs: Any = None, future: Any = None
    ) -> Any:
        if kind == "poll" and self._find_stream() is not None:
            return self._watch(zmq.POLLIN, future)
        return super()._add_recv_event(  # type: ignore[misc]
            kind, args=args, kwargs=kwargs, future=future
        )

    def _add_send_event(
        self, kind: str, msg: Any = None, kwargs: Any = None, future: Any = None
    ) -> Any:
        if kind == "poll" and self._find_stream() is not None:
            return self._watch(zmq.POLLOUT, future)
        return super()._add_send_event(kind, msg, kwargs, future)  # type: ignore[misc]

    def _watch(self, mask: int, future: Any) -> Any:
        def fire(events: int, error: BaseException | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            elif events:
                future.set_result(None)
            else:
                future.cancel()

        waiter = _core.poll_wait(self._find_stream(), mask, fire)
        future.add_done_callback(lambda _: waiter.leave())
        return future


Poller._socket_class = Socket


class Context(pyzmq.Context):
    """zmq.asyncio's Context: its sockets are zmqstream.asyncio's."""

    _socket_class = Socket
    _instance = None  # of its own, not pyzmq's

    if TYPE_CHECKING:

        def socket(self, socket_type: int, socket_class: Any = None, **kwargs: Any) -> Socket: ...


class ZMQEventLoop(pyzmq.ZMQEventLoop):
    """Deprecated, as zmq.asyncio.ZMQEventLoop is: every asyncio loop works."""

    def __init__(self, selector: selectors.BaseSelector | None = None) -> None:
        super().__init__(selector)


def install() -> None:
    """Deprecated, as zmq.asyncio.install() is: it does nothing."""
    pyzmq.install()
