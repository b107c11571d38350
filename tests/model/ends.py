"""The ends of links, and the messages in transit between them."""

from __future__ import annotations

from collections import deque

import zmq


class Broken(AssertionError):
    """A promise is broken. `kind`: lost, doubled, reordered, stalled or wrong."""

    def __init__(self, kind, text):
        super().__init__(f"{kind}: {text}")
        self.kind = kind


def ensure(condition, *text, kind="wrong"):
    if not condition:
        raise Broken(kind, " ".join(map(str, text)))


class Message:
    """A message that was sent, and what the model knows about its transit."""

    def __init__(self, number, frames, pipes, raw, to):
        self.number = number
        self.frames = frames  # bytes, without the routing id
        self.pipes = pipes  # to its receivers; empty if the peer does not exist
        self.raw = raw  # whether it was sent on the raw socket, not through the stream
        self.to = to  # the peer's routing id if the sender is a ROUTER, or None
        self.key = None  # messages of a stream that have the same key leave its queue in order
        self.queued = False  # whether it is in the stream's queue, as far as the model knows
        self.own = None  # its own Callback, if any
        self.status = None  # the status for its callback: None, a class, or `object` for anything
        self.timed = False  # whether it may expire
        self.skipped = []  # pipes where a later message arrived first: it was not sent, or dropped
        self.lost = False  # whether close() has lost it
        self.bounds = {}  # {pipe: (least, most)} messages of the other lane that arrive before it

    def __repr__(self):
        return f"#{self.number}"

    def all_frames(self):
        return self.frames if self.to is None else [self.to, *self.frames]


def frames_of(number, sizes):
    """Frames of these sizes in bytes. One of them contains the number, and may be larger."""
    frames = [bytes([65 + (number + i) % 26]) * size for i, size in enumerate(sizes)]
    place = number % len(sizes)
    frames[place] = (b"#%d;" % number).ljust(sizes[place], b".")
    return frames


def number_in(frames):
    for frame in frames:
        if frame[:1] == b"#":
            return int(frame[1 : frame.index(b";")])
    raise Broken("wrong", f"a message that was never sent: {frames!r:.200}")


class Pipe:
    """The messages in transit from one end to another."""

    def __init__(self, sender, receiver):
        self.sender, self.receiver = sender, receiver
        # two of each: for messages of the stream's queue, and for messages sent on the raw socket
        self.lanes = deque(), deque()  # messages in transit
        self.sent = [0, 0]
        self.taken = [0, 0]
        self.certain = True  # False if a flush has dropped messages, or a close has lost some
        self.optional = False  # whether the sender's close() may have lost any of them

    def __len__(self):
        return len(self.lanes[0]) + len(self.lanes[1])

    def add(self, message):
        """`message` was sent by the raw socket, or queued by the stream."""
        if not self.receiver.open:
            return
        if message.raw:
            message.bounds[self] = self.sender.handed_over(self)
        else:
            message.bounds[self] = self.sent[1], None
        self.lanes[message.raw].append(message)
        self.sent[message.raw] += 1

    def handed_over(self, message):
        """The stream has handed `message` to libzmq, after all raw messages until now."""
        if self in message.bounds:
            message.bounds[self] = self.sent[1], self.sent[1]

    def take(self, message):
        """`message` has arrived. No message before it may be missing."""
        self.sender.settle()
        ensure(self in message.bounds, message, "came to", self.receiver, "again", kind="doubled")
        lane = self.lanes[message.raw]
        while lane[0] is not message:
            if self.sender.may_be_missing(lane[0]):
                lane[0].skipped.append(self)
                self.not_sent(lane[0])
                continue
            if not self.optional:
                ensure(self.receiver.dropped > 0, message, "came to", self.receiver,
                       "before", lane[0], kind="reordered")  # fmt: skip
                self.receiver.dropped -= 1
            self.remove(lane[0])
            self.taken[message.raw] += 1
        least, most = message.bounds[self]
        others = self.taken[not message.raw]
        self.remove(message)
        self.taken[message.raw] += 1
        if self.certain:
            ensure(least <= others and (most is None or others <= most), message, "came to",
                   self.receiver, "after", others, "of", least, most, kind="reordered")  # fmt: skip

    def remove(self, message):
        lane = self.lanes[message.raw]
        if lane[0] is message:
            lane.popleft()
        else:
            lane.remove(message)
        del message.bounds[self]

    def not_sent(self, message):
        """`message` failed, or its stream was closed before it was sent."""
        if self in message.bounds:
            self.remove(message)
            self.sent[message.raw] -= 1

    def waiting(self):
        """The number of messages that libzmq has for the receiver, or None if it is not known."""
        outbox = self.sender.outbox
        if self.sender.closing or self.sender.unclear():
            return None
        if outbox is None:
            return len(self)
        if self.sender.sends_unreported:
            return None if self.sender.stream.sending() else len(self)
        return len(self) - self.sender.queued_for(self)

    def forget(self):
        """The messages in transit need not arrive."""
        for lane in self.lanes:
            for message in lane:
                del message.bounds[self]
            lane.clear()
        self.certain = False


