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
    stream.on_err(lambda error: assert_type(error, BaseException))
    stream.on_err(None)
    stream.stop_on_err()

    stream.on_send(told_less)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    stream.on_send(told_more)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # a terminated context is a ZMQError, too; but on_err() promises no more than this
    stream.on_err(failed_so)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def the_end(stream: ZMQStream) -> None:
    stream.set_close_callback(stream.stop_on_recv)
    stream.set_close_callback(None)
    stream.close()
    stream.close(linger=0)
    assert_type(stream.closed(), bool)

    stream.set_close_callback(told)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    stream.close("0")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
