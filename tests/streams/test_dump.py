"""zmqstream.dump(): the streams of a loop, on every kind of loop."""

import asyncio
import io
import re

import pytest
import zmq

import zmqstream
from support.backends import served
from zmqstream import eventloop

pytestmark = pytest.mark.ours


def dumped(*loop):
    file = io.StringIO()
    assert zmqstream.dump(*loop, file=file) is None
    return file.getvalue().splitlines()


def cells(line):
    return re.split(r"  +", line)


def test_a_table_of_streams(backend):
    sender, receiver = (
        backend.stream(socket) for socket in backend.pair(zmq.PUSH, zmq.PULL, sndhwm=0, rcvhwm=0)
    )
    endpoint = receiver.socket.last_endpoint.decode()
    got = backend.recorder()
    receiver.on_recv(got.append)
    for _ in range(3):
        sender.send(b"12345")
    queued = dumped(backend.io_loop)
    backend.wait(got, 3)
    sent = dumped(backend.loop)
    assert queued[0].startswith("2 streams on ")
    assert repr(backend.loop)[:8] in queued[0]
    assert f", {served(backend.name)}, " in queued[0]
    headings = cells(queued[1])
    assert headings == sent[1].split()
    pull, push = (dict(zip(headings, cells(line), strict=True)) for line in queued[2:4])
    assert (pull["socket"], push["socket"]) == ("PULL", "PUSH")
    assert pull["endpoint"] == push["endpoint"] == endpoint
    assert (push["queued"], push["bytes"], push["out"]) == ("3", "15", "0")
    assert (pull["receives"], push["receives"]) == ("yes", "no")
    assert push["state"] == "ready"
    pull, push = (dict(zip(headings, cells(line), strict=True)) for line in sent[2:4])
    assert (push["queued"], push["peak"], push["out"], pull["in"]) == ("0", "3", "3", "3")
    assert push["state"] == "idle"
    assert re.match(r"polls \d+, sleeps \d+, passes ", sent[4])
    assert len(sent) == 5


def test_columns_stand_below_each_other(backend):
    streams = [backend.stream(backend.socket(kind)) for kind in (zmq.PULL, zmq.DEALER)]
    streams[0].bind("inproc://a-rather-long-endpoint-for-a-table")
    for _ in range(1234):
        streams[1].send(b"")
    lines = dumped(backend.loop)
    ends = [[match.end() for match in re.finditer(r"\S+", line)][4:] for line in lines[1:4]]
    assert ends[0] == ends[1] == ends[2]
    assert "DEALER  -  " in lines[2]
    assert "1,234" in lines[2]


def test_it_makes_nothing(backend):
    """No reactor on a loop that has none; closed streams are not there."""
    assert dumped(backend.loop) == [f"no streams on {backend.loop!r}"]
    if not isinstance(backend.loop, zmqstream.EventLoop):
        assert eventloop.existing_reactor(backend.loop) is None
    stream = backend.stream(backend.socket(zmq.PULL))
    assert dumped(backend.loop)[0].startswith("1 stream on ")
    stream.close()
    assert dumped(backend.loop) == [f"no streams on {backend.loop!r}"]


def test_the_running_loop_is_meant(backend):
    backend.stream(backend.socket(zmq.PULL))

    async def main():
        return dumped()

    assert backend.run(main())[0].startswith("1 stream on ")


def test_in_a_callback(backend):
    """Of the stream that has its turn."""
    sender, receiver = map(backend.stream, backend.pair())
    got = backend.recorder()
    receiver.on_recv(lambda message: got.append(dumped()))
    sender.send(b"x")
    backend.wait(got)
    assert got[0][0].startswith("2 streams on ")


def test_a_closed_loop(event_loop):
    event_loop.close()
    assert dumped(event_loop) == [f"no streams on {event_loop!r}"]


def test_no_loop_at_all(nothing_is_current):
    asyncio.set_event_loop(None)
    assert dumped() == ["no streams: there is no current loop"]
    assert zmqstream.IOLoop.current(instance=False) is None


def test_stderr_is_the_default(event_loop, capsys):
    zmqstream.dump(event_loop)
    assert capsys.readouterr() == ("", f"no streams on {event_loop!r}\n")


def test_what_is_no_loop():
    with pytest.raises(TypeError, match=r"^loop must be zmqstream's or .* not str: 'loop'"):
        zmqstream.dump("loop")
