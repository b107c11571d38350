"""The selector of our EventLoop, where it is not simply asyncio's."""

import contextlib
import gc
import os
import selectors
import socket as sockets
import weakref

import pytest

from support.backends import POLLERS
from zmqstream import EventLoop


@pytest.fixture(params=POLLERS, autouse=True)
def poller(request, monkeypatch):
    monkeypatch.setenv("ZMQSTREAM_POLLER", request.param)
    return request.param


@pytest.fixture
def loop():
    loop = EventLoop()
    yield loop
    loop.close()


@pytest.mark.skipif(not hasattr(selectors, "EpollSelector"), reason="epoll is what objects")
def test_a_descriptor_that_was_closed_and_is_in_use_again(loop):
    """asyncio's selector gives up what it cannot modify, and so does ours: nothing is kept."""

    class Callback:
        def __call__(self):
            pass

    callback = Callback()
    reference = weakref.ref(callback)
    a, b = sockets.socketpair()
    c, d = sockets.socketpair()
    with a, b, c, d:
        loop.add_reader(a.fileno(), callback)
        os.dup2(c.fileno(), a.fileno())
        with pytest.raises(FileNotFoundError):
            loop.add_writer(a.fileno(), print)
        assert not loop.remove_reader(a.fileno())
        del callback
        gc.collect()
        assert reference() is None

        loop.add_reader(a.fileno(), loop.stop)
        d.send(b"x")
        loop.run_forever()
        assert loop.remove_reader(a.fileno())


def test_more_descriptors_are_ready_than_one_poll_takes(loop):
    """They take turns: none is served again before all the others were."""
    called = []
    a, b = sockets.socketpair()
    with contextlib.ExitStack() as stack:
        stack.enter_context(a)
        stack.enter_context(b)
        b.send(b"x")
        ready = [stack.enter_context(a.dup()) for _ in range(600)]
        for number, socket in enumerate(ready):
            loop.add_reader(socket, called.append, number)
            stack.callback(loop.remove_reader, socket)
        while len(called) < 3 * len(ready):
            loop.call_soon(loop.stop)
            loop.run_forever()
    for start in range(0, 3 * len(ready), len(ready)):
        assert set(called[start : start + len(ready)]) == set(range(len(ready)))
