"""What a loop that is ours does before it sleeps, and for how long it sleeps.

It looks for events that other code has swallowed. Then it sleeps until something happens. A guest
cannot know when other code has run, so it looks by the clock (test_never_deaf.py).

Nothing here is decided by a clock: the tests count sleeps, and read their timeouts.
"""

import asyncio
import selectors

import pytest
import zmq

from support.traffic import listening
from zmqstream.eventloop import reactor_of
from zmqstream.stats import LoopStats

pytestmark = pytest.mark.ours

OURS = ("own-epoll", "own-selectors", "asyncio", "tornado", "uvloop")
WITH_SELECTORS = OURS[1:]  # all but one poll with any selector


def in_a_call(backend, touch):
    backend.loop.call_soon(touch)


def in_a_timer(backend, touch):
    backend.loop.call_later(0.001, touch)


def in_a_task(backend, touch):
    async def main():
        await asyncio.sleep(0)
        touch()

    return backend.loop.create_task(main())


def in_another_streams_callback(backend, touch):
    first, second = backend.pair()
    backend.stream(first).on_recv(lambda message: touch())
    second.send(b"go")


@pytest.mark.parametrize("backend", OURS, indirect=True)
@pytest.mark.parametrize("where", [in_a_call, in_a_timer, in_a_task, in_another_streams_callback])
def test_a_swallowed_event_is_found_before_the_loop_sleeps(backend, where, throttled):
    """The message is delivered in the same iteration, and not at the next sweep by the clock."""
    stream, socket, peer, _ = listening(backend)
    before, after = [], backend.recorder()

    def sleeps():
        return LoopStats(*reactor_of(backend.loop).stats()).sleeps

    def touch():
        peer.send(b"x")
        throttled()
        socket.getsockopt(zmq.EVENTS)  # its event is gone
        before.append(sleeps())

    stream.on_recv(lambda message: after.append(sleeps()))
    backend.settle()
    for count in (1, 2):
        where(backend, touch)
        backend.wait(after, count)
    assert after == before
    assert reactor_of(backend.loop).repaired == 2


@pytest.mark.parametrize("backend", WITH_SELECTORS, indirect=True)
def test_a_loop_with_idle_streams_sleeps_without_a_limit(backend, monkeypatch):
    """More than eight streams: after other code has run, there is one sweep by the clock."""
    monkeypatch.setenv("ZMQSTREAM_POLLER", "selectors")
    timeouts = []
    select = selectors.DefaultSelector.select

    def recorded(selector, timeout=None):
        if timeout != 0:
            timeouts.append(timeout)
        if timeout is None or len(timeouts) > 10:
            loop.call_soon_threadsafe(loop.stop)
        return select(selector, timeout)

    monkeypatch.setattr(selectors.DefaultSelector, "select", recorded)
    loop, io_loop = backend.new_loop()
    pairs = [backend.pair() for _ in range(20)]
    for socket, _ in pairs:
        stream = backend.stream(socket, io_loop=io_loop)
        stream.on_recv(print)
        stream.send(b"x")
    for _ in range(2):
        timeouts.clear()
        loop.run_forever()
        assert timeouts[-1] is None
        assert len(timeouts) <= 2
    assert [peer.recv() for _, peer in pairs] == [b"x"] * 20
    for stream in backend.streams:
        stream.close()
    io_loop.close()
