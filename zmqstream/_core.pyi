"""The public parts of the compiled core. ZMQStream, in stream.py, is documented there."""

import asyncio
import contextvars
import selectors
from collections.abc import Callable, Coroutine, Generator, Iterable
from types import TracebackType
from typing import Any, Literal, Protocol, TypeVar, final, overload

import zmq
from typing_extensions import Buffer, Self, disjoint_base

_T_co = TypeVar("_T_co", covariant=True)
_Bytes = Buffer | zmq.Frame
_OnSend = Callable[[list[Any], Any], object]  # message, status

class _Monitor(Protocol):
    def close(self) -> object: ...

libzmq_version: tuple[int, int, int]

def libzmq_functions() -> dict[str, int]: ...
def counters() -> dict[str, int] | None: ...
def build() -> dict[str, str | bool]: ...

class NotCallableError(TypeError, AssertionError): ...

class QueueFull(zmq.Again):
    def __init__(self, why: str = ...) -> None: ...

class MessageDropped(zmq.ZMQError):
    def __init__(self, why: str = ...) -> None: ...

class MessageExpired(zmq.ZMQError):
    def __init__(self, why: str = ...) -> None: ...

class MultipartMessageError(ValueError):
    message: list[Any]
    def __init__(self, message: list[Any]) -> None: ...

@disjoint_base
class Source: ...

@disjoint_base
class Awaited(Coroutine[Any, None, _T_co]):
    def __await__(self) -> Generator[Any, None, _T_co]: ...
    def __iter__(self) -> Generator[Any, None, _T_co]: ...
    def __next__(self) -> Any: ...
    def send(self, value: None) -> Any: ...
    @overload
    def throw(
        self,
        kind: type[BaseException],
        value: BaseException | object = None,
        traceback: TracebackType | None = None,
    ) -> Any: ...
    @overload
    def throw(
        self, kind: BaseException, value: None = None, traceback: TracebackType | None = None
    ) -> Any: ...
    def close(self) -> None: ...

@final
class AwaitedNothing(Awaited[None]): ...

@final
class AwaitedLevel(Awaited[None]): ...

@final
class AwaitedSend(Awaited[zmq.MessageTracker | None]): ...

@final
class AwaitedMessage(Awaited[_T_co]): ...

