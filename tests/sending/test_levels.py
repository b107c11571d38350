"""Memory is bounded when asked: when on_drain() is called, and when not."""

import asyncio

import pytest

from support.traffic import numbers

pytestmark = pytest.mark.ours


def test_asend_counts_for_no_limit(backend):
    """It waits by itself: on_drain() is not called because of it, and drain() has room."""
    stream, connect = backend.stalled(high=2, low=0)
    calls = []
    stream.on_drain(lambda: calls.append(None))

    async def main():
        sends = [asyncio.ensure_future(stream.asend(number)) for number in numbers(0, 10)]
        await asyncio.sleep(0)
        assert stream.get_write_buffer_size() == 10
        await stream.drain()
        peer = connect()
        await asyncio.gather(*sends)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return [peer.recv() for _ in sends]

    assert backend.run(main()) == numbers(0, 10)
    assert calls == []
    for number in numbers(0, 3):  # what is sent otherwise does count
        stream.send(number)
    backend.run_until(lambda: calls)
    assert calls == [None]


def test_on_drain_when_the_loop_has_no_memory_once(backend):
    """The loop fails to take the call of on_drain(): the next turn asks again."""
    stream, connect = backend.stalled(high=2, low=0)
    calls = backend.recorder()
    stream.on_drain(lambda: calls.append("on_drain"))
    call_soon, failures = backend.loop.call_soon, [MemoryError()]

    def fail_once(callback, *args, **kwargs):
        if failures and "_call_on_drain" in repr(callback):
            raise failures.pop()
        return call_soon(callback, *args, **kwargs)

    async def main():
        backend.loop.call_soon = fail_once
        try:
            for number in numbers(0, 3):
                stream.send(number)
            peer = connect()
            with pytest.raises(MemoryError):
                stream.flush()
            while not calls:
                await asyncio.sleep(0.001)
        finally:
            backend.loop.call_soon = call_soon
        return [peer.recv() for _ in range(3)]

    assert backend.run(main()) == numbers(0, 3)
    assert failures == []
    assert calls == ["on_drain"]
