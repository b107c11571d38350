"""The contract where memory runs out: each allocation of Python's fails once, and one of
libzmq's. Nothing is lost in silence, no stream is deaf afterwards. In forked children."""

import asyncio
import errno
import functools
import gc
import os
import sys

import pytest
import zmq

import zmqstream
from support import FREE_THREADED, children
from support.backends import Backend
from support.children import Asleep
from support.traffic import OUT_OF_MEMORY, Pair
from zmqstream import MessageDropped, MessageExpired

# not on Windows, where there is no fork() either
resource = pytest.importorskip("resource")

try:
    from _testcapi import remove_mem_hooks, set_nomemory
except ImportError:
    set_nomemory = None

LIMIT = 160  # allocations: more than any of these needs

pytestmark = [
    # without zmqstream, too
    pytest.mark.skipif(FREE_THREADED, reason="CPython 3.13t crashes if a list gets no memory"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here"),
    pytest.mark.deviates("pyzmq loses messages, and is deaf afterwards"),
]
# 3.10's own selectors keep a descriptor that they failed to register, so a second attempt fails.
memory = pytest.mark.skipif(
    set_nomemory is None or sys.version_info < (3, 11),
    reason="needs CPython's _testcapi, and selectors that survive it (3.11)",
)


def fork(function):
    """A child in which nothing is finalised that earlier tests left behind.

    pyzmq's Context.__del__() calls locals(), and from CPython 3.13 on locals() without memory is a
    segmentation fault (python/cpython#153205).
    """

    def child():
        gc.disable()
        return function()

    return children.fork(child)


def error_of(act, n):
    """Have allocation `n` of `act` fail. Returns the error, or None."""
    try:
        set_nomemory(n, n + 1)
        try:
            act()
        finally:
            remove_mem_hooks()
    except OUT_OF_MEMORY as error:
        return error
    return None


def every_allocation(prepare, act, check):
    """Have each allocation of `act` fail once. `check` gets the error, or None."""
    failures = 0
    for n in range(LIMIT):
        prepare()
        error = error_of(act, n)
        failures += error is not None
        check(error)
    assert 0 < failures < LIMIT


def in_loop(pair, n, width=1, flush=False):
    """A turn in the loop, or a flush, in which allocation `n` fails. Returns what left the loop.

    `width` allocations fail: with a second one, errors are without a traceback.
    """
    loop = pair.backend.loop
    ended = []

    def end():
        remove_mem_hooks()
        if not ended:
            ended.append(1)
            loop.stop()

    def soon():
        loop.call_soon(end)  # behind what became ready together with us

    def begin():
        # twice: the failing allocation may be of the loop's own call
        loop.call_soon(soon)
        loop.call_soon(soon)
        pair.send()
        pair.arrive()
        set_nomemory(n, n + width)
        if flush:
            pair.stream.flush(limit=3)

    loop.call_soon(begin)
    error = None
    while not ended:
        try:
            loop.run_forever()
        except OUT_OF_MEMORY as caught:
            error = caught
            remove_mem_hooks()
            loop.call_soon(end)
    return error


@memory
@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("flush", [False, True])
def test_memory_in_the_loop(backend, flush, width):
    if not backend.at_home:
        pytest.skip("another loop may lose the call that it was asked for, and is woken by a timer")

    def child():
        pair = Pair(backend.name)
        total = 0
        asleep = Asleep()
        for n in range(LIMIT):
            pair.begin()
            error = in_loop(pair, n, width, flush)
            failures = pair.failures(error)
            pair.check_received(failures)
            pair.check_sent(failures)
            total += failures
        # a fraction of that; and four times as long if each send had to wait for a sweep
        assert (asleep.seconds() or 0) < LIMIT * 0.0125
        return total

    assert 0 < fork(child).result() < LIMIT


# CPython 3.12 and newer have pyzmq's abi3 wheels; before 27.2, zmq.Frame() without memory crashes
# in them.
frames = pytest.mark.skipif(
    sys.version_info >= (3, 12) and zmq.pyzmq_version_info()[:2] < (27, 2),
    reason="pyzmq's own Frame() does not survive it",
)


@memory
@pytest.mark.parametrize("copy", [True, pytest.param(False, marks=frames)])
def test_memory_in_flush(backend, copy):
    def child():
        pair = Pair(backend.name)
        pair.stream.on_recv(pair.received.append, copy=copy)

        def prepare():
            pair.begin()
            pair.send()
            pair.arrive()

        def check(error):
            pair.received[:] = [[bytes(f) for f in message] for message in pair.received]
            pair.stream.on_recv(pair.received.append)
            pair.check_received(pair.failures(error))
            pair.check_sent(pair.failures(error))
            pair.stream.on_recv(pair.received.append, copy=copy)

        every_allocation(prepare, pair.stream.flush, check)

    fork(child).result()


@memory
@pytest.mark.parametrize("copy", [True, False])
def test_memory_in_send(backend, copy):
    """What raises has queued nothing; what does not is sent."""

    def child():
        pair = Pair(backend.name)
        accepted = 0

        def callback(message, status):
            pair.sent.append((message, None))

        def prepare():
            pair.begin()
            nonlocal accepted
            accepted = 0

        def act():
            nonlocal accepted
            for message in pair.given:
                pair.stream.send_multipart(message, copy=copy, track=not copy, callback=callback)
                accepted += 1  # takes no memory

        def check(error):
            del pair.given[accepted:]
            pair.check_sent(0)
            assert pair.failures(None) == 0

        every_allocation(prepare, act, check)

    fork(child).result()


@memory
def test_memory_in_close(backend):
    """A close() that raised can be called again, and then everything is closed."""

    def child():
        others = Pair(backend.name)
        place, calls = others.backend, []

        def prepare():
            others.begin()
            calls.clear()
            socket, peer = place.pair()
            stream = place.stream(socket)
            stream.on_recv(print)
            stream.set_close_callback(lambda: calls.append(1))
            stream.send(b"x")
            prepare.now = stream, socket, peer

        def act():
            prepare.now[0].close()

        def check(error):
            stream, socket, peer = prepare.now
            if error is not None:
                stream.close()
            assert stream.closed()
            assert stream.socket is None
            assert socket.closed
            reports = len(calls) + others.failures(None)
            assert reports == 1 or (error is not None and reports == 0)
            assert peer.recv() == b"x"
            peer.close()
            place.streams.remove(stream)
            others.arriving.clear()
            others.check_received(0)

        others.backend.errors.clear()
        every_allocation(prepare, act, check)
        place.close()  # terminates the context

    fork(child).result()


@memory
def test_memory_in_close_while_coroutines_wait(backend):
    """The next close() wakes them. asyncio may have lost the one whose call failed."""

    def child():
        place = Backend(backend.name)
        for n in range(LIMIT):
            stream, _ = place.stalled(high=1)
            for _ in range(5):
                stream.send(b"x")

            async def wait(stream=stream):
                awaited = (stream.recv(), stream.recv(), stream.drain(), stream.drain(),
                           stream.asend(b"x"), stream.asend(b"x"))  # fmt: skip
                tasks = [asyncio.ensure_future(each) for each in awaited]
                await asyncio.sleep(0)
                return tasks

            tasks = place.run(wait())
            failures = error_of(stream.close, n) is not None
            stream.close()
            place.run_until(lambda: sum(task.done() for task in tasks) >= 6 - failures)  # noqa: B023
            if not failures:
                return n
        raise AssertionError("an allocation fails every time")

    assert fork(child).result() > 0


@memory
@pytest.mark.parametrize("others", [0, 7])
def test_memory_in_making_a_stream(backend, others):
    """What could not be made can be made again."""

    def child():
        place = Backend(backend.name)
        for _ in range(others):
            place.stream(place.socket(zmq.PULL))
        fds = []

        def prepare():
            prepare.pair = place.pair()
            prepare.stream = None
            fds.append(len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0)

        def act():
            prepare.stream = place.stream_class(prepare.pair[0], place.io_loop)

        def check(error):
            socket, peer = prepare.pair
            if error is not None:
                act()
            got = place.recorder()
            prepare.stream.on_recv(got.append)
            peer.send(b"x")
            place.wait(got)
            prepare.stream.close()
            peer.close()
            place.sockets.clear()
            place.errors.clear()  # uvloop tells of a timer that it could not cancel

        every_allocation(prepare, act, check)
        place.run_until(lambda: len(os.listdir("/proc/self/fd")) <= fds[0])
        place.close()

    fork(child).result()


@memory
def test_memory_in_watching_a_socket(backend):
    """What could not be watched can be, at every size of the tables that it is noted in."""

    def child():
        place = Backend(backend.name)
        facade = zmqstream.IOLoop(make_current=False, asyncio_loop=place.loop)
        kept = [place.socket(zmq.PULL) for _ in range(45)]
        for socket in kept:
            for n in range(40):
                try:
                    set_nomemory(n, n + 1)
                    try:
                        facade.add_handler(socket, print, facade.READ)
                    finally:
                        remove_mem_hooks()
                except OUT_OF_MEMORY:
                    facade.add_handler(socket, print, facade.READ)
                facade.remove_handler(socket)
            facade.add_handler(socket, print, facade.READ)

    fork(child).result()


class Parked(Pair):
    """A ROUTER with ROUTER_MANDATORY, whose peer has no room for what is sent to it."""

    def __init__(self, name):
        self.backend = Backend(name)
        router, self.peer = self.backend.router(b"peer", hwm=1)
        self.stream = self.backend.stream(router)
        self.sequence = 0
        self.sent, self.received = [], []

    def messages(self):
        self.sequence += 1
        return [[b"%d" % self.sequence, b"%d" % i] for i in range(12)]

    def send(self):
        for i, message in enumerate(self.given):
            callback = None if i % 2 else self.told
            self.stream.send_multipart([b"peer", *message], callback=callback)

    def told(self, message, status):
        self.sent.append((message[1:], status))

    def arrive(self):
        pass

    def check_sent(self, failures):
        self.stream.send_multipart([b"peer", b"last"])
        arrived = []
        while not arrived or arrived[-1] != [b"last"]:
            self.backend.run_until(lambda: self.peer.poll(0))
            arrived.append(self.peer.recv_multipart())
        assert arrived[:-1] == self.given
        assert len(self.given) // 2 - len(self.sent) <= failures


@memory
def test_memory_in_parking(backend):
    def child():
        pair = Parked(backend.name)
        total = 0
        for n in range(100):
            pair.begin()
            failures = pair.failures(in_loop(pair, n))
            pair.check_sent(failures)
            total += failures
        return total

    assert fork(child).result() > 0


@memory
@pytest.mark.parametrize("told", ["on_send", "its own callback", "nobody"])
def test_memory_in_dropping_the_oldest(backend, told):
    """A message that was accepted arrives, or its drop is reported."""

    def child():
        own = Backend(backend.name)
        stream, connect = own.stalled(high=2, policy="drop_oldest")
        dropped, accepted, failures = [], [], 0

        def outcome(message, status):
            if isinstance(status, MessageDropped):
                dropped.append(message[0])

        if told == "on_send":
            stream.on_send(outcome)
        for n in range(100):
            number, callback = b"%d" % n, outcome if told == "its own callback" else None
            error = error_of(lambda: stream.send(number, callback=callback), n % 50)  # noqa: B023
            if error is None:
                accepted.append(number)
            failures += error is not None
        peer = connect()
        own.drained(stream)
        arrived = [peer.recv() for _ in range(2)]
        if told != "nobody":
            assert sorted(dropped + arrived) == sorted(accepted)
            assert dropped == accepted[:-2]
        assert arrived == accepted[-2:]
        return failures

    assert fork(child).result() > 0


@memory
def test_memory_in_trying_what_is_parked(backend):
    """Again and again, and each time one allocation fails: the messages stay, and their order."""

    def child():
        pair = Parked(backend.name)
        failures = 0
        for n in range(20):
            pair.begin()
            pair.send()
            pair.stream.flush()  # which parks what the peer has no room for
            for _ in range(20):
                failures += error_of(lambda: pair.stream.flush(zmq.POLLOUT), n) is not None
            pair.check_sent(failures)
        return failures

    assert fork(child).result() > 0


@memory
def test_memory_in_watching_a_deadline(backend):
    """Whose heap is made anew: the other messages expire all the same."""

    def child():
        place = Backend(backend.name)
        failures = 0
        for n in range(12):
            stream, _ = place.stalled()
            told, count = place.recorder(), 64  # as many as are watched before that

            def tell(message, status, told=told):
                told.append(status)

            send = functools.partial(stream.send, b"x", callback=tell, timeout=0.02)
            for _ in range(count):
                send()
            failed = error_of(send, n) is not None
            failures += failed
            count += not failed
            place.wait(told, count)
            assert [type(status) for status in told] == [MessageExpired] * count
            stream.close()
        return failures

    assert fork(child).result() > 0


def test_memory_of_libzmq(backend):
    """A frame that is too large, in and out: that is told, and the next message is handled."""
    size = 64 << 20

    def child():
        pair = Pair(backend.name)
        pair.begin()
        large = zmq.Frame(b"x" * size, copy=False)
        kept = bytes(size)
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + size // 2, resource.RLIM_INFINITY))
        pair.peer.send(large, copy=False)
        pair.peer.send(b"next")
        pair.stream.send(kept)
        pair.stream.send(b"next")
        pair.backend.run_until(lambda: pair.received and len(pair.sent) == 2)
        assert pair.received == [[b"next"]]
        assert [getattr(status, "errno", None) for _, status in pair.sent] == [errno.ENOMEM, None]
        assert pair.peer.recv() == b"next"
        assert pair.failures(None) == 1

    fork(child).result()


@memory
def test_memory_in_batches(backend):
    """One message is given up for each failure, and not those of the batch that came before it."""

    def child():
        pair = Pair(backend.name)

        def receive(batch):
            remove_mem_hooks()  # what fails here is the callback's own
            for message in batch:
                pair.received.append(message)

        pair.stream.on_recv_batch(receive)
        total = 0
        for n in range(LIMIT):
            pair.begin()
            pair.arriving += pair.messages()  # a batch that has to grow
            failures = pair.failures(in_loop(pair, n))
            pair.check_received(failures)
            total += failures
        return total

    assert 0 < fork(child).result() < LIMIT


@memory
def test_memory_of_a_receiver(backend):
    """Who fails does not stand in the way of the next."""

    def child():
        pair = Pair(backend.name)
        pair.stream.on_recv(None)

        async def main():
            failures = 0
            for n in range(30):
                receiver = pair.stream.recv_multipart()
                receiver.send(None)
                pair.peer.send_multipart([b"1", b"2" * 1000])
                await asyncio.sleep(0)
                pair.stream.flush(zmq.POLLOUT)  # which wakes it
                set_nomemory(n, n + 1)
                try:
                    receiver.send(None)
                except StopIteration:
                    pass
                except OUT_OF_MEMORY:
                    failures += 1
                finally:
                    remove_mem_hooks()
                pair.peer.send(b"next")
                got = await pair.stream.recv_multipart()
                if got != [b"next"]:  # it failed without having received
                    assert got == [b"1", b"2" * 1000]
                    assert await pair.stream.recv() == b"next"
            return failures

        return pair.backend.run(main())

    assert 0 < fork(child).result() < 30
