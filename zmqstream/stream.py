"""ZMQStream: callbacks for the messages of a ZeroMQ socket.

    stream = ZMQStream(socket, loop)
    stream.on_recv(callback)           # callback([frame, ...]) for each message
    stream.send_multipart([b"hello"])  # queued; the loop hands it to libzmq

A drop-in for pyzmq's `zmq.eventloop.zmqstream.ZMQStream`. The work is done in `zmqstream._core`;
here are the documented face and what is not on the way of every message.
"""

from __future__ import annotations

import contextvars
import functools
import pickle
import sys
import warnings
from typing import TYPE_CHECKING, Any

import zmq
from zmq.utils import jsonapi

from zmqstream import _core
from zmqstream.stats import StreamStats

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

__all__ = ["ZMQStream"]


class _SocketMethod:
    """A method of the socket, taken from it at each use; a stream may be given one of its own.

    Each of these may swallow an event of the socket; taking `stream.socket` has it looked for.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.__doc__ = f"The socket's own `{name}`."

    def __get__(self, stream: ZMQStream | None, owner: type) -> Any:
        return self if stream is None else getattr(stream._open_socket(), self.name)


def _socket_method(name: str) -> Any:
    return _SocketMethod(name)


class ZMQStream(_core.Stream):
    """Callbacks for a ZeroMQ socket.

    Parameters
    ----------
    socket : zmq.Socket
        The stream's from now on: it receives, sends and closes it. A `zmq.asyncio.Socket` is
        shadowed to a plain one, with a RuntimeWarning.
    io_loop : zmqstream.IOLoop, tornado.ioloop.IOLoop or asyncio.AbstractEventLoop, optional
        Where callbacks run; by default `IOLoop.current()`, or Tornado's IOLoop of the same asyncio
        loop where the program has made one. It is the attribute `io_loop`.

    Raises
    ------
    TypeError
        `socket` is no zmq.Socket, or `io_loop` no event loop.
    zmq.ZMQError
        The socket is closed (ENOTSOCK).
    RuntimeError
        The loop is closed.
    ValueError
        The socket has a stream on this loop already.
    """

    def __init__(self, socket: zmq.Socket[Any], io_loop: Any = None) -> None:
        if not isinstance(socket, zmq.Socket):
            raise TypeError(
                f"ZMQStream: socket must be a zmq.Socket, not {type(socket).__name__}: {socket!r}"
            )
        shadowed = None
        if _is_async(socket):
            warnings.warn(
                f"ZMQStream wants a plain zmq.Socket, and uses a shadow of {socket!r}; make one "
                "with context.socket(type, socket_class=zmq.Socket)",
                RuntimeWarning,
                stacklevel=2,
            )
            shadowed = socket
            socket = zmq.Socket(shadow=socket)
        from zmqstream import eventloop  # not before: asyncio comes with it
        from zmqstream.ioloop import current

        if io_loop is None:
            io_loop = current.current_loop()
        reactor = eventloop.reactor_of(eventloop.asyncio_loop_of(io_loop))
        own_send = type(self).send_multipart is _core.Stream.send_multipart
        eventloop.follow_tornado(io_loop)  # before: what fails leaves no stream behind
        self._open(socket, shadowed, reactor, io_loop, own_send)

    @functools.cached_property
    def poller(self) -> zmq.Poller:
        """A zmq.Poller of your own; the stream does not use it."""
        return zmq.Poller()

    # -- receiving -------------------------------------------------------------------------------

    def on_recv_stream(
        self,
        callback: Callable[..., Any] | None,
        copy: bool = True,
        *,
        max_concurrency: int | None = None,
    ) -> None:
        """As on_recv(), with the stream as first argument: `callback(stream, msg)`."""
        if type(self).on_recv is _core.Stream.on_recv:
            self._on_recv_stream(callback, copy, max_concurrency)
        elif callback is None:
            self.on_recv(None)
        else:  # a subclass, or who replaced the method, wants to see it
            check_callable(callback, "on_recv_stream")
            more = {} if max_concurrency is None else {"max_concurrency": max_concurrency}
            self.on_recv(functools.partial(callback, self), copy=copy, **more)

    def stop_on_recv(self) -> None:
        """Stop receiving: `on_recv(None)`."""
        self.on_recv(None)

    # -- sending ---------------------------------------------------------------------------------

    def on_send_stream(self, callback: Callable[..., Any] | None) -> None:
        """As on_send(), with the stream as first argument: `callback(stream, msg, status)`."""
        if type(self).on_send is _core.Stream.on_send:
            self._on_send_stream(callback)
        elif callback is None:
            self.on_send(None)
        else:
            check_callable(callback, "on_send_stream")
            self.on_send(functools.partial(callback, self))

    def stop_on_send(self) -> None:
        """End the callback of on_send(): `on_send(None)`."""
        self.on_send(None)

    def stop_on_err(self) -> None:
        """End the callback of on_err(): `on_err(None)`."""
        self.on_err(None)

    def send_string(
        self,
        u: str,
        flags: int = 0,
        encoding: str = "utf-8",
        callback: Callable[..., Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Send a str as one frame. TypeError if `u` is none. See send()."""
        if not isinstance(u, str):
            raise TypeError(f"send_string wants a str, not {type(u).__name__}: {u!r:.60}")
        self.send(u.encode(encoding), flags=flags, callback=callback, **kwargs)

    send_unicode = send_string

    def send_json(
        self, obj: Any, flags: int = 0, callback: Callable[..., Any] | None = None, **kwargs: Any
    ) -> None:
        """Send an object as JSON, in one frame. See send()."""
        self.send(jsonapi.dumps(obj), flags=flags, callback=callback, **kwargs)

    def send_pyobj(
        self,
        obj: Any,
        flags: int = 0,
        protocol: int = -1,
        callback: Callable[..., Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Send a pickled object, in one frame. See send()."""
        self.send(pickle.dumps(obj, protocol), flags, callback=callback, **kwargs)

    # -- the socket's events ---------------------------------------------------------------------

    def on_monitor(
        self, callback: Callable[[dict[str, Any]], object] | None, events: int = zmq.EVENT_ALL
    ) -> None:
        """Call `callback(event)` for each event of the socket itself: connected, disconnected...

        `event` is a dict: `event`, a `zmq.Event`; `value`, an int whose meaning depends on it (a
        descriptor, an error code, an interval in milliseconds); `endpoint`, bytes. See
        zmq_socket_monitor(3). It ends with the stream, or with None. It is called as on_recv()'s
        callback is. Events wait while the loop is stopped or busy, any number of them, and nothing
        else waits for that: neither the socket, nor its context, nor close(). The loop delivers one
        event in each iteration.

        Parameters
        ----------
        callback : callable or None
        events : int
            Those that are wanted: `zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED`, say.

        Raises
        ------
        TypeError, ValueError
            `callback` is not callable, or `events` no events.
        OSError, RuntimeError, zmq.ZMQError
            As on_recv(); or the socket is monitored already by somebody else.
        """
        from zmqstream import _monitor

        if callback is not None:
            check_callable(callback, "on_monitor")
            events = _monitor.check_events(events)
        self._set_monitor(None)
        if callback is not None:
            context = contextvars.copy_context()
            self._set_monitor(_monitor.Monitor(self, callback, context, events))

    # -- the end ---------------------------------------------------------------------------------

    async def aclose(self, timeout: float | None = None, *, linger: int | None = None) -> int:
        """Finish, and close: nothing is lost that there is time for.

        Receives nothing any more, awaits the coroutines of callbacks (which may still send), and
        waits until the queue has been handed to libzmq; then close(). If cancelled, it closes at
        once.

        Parameters
        ----------
        timeout : float, optional
            Seconds that it may take. None: as long as it takes.
        linger : int, optional
            As for close(): how long libzmq keeps what it was handed, in milliseconds.

        Returns
        -------
        int
            How many messages could not be handed to libzmq.
        """
        import asyncio

        if self.closed():
            return 0
        if timeout is not None and not (isinstance(timeout, (int, float)) and timeout >= 0):
            raise ValueError(f"aclose: timeout must be None or seconds, not negative: {timeout!r}")
        task = asyncio.current_task()
        self._begin_close(task)
        try:
            await asyncio.wait_for(self._finish(), timeout)
        except (asyncio.TimeoutError, OSError):  # or somebody else has closed it meanwhile
            pass
        finally:
            self._end_close(task)
            self.close(linger)
        return self._lost

    async def _finish(self) -> None:
        """Wait for callbacks, but not for those that call aclose(), and for an empty queue."""
        import asyncio

        while True:
            callbacks = self._callback_tasks()
            if callbacks:
                await asyncio.wait(callbacks)
            elif self.sending():
                await self._emptied()
            else:
                return

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    # -- statistics ------------------------------------------------------------------------------

    def stats(self) -> StreamStats:
        """What the stream has done since it was made; also when it is closed."""
        return StreamStats(*self._stats())

    # -- the socket's own methods ----------------------------------------------------------------

    bind = _socket_method("bind")
    bind_to_random_port = _socket_method("bind_to_random_port")
    connect = _socket_method("connect")
    disconnect = _socket_method("disconnect")
    get = _socket_method("get")
    getsockopt = _socket_method("getsockopt")
    getsockopt_string = _socket_method("getsockopt_string")
    getsockopt_unicode = _socket_method("getsockopt_unicode")
    set = _socket_method("set")
    setsockopt = _socket_method("setsockopt")
    setsockopt_string = _socket_method("setsockopt_string")
    setsockopt_unicode = _socket_method("setsockopt_unicode")
    subscribe = _socket_method("subscribe")
    unbind = _socket_method("unbind")
    unsubscribe = _socket_method("unsubscribe")


def _is_async(socket: zmq.Socket[Any]) -> bool:
    """Whether it is of zmq.asyncio's kind; who has not imported that has no such socket."""
    future = sys.modules.get("zmq._future")
    return future is not None and isinstance(socket, future._AsyncSocket)


def check_callable(callback: Any, where: str) -> None:
    """Raise an error that is a TypeError, and an AssertionError as pyzmq's, if it is not."""
    if not callable(callback):
        raise _core.NotCallableError(f"{where}: the callback is not callable: {callback!r}")
