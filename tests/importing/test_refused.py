"""Messages that cannot be sent: our class raises, and an installed one reports, as pyzmq's logs."""

import warnings

import pytest
import zmq

import zmqstream
from support.loops import in_thread, pair

REFUSED = {
    "a str": lambda stream, **how: stream.send("x", **how),
    "None": lambda stream, **how: stream.send(None, **how),
    "a dict": lambda stream, **how: stream.send({"a": 1}, **how),
    "the second frame": lambda stream, **how: stream.send_multipart([b"x", "y"], **how),
    "no list": lambda stream, **how: stream.send_multipart("x", **how),
    "no frame": lambda stream, **how: stream.send_multipart([], **how),
    "not tracked": lambda stream, **how: stream.send_multipart(
        [zmq.Frame(b"x")], copy=False, track=True, **how
    ),
}
refused = pytest.mark.parametrize("send", REFUSED.values(), ids=REFUSED)


@pytest.fixture
def installed():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other tests have imported pyzmq's class
        zmqstream.install()
    yield
    zmqstream.uninstall()


@pytest.fixture
def sender(context):
    """A stream, its peer, and a function that runs its loop until something is sent."""
    loop = zmqstream.EventLoop()
    socket, peer = pair(context)
    stream = zmqstream.ZMQStream(socket, loop)

    def settle():
        stream.send(b"after", callback=lambda *_: loop.stop())
        loop.run_forever()

    yield stream, peer, settle
    stream.close()
    loop.close()


@refused
def test_a_refused_message_of_our_class_raises(sender, send):
    stream, peer, settle = sender
    with pytest.raises((TypeError, ValueError)):
        send(stream)
    settle()
    assert peer.recv() == b"after"


@refused
@pytest.mark.parametrize("where", ["here", "in another thread"])
def test_a_refused_message_of_an_installed_class_is_logged(
    sender, send, where, installed, expected_log
):
    stream, peer, settle = sender
    if where == "here":
        assert send(stream) is None
    else:
        in_thread(lambda: send(stream))
    settle()
    assert peer.recv() == b"after"
    expected_log("a message could not be sent")


@refused
@pytest.mark.parametrize("to", ["its own callback", "on_send", "on_err"])
def test_a_refused_message_of_an_installed_class_has_an_outcome(sender, send, to, installed):
    stream, peer, settle = sender
    reported = []
    how = {}
    if to == "its own callback":
        how["callback"] = lambda message, status: reported.append(status)
    elif to == "on_send":
        stream.on_send(lambda message, status: reported.append(status))
    else:
        stream.on_err(reported.append)
    send(stream, **how)
    assert reported == []  # never inside of send()
    settle()
    assert [type(error) in (TypeError, ValueError) for error in reported[:1]] == [True]
    assert len(reported) == 1
    assert peer.recv() == b"after"


def test_a_refused_message_of_a_stream_that_is_closed_then(sender, installed, expected_log):
    stream, _, _ = sender
    stream.send("x", callback=lambda *_: pytest.fail("a callback after close()"))
    stream.close()
    loop = stream.io_loop
    loop.call_soon(loop.stop)
    loop.run_forever()
    expected_log("a message could not be sent")
