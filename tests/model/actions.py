"""The actions on the streams of a World.

An action is a tuple that can be printed. `draw(pick)` creates one with a `Pick`, which chooses at
random or by hypothesis. Streams and peers are given by numbers, modulo the number of those that
exist when the action is done.
"""

from __future__ import annotations

import random
import time
from typing import NamedTuple

import zmq

from model.callbacks import ERRORS
from model.flow import Limit, SetDrainCallback
from model.links import LINKS, Link
from model.monitor import Bind, SetMonitor
from model.sockets import AtSockets, CancelFuture
from model.tasks import Await, Cancel, Drain, Finish, SendAwaited

SIZES = (0, 1, 20, 33, 34, 100, 600, 20_000)
TIMEOUTS = (0.0002, 0.003)  # of sends, in seconds
# Numbers of messages; the last is more than the limit of a turn.
COUNTS = (1,) * 18 + (2, 3, 10, 10, 30, 300)
MOST_LINKS = 4  # open at the same time


class Pick:
    """Chooses at random."""

    def __init__(self, seed):
        generator = random.Random(seed)
        self.integer = generator.randint
        self.choice = generator.choice

    def chance(self, one_in):
        return self.integer(1, one_in) == one_in

    def sizes(self):
        return tuple(self.choice(SIZES) for _ in range(self.choice((1, 1, 1, 2, 3, 5))))


class Open(NamedTuple):
    """Create a link: a stream, which is the hub, and its peers."""

    link: str
    raw: bool  # whether the peers are raw sockets, not streams
    aio: bool  # whether raw peers are asynchronous sockets too
    peers: int
    hwm: int  # of each socket; 0: none
    hub_binds: bool
    late: bool  # whether the peer connects later, see Connect
    tcp: bool
    reported: bool  # whether on_send is registered from the start
    mandatory: bool  # ROUTER_MANDATORY
    early: int  # messages that raw peers send before there is a stream

    @classmethod
    def draw(cls, pick):
        return cls(
            pick.choice(tuple(LINKS)), not pick.chance(3), pick.chance(2), pick.integer(1, 3),
            pick.choice((0, 0, 0, 1, 3)), pick.chance(2), pick.chance(4), pick.chance(8),
            pick.chance(2), pick.chance(2), pick.choice((0, 0, 0, 1, 5)),
        )  # fmt: skip

    def do(self, world):
        if sum(link.open() for link in world.links) < MOST_LINKS:
            if world.backend.reference and self.link in ("REQ", "REP"):
                return
            world.links.append(Link(world, self))


class Connect(NamedTuple):
    """Connect a late peer."""

    link: int

    @classmethod
    def draw(cls, pick):
        return cls(pick.integer(0, 3))

    def do(self, world):
        late = [link for link in world.links if not link.connected]
        if late:
            link = late[self.link % len(late)]
            if link.hub.open and all(peer.open for peer in link.peers):
                link.connect()


FORMS = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": lambda frame: memoryview(bytearray(frame)),
    "Frame": zmq.Frame,
}


class Send(NamedTuple):
    stream: int
    sizes: tuple  # of the frames, in bytes
    form: str = "bytes"
    copy: bool = True
    track: bool = False
    own: bool = False  # whether the message has its own callback
    peer: int = 0  # the receiver, if the stream is a ROUTER
    mutate: bool = False  # whether the arguments are changed after the call
    parts: bool = False  # whether the frames are sent one by one, with SNDMORE
    echo: bool = False  # whether to send also the Frames that were received last
    count: int = 1
    timeout: float | None = None  # seconds

    @classmethod
    def draw(cls, pick):
        return cls(
            pick.integer(0, 5), pick.sizes(), pick.choice(tuple(FORMS)), not pick.chance(3),
            pick.chance(3), pick.chance(3), pick.integer(0, 3), pick.chance(3), pick.chance(6),
            pick.chance(6), pick.choice(COUNTS), pick.choice((None,) * 10 + TIMEOUTS),
        )  # fmt: skip

    def do(self, world):
        stream = world.stream(self.stream, "outs")
        if stream is None:
            return
        ours = not world.backend.reference
        track = self.track and not self.copy and self.form != "Frame" and not self.echo
        options = {"copy": self.copy, "track": track}
        if self.timeout is not None and ours:
            options["timeout"] = self.timeout
        # Only its own callback identifies an expired message.
        own = ours and (self.own or self.timeout is not None)
        for _ in range(self.count):
            message = stream.new_message(self.peer, self.sizes, False)
            if self.echo:
                message.frames += [frame.bytes for frame in world.frames]
            given = [FORMS[self.form](frame) for frame in message.all_frames()]
            if self.echo and world.frames:
                given[-len(world.frames) :] = world.frames
            message.status = None if self.copy else zmq.MessageTracker if track else object
            message.timed = "timeout" in options
            stream.send(message, given, own, self.parts and ours, **options)
            if self.mutate and ours:
                self.change(given)

    def change(self, given):
        for frame in given:
            if isinstance(frame, (bytearray, memoryview)) and (self.copy or len(frame) < 500):
                frame[:] = b"!" * len(frame)
        given.clear()


