"""What to do with some bytes, and what must come of it.

    with Wire() as wire:
        wire(data)      # a peer that sends what `data` says

    with Calls() as calls:
        calls(data)     # a call of send_multipart() with arguments that `data` makes up

Both end in an AssertionError where a promise is broken: the stream works on, nothing is delivered
that was not sent, what is refused is refused at the call. Any bytes mean something. The sockets
live on: to make them for each input would take most of the time.
"""

from __future__ import annotations

import array
import asyncio
import ctypes
import itertools
import struct

import zmq

import zmqstream
from support import zmtp

TIMEOUT = 10  # seconds


class Source:
    """Reads decisions off bytes; after their end, all of them are 0."""

    def __init__(self, data):
        self.data = data
        self.position = 0

    def __bool__(self):
        return self.position < len(self.data)

    def below(self, limit):
        return self.take(1)[0] % limit if self else 0

    def number(self):
        return int.from_bytes(self.take(4).ljust(4, b"\0"), "little")

    def take(self, count):
        taken = self.data[self.position : self.position + count]
        self.position += count
        return taken

    def frame(self):
        return self.take(self.below(64))


class Streams:
    """A loop of either kind: our own, or asyncio's."""

    def __init__(self, loop=None):
        self.loop = zmqstream.EventLoop() if loop is None else loop
        self.errors = []
        self.loop.set_exception_handler(lambda loop, context: self.errors.append(context))
        self.context = zmq.Context()
        self.context.linger = 0
        self.sockets = []
        self.open()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
        self.context.destroy(linger=0)
        self.loop.close()

    def open(self):
        raise NotImplementedError

    def close(self):
        raise NotImplementedError

    def stream(self, kind, **options):
        socket = self.context.socket(kind)
        socket.linger = 0
        for name, value in options.items():
            setattr(socket, name, value)
        return zmqstream.ZMQStream(socket, self.loop)

    def run_until(self, condition):
        """Run the loop until `condition()`, which is asked again after each message."""

        async def main():
            async def wait():
                while not condition():
                    await asyncio.sleep(0)

            await asyncio.wait_for(wait(), TIMEOUT)

        self.loop.run_until_complete(main())
        assert self.errors == [], self.errors


# -- what arrives on the wire ---------------------------------------------------------------------

KINDS = {  # of our socket: what its peer claims to be
    zmq.PULL: b"PUSH",
    zmq.ROUTER: b"DEALER",
    zmq.SUB: b"PUB",
    zmq.XPUB: b"SUB",
    zmq.REP: b"REQ",
    zmq.DEALER: b"ROUTER",
    zmq.STREAM: b"",
}


