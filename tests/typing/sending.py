"""What type checkers say about sending, closing and errors. See receiving.py."""

from typing import Any

import zmq
from typing_extensions import assert_type

from zmqstream import ZMQStream


def told(msg: list[Any], status: Any) -> None: ...
def told_more(stream: ZMQStream, msg: list[Any], status: Any) -> None: ...
def told_less(msg: list[Any]) -> None: ...
def failed(error: BaseException) -> None: ...
def failed_so(error: zmq.ZMQError) -> None: ...


def messages(stream: ZMQStream, frame: zmq.Frame) -> None:
    stream.send_multipart([b"a", bytearray(b"b"), memoryview(b"c"), frame])
    stream.send_multipart((b"a",))
    stream.send_multipart(frame for frame in [b"a"])
    stream.send_multipart([b"a"], zmq.DONTWAIT, False, True, told)
    stream.send_multipart([b"a"], callback=told)
    stream.send_multipart([b"a"], callback=None)
    stream.send(b"a")
    stream.send(frame, copy=False, track=True, callback=told)
    stream.send_string("a", encoding="latin-1")
    stream.send_unicode("a")
    stream.send_json({"a": 1}, callback=told)
    stream.send_pyobj(stream, protocol=4)
    assert_type(stream.sending(), bool)

    stream.send("a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    stream.send([b"a"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    stream.send_multipart(["a"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    stream.send_multipart(b"a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    stream.send_multipart([1])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    stream.send_multipart([b"a"], callback=told_less)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    stream.send_string(b"a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def outcomes(stream: ZMQStream) -> None:
    stream.on_send(told)
    stream.on_send(None)
    stream.on_send(lambda msg, status: assert_type(msg, list[Any]))
    stream.on_send_stream(told_more)
    stream.on_send_stream(None)
    stream.stop_on_send()
    stream.on_err(failed)
    stream.on_err(failed_so)
    stream.on_err(lambda error: assert_type(error, zmq.ZMQError))
    stream.on_err(None)
    stream.stop_on_err()

    stream.on_send(told_less)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    stream.on_send(told_more)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def limits(stream: ZMQStream) -> None:
    stream.set_write_buffer_limits(high=1000, low=100, high_bytes=1 << 20, policy="drop_oldest")
    assert_type(stream.get_write_buffer_size(), int)
    assert_type(stream.get_write_buffer_bytes(), int)
    stream.on_drain(stream.stop_on_recv)
    stream.on_drain(None)
    stream.send_multipart([b"a"], timeout=1.5)
    stream.send(b"a", timeout=1)
    await stream.drain()
    await stream.asend_multipart([b"a"], timeout=1.5)
    await stream.asend(b"a")

    stream.set_write_buffer_limits(1000, policy="forget")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    stream.send(b"a", timeout="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await stream.asend("a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    stream.on_drain(told)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def monitored(event: dict[str, Any]) -> None: ...


def watching(stream: ZMQStream) -> None:
    stream.on_monitor(monitored)
    stream.on_monitor(monitored, zmq.EVENT_CONNECTED)
    stream.on_monitor(None)


def the_end(stream: ZMQStream) -> None:
    stream.set_close_callback(stream.stop_on_recv)
    stream.set_close_callback(None)
    stream.close()
    stream.close(linger=0)
    assert_type(stream.closed(), bool)

    stream.set_close_callback(told)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    stream.close("0")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