class PeerSend(NamedTuple):
    """Let raw peers send to a stream."""

    peer: int
    sizes: tuple
    count: int

    @classmethod
    def draw(cls, pick):
        return cls(pick.integer(0, 5), pick.sizes(), pick.choice(COUNTS))

    def do(self, world):
        raws = [raw for raw in world.raws if raw.outs]
        for _ in range(self.count if raws else 0):
            raws[self.peer % len(raws)].send_raw(0, self.sizes)


class PeerReceive(NamedTuple):
    peer: int
    count: int

    @classmethod
    def draw(cls, pick):
        return cls(pick.integer(0, 5), pick.choice((1, 2, 10)))

    def do(self, world):
        raws = [raw for raw in world.raws if raw.ins]
        for _ in range(self.count if raws else 0):
            raws[self.peer % len(raws)].take_raw()


class Receive(NamedTuple):
    """Call on_recv(), for the first time or to replace a callback."""

    stream: int
    copy: bool = True
    with_stream: bool = False
    coroutine: bool = False
    bound: int | None = None  # max_concurrency
    batch: int | None = None  # call on_recv_batch() with this limit

    @classmethod
    def draw(cls, pick):
        return cls(
            pick.integer(0, 5), not pick.chance(3), pick.chance(3), pick.chance(4),
            pick.choice((None, 1, 1, 3)), pick.choice((None, None, None, 1, 3, 256)),
        )  # fmt: skip

    def do(self, world):
        if stream := world.stream(self.stream, "ins"):
            if world.backend.reference:
                # pyzmq's class starts coroutines on the current loop of the thread
                stream.receive(self.copy, self.with_stream, False)
            else:
                stream.receive(*self[1:])


class Pause(NamedTuple):
    stream: int

    @classmethod
    def draw(cls, pick):
        return cls(pick.integer(0, 5))

    def do(self, world):
        stream = world.stream(self.stream, "ins")
        # The flush would drop the rest.
        if stream and not (world.backend.reference and world.flushing()):
            stream.pause()


class SetSendCallbacks(NamedTuple):
    """Call on_send() and on_err()."""

    stream: int
    sends: bool
    with_stream: bool
    errors: bool

    @classmethod
    def draw(cls, pick):
        return cls(pick.integer(0, 5), not pick.chance(4), pick.chance(3), pick.chance(2))

    def do(self, world):
        if stream := world.stream(self.stream, "outs"):
            may_be_unreported = stream.link.may_be_unreported and not stream.may_drop()
            if self.sends or may_be_unreported:
                stream.set_send_callbacks(self.sends, self.with_stream)
            if not world.backend.reference:
                stream.tell_errors(self.errors)


class Touch(NamedTuple):
    """Use a stream's raw socket."""

    stream: int
    how: str
    through: bool  # whether the socket is taken from stream.socket
    throttled: bool  # whether to wait until libzmq reads its commands again
    sizes: tuple

    HOW = ("EVENTS", "poll", "Poller", "shadow", "receive", "send")

    @classmethod
    def draw(cls, pick):
        return cls(
            pick.integer(0, 5), pick.choice(cls.HOW), not pick.chance(4), pick.chance(4),
            pick.sizes(),
        )  # fmt: skip

    def do(self, world):
        stream = world.stream(self.stream)
        if stream is None or world.backend.reference:
            return
        stream.raw_use = True
        if self.throttled:
            end = time.monotonic() + 0.002
            while time.monotonic() < end:
                pass
        socket = stream.stream.socket if self.through else stream.socket
        if self.how == "EVENTS":
            socket.getsockopt(zmq.EVENTS)
        elif self.how == "poll":
            socket.poll(0)
        elif self.how == "Poller":
            poller = zmq.Poller()
            poller.register(socket, zmq.POLLIN | zmq.POLLOUT)
            poller.poll(0)
        elif self.how == "shadow":
            zmq.Socket(shadow=socket.underlying).getsockopt(zmq.EVENTS)
        elif self.how == "receive" and stream.ins:
            stream.take_raw()
        elif self.how == "send" and stream.outs:
            stream.send_raw(0, self.sizes)


