"""What type checkers say about on_recv() and its kin. Checked, never run: docs/testing.md.

An error that is expected is ignored by its name, for mypy and for pyright; both say so if there is
none.
"""

from collections.abc import Callable
from typing import Any

import zmq
from typing_extensions import assert_type

from zmqstream import ZMQStream


def takes_bytes(msg: list[bytes]) -> None: ...
def takes_frames(msg: list[zmq.Frame]) -> None: ...
def takes_anything(msg: list[Any]) -> None: ...
def takes_a_stream(stream: ZMQStream, msg: list[bytes]) -> None: ...
def takes_a_str(msg: str) -> None: ...
async def awaits_bytes(msg: list[bytes]) -> int: ...  # type: ignore[empty-body]
async def awaits_frames(msg: list[zmq.Frame]) -> None: ...


def copied(stream: ZMQStream, got: list[list[bytes]]) -> None:
    stream.on_recv(takes_bytes)
    stream.on_recv(takes_bytes, copy=True)
    stream.on_recv(takes_bytes, True)
    stream.on_recv(takes_anything)
    stream.on_recv(awaits_bytes)
    stream.on_recv(None)
    stream.on_recv(print)
    stream.on_recv(got.append)
    stream.on_recv(stream.send_multipart)
    stream.on_recv(lambda msg: msg[0].decode())
    stream.stop_on_recv()

    stream.on_recv(takes_frames)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    stream.on_recv(takes_frames, copy=True)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    stream.on_recv(awaits_frames)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    stream.on_recv(takes_a_str)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    stream.on_recv(takes_a_stream)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    stream.on_recv()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


def frames(stream: ZMQStream) -> None:
    stream.on_recv(takes_frames, copy=False)
    stream.on_recv(takes_frames, False)
    stream.on_recv(awaits_frames, copy=False)
    stream.on_recv(takes_anything, copy=False)
    stream.on_recv(None, copy=False)
    stream.on_recv(lambda msg: msg[0].buffer, copy=False)

    stream.on_recv(takes_bytes, copy=False)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    stream.on_recv(awaits_bytes, copy=False)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]


def either(
    stream: ZMQStream,
    copy: bool,
    anything: Callable[[list[Any]], object] | None,
    both: Callable[[list[bytes] | list[zmq.Frame]], object],
) -> None:
    """Who does not know whether it copies cannot know what arrives."""
    stream.on_recv(anything, copy)
    stream.on_recv(anything, copy=copy)
    stream.on_recv(both, copy=copy)

    stream.on_recv(takes_bytes, copy=copy)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]


def with_the_stream(stream: ZMQStream) -> None:
    stream.on_recv_stream(takes_a_stream)
    stream.on_recv_stream(takes_a_stream, copy=True)
    stream.on_recv_stream(None)


def state(stream: ZMQStream) -> None:
    assert_type(stream.receiving(), bool)
    assert_type(stream.flush(), int)
    assert_type(stream.flush(zmq.POLLIN, limit=10), int)
    stream.flush(limit="10")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def takes_batches(msgs: list[list[bytes]]) -> None: ...
def takes_frame_batches(msgs: list[list[zmq.Frame]]) -> None: ...
async def awaits_batches(msgs: list[list[bytes]]) -> None: ...


def batches(stream: ZMQStream) -> None:
    stream.on_recv_batch(takes_batches)
    stream.on_recv_batch(takes_batches, limit=10)
    stream.on_recv_batch(awaits_batches, max_concurrency=1)
    stream.on_recv_batch(takes_frame_batches, copy=False)
    stream.on_recv_batch(None)

    stream.on_recv_batch(takes_bytes)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    stream.on_recv_batch(takes_frame_batches)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    stream.on_recv_batch(takes_batches, copy=False)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]


async def awaited(stream: ZMQStream) -> None:
    stream.on_recv(awaits_bytes, max_concurrency=8)
    assert_type(await stream.recv_multipart(), list[bytes])
    assert_type(await stream.recv_multipart(copy=False), list[zmq.Frame])
    assert_type(await stream.recv(), bytes)
    assert_type(await stream.recv(copy=False), zmq.Frame)
    async for msg in stream:
        assert_type(msg, list[bytes])
    async with stream as same:
        assert_type(same, ZMQStream)
    assert_type(await stream.aclose(), int)
    assert_type(await stream.aclose(timeout=1.5), int)

    stream.on_recv(awaits_bytes, max_concurrency="8")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
