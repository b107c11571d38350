"""The model of a stream's sends: queued, reported and possibly missing messages."""

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
    """The sending half of a stream."""

    def __init__(self, world, link, kind, name, **options):
        super().__init__(world, link, kind, name, **options)
        self.outbox = {}  # {key: deque of messages that are queued, as far as the model knows}
        self.send_callback = self.err_callback = None  # registered Callbacks
        self.failed = []  # messages whose failure on_err has got, and on_send will get
        self.announced = Counter()  # the same, for failures whose message is not yet known
        self.dropping = []  # dropped messages whose drop will be reported
        self.asends = set()  # messages of tasks that have not got their outcome
        self.cancelled_sends = 0  # messages of cancelled tasks, which may be dropped and unreported
        self.uncertain = False  # whether a task was cancelled that should have got an outcome
        self.exact = True  # whether it is known which messages close() has lost
        self.lost = 0  # the number of messages that close() has lost
        self.flow, self.tally = Flow(self), Tally(self)

    def set_send_callbacks(self, on, with_stream):
        self.send_callback = Callback(self, "on_send", with_stream=with_stream) if on else None
        self.sends_unreported = self.sends_unreported or not on
        if not on:
            self.stream.on_send(None)
        else:
            on_send = self.stream.on_send_stream if with_stream else self.stream.on_send
            self.send_callback.register(on_send, self.send_callback)

    def tell_errors(self, on):
        self.err_callback = Callback(self, "on_err") if on else None
        if on:
            self.err_callback.register(self.stream.on_err, self.err_callback)
        else:
            self.stream.stop_on_err()

    def may_drop(self):
        """Whether there will be an outcome that must be reported."""
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
        self.raw_use = True  # the stream also checks for missed events then
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
        """Whether some messages have an outcome that was not yet reported to the model."""
        if self.world.backend.reference:
            return False
        tally = self.tally
        return bool(
            self.asends or self.uncertain or tally.unreported_drops() or tally.unreported_expiries()
        )

    def may_be_missing(self, message):
        """Whether `message` may be missing although later messages arrive."""
        if message in self.asends:
            return message.timed or self.tally.unreported_drops() > 0
        if message in self.dropping:
            return True
        return message.queued and self.tally.unreported_drops() > 0

    def queued(self):
        return sum(map(len, self.outbox.values()))

    def queued_for(self, pipe):
        return len(self.outbox.get(pipe if self.kind == zmq.ROUTER else None, ()))

    def handed_over(self, pipe):
        """The number of messages of the pipe's first lane that libzmq has got: (least, most)."""
        if self.unclear():
            return pipe.taken[0], pipe.sent[0]
        if not self.sends_unreported:
            handed = pipe.sent[0] - self.queued_for(pipe)
            return handed, handed
        return pipe.taken[0] if self.stream.sending() else pipe.sent[0], pipe.sent[0]

    def leaves_queue(self, message):
        """`message` and all messages queued before it were handed over or refused."""
        ensure(message.queued, self, "reported twice:", message, kind="doubled")
        queue = self.outbox[message.key]
        while True:
            oldest = queue.popleft()
            oldest.queued = False
            if oldest is message:
                return
            if oldest in self.asends:
                continue
            if self.tally.unreported_drops() > len(self.dropping):
                self.dropping.append(oldest)
                continue
            skippable = self.sends_unreported and oldest.own is None
            ensure(skippable, self, "reported", message, "before", oldest, kind="reordered")

    def leaves_alone(self, message):
        """`message` has left the queue, from any position."""
        if message.queued:
            message.queued = False
            self.outbox[message.key].remove(message)

    def all_sent(self):
        """The queue is empty."""
        for queue in self.outbox.values():
            for message in queue:
                message.queued = False
                ensure(message.own is None, self, "did not report", message, kind="lost")
            queue.clear()

    # -- what is reported ---------------------------------------------------------------------

    def on_send(self, callback, frames, status):
        ensure(type(frames) is list, "not a list:", frames)
        frames = [bytes(frame) for frame in frames]
        content = frames[1:] if self.kind == zmq.ROUTER else frames
        message = self.world.messages[number_in(content)]
        begun = message in self.failed or self.announced[type(status)] > 0
        flush = self.called(zmq.POLLOUT)  # the flush does not count dropped messages
        if flush and not begun and not isinstance(status, zmqstream.MessageDropped):
            flush.reported += 1
        ensure(frames == message.all_frames(), message, "reported as", frames)
        ensure(
            callback is (message.own or self.send_callback),
            self,
            "reported to another callback:",
            message,
        )
        self.world.note(self, f"reported ({status})" if status else "reported", message)
        if message in self.failed:
            self.failed.remove(message)
            ensure(isinstance(status, zmq.ZMQError), self, "reported", message, status)
            return
        if type(status) in NOT_SENT:
            ensure(begun or self.err_callback is None, self, "on_err did not get", status)
            self.not_sent(message, type(status))
            return
        self.leaves_queue(message)
        if isinstance(status, zmq.ZMQError):
            ensure(begun or self.err_callback is None, self, "on_err did not get", status)
            self.announced[type(status)] -= begun
            self.fails(message, status)
            return
        ensure(message.to != b"missing" or not self.link.mandatory, message, "was sent")
        ensure(self.may_send or not self.alternating, self, "sent when it may not:", message)
        self.may_send = not self.alternating
        expected = message.status
        ensure(status is None if expected is None else isinstance(status, expected), status)
        self.sent(message)
        for pipe in message.pipes:
            pipe.handed_over(message)

    def on_err(self, callback, error):
        flush = self.called(zmq.POLLOUT)
        ensure(callback is self.err_callback, self, "an old callback is called")
        if flush and not isinstance(error, zmqstream.MessageDropped):
            flush.reported += 1
        if type(error) in NOT_SENT or (
            not self.world.backend.reference and self.tally.unreported_drops()
        ):
            self.announced[type(error)] += 1
            return NO_PLAN  # after a close or an exception, the message would stay unknown
        key = None  # REQ and REP; otherwise only messages to a missing peer fail
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
            lost = receiver.open and not receiver.dropped  # a flush may have dropped it
            ensure(not lost, message, "was sent, and later ones came", kind="lost")
            receiver.dropped -= receiver.open
        self.tally.add("out", message)

    def not_sent(self, message, kind):
        """`message` was dropped or has expired."""
        known = message.queued or message in self.dropping or message in self.asends
        ensure(known, self, "reported twice:", message, kind="doubled")
        ensure(message.timed or kind is not zmqstream.MessageExpired, message, "has no deadline")
        if message in self.dropping:
            self.dropping.remove(message)
        self.announced[kind] -= self.announced[kind] > 0
        self.leaves_alone(message)
        self.tally.add(NOT_SENT[kind], message)
        for pipe in message.pipes:
            pipe.not_sent(message)

    def awaited_sends(self, message, outcome):
        """A task has got the outcome."""
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
        """The task of `message` was cancelled: it is not sent, unless it was sent before."""
        self.asends.remove(message)
        if not self.open:
            self.world.unseen_outcomes += 1
            return
        missing = self.tally.without_outcome(self.stream.stats())
        if missing:
            ensure(message.queued, self, "took back", message, "and has sent later ones")
            self.tally.add("withdrawn", message)
            for pipe in message.pipes:
                pipe.not_sent(message)
        elif self.tally.unreported_drops() or self.tally.unreported_expiries():
            self.cancelled_sends += 1
            self.cannot_tell()
        else:
            self.tally.add("out", message)
        self.world.note(self, "took back" if missing else "too late to take back", message)
        self.world.unseen_outcomes += not missing
        self.leaves_alone(message)

    def cannot_tell(self):
        """Messages may have outcomes that are never reported."""
        self.uncertain = True
        for pipe in self.outs:
            pipe.certain = False
            pipe.optional = True

    def loses(self, lost, blocked):
        """close() has lost `lost` messages: check that it may, and find out which."""
        self.world.note(self, "closed", f"and lost {lost}" if lost else "")
        self.lost = lost
        queued = {key: len(queue) for key, queue in self.outbox.items() if queue}
        most = self.queued() + len(self.dropping) + len(self.asends) + self.cancelled_sends
        ensure(lost <= most, self, "lost", lost, "of", queued, kind="lost")
        refused = queued.get(None, 0) if self.link.mandatory else 0  # messages to a missing peer
        tally, reference = self.tally, self.world.backend.reference
        if not reference and (
            tally.unreported_drops() or tally.unreported_expiries() or self.uncertain
        ):
            self.exact = False  # drops that were not reported count as lost
            self.cannot_tell()
        unblocked = self.link.instant and not (self.link.hwm or self.alternating or blocked)
        if unblocked and not reference and self.exact:
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
        """Whether the messages with this key can be sent."""
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

    def blocked(self):
        return not all(self.can_flow(key) for key in self.outbox)

    def silent(self):
        """Whether it must send messages that nobody gets the outcome of."""
        return self.open and self.sends_unreported and self.can_flow(None) and self.stream.sending()

    def unmet(self):
        """What it still has to do, or None."""
        if self.silent():
            return f"{self} has not sent what waits"
        for key, queue in self.outbox.items():
            if queue and not self.sends_unreported and self.can_flow(key):
                return f"{self} has not sent {list(queue)[:5]}"
            for message in queue:
                if message.timed:
                    return f"{self} has not reported {message}, which has expired"
        if self.world.backend.reference:
            return None
        if not self.uncertain and self.tally.unreported_drops():
            return f"{self} has not reported {self.tally.unreported_drops()} drops"
        return self.flow.unmet()
