"""The contract where descriptors run out: errors say so, what exists goes on, what could not
be made can be made later, and nothing is left behind. In forked children."""

import errno
import gc
import os

import pytest
import zmq

import zmqstream
import zmqstream.ioloop  # or it is imported when there is no descriptor for its file
from support.backends import Backend
from support.children import fork
from support.traffic import Pair

# not on Windows, where there is no fork() either
resource = pytest.importorskip("resource")

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here"),
    pytest.mark.ours,
]


class Descriptors:
    """Have only so many left. They are counted by use: to look into /proc takes one."""

    def __init__(self):
        self.before = resource.getrlimit(resource.RLIMIT_NOFILE)
        probe = os.dup(0)
        resource.setrlimit(resource.RLIMIT_NOFILE, (probe + 50, self.before[1]))
        os.close(probe)
        self.taken = self.take()

    def take(self):
        taken = []
        while True:
            try:
                taken.append(os.dup(0))
            except OSError:
                return taken

    def left(self):
        taken = self.take()
        for fd in taken:
            os.close(fd)
        return len(taken)

    def leave(self, count):
        while (left := self.left()) < count:
            os.close(self.taken.pop())
        self.taken.extend(os.dup(0) for _ in range(left - count))
        assert self.left() == count

    def restore(self):
        resource.setrlimit(resource.RLIMIT_NOFILE, self.before)


def spare_for(backend):
    """uvloop needs two for each run, where it is in the main thread."""
    return 2 if backend.name == "uvloop" else 0


def too_many(call):
    """Whether `call` fails because there is no descriptor."""
    try:
        call()
    except (OSError, zmq.ZMQError) as error:
        if error.errno != errno.EMFILE:
            raise
        return True
    return False


def test_no_descriptor_for_a_stream(backend):
    """It can be made when there is one; what exists goes on, and nothing is left behind."""

    def child():
        pair = Pair(backend.name)
        place = pair.backend
        sockets = [place.pair() for _ in range(3)]
        descriptors = Descriptors()
        descriptors.leave(0)
        needs = place.name.endswith("selectors")
        for socket, _ in sockets:
            for _ in range(2):
                failed = too_many(lambda socket=socket: place.stream(socket))
                assert failed == needs
                if not failed:
                    break
        assert too_many(lambda: place.context.socket(zmq.PULL))
        descriptors.leave(spare_for(place))
        for _ in range(3):
            pair.begin()
            pair.send()
            pair.arrive()
            pair.check_received(0)
            pair.check_sent(0)
        assert descriptors.left() == spare_for(place)
        descriptors.leave(len(sockets))
        if needs:
            for socket, _ in sockets:
                place.stream(socket)
        assert descriptors.left() == (0 if needs else len(sockets))
        got = place.recorder()
        for stream in place.streams[1:]:
            stream.on_recv(got.append)
        for _, peer in sockets:
            peer.send(b"x")
        place.wait(got, len(sockets))
        for stream in place.streams[1:]:
            stream.close()
        assert descriptors.left() >= len(sockets)
        descriptors.restore()
        place.close()

    fork(child).result()


def test_no_descriptor_for_the_first_stream(backend):
    """It may need one for the reactor, too."""

    def child():
        place = Backend(backend.name)
        socket, peer = place.pair()
        descriptors = Descriptors()
        for count in range(3):
            descriptors.leave(count)
            if not too_many(lambda: place.stream(socket)):
                break
            assert descriptors.left() == count
        else:
            raise AssertionError("cannot be made with two")
        descriptors.leave(spare_for(place))
        got = place.recorder()
        place.streams[0].on_recv(got.append)
        peer.send(b"x")
        place.wait(got)
        place.streams[0].close()
        if backend.name == "uvloop":
            place.settle()  # the hook is closed before the loop polls again
        assert descriptors.left() >= spare_for(place) + count
        descriptors.restore()
        place.close()
        return count

    needed = 0 if backend.selects and backend.name != "own-selectors" else 1
    assert fork(child).result() == needed


def test_no_descriptor_for_a_loop(backend):
    if not backend.name.startswith("own"):
        pytest.skip("it is not our loop")

    def child():
        pair = Pair(backend.name)
        descriptors = Descriptors()
        for count in range(10):
            descriptors.leave(count)
            if not too_many(zmqstream.EventLoop):
                break
            gc.collect()
            assert descriptors.left() == count
            pair.begin()
            pair.arrive()
            pair.check_received(0)
        assert 2 <= count < 10
        return count

    fork(child).result()


def test_no_descriptor_to_step_aside(backend):
    """asyncio is to watch a stream's descriptor, and the stream cannot get another."""
    if not backend.selects:
        pytest.skip("the loop does not know of it")

    def child():
        pair = Pair(backend.name)
        fd = pair.stream.getsockopt(zmq.FD)
        descriptors = Descriptors()
        descriptors.leave(0)
        seen = []
        failed = too_many(lambda: pair.backend.loop.add_reader(fd, seen.append, 1))
        assert failed == (backend.name != "own-selectors")
        pair.begin()
        pair.arrive()
        pair.check_received(0)
        descriptors.leave(1)
        pair.backend.loop.add_reader(fd, seen.append, 1)
        pair.begin()
        pair.arrive()
        pair.check_received(0)
        assert seen
        pair.backend.loop.remove_reader(fd)

    fork(child).result()
