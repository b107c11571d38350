"""The model of one stream."""

from __future__ import annotations

import re
from collections import deque

import zmq

from model.callbacks import ERRORS, Callback, Closing, Flush, Leave
from model.ends import End, ensure, number_in

TCP_LINGER = 2000  # milliseconds
LOST = re.compile(r"(\d+) queued messages could not be handed to libzmq")


class Stream(End):
    """A stream at one end of a link."""

    def __init__(self, world, link, kind, name, **options):
        super().__init__(world, link, kind, name, **options)
        self.stream = None  # the ZMQStream, when it is there
        self.outbox = {}  # {key: deque of messages that, as far as is known, wait in the stream}
        self.receiver = self.teller = self.errer = self.closer = None  # registered Callbacks
        self.plans = deque()  # what the next callbacks do
        self.held = False  # flushed: not to be dispatched in this iteration
        self.failed = []  # messages of whose failure on_err was told, and on_send will be

    def open_stream(self, told):
        self.stream = self.world.home.stream(self.socket)
        self.untold = not told  # some messages have no callback that tells of them
        if told:
            self.tell(True, False)
        self.closer = Callback(self, "on_close")
        self.closer.register(self.stream.set_close_callback, self.closer)

    def next_plan(self):
        flushes = [each for each in self.world.stack if each.is_flush]
        if not self.plans or any(flush.blind for flush in flushes):
            return None
        for flush in flushes:
            flush.plans += 1
        return self.plans.popleft()

    # -- what is registered --------------------------------------------------------------------

    def receive(self, copy, with_stream, coroutine):
        self.receiver = Callback(self, "on_recv", copy, with_stream, coroutine)
        on_recv = self.stream.on_recv_stream if with_stream else self.stream.on_recv
        self.receiver.register(on_recv, self.receiver, copy)

    def pause(self):
        self.receiver = None
        self.stream.on_recv(None)

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

    # -- what is sent --------------------------------------------------------------------------

    def send(self, message, given, own, parts, **options):
        stream = self.stream
        message.queued = True
        send = stream.send_multipart
        if parts:
            for part in given[:-1]:
                stream.send(part, zmq.SNDMORE, copy=options["copy"])
        if parts or (len(given) == 1 and message.number % 2):
            given, send = given[-1], stream.send
        if own:
            message.own = options["callback"] = Callback(self, "on_send")
        if own:
            message.own.register(send, given, **options)
        else:
            send(given, **options)
        self.outbox.setdefault(message.key, deque()).append(message)
        for pipe in message.pipes:
            pipe.add(message)

    def queued_for(self, pipe):
        return len(self.outbox.get(pipe if self.kind == zmq.ROUTER else None, ()))

    def handed_over(self, pipe):
        """How many messages of the pipe's first lane libzmq has been given: (least, most)."""
        if not self.untold:
            handed = pipe.sent[0] - self.queued_for(pipe)
            return handed, handed
        return pipe.taken[0] if self.stream.sending() else pipe.sent[0], pipe.sent[0]

    def leaves_queue(self, message):
        ensure(message.queued, self, "told twice of", message, kind="doubled")
        queue = self.outbox[message.key]
        while True:
            oldest = queue.popleft()
            oldest.queued = False
            if oldest is message:
                return
            ensure(self.untold and oldest.own is None, self, "told of", message, "before", oldest,
                   kind="reordered")  # fmt: skip

    def all_sent(self):
        """Nothing waits in the stream."""
        for queue in self.outbox.values():
            for message in queue:
                message.queued = False
                ensure(message.own is None, self, "was not told of", message, kind="lost")
            queue.clear()

    # -- what is called ------------------------------------------------------------------------

    def called(self, flag, begun=False):
        """A callback is called. By whom? `begun`: another was, for the same message."""
        ensure(self.open, self, "called after close")
        flush = self.world.flushing()
        if flush is None:
            ensure(begun or not self.held, self, "is dispatched in the iteration of its flush")
        else:
            ensure(flush.owner is self, self, "called in a flush of", flush.owner)
            ensure(flush.flag & flag, self, "called in a flush of other events")
        return flush

    def on_recv(self, callback, message):
        flush = self.called(zmq.POLLIN)
        if flush is not None:
            flush.received += 1
        ensure(callback is self.receiver, self, "an old callback is called")
        ensure(type(message) is list, "not a list:", message)
        kind = bytes if callback.copy else zmq.Frame
        ensure(all(type(frame) is kind for frame in message), "not", kind, message)
        if not callback.copy:
            more = [frame.more for frame in message]
            ensure(more == [True] * (len(message) - 1) + [False], "more:", more)
            self.world.frames = message[-2:]
        self.take([bytes(frame) for frame in message])

    def on_send(self, callback, frames, status):
        ensure(type(frames) is list, "not a list:", frames)
        frames = [bytes(frame) for frame in frames]
        content = frames[1:] if self.kind == zmq.ROUTER else frames
        message = self.world.messages[number_in(content)]
        flush = self.called(zmq.POLLOUT, message in self.failed)
        if flush is not None and message not in self.failed:
            flush.told += 1
        ensure(frames == message.all_frames(), message, "told as", frames)
        ensure(callback is (message.own or self.teller), self, "another callback told of", message)
        self.world.note(self, f"told of ({status})" if status else "told of", message)
        if message in self.failed:
            self.failed.remove(message)
            ensure(isinstance(status, zmq.ZMQError), self, "told of", message, status)
            return
        self.leaves_queue(message)
        if isinstance(status, zmq.ZMQError):
            ensure(self.errer is None, self, "on_err was not told of", status)
            self.fails(message, status)
            return
        ensure(message.to != b"nobody" or not self.link.mandatory, message, "was sent")
        ensure(self.may_send or not self.alternating, self, "sent when it may not:", message)
        self.may_send = not self.alternating
        expected = message.status
        ensure(status is None if expected is None else isinstance(status, expected), status)
        for pipe in message.pipes:
            pipe.told(message)

    def on_err(self, callback, error):
        flush = self.called(zmq.POLLOUT)
        if flush is not None:
            flush.told += 1
        ensure(callback is self.errer, self, "an old callback is called")
        key = None  # of REQ and REP; only messages to nobody fail otherwise
        ensure(self.outbox.get(key), self, "failed without a message:", error)
        message = self.outbox[key][0]
        self.world.note(self, "failed to send", message, error)
        self.leaves_queue(message)
        self.fails(message, error)
        self.failed.append(message)

    def fails(self, message, error):
        self.check_error(error, message)
        ensure(not isinstance(error, zmq.Again), self, "gave up", message, error)
        for pipe in message.pipes:
            pipe.not_sent(message)

    def on_close(self, callback):
        ensure(self.closing and callback is self.closer, self, "unexpected close callback")
        self.closer = None

    # -- flush and close -----------------------------------------------------------------------

    def foreseen(self, flag, limit):
        """How many messages a flush handles if no user code runs in it; None: that is not known."""
        if not self.link.instant or self.link.hwm or self.alternating or self.hindered():
            return None
        count = 0
        if flag & zmq.POLLIN:
            waiting = [pipe.waiting() for pipe in self.ins]
            if None in waiting or any(p.optional for p in self.ins):
                return None
            count += sum(waiting) - self.dropped
        if flag & zmq.POLLOUT:
            if self.untold and self.stream.sending():
                return None
            count += 0 if self.untold else sum(map(len, self.outbox.values()))
        return count if limit is None else min(count, limit)

    def flush(self, flag, limit):
        """Returns the exception that came out of it."""
        world = self.world
        if flag & zmq.POLLIN and self.receiver is None and (self.untold or self.alternating):
            flag = zmq.POLLIN  # so that it is known how many are dropped, and when
        flush = Flush(self, flag, limit)
        foreseen = self.foreseen(flag, limit)
        handle = world.begin_hold()
        world.stack.append(flush)
        try:
            count, error = self.stream.flush(flag, limit), None
        except (*ERRORS.values(),) as caught:
            count, error = None, caught
        finally:
            world.stack.pop()
        world.note(self, "flushed", count if error is None else repr(error))
        ensure(error is flush.error, self, "flush raised", error, "instead of", flush.error)
        called = flush.received + flush.told
        ensure(limit is None or called <= limit, self, "flush handled", called, "of", limit)
        handled = called or count
        self.held = self.held or (handled and world.hold == "no turns")
        world.end_hold(handle, handled)
        if error is not None:
            return error
        ensure(limit is None or count <= limit, self, "flush says", count, "of", limit)
        ensure(count >= called, self, "flush says", count, "instead of", called)
        if flush.blind:
            self.drop(count - called)
        elif not self.untold:
            ensure(count == called, self, "flush says", count, "instead of", called)
        if foreseen is not None and not flush.plans:
            ensure(count == foreseen, self, "flush handled", count, "of", foreseen)
        return None

    def drop(self, count):
        """A flush without a receiver has dropped so many messages."""
        ensure(count <= sum(map(len, self.ins)), self, "dropped more than there was:", count)
        if count:
            self.may_send = True
            self.dropped += count
            for pipe in self.ins:
                pipe.certain = False

    def close(self, linger=None):
        world = self.world
        if self.link.tcp:
            linger = TCP_LINGER if all(pipe.receiver.open for pipe in self.outs) else 0
        if self.untold and not self.stream.sending():
            self.all_sent()
        hindered = self.hindered()
        self.open, self.closing = False, True
        closing = Closing()
        world.stack.append(closing)
        try:
            self.stream.close(linger)
        except Leave as error:
            ensure(error is closing.error, self, "close raised", error)
        else:
            ensure(closing.error is None, self, "close did not raise", closing.error)
        finally:
            world.stack.pop()
        self.closing = False
        ensure(self.closer is None, self, "the close callback was not called")
        self.loses(self.reported_lost(), hindered)
        for pipe in self.ins:
            pipe.forget()

    def reported_lost(self):
        """How many messages close() said that are lost."""
        if self.world.home.reference:
            return sum(map(len, self.outbox.values()))  # all, without a word
        for text in self.world.log:
            match = LOST.search(text)
            if match and f"{id(self.stream):#x}" in text:
                self.world.log.remove(text)
                return int(match[1])
        return 0

    def loses(self, lost, hindered):
        """So many messages were lost in close(): may they be, and which?"""
        self.world.note(self, "closed", f"and lost {lost}" if lost else "")
        queued = {key: len(queue) for key, queue in self.outbox.items() if queue}
        ensure(lost <= sum(queued.values()), self, "lost", lost, "of", queued, kind="lost")
        refused = queued.get(None, 0) if self.link.mandatory else 0  # to nobody
        unhindered = self.link.instant and not (self.link.hwm or self.alternating or hindered)
        if unhindered and not self.world.home.reference:
            ensure(lost == refused, self, "lost", lost, "of", queued, kind="lost")
        for pipe in self.outs:
            pipe.certain = False
            if self.kind == zmq.ROUTER:
                pipe.optional = lost > refused
            else:
                for message in list(pipe.lanes[0])[len(pipe.lanes[0]) - lost :]:
                    pipe.not_sent(message)
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
        if self.receiver is not None and self.link.connected:
            under_way = [m for p in self.ins if not p.optional for lane in p.lanes for m in lane]
            if len(under_way) > self.dropped:
                return f"{self} has not got {under_way[:5]}"
        if self.silent():
            return f"{self} has not sent what waits"
        for key, queue in self.outbox.items():
            if queue and not self.untold and self.can_flow(key):
                return f"{self} has not sent {list(queue)[:5]}"
        return None

    def check(self):
        if not self.open:
            ensure(self.stream.closed() and self.stream.socket is None, self, "is not closed")
            return
        ensure(not self.stream.closed(), self, "is closed")
        receiving = self.stream.receiving()
        ensure(receiving == (self.receiver is not None), self, "receiving:", receiving)
        if not self.untold:
            sending = self.stream.sending()
            queued = [message for queue in self.outbox.values() for message in queue]
            ensure(sending == bool(queued), self, "sending:", sending, "not told of", queued[:5])