class Wire(Streams):
    """Each input is sent by a peer of its own, to a stream of a kind that the input chooses.

    After it, a good peer must still be heard, on the same socket.
    """

    def open(self):
        self.streams = {}
        self.good_peers = 0
        for kind in KINDS:
            options = {"subscribe": b""} if kind == zmq.SUB else {}
            stream = self.stream(kind, maxmsgsize=1 << 20, **options)
            stream.bind("tcp://127.0.0.1:*")
            self.streams[kind] = stream, stream.getsockopt(zmq.LAST_ENDPOINT).decode()

    def close(self):
        for stream, _ in self.streams.values():
            stream.close()

    def __call__(self, data):
        source = Source(data)
        kind = list(KINDS)[source.below(len(KINDS))]
        copy = source.below(2) == 0
        stream, endpoint = self.streams[kind]
        received = []

        def callback(message):
            frames = [frame if copy else bytes(frame) for frame in message]
            assert frames
            assert all(type(frame) is bytes for frame in frames)
            received.append(frames)
            hang_up = kind == zmq.STREAM and not frames[1]
            if kind in (zmq.REP, zmq.ROUTER, zmq.STREAM) and not hang_up:
                stream.send_multipart(message, copy=copy)  # back to whoever it is

        stream.on_recv(callback, copy=copy)
        stream.on_send(lambda message, status: None)  # a peer that has gone is no news here
        peer = zmtp.Peer(endpoint)
        try:
            self.talk(peer, source, KINDS[kind])
        except (ConnectionError, AssertionError):
            pass  # libzmq has hung up
        self.good_peer(kind, endpoint, received)
        peer.abort()
        stream.on_recv(None)

    def talk(self, peer, source, claim):
        """Say hello as it should be, or nearly so, and then what `source` holds."""
        manners = source.below(4)
        if claim and manners:
            peer.send(zmtp.GREETING)
            hello = bytearray(zmtp.ready(claim))
            if manners == 1 and source:
                hello[source.below(len(hello))] = source.below(256)
            peer.send(bytes(hello))
        while source:
            how = source.below(6)
            if how == 0:
                peer.send(source.frame())  # anything
            elif how == 1:
                peer.send(zmtp.frame(source.frame(), command=True))
            elif how == 2:  # a length that need not be true
                peer.send(struct.pack(">BQ", source.below(8), source.number()) + source.frame())
            elif how == 3:
                peer.send(zmtp.frames([source.frame() for _ in range(1 + source.below(40))]))
            else:
                peer.send(zmtp.frame(source.frame(), more=how == 4))

    def good_peer(self, kind, endpoint, received):
        """What arrives from a peer that keeps to the rules."""
        self.good_peers += 1
        name = b"good peer %d" % self.good_peers
        peer = zmtp.Peer(endpoint, KINDS[kind]) if kind != zmq.STREAM else zmtp.Peer(endpoint)
        try:
            if kind == zmq.STREAM:
                peer.send(name)
                self.run_until(lambda: any(message[1] == name for message in received))
            elif kind == zmq.XPUB:
                peer.send(zmtp.frame(b"\x01" + name))
                self.run_until(lambda: [b"\x01" + name] in received)
            elif kind == zmq.REP:
                peer.send(zmtp.frames([b"", name, b""]))
                self.run_until(lambda: [name, b""] in received)
                self.run_until(lambda: not self.streams[kind][0].sending())
            else:
                peer.send(zmtp.frames([name, b""]))
                self.run_until(lambda: any(message[-2:] == [name, b""] for message in received))
        finally:
            peer.abort()


# -- what callers pass to send --------------------------------------------------------------------


class Name(bytes):
    """A kind of bytes."""


class Refused(Exception):
    """What a generator raises."""


def failing(frames):
    yield from frames
    raise Refused


class Unsendable:
    """No buffer; not even a repr()."""

    def __repr__(self):
        raise Refused


def released(data):
    view = memoryview(data)
    view.release()
    return view


# frames that are sent as what bytes() makes of them...
FRAMES = (
    bytes,
    bytearray,
    Name,
    memoryview,
    lambda data: memoryview(bytearray(data)),
    lambda data: memoryview(data)[::-1],
    lambda data: memoryview(data).cast("B", (1, len(data))) if data else b"",
    lambda data: array.array("H", data[: len(data) & ~1]),
    lambda data: (ctypes.c_char * len(data)).from_buffer_copy(data),
    zmq.Frame,
    lambda data: zmq.Frame(data, copy=False, track=True),
    lambda data: zmq.Frame(bytearray(data), copy=False),
)
# ...and those that are refused
BAD_FRAMES = (
    lambda data: data.decode("latin-1"),
    lambda data: None,
    len,
    list,
    released,
    lambda data: Unsendable(),
    lambda data: zmq.Frame,
)
BAD_MESSAGES = (
    lambda frames: b"bytes are no list of frames",
    lambda frames: "nor is a str",
    lambda frames: None,
    lambda frames: 7,
    lambda frames: [],
    lambda frames: iter(()),
    lambda frames: Unsendable(),
    failing,
    lambda frames: [*frames, Unsendable()],
)
FLAGS = (0, zmq.SNDMORE, zmq.DONTWAIT, zmq.DONTWAIT | zmq.SNDMORE, 1 << 30, -8)
REFUSALS = (TypeError, ValueError, OverflowError, BufferError, Refused)


