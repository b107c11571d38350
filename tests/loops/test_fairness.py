"""The loop is never blocked, and turns are fair: budgets bound every turn."""

import itertools
import os
import time

import pytest
import zmq

from zmqstream.eventloop import reactor_of
from zmqstream.stats import LoopStats


def flooded(backend, callback):
    """A stream that never runs out of messages."""
    socket, feeder = backend.pair(rcvhwm=0, sndhwm=0)
    stream = backend.stream(socket)

    def again(message):
        feeder.send(message[0])
        callback()

    stream.on_recv(again)
    for _ in range(600):
        feeder.send(b"x")
    return stream


def busy(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


@pytest.mark.ours
def test_what_is_parked_takes_half_of_each_turn_until_it_is_sent(backend):
    """Others are heard meanwhile, and the loop does not sleep before the peer has everything."""
    router, slow, other = backend.router(b"slow", b"other", hwm=100)
    stream = backend.stream(router)
    stream.set_turn_limits(messages=10, seconds=60)
    fitted = 0
    while not stream.sending():
        stream.send_multipart([b"slow", b"before"])
        fitted += stream.flush(zmq.POLLOUT)
    for _ in range(49):
        stream.send_multipart([b"slow", b"parked"])
    stream.flush(zmq.POLLOUT)
    backend.settle()
    events, sleeps = backend.recorder(), []

    def record(event):
        events.append(event)
        sleeps.append(LoopStats(*reactor_of(backend.loop).stats()).sleeps)

    stream.on_send(lambda message, status: record("sent"))
    stream.on_recv(lambda message: record("received"))
    for _ in range(40):
        other.send(b"x")
    for _ in range(fitted):
        slow.recv()
    backend.wait(events, 90)
    last = 89 - events[::-1].index("received")
    runs = [len(list(run)) for event, run in itertools.groupby(events[:last]) if event == "sent"]
    assert 5 in runs
    assert max(runs) == 5
    if backend.at_home:
        assert len(set(sleeps[events.index("sent") :])) == 1


@pytest.mark.ours
def test_each_of_many_stalled_peers_has_its_turn(backend, expected_log):
    """More than are tried in one turn. Whoever makes room gets what waits for it, first or last."""
    names = [b"%d" % i for i in range(100)]
    router, *peers = backend.router(*names, hwm=1)
    stream = backend.stream(router)
    messages = [b"%d" % i for i in range(5)]
    for name in names:
        for message in messages:
            stream.send_multipart([name, message])
    for peer in (peers[-1], peers[50], peers[0]):
        got = []
        while len(got) < len(messages):
            backend.run_until(lambda peer=peer: peer.poll(0))
            got.append(peer.recv())
        assert got == messages
    stream.close()
    expected_log("queued messages")


@pytest.mark.parametrize("cost", [0, 20e-6, 0.002], ids=["fast", "20 us", "2 ms"])
@pytest.mark.parametrize("streams", [1, 5])
def test_timers_fire_under_flood(backend, cost, streams):
    for _ in range(streams):
        flooded(backend, lambda: busy(cost))
    fired = backend.recorder()

    def tick():
        fired.append(time.perf_counter())
        backend.loop.call_later(0.005, tick)

    backend.loop.call_soon(tick)
    backend.wait(fired, 12)
    # A timer of 5 ms while messages never end. How late it is, is measured in bench/; here, that
    # it is not as late as the backlog is long: 600 x 2 ms in the worst case.
    waits = sorted(b - a for a, b in itertools.pairwise(fired))
    assert waits[len(waits) // 2] < 0.2


def test_slow_callbacks_after_fast_ones(backend):
    """The clock is not read for every message, and yet a turn ends in time."""
    calls = 0

    def callback():
        nonlocal calls
        calls += 1
        if calls > 1000:
            busy(0.002)

    flooded(backend, callback)
    fired = backend.recorder()

    def tick():
        fired.append(calls)
        backend.loop.call_later(0.001, tick)

    backend.loop.call_soon(tick)
    backend.run_until(lambda: calls > 1000)
    del fired[:]
    backend.wait(fired, 10)
    steps = [b - a for a, b in itertools.pairwise(fired)]
    assert max(steps) <= 32  # messages between two ticks; the whole budget would be 256


def test_two_floods_share_evenly(backend):
    counts = [0, 0]
    done = backend.recorder()

    def count(which):
        counts[which] += 1
        if sum(counts) == 20_000 // (20 if backend.reference else 1):
            done.append(1)

    flooded(backend, lambda: count(0))
    flooded(backend, lambda: count(1))
    backend.wait(done)
    assert abs(counts[0] - counts[1]) <= 0.1 * sum(counts) + 256


def test_floods_of_different_cost_let_each_other_live(backend):
    counts = [0, 0]
    done = backend.recorder()

    def cheap():
        counts[0] += 1

    def dear():
        busy(0.0005)
        counts[1] += 1
        if counts[1] == 40:
            done.append(1)

    flooded(backend, cheap)
    flooded(backend, dear)
    backend.wait(done)
    assert counts[0] >= 40


def test_a_hundred_floods_and_a_timer(backend):
    """A pass over all of them has a budget of its own, and nobody is forgotten."""
    counts = [0] * 100
    for i in range(100):

        def count(i=i):
            counts[i] += 1
            busy(20e-6)

        flooded(backend, count)
    fired = backend.recorder()

    def tick():
        fired.append(1)
        backend.loop.call_later(0.001, tick)

    backend.loop.call_soon(tick)
    backend.wait(fired, 100)
    backend.run_until(lambda: min(counts) > 0)


def test_iterations_of_a_busy_loop_do_not_grow(backend):
    """One pass in each, however often sweeps came by in the meantime."""
    handled = 0

    def count():
        nonlocal handled
        handled += 1
        busy(20e-6)

    for _ in range(50):
        flooded(backend, count)
    seen = backend.recorder()
    end = time.monotonic() + 0.6  # a dozen sweeps on a foreign loop

    def each_iteration():
        seen.append(handled)
        if time.monotonic() < end:
            backend.loop.call_soon(each_iteration)
        else:
            ended.append(1)

    ended = backend.recorder()
    backend.loop.call_soon(each_iteration)
    backend.wait(ended)
    # a pass of 2 ms, and the turn of 1 ms in which it ends, are 150 messages of 20 us
    assert max(after - before for before, after in itertools.pairwise(seen)) <= 300


def test_other_descriptors_get_their_turn(backend):
    flooded(backend, lambda: None)
    read, write = os.pipe()
    got = backend.recorder()
    backend.loop.add_reader(read, lambda: got.append(os.read(read, 1)))
    for _ in range(5):
        os.write(write, b"x")
    backend.wait(got, 5)
    backend.loop.remove_reader(read)
    os.close(read)
    os.close(write)


def test_tasks_get_their_turn(backend):
    import asyncio

    flooded(backend, lambda: None)

    async def count():
        for _ in range(100):
            await asyncio.sleep(0)
        return "done"

    assert backend.run(count()) == "done"


def test_a_long_queue_does_not_stop_timers(backend):
    """pyzmq: 50,000 sends make timers late by 0.6 s and more."""
    if backend.reference:
        pytest.skip("deviates from pyzmq on purpose")
    socket, peer = backend.pair(zmq.PUSH, zmq.PULL, sndhwm=0, rcvhwm=0)
    stream = backend.stream(socket)
    for _ in range(50_000):
        stream.send(b"x")
    ticks = backend.recorder()

    def tick():
        ticks.append(stream.sending())
        backend.loop.call_soon(tick)

    backend.loop.call_soon(tick)
    backend.drained(stream)
    assert ticks.count(True) >= 50_000 // 256 // 2


def test_nothing_waits_for_a_peer(backend):
    """The loop is never blocked: neither nobody, nor one that does not read."""
    kinds = (zmq.PUSH, zmq.DEALER, zmq.REQ, zmq.PAIR, zmq.PUB, zmq.ROUTER)
    streams = [backend.stream(backend.socket(kind, sndhwm=1)) for kind in kinds]
    full, peer = backend.pair(zmq.PUSH, zmq.PULL, sndhwm=1, rcvhwm=1)
    streams.append(backend.stream(full))
    start = time.perf_counter()
    for stream in streams:
        for _ in range(5):
            stream.send_multipart([b"x", b"y"], flags=0)
        stream.on_recv(print)
    backend.settle(20)
    for stream in streams:
        stream.flush()
        stream.close(linger=0)
    assert time.perf_counter() - start < 10


@pytest.fixture(autouse=True)
def _logs(backend, caplog):
    """Messages that nobody takes are reported at close; these tests leave many."""
    yield
    if not backend.reference:
        for records in (caplog.handler.records, caplog.get_records("call")):
            records[:] = [r for r in records if "queued messages could not" not in r.getMessage()]