@disjoint_base
class Stream(Source):
    @property
    def _lost(self) -> int: ...
    def _begin_close(self, task: asyncio.Task[Any] | None) -> None: ...
    def _end_close(self, task: asyncio.Task[Any] | None) -> None: ...
    def _callback_tasks(self) -> set[asyncio.Future[Any]]: ...
    def _set_monitor(self, monitor: _Monitor | None) -> None: ...
    def _call_on_monitor(
        self,
        callback: Callable[[dict[str, Any]], object],
        event: dict[str, Any],
        context: contextvars.Context,
    ) -> None: ...
    @property
    def io_loop(self) -> Any: ...
    @property
    def socket(self) -> zmq.Socket[bytes]: ...  # None when closed
    def _open_socket(self) -> zmq.Socket[bytes]: ...
    def _open(
        self,
        socket: zmq.Socket[Any],
        shadowed: zmq.Socket[Any] | None,
        reactor: Reactor,
        io_loop: Any,
        own_send: bool,
    ) -> None: ...
    @overload
    def on_recv(
        self,
        callback: Callable[[list[bytes]], object] | None,
        copy: Literal[True] = True,
        *,
        max_concurrency: int | None = None,
    ) -> None: ...
    @overload
    def on_recv(
        self,
        callback: Callable[[list[zmq.Frame]], object] | None,
        copy: Literal[False],
        *,
        max_concurrency: int | None = None,
    ) -> None: ...
    @overload
    def on_recv(
        self,
        callback: Callable[[list[bytes] | list[zmq.Frame]], object] | None,
        copy: bool,
        *,
        max_concurrency: int | None = None,
    ) -> None: ...
    def _on_recv_stream(
        self,
        callback: Callable[[Any, list[Any]], object] | None,
        copy: bool,
        max_concurrency: int | None,
    ) -> None: ...
    @overload
    def on_recv_batch(
        self,
        callback: Callable[[list[list[bytes]]], object] | None,
        copy: Literal[True] = True,
        limit: int = 256,
        *,
        max_concurrency: int | None = None,
    ) -> None: ...
    @overload
    def on_recv_batch(
        self,
        callback: Callable[[list[list[zmq.Frame]]], object] | None,
        copy: Literal[False],
        limit: int = 256,
        *,
        max_concurrency: int | None = None,
    ) -> None: ...
    @overload
    def on_recv_batch(
        self,
        callback: Callable[[list[list[bytes]] | list[list[zmq.Frame]]], object] | None,
        copy: bool,
        limit: int = 256,
        *,
        max_concurrency: int | None = None,
    ) -> None: ...
    def receiving(self) -> bool: ...
    @overload
    def recv_multipart(self, copy: Literal[True] = True) -> AwaitedMessage[list[bytes]]: ...
    @overload
    def recv_multipart(self, copy: Literal[False]) -> AwaitedMessage[list[zmq.Frame]]: ...
    @overload
    def recv_multipart(self, copy: bool) -> AwaitedMessage[list[Any]]: ...
    @overload
    def recv(self, copy: Literal[True] = True) -> AwaitedMessage[bytes]: ...
    @overload
    def recv(self, copy: Literal[False]) -> AwaitedMessage[zmq.Frame]: ...
    @overload
    def recv(self, copy: bool) -> AwaitedMessage[Any]: ...
    def __aiter__(self) -> Self: ...
    def __anext__(self) -> AwaitedMessage[list[bytes]]: ...
    def send_multipart(
        self,
        msg: Iterable[_Bytes],
        flags: int = 0,
        copy: bool = True,
        track: bool = False,
        callback: _OnSend | None = None,
        *,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> None: ...
    def send(
        self,
        msg: _Bytes,
        flags: int = 0,
        copy: bool = True,
        track: bool = False,
        callback: _OnSend | None = None,
        *,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> None: ...
    def sending(self) -> bool: ...
    def asend_multipart(
        self,
        msg: Iterable[_Bytes],
        flags: int = 0,
        copy: bool = True,
        track: bool = False,
        *,
        timeout: float | None = None,
    ) -> AwaitedSend: ...
    def asend(
        self,
        msg: _Bytes,
        flags: int = 0,
        copy: bool = True,
        track: bool = False,
        *,
        timeout: float | None = None,
    ) -> AwaitedSend: ...
    def on_send(self, callback: _OnSend | None) -> None: ...
    def _on_send_stream(self, callback: Callable[[Any, list[Any], Any], object] | None) -> None: ...
    def on_err(self, callback: Callable[[zmq.ZMQError], object] | None) -> None: ...
    def set_write_buffer_limits(
        self,
        high: int | None = None,
        low: int | None = None,
        *,
        high_bytes: int | None = None,
        low_bytes: int | None = None,
        policy: Literal["wait", "raise", "drop_newest", "drop_oldest"] = "wait",
    ) -> None: ...
    def get_write_buffer_limits(self) -> tuple[int | None, int | None, int | None, int | None]: ...
    def get_write_buffer_size(self) -> int: ...
    def get_write_buffer_bytes(self) -> int: ...
    def on_drain(self, callback: Callable[[], object] | None) -> None: ...
    def drain(self) -> Awaited[None]: ...
    def _emptied(self) -> Awaited[None]: ...
    def set_turn_limits(self, messages: int = 256, seconds: float = 0.001) -> None: ...
    def set_callback_timing(self, enabled: bool) -> None: ...
    def _stats(self) -> tuple[Any, ...]: ...
    def _where(self) -> tuple[str, str, str]: ...  # socket type, state, endpoint
    def flush(self, flag: int = 3, limit: int | None = None) -> int: ...
    def close(self, linger: int | None = None) -> None: ...
    def closed(self) -> bool: ...
    def set_close_callback(self, callback: Callable[[], object] | None) -> None: ...

@final
class SocketHandler(Source):
    def __init__(
        self,
        socket: zmq.Socket[Any],
        reactor: Reactor,
        callback: Callable[[Any, int], object],
        mask: int,
    ) -> None: ...
    def update(self, mask: int) -> None: ...
    def close(self) -> None: ...

@disjoint_base
class Reactor:
    def __len__(self) -> int: ...
    def open_sources(self) -> list[Source]: ...
    def stats(self) -> tuple[int, ...]: ...
    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...
    @property
    def poller(self) -> str: ...
    @property
    def repaired(self) -> int: ...

@final
class OwnLoopReactor(Reactor):
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        selector: selectors.BaseSelector,
        base_select: Callable[[float | None], list[tuple[selectors.SelectorKey, int]]],
        poller: str,
    ) -> None: ...
    on_poll: Callable[[bool | None], object] | None
    @property
    def keys(self) -> dict[int, selectors.SelectorKey]: ...
    def bind_loop(self) -> None: ...
    def step_aside(self, fd: int) -> None: ...
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]: ...
    def close(self) -> None: ...

@final
class GuestReactor(Reactor):
    def __init__(self, loop: asyncio.AbstractEventLoop, poller: str) -> None: ...