class Calls(Streams):
    """Each input is a row of calls. What was accepted arrives, and nothing of what was refused.

    The row is done on a PAIR, whose peer tells what arrived, and on kinds of sockets that refuse in
    other ways: there each message has its outcome.
    """

    KINDS = (zmq.PAIR, zmq.PUSH, zmq.PUB, zmq.SUB, zmq.ROUTER)
    numbers = itertools.count()

    def open(self):
        self.streams = {}
        for kind in self.KINDS:
            options = {"router_mandatory": 1} if kind == zmq.ROUTER else {}
            self.streams[kind] = self.stream(kind, sndhwm=0, copy_threshold=16, **options)
        self.peer = self.context.socket(zmq.PAIR)
        self.peer.rcvhwm = 0
        self.peer.rcvtimeo = TIMEOUT * 1000
        endpoint = f"inproc://calls-{next(self.numbers)}"
        self.peer.bind(endpoint)
        self.streams[zmq.PAIR].connect(endpoint)

    def close(self):
        self.peer.close()
        for stream in self.streams.values():
            stream.close()

    def __call__(self, data):
        source = Source(data)
        kind = self.KINDS[source.below(16) % len(self.KINDS)]
        stream = self.streams[kind]
        expected, told = [], []
        stream.on_send(lambda message, status: told.append(message))
        part = []
        while source:
            accepted = self.call(stream, source)
            if accepted is not None:
                flags, frames = accepted
                part += frames
                if not flags & zmq.SNDMORE:
                    expected.append(part)
                    part = []
        expected.append([*part, b"end"])
        stream.send(b"end")
        if kind == zmq.PUSH:  # it has no peer: nothing is sent, and nothing is lost before close()
            assert stream.sending()
            self.streams[kind] = self.stream(kind, sndhwm=0, copy_threshold=16)
            stream.close()
            return
        self.run_until(lambda: len(told) == len(expected))
        assert [[bytes(frame) for frame in message] for message in told] == expected
        assert not stream.sending()
        if kind == zmq.PAIR:
            arrived = [self.peer.recv_multipart() for _ in expected]
            assert arrived == expected
            assert not self.peer.poll(0)

    def call(self, stream, source):
        """One call. Returns its flags and what must arrive; None if it was refused."""
        flags = FLAGS[source.below(len(FLAGS))]
        options = source.below(16)
        copy, track = not options & 1, options & 2 != 0
        must_fail = False
        contents, frames, changeable = [], [], []
        for _ in range(1 + source.below(4)):
            which = source.below(len(FRAMES) + len(BAD_FRAMES))
            content = source.frame()
            if which < len(FRAMES):
                frame = FRAMES[which](content)
                contents.append(bytes(frame))
                if isinstance(frame, bytearray) and copy:
                    changeable.append(frame)
                if track and isinstance(frame, zmq.Frame) and frame.tracker is None:
                    must_fail = True
            else:
                frame = BAD_FRAMES[which - len(FRAMES)](content)
                must_fail = True
            frames.append(frame)
        form = source.below(8 + len(BAD_MESSAGES))
        message = frames
        if form == 1:
            message = tuple(frames)
        elif form == 2:
            message = (frame for frame in frames)
        elif form >= 8:
            message = BAD_MESSAGES[form - 8](frames)
            must_fail = True
        callback = None
        if options & 4:
            callback = "not callable"
            must_fail = True
        send = stream.send_multipart
        if options & 8 and not must_fail and len(frames) == 1:
            send, message = stream.send, frames[0]
        try:
            send(message, flags=flags, copy=copy, track=track, callback=callback)
        except REFUSALS:
            assert must_fail or not copy  # libzmq cannot use every buffer as it is
            return None
        assert not must_fail, (frames, message, callback)
        for frame in changeable:
            frame[:] = b"x" * len(frame)
        return flags, contents
