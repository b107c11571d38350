"""Memory is bounded when asked: the queue's sizes and limits, and sends that are refused."""

import math

import pytest
import zmq

import zmqstream
from support.traffic import numbers

pytestmark = pytest.mark.ours


# -- sizes and limits ------------------------------------------------------------------------------


def test_no_limits_by_default(backend):
    stream, _ = backend.stalled()
    assert stream.get_write_buffer_limits() == (None, None, None, None)
    for number in numbers(0, 5000):
        stream.send(number)
    assert stream.get_write_buffer_size() == 5000
    assert stream.get_write_buffer_bytes() == sum(map(len, numbers(0, 5000)))


@pytest.mark.parametrize(
    ("given", "limits"),
    [
        ({"high": 10}, (10, 2, None, None)),
        ({"high": 10, "low": 10}, (10, 10, None, None)),
        ({"low": 3}, (12, 3, None, None)),
        ({"high": 0}, (0, 0, None, None)),
        ({"high_bytes": 4096}, (None, None, 4096, 1024)),
        ({"high": 8, "high_bytes": 100, "low_bytes": 0}, (8, 2, 100, 0)),
        ({}, (None, None, None, None)),
        ({"high": 10**30, "low": 0}, (None, 0, None, None)),
    ],
)
def test_limits_as_asyncios_transports_have_them(backend, given, limits):
    stream, _ = backend.stalled(high=1, high_bytes=1)
    stream.set_write_buffer_limits(**given)
    assert stream.get_write_buffer_limits() == limits


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"high": -1}, ValueError, "high must not be negative: -1"),
        ({"high": 1.5}, TypeError, "high must be an int or None, not float"),
        ({"high": 5, "low": 6}, ValueError, "low must not be more than high: 6 > 5"),
        (
            {"high_bytes": 5, "low_bytes": 6},
            ValueError,
            "low_bytes must not be more than high_bytes",
        ),
        ({"high_bytes": "5"}, TypeError, "high_bytes must be an int or None, not str"),
        ({"high": 5, "policy": "drop"}, ValueError, "wait, raise, drop_newest, drop_oldest"),
        ({"high": 5, "policy": []}, ValueError, "policy must be one of"),
        ({"policy": "raise"}, ValueError, "policy 'raise' needs high or high_bytes"),
        ({"high": 0, "policy": "drop_oldest"}, ValueError, "would send nothing"),
    ],
)
def test_limits_that_are_none(backend, given, error, text):
    stream, _ = backend.stalled(high=7)
    with pytest.raises(error, match=text):
        stream.set_write_buffer_limits(**given)
    assert stream.get_write_buffer_limits() == (7, 1, None, None)


def test_limits_of_a_closed_stream(backend):
    stream, _ = backend.stalled()
    stream.close()
    with pytest.raises(OSError, match="Stream is closed"):
        stream.set_write_buffer_limits(1)
    with pytest.raises(OSError, match="Stream is closed"):
        stream.on_drain(print)


def test_limits_by_their_public_names():
    assert issubclass(zmqstream.QueueFull, zmq.Again)
    assert zmqstream.QueueFull().errno == zmq.EAGAIN
    assert issubclass(zmqstream.MessageDropped, zmq.ZMQError)
    assert zmqstream.MessageDropped().errno == zmq.ENOBUFS
    assert math.isfinite(zmqstream.MessageExpired().errno)


# -- raise -----------------------------------------------------------------------------------------


def test_raise_refuses_at_the_call_and_queues_nothing(backend):
    stream, connect = backend.stalled(high=3, policy="raise")
    for number in numbers(0, 3):
        stream.send(number)
    for send in (stream.send, lambda m: stream.send_multipart([m, m]), stream.send_json):
        with pytest.raises(
            zmqstream.QueueFull, match=r"queue of <ZMQStream\(zmq.PUSH\).* is full: 3 messages"
        ):
            send("x" if send == stream.send_json else b"x")
    assert stream.get_write_buffer_size() == 3
    assert stream.stats().dropped == stream.stats().errors == 0
    peer = connect()
    backend.drained(stream)
    stream.send(b"3")
    backend.drained(stream)
    assert [peer.recv() for _ in range(4)] == numbers(0, 4)


def test_raise_counts_bytes_of_all_frames(backend):
    stream, _ = backend.stalled(high_bytes=10, policy="raise")
    stream.send_multipart([b"1234", b"5678"])
    with pytest.raises(zmq.Again):
        stream.send(b"123")
    stream.send(b"12")
    assert stream.get_write_buffer_bytes() == 10
    with pytest.raises(zmq.Again):
        stream.send(b"1")
    stream.send(b"")


def test_a_message_larger_than_the_limit_is_sent_if_it_is_alone(backend):
    stream, connect = backend.stalled(high_bytes=10, policy="raise")
    stream.send(bytes(100))
    with pytest.raises(zmq.Again):
        stream.send(b"1")
    peer = connect()
    backend.drained(stream)
    assert peer.recv() == bytes(100)


def test_raise_of_a_message_in_parts_leaves_nothing_of_it(backend):
    stream, connect = backend.stalled(high=1, policy="raise")
    stream.send(b"0")
    stream.send(b"a", zmq.SNDMORE)
    with pytest.raises(zmq.Again):
        stream.send(b"b")
    peer = connect()
    backend.drained(stream)
    stream.send(b"1")
    backend.drained(stream)
    assert [peer.recv_multipart() for _ in range(2)] == [[b"0"], [b"1"]]