class End:
    """One end of a link: a socket."""

    stream = None  # the ZMQStream, if this is one
    outbox = None  # {key: deque of messages} of a stream
    sends_unreported = closing = False

    def __init__(self, world, link, kind, name, **options):
        self.world, self.link, self.kind, self.name = world, link, kind, name
        self.address = name.encode()
        if kind in (zmq.DEALER, zmq.REQ):
            options["routing_id"] = self.address
        self.socket = world.backend.socket(kind, sndhwm=link.hwm, rcvhwm=link.hwm, **options)
        self.socket.copy_threshold = 500
        self.ins, self.outs = [], []
        self.open = True
        self.dropped = 0  # how many messages of its pipes a flush may have dropped
        self.alternating = kind in (zmq.REQ, zmq.REP)
        self.may_send = kind != zmq.REP

    def __repr__(self):
        return self.name

    def new_message(self, peer, sizes, raw):
        """A message to all peers, or from a ROUTER to `peer`. The last peer does not exist."""
        pipes, to, key = self.outs, None, None
        if self.kind == zmq.ROUTER:
            peer %= len(self.outs) + 1
            pipes, to = self.outs[peer : peer + 1], b"missing"
            for key in pipes:
                to = key.receiver.address
        number = next(self.world.numbers)
        message = Message(number, frames_of(number, sizes), pipes, raw, to)
        message.key = key
        self.world.messages[number] = message
        return message

    def send_raw(self, peer, sizes):
        """Send on the raw socket."""
        message = self.new_message(peer, sizes, True)
        try:
            self.socket.send_multipart(message.all_frames(), zmq.DONTWAIT)
        except zmq.ZMQError as error:
            self.check_error(error, message)
            return
        ensure(self.may_send or not self.alternating, self, "sent when it may not")
        self.may_send = not self.alternating
        self.world.note(self, "sent raw", message)
        for pipe in message.pipes:
            pipe.add(message)

    def check_error(self, error, message=None):
        """Check that libzmq may raise this error."""
        if error.errno == zmq.EFSM:
            ensure(self.alternating and (message is None or not self.may_send), self, error)
        elif error.errno == zmq.EHOSTUNREACH:
            ensure(message.to and not any(p.receiver.open for p in message.pipes), self, error)
        else:
            ensure(error.errno == zmq.EAGAIN, self, error)

    def settle(self):
        """Note what has happened to messages since the last call, at an asynchronous socket."""

    def take(self, frames):
        """A message has arrived at this end."""
        sender = None
        if self.kind == zmq.ROUTER:
            sender, *frames = frames
        message = self.world.messages[number_in(frames)]
        ensure(frames == message.frames, message, "has changed:", frames, "for", message.frames)
        pipe = next((pipe for pipe in message.pipes if pipe.receiver is self), None)
        ensure(pipe is not None, message, "was not sent to", self)
        ensure(sender is None or sender == pipe.sender.address, message, "is not of", sender)
        self.world.note(self, "got", message)
        pipe.take(message)
        self.may_send = True
        self.world.counts["received"] += 1

    def take_raw(self):
        """Receive on the raw socket. Returns whether there was a message."""
        try:
            frames = self.socket.recv_multipart(zmq.DONTWAIT)
        except zmq.ZMQError as error:
            self.check_error(error)
            return False
        self.take(frames)
        return True

    def settle_dropped(self):
        """All messages have arrived, so the missing ones were dropped by a flush."""
        if self.dropped and self.dropped == sum(map(len, self.ins)):
            for pipe in self.ins:
                pipe.forget()
            self.dropped = 0


class Raw(End):
    """A raw socket, which only the test uses."""

    receives = ()  # those that wait, of an asynchronous socket

    def unmet(self):
        return None

    def cancel(self):
        """Nothing waits here."""

    def close(self):
        self.socket.close()

    def handed_over(self, pipe):
        return 0, 0

    def unclear(self):
        return False

    def may_be_missing(self, message):
        return False