class Flush(NamedTuple):
    stream: int
    flag: int = zmq.POLLIN | zmq.POLLOUT
    limit: int | None = None
    propagate: bool = False  # whether a callback raises its exception again

    @classmethod
    def draw(cls, pick):
        return cls(
            pick.integer(0, 5), pick.choice((3, 3, zmq.POLLIN, zmq.POLLOUT)),
            pick.choice((None, None, 0, 1, 2, 5, 100)), pick.chance(3),
        )  # fmt: skip

    def do(self, world):
        stream = world.stream(self.stream)
        if stream is None:
            return None
        if world.backend.reference and (world.in_callback or self.limit is not None):
            return None
        error = stream.flush(self.flag, self.limit)
        return error if self.propagate else None


class Close(NamedTuple):
    stream: int
    linger: int | None = None  # milliseconds

    @classmethod
    def draw(cls, pick):
        return cls(pick.integer(0, 5), pick.choice((None, 0, 1000)))

    def do(self, world):
        stream = world.stream(self.stream)
        if stream is None:
            return
        if world.backend.reference and not self.harmless(world, stream):
            return
        hub = stream.link.hub
        if stream.link.mandatory and stream is not hub and hub.open:
            return  # the model cannot predict which of the hub's messages would fail
        stream.close(self.linger)

    def harmless(self, world, stream):
        """pyzmq's class drops its queue, and may block if its peer has gone."""
        senders = any(pipe.sender.open and pipe.sender.outbox is not None for pipe in stream.ins)
        return not (world.in_callback or senders or stream.stream.sending())


class Plan(NamedTuple):
    """Plan what the stream's next callback does, whichever it is."""

    stream: int
    actions: tuple
    error: str | None = None  # the exception that it raises then

    @classmethod
    def draw(cls, pick):
        actions = tuple(
            pick.choice(IN_CALLBACKS).draw(pick) for _ in range(pick.choice((0, 1, 1, 2, 3)))
        )
        return cls(pick.integer(0, 5), actions, pick.choice((None, None, None, *ERRORS)))

    def do(self, world):
        if stream := world.stream(self.stream):
            error = None if world.backend.reference else self.error
            if error == "KeyboardInterrupt" and world.late:
                error = error if world.may_leave else None
                world.may_leave = False
            stream.plans.append(self._replace(error=error))


class Soon(NamedTuple):
    """Do an action in a handle of the loop."""

    action: tuple
    delay: float | None = None  # seconds

    @classmethod
    def draw(cls, pick):
        return cls(pick.choice(IN_CALLBACKS).draw(pick), pick.choice((None, None, 0, 0.001)))

    def do(self, world):
        world.soon(self.action, self.delay)


class Run(NamedTuple):
    """Run the loop for a few iterations."""

    iterations: int

    @classmethod
    def draw(cls, pick):
        return cls(pick.integer(1, 5))

    def do(self, world):
        world.run(self.iterations)


class Quiet(NamedTuple):
    """Run the loop until it has handled everything that it can handle."""

    @classmethod
    def draw(cls, pick):
        return cls()

    def do(self, world):
        world.quiet()


IN_CALLBACKS = (
    Send, Send, PeerSend, PeerSend, PeerReceive, Receive, Pause, SetSendCallbacks, Touch, Flush,
    Flush, Close, Connect, Limit, SetDrainCallback, SendAwaited, Await, Drain, Cancel, Finish,
    SetMonitor, Bind, AtSockets, AtSockets, CancelFuture,
)  # fmt: skip
EVERYWHERE = (
    Run, Send, PeerSend, Receive, Plan, Quiet, Flush, Touch, Pause, SetSendCallbacks, Soon,
    PeerReceive, Connect, Close, Open, Limit, SetDrainCallback, SendAwaited, Await, Drain, Cancel,
    SetMonitor, Bind, AtSockets, CancelFuture,
)  # fmt: skip
