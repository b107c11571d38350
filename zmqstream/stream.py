"""ZMQStream: callbacks for the messages of a ZeroMQ socket.

    stream = ZMQStream(socket, loop)
    stream.on_recv(callback)           # callback([frame, ...]) for each message
    stream.send_multipart([b"hello"])  # queued; the loop hands it to libzmq

A drop-in replacement for pyzmq's `zmq.eventloop.zmqstream.ZMQStream`. The code that runs for every
message is in `zmqstream._core`. This module has the rest of the public class.
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

    Callback = Callable[..., Any] | None

__all__ = ["ZMQStream"]


class _SocketMethod:
    """Returns a method of the stream's socket. Programs may set an attribute of this name instead.

    Each of these methods may swallow an event of the socket. The access to the socket makes the
    loop check for it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.__doc__ = f"The socket's own `{name}`."

    def __get__(self, stream: ZMQStream | None, owner: type) -> Any:
        return self if stream is None else getattr(stream._open_socket(), self.name)


class ZMQStream(_core.Stream):
    """Callbacks for a ZeroMQ socket.

    Parameters
    ----------
    socket : zmq.Socket
        From now on the stream receives and sends on the socket, and closes it. For a
        `zmq.asyncio.Socket` the stream uses a plain shadow socket and issues a RuntimeWarning.
    io_loop : zmqstream.IOLoop, tornado.ioloop.IOLoop or asyncio.AbstractEventLoop, optional
        The loop that runs the callbacks. The default is `IOLoop.current()`, or Tornado's IOLoop of
        the same asyncio loop if the program has one. The attribute `io_loop` is this loop.

    Raises
    ------
    TypeError
        `socket` is not a zmq.Socket, or `io_loop` is not an event loop.
    zmq.ZMQError
        The socket is closed (ENOTSOCK).
    RuntimeError
        The loop is closed.
    ValueError
        The socket already has a stream on this loop, or is of a draft type such as SERVER or DISH.
    """

    def __init__(self, socket: zmq.Socket[Any], io_loop: Any = None) -> None:
        if not isinstance(socket, zmq.Socket):
            raise TypeError(
                f"ZMQStream: socket must be a zmq.Socket, not {type(socket).__name__}: {socket!r}"
            )
        shadowed = None
        if _is_async(socket):
            warnings.warn(
                f"ZMQStream needs a plain zmq.Socket and uses a shadow of {socket!r}; create one "
                "with context.socket(type, socket_class=zmq.Socket)",
                RuntimeWarning,
                stacklevel=2,
            )
            shadowed = socket
            socket = zmq.Socket(shadow=socket)
        from zmqstream import eventloop  # imports asyncio, so not earlier
        from zmqstream.ioloop import current

        if io_loop is None:
            io_loop = current.current_loop()
        reactor = eventloop.reactor_of(eventloop.asyncio_loop_of(io_loop))
        own_send = type(self).send_multipart is _core.Stream.send_multipart
        eventloop.close_with_tornado(io_loop)  # first: if it fails, no stream is left behind
        self._open(socket, shadowed, reactor, io_loop, own_send)

    @functools.cached_property
    def poller(self) -> zmq.Poller:
        """A zmq.Poller for the program's own use. The stream does not use it."""
        return zmq.Poller()

    # -- receiving -------------------------------------------------------------------------------

    def on_recv_stream(
        self, callback: Callback, copy: bool = True, *, max_concurrency: int | None = None
    ) -> None:
        """Like on_recv(), but call `callback(stream, msg)`."""
        if type(self).on_recv is _core.Stream.on_recv:
            self._on_recv_stream(callback, copy, max_concurrency)
        elif callback is None:
            self.on_recv(None)
        else:  # on_recv() was overridden or replaced, so it must see the call
            check_callable(callback, "on_recv_stream")
            options = {} if max_concurrency is None else {"max_concurrency": max_concurrency}
            self.on_recv(functools.partial(callback, self), copy=copy, **options)

    def stop_on_recv(self) -> None:
        """Stop receiving: `on_recv(None)`."""
        self.on_recv(None)

    # -- sending ---------------------------------------------------------------------------------

    def on_send_stream(self, callback: Callback) -> None:
        """Like on_send(), but call `callback(stream, msg, status)`."""
        if type(self).on_send is _core.Stream.on_send:
            self._on_send_stream(callback)
        elif callback is None:
            self.on_send(None)
        else:
            check_callable(callback, "on_send_stream")
            self.on_send(functools.partial(callback, self))

    def stop_on_send(self) -> None:
        """Remove the callback of on_send(): `on_send(None)`."""
        self.on_send(None)

    def stop_on_err(self) -> None:
        """Remove the callback of on_err(): `on_err(None)`."""
        self.on_err(None)

    def send_string(
        self,
        u: str,
        flags: int = 0,
        encoding: str = "utf-8",
        callback: Callback = None,
        **kwargs: Any,
    ) -> None:
        """Send a str as one frame. Raises TypeError if `u` is not a str. See send()."""
        if not isinstance(u, str):
            raise TypeError(f"send_string needs a str, not {type(u).__name__}: {u!r:.60}")
        self.send(u.encode(encoding), flags=flags, callback=callback, **kwargs)

    send_unicode = send_string

    def send_json(self, obj: Any, flags: int = 0, callback: Callback = None, **kwargs: Any) -> None:
        """Send an object as JSON in one frame. See send()."""
        self.send(jsonapi.dumps(obj), flags=flags, callback=callback, **kwargs)

    def send_pyobj(
        self, obj: Any, flags: int = 0, protocol: int = -1, callback: Callback = None, **kwargs: Any
    ) -> None:
        """Send a pickled object in one frame. See send()."""
        self.send(pickle.dumps(obj, protocol), flags, callback=callback, **kwargs)

    # -- the socket's events ---------------------------------------------------------------------

    def on_monitor(
        self, callback: Callable[[dict[str, Any]], object] | None, events: int = zmq.EVENT_ALL
    ) -> None:
        """Call `callback(event)` for each event of the socket, such as a connection or its loss.

        `event` is a dict. Its `event` is a `zmq.Event`. Its `value` is an int, whose meaning
        depends on the event: a descriptor, an error code or an interval in milliseconds. Its
        `endpoint` is bytes. See zmq_socket_monitor(3). The callback is called like that of
        on_recv(), until the stream is closed. The loop delivers one event in each iteration. While
        the loop is stopped or busy, any number of events wait. The socket, its context and close()
        do not wait for their delivery.

        Parameters
        ----------
        callback : callable or None
            None ends monitoring.
        events : int
            Flags of the events to report, for example
            `zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED`.

        Raises
        ------
        TypeError, ValueError
            `callback` is not callable, or `events` are not flags of `zmq.EVENT_ALL`.
        OSError, zmq.ZMQError
            As for on_recv().
        RuntimeError
            As for on_recv(), or other code monitors the socket already.
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
        """Stop receiving, finish what has begun, and close the stream.

        aclose() awaits the coroutines of callbacks, which may still send. Then it waits until
        libzmq has accepted all queued messages, and calls close(). If aclose() is cancelled, it
        closes the stream at once. Raises ValueError if `timeout` is negative or not a number.

        Parameters
        ----------
        timeout : float, optional
            Seconds after which the stream is closed in any case. None: no limit.
        linger : int, optional
            The socket's LINGER in milliseconds, as for close().

        Returns
        -------
        int
            The number of messages that libzmq did not accept.
        """
        import asyncio

        if self.closed():
            return 0
        if timeout is not None and not (isinstance(timeout, (int, float)) and timeout >= 0):
            raise ValueError(f"aclose: timeout must be seconds of at least 0, not {timeout!r}")
        task = asyncio.current_task()
        self._begin_close(task)
        try:
            await asyncio.wait_for(self._finish(), timeout)
        except (asyncio.TimeoutError, OSError):  # OSError: other code has closed the stream
            pass
        finally:
            self._end_close(task)
            self.close(linger)
        return self._lost

    async def _finish(self) -> None:
        """Wait for coroutine callbacks, except those that call aclose(), and for an empty queue."""
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
        """Counts of the stream since it was created. They can be read after close(), too."""
        return StreamStats(*self._stats())

    # -- the socket's own methods ----------------------------------------------------------------

    bind: Any = _SocketMethod("bind")
    bind_to_random_port: Any = _SocketMethod("bind_to_random_port")
    connect: Any = _SocketMethod("connect")
    disconnect: Any = _SocketMethod("disconnect")
    get: Any = _SocketMethod("get")
    getsockopt: Any = _SocketMethod("getsockopt")
    getsockopt_string: Any = _SocketMethod("getsockopt_string")
    getsockopt_unicode: Any = _SocketMethod("getsockopt_unicode")
    set: Any = _SocketMethod("set")
    setsockopt: Any = _SocketMethod("setsockopt")
    setsockopt_string: Any = _SocketMethod("setsockopt_string")
    setsockopt_unicode: Any = _SocketMethod("setsockopt_unicode")
    subscribe: Any = _SocketMethod("subscribe")
    unbind: Any = _SocketMethod("unbind")
    unsubscribe: Any = _SocketMethod("unsubscribe")


def _is_async(socket: zmq.Socket[Any]) -> bool:
    """Whether `socket` is asynchronous. The import of its class would import asyncio."""
    future = sys.modules.get("zmq._future")
    return future is not None and isinstance(socket, future._AsyncSocket)


def check_callable(callback: Any, where: str) -> None:
    """Raise TypeError unless `callback` is callable; it is an AssertionError too, as in pyzmq."""
    if not callable(callback):
        raise _core.NotCallableError(f"{where}: the callback is not callable: {callback!r}")
