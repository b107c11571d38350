"""The model of what a stream sends: what waits, what was told of it, and what may be missing."""

from __future__ import annotations

from collections import Counter, deque

import zmq

import zmqstream
from model.callbacks import NO_PLAN, Callback
from model.ends import End, ensure, number_in
from model.flow import Flow
from model.tally import Tally
from model.tasks import Sending

NOT_SENT = {zmqstream.MessageDropped: "dropped", zmqstream.MessageExpired: "expired"}


class Sender(End):
    """The way out of a stream."""

    def __init__(self, world, link, kind, name, **options):
        super().__init__(world, link, kind, name, **options)
        self.outbox = {}  # {key: deque of messages that, as far as is known, wait in the stream}
        self.teller = self.errer = None  # registered Callbacks
        self.failed = []  # messages of whose failure on_err was told, and on_send will be
        self.announced = Counter()  # likewise, but not yet known of which message
        self.dropping = []  # messages that are known to be dropped, which will be told
        self.asends = set()  # messages of tasks that have not heard of their outcome
        self.forsaken = 0  # messages of tasks that were cancelled, dropped perhaps and not yet told
        self.vague = False  # somebody who should have heard of an outcome was cancelled
        self.exact = True  # it is known which messages close() has lost
        self.lost = 0  # how many
        self.flow, self.tally = Flow(self), Tally(self)

    def tell(self, on, with_stream):
        self.teller = Callback(self, "on_send", with_stream=with_stream) if on else None
        self.untold = self.untold or not on
        if not on:
            self.stream.on_send(None)
        else:
            on_send = self.stream.on_send_stream if with_stream else self.stream.on_send
            self.teller.register(on_send, self.teller)

    def tell_errors(self, on):
        self.errer = Callback(self, "on_err") if on else None
        if on:
            self.errer.register(self.stream.on_err, self.errer)
        else:
            self.stream.stop_on_err()

    def may_drop(self):
        """Whether there will be something to tell that may not be left untold."""
        if self.world.backend.reference:
            return False
        return self.flow.policy.startswith("drop") or self.unclear()

    # -- what is sent --------------------------------------------------------------------------

    def send(self, message, given, own, parts, **options):
        before = None if self.world.backend.reference else self.flow.before_send()
        refused = False
        try:
            self.give(message, given, own, parts, options)
        except zmqstream.QueueFull:
            refused = True
        queued = before is None or self.flow.after_send(before, message, refused)
        if queued:
            self.queue(message)
        elif not refused:
            self.tally.add("sent", message)
            self.dropping.append(message)

    def give(self, message, given, own, parts, options):
        stream = self.stream
        send = stream.send_multipart
        if parts:
            for part in given[:-1]:
                stream.send(part, zmq.SNDMORE, copy=options["copy"])
        if parts or (len(given) == 1 and message.number % 2):
            given, send = given[-1], stream.send
        if own:
            message.own = options["callback"] = Callback(self, "on_send")
            message.own.register(send, given, **options)
        else:
            send(given, **options)

    def queue(self, message):
        message.queued = True
        self.tally.add("sent", message)
        self.outbox.setdefault(message.key, deque()).append(message)
        for pipe in message.pipes:
            pipe.add(message)

    def asend(self, message, timeout, **options):
        """A task that sends."""
        self.raw_use = True  # what may come is looked after as if it was that
        self.flow.before_send()
        frames = message.all_frames()
        if len(frames) == 1 and message.number % 2:
            awaited = self.stream.asend(frames[0], timeout=timeout, **options)
        else:
            awaited = self.stream.asend_multipart(frames, timeout=timeout, **options)
        message.timed = timeout is not None
        self.queue(message)
        self.asends.add(message)
        Sending(self, message, awaited)

    # -- what is known of it -------------------------------------------------------------------

    def unclear(self):
        """Whether some messages have an outcome that the model has not yet been told of."""
        if self.world.backend.reference:
            return False
        tally = self.tally
        return bool(self.asends or self.vague or tally.drops_untold() or tally.expiries_untold())

    def may_be_missing(self, message):
        """Whether others may arrive although `message`, which was sent before, will not."""
        if message in self.asends:
            return message.timed or self.tally.drops_untold() > 0
        if message in self.dropping:
            return True
        return message.queued and self.tally.drops_untold() > 0

    def queued(self):
        return sum(map(len, self.outbox.values()))

    def queued_for(self, pipe):
        return len(self.outbox.get(pipe if self.kind == zmq.ROUTER else None, ()))

    def handed_over(self, pipe):
        """How many messages of the pipe's first lane libzmq has been given: (least, most)."""
        if self.unclear():
            return pipe.taken[0], pipe.sent[0]
        if not self.untold:
            handed = pipe.sent[0] - self.queued_for(pipe)
            return handed, handed
        return pipe.taken[0] if self.stream.sending() else pipe.sent[0], pipe.sent[0]

    def leaves_queue(self, message):
        """`message` was handed over, or refused, and all that was queued before it."""
        ensure(message.queued, self, "told twice of", message, kind="doubled")
        queue = self.outbox[message.key]
        while True:
            oldest = queue.popleft()
            oldest.queued = False
            if oldest is message:
                return
            if oldest in self.asends:
                continue
            if self.tally.drops_untold() > len(self.dropping):
                self.dropping.append(oldest)
                continue
            ensure(self.untold and oldest.own is None, self, "told of", message, "before", oldest,
                   kind="reordered")  # fmt: skip

    def leaves_alone(self, message):
        """`message` has left the queue, wherever it stood."""
        if message.queued:
            message.queued = False
            self.outbox[message.key].remove(message)

    def all_sent(self):
        """Nothing waits in the stream."""
        for queue in self.outbox.values():
            for message in queue:
                message.queued = False
                ensure(message.own is None, self, "was not told of", message, kind="lost")
            queue.clear()

    # -- what is told of it --------------------------------------------------------------------

    def on_send(self, callback, frames, status):
        ensure(type(frames) is list, "not a list:", frames)
        frames = [bytes(frame) for frame in frames]
        content = frames[1:] if self.kind == zmq.ROUTER else frames
        message = self.world.messages[number_in(content)]
        begun = message in self.failed or self.announced[type(status)] > 0
        flush = self.called(zmq.POLLOUT)  # what was dropped is none of its messages
        if flush and not begun and not isinstance(status, zmqstream.MessageDropped):
            flush.told += 1
        ensure(frames == message.all_frames(), message, "told as", frames)
        ensure(callback is (message.own or self.teller), self, "another callback told of", message)
        self.world.note(self, f"told of ({status})" if status else "told of", message)
        if message in self.failed:
            self.failed.remove(message)
            ensure(isinstance(status, zmq.ZMQError), self, "told of", message, status)
            return
        if type(status) in NOT_SENT:
            ensure(begun or self.errer is None, self, "on_err was not told of", status)
            self.not_sent(message, type(status))
            return
        self.leaves_queue(message)
        if isinstance(status, zmq.ZMQError):
            ensure(begun or self.errer is None, self, "on_err was not told of", status)
            self.announced[type(status)] -= begun
            self.fails(message, status)
            return
        ensure(message.to != b"nobody" or not self.link.mandatory, message, "was sent")
        ensure(self.may_send or not self.alternating, self, "sent when it may not:", message)
        self.may_send = not self.alternating
        expected = message.status
        ensure(status is None if expected is None else isinstance(status, expected), status)
        self.sent(message)
        for pipe in message.pipes:
            pipe.told(message)

    def on_err(self, callback, error):
        flush = self.called(zmq.POLLOUT)
        ensure(callback is self.errer, self, "an old callback is called")
        if flush and not isinstance(error, zmqstream.MessageDropped):
            flush.told += 1
        if type(error) in NOT_SENT or (
            not self.world.backend.reference and self.tally.drops_untold()
        ):
            self.announced[type(error)] += 1
            return NO_PLAN  # a close, or an exception, would leave it unknown which message it is
        key = None  # of REQ and REP; only messages to nobody fail otherwise
        ensure(self.outbox.get(key), self, "failed without a message:", error)
        message = self.outbox[key][0]
        self.world.note(self, "failed to send", message, error)
        self.leaves_queue(message)
        self.fails(message, error)
        self.failed.append(message)
        return None

    def fails(self, message, error):
        self.check_error(error, message)
        ensure(not isinstance(error, zmq.Again), self, "gave up", message, error)
        self.tally.add("failed", message)
        for pipe in message.pipes:
            pipe.not_sent(message)

    def sent(self, message):
        for pipe in message.skipped:
            receiver = pipe.receiver
            lost = receiver.open and not receiver.dropped  # dropped, by a flush
            ensure(not lost, message, "was sent, and later ones came", kind="lost")
            receiver.dropped -= receiver.open
        self.tally.add("out", message)

    def not_sent(self, message, kind):
        """`message` was dropped or has expired."""
        known = message.queued or message in self.dropping or message in self.asends
        ensure(known, self, "told twice of", message, kind="doubled")
        ensure(message.timed or kind is not zmqstream.MessageExpired, message, "has no deadline")
        if message in self.dropping:
            self.dropping.remove(message)
        self.announced[kind] -= self.announced[kind] > 0
        self.leaves_alone(message)
        self.tally.add(NOT_SENT[kind], message)
        for pipe in message.pipes:
            pipe.not_sent(message)

    def awaited_sends(self, message, outcome):
        """A task has heard of the outcome."""
        self.world.note(self, f"asend({outcome!r})", message)
        if type(outcome) in NOT_SENT:
            self.not_sent(message, type(outcome))
        elif isinstance(outcome, OSError):
            ensure(not self.open and (message.lost or not self.exact), message, "got", outcome)
        else:
            expected = message.status
            right = outcome is None if expected is None else isinstance(outcome, expected)
            ensure(right, message, "got", repr(outcome))
            ensure(not message.lost, message, "was sent, and lost in close()")
            self.sent(message)
        self.leaves_alone(message)
        self.asends.remove(message)

    def taken_back(self, message):
        """The task that sends it was cancelled: it is not sent, unless it had been before."""
        self.asends.remove(message)
        if not self.open:
            self.world.unheard += 1
            return
        missing = self.tally.without_outcome(self.stream.stats())
        if missing:
            ensure(message.queued, self, "took back", message, "and has sent later ones")
            self.tally.add("withdrawn", message)
            for pipe in message.pipes:
                pipe.not_sent(message)
        elif self.tally.drops_untold() or self.tally.expiries_untold():
            self.forsaken += 1
            self.cannot_tell()
        else:
            self.tally.add("out", message)
        self.world.note(self, "took back" if missing else "too late to take back", message)
        self.world.unheard += not missing
        self.leaves_alone(message)

    def cannot_tell(self):
        """Messages may have come to an end that nobody is told of."""
        self.vague = True
        for pipe in self.outs:
            pipe.certain = False
            pipe.optional = True

    def loses(self, lost, hindered):
        """So many messages were lost in close(): may they be, and which?"""
        self.world.note(self, "closed", f"and lost {lost}" if lost else "")
        self.lost = lost
        queued = {key: len(queue) for key, queue in self.outbox.items() if queue}
        most = self.queued() + len(self.dropping) + len(self.asends) + self.forsaken
        ensure(lost <= most, self, "lost", lost, "of", queued, kind="lost")
        refused = queued.get(None, 0) if self.link.mandatory else 0  # to nobody
        tally, reference = self.tally, self.world.backend.reference
        if not reference and (tally.drops_untold() or tally.expiries_untold() or self.vague):
            self.exact = False  # what was dropped, and not yet told, counts as lost
            self.cannot_tell()
        unhindered = self.link.instant and not (self.link.hwm or self.alternating or hindered)
        if unhindered and not reference and self.exact:
            ensure(lost == refused, self, "lost", lost, "of", queued, kind="lost")
        for pipe in self.outs if self.exact else ():
            pipe.certain = False
            if self.kind == zmq.ROUTER:
                self.exact = False
                pipe.optional = lost > refused
            else:
                for message in list(self.outbox.get(None, ()))[-lost:] if lost else ():
                    message.lost = True
                    pipe.not_sent(message)
        self.exact = self.exact and bool(self.outs)
        for queue in self.outbox.values():
            for message in queue:
                message.queued = False
        self.outbox = {}

    # -- what must hold ------------------------------------------------------------------------

    def can_flow(self, key):
        """Whether nothing hinders the messages with this key."""
        if not self.link.connected:
            return False
        if self.kind == zmq.PUB:
            return True
        pipes = self.outs if self.kind != zmq.ROUTER else [key] if key else []
        return all(
            pipe.receiver.open
            and (not self.link.hwm or pipe.receiver.outbox is None or pipe.receiver.receiver)
            for pipe in pipes
        )

    def hindered(self):
        return not all(self.can_flow(key) for key in self.outbox)

    def silent(self):
        """Whether it has to send what nobody is told of."""
        return self.open and self.untold and self.can_flow(None) and self.stream.sending()

    def unmet(self):
        """What it has still to do, or None."""
        if self.silent():
            return f"{self} has not sent what waits"
        for key, queue in self.outbox.items():
            if queue and not self.untold and self.can_flow(key):
                return f"{self} has not sent {list(queue)[:5]}"
            for message in queue:
                if message.timed:
                    return f"{self} has not told of {message}, whose time is over"
        if self.world.backend.reference:
            return None
        if not self.vague and self.tally.drops_untold():
            return f"{self} has not told of {self.tally.drops_untold()} drops"
        return self.flow.unmet()
