"""The public parts of the compiled core. ZMQStream, in stream.py, is documented there."""

import asyncio
import selectors
from collections.abc import Callable, Iterable
from typing import Any, Literal, final, overload

import zmq
from typing_extensions import Buffer, disjoint_base

_Bytes = Buffer | zmq.Frame
_OnSend = Callable[[list[Any], Any], object]  # message, status

libzmq_version: tuple[int, int, int]

def libzmq_functions() -> dict[str, int]: ...
def counters() -> dict[str, int] | None: ...

class NotCallableError(TypeError, AssertionError): ...

@disjoint_base
class Source: ...

@disjoint_base
class Outgoing(Source): ...

@disjoint_base
class Sender(Outgoing):
    def send_multipart(
        self,
        msg: Iterable[_Bytes],
        flags: int = 0,
        copy: bool = True,
        track: bool = False,
        callback: _OnSend | None = None,
        **kwargs: Any,
    ) -> None: ...
    def send(
        self,
        msg: _Bytes,
        flags: int = 0,
        copy: bool = True,
        track: bool = False,
        callback: _OnSend | None = None,
        **kwargs: Any,
    ) -> None: ...
    def sending(self) -> bool: ...

@disjoint_base
class Incoming(Sender): ...

@disjoint_base
class Stream(Incoming):
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
        self, callback: Callable[[list[bytes]], object] | None, copy: Literal[True] = True
    ) -> None: ...
    @overload
    def on_recv(
        self, callback: Callable[[list[zmq.Frame]], object] | None, copy: Literal[False]
    ) -> None: ...
    @overload
    def on_recv(self, callback: Callable[[list[Any]], object] | None, copy: bool) -> None: ...
    def _on_recv_stream(
        self, callback: Callable[[Any, list[Any]], object] | None, copy: bool
    ) -> None: ...
    def receiving(self) -> bool: ...
    def on_send(self, callback: _OnSend | None) -> None: ...
    def _on_send_stream(self, callback: Callable[[Any, list[Any], Any], object] | None) -> None: ...
    def on_err(self, callback: Callable[[BaseException], object] | None) -> None: ...
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
    def streams(self) -> list[Stream]: ...
    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...
    @property
    def poller(self) -> str: ...
    @property
    def repaired(self) -> int: ...

@final
class HomeReactor(Reactor):
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
