"""The model of one stream."""

from __future__ import annotations

import re
from collections import deque

import zmq

from model.callbacks import ERRORS, Callback, Closing, Flush, Leave
from model.ends import ensure
from model.monitor import Monitored
from model.outbox import Sender

TCP_LINGER = 2000  # milliseconds
# Used if the peer has gone. Not 0, because libzmq 4.3.5 aborts the process if the connection ends
# at that moment in the middle of a multipart message (session_base.cpp, clean_pipes()).
TCP_GONE_LINGER = 50
LOST = re.compile(r"(\d+) queued messages could not be handed to libzmq")


class Stream(Sender):
    """A stream at one end of a link: its receives, and its life."""

    def __init__(self, world, link, kind, name, **options):
        super().__init__(world, link, kind, name, **options)
        self.receiver = self.closer = None  # registered Callbacks
        self.waiters = deque()  # tasks that await messages
        self.bounded = []  # Callbacks of on_recv whose coroutines close() cancels
        self.plans = deque()  # plans for the next callbacks
        self.monitored = Monitored(self)
        self.finishing = False  # whether aclose() has begun
        self.checked = False  # whether it was checked after its close
        self.raw_use = False  # whether its raw socket was used, or it was awaited

    def open_stream(self, reported):
        self.stream = self.world.backend.stream(self.socket)
        # Whether some messages have no callback for their outcome.
        self.sends_unreported = not reported
        if reported:
            self.set_send_callbacks(True, False)
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

    def receive(self, copy, with_stream, coroutine, bound=None, batch=None):
        """Call on_recv(), on_recv_stream() or on_recv_batch(). `bound` is max_concurrency."""
        stream = self.stream
        receiver = Callback(self, "on_recv", copy, with_stream and not batch, coroutine, bound)
        method, options = stream.on_recv_stream if with_stream else stream.on_recv, {}
        if batch:
            receiver.what, method, options["limit"] = "on_batch", stream.on_recv_batch, batch
        receiver.batch = batch
        if bound:
            options["max_concurrency"] = bound
            self.bounded.append(receiver)
        refusal = OSError if self.finishing else RuntimeError if self.waiters else None
        try:
            receiver.register(method, receiver, copy, **options)
        except (OSError, RuntimeError) as error:
            ensure(refusal and isinstance(error, refusal), self, "refused a receiver:", error)
        else:
            ensure(refusal is None, self, "has a receiver, and should have raised", refusal)
            self.receiver = receiver

    def end_receiving(self):
        """Cancel the tasks that receive."""
        for task in self.world.tasks:
            if task in self.waiters:
                task.cancel()

    def pause(self):
        self.receiver = None
        self.stream.on_recv(None)

    # -- what is called ------------------------------------------------------------------------

    def called(self, flag):
        """A callback is called. Returns the flush that calls it, or None for the loop."""
        ensure(self.open, self, "called after close")
        flush = self.world.flushing()
        if flush is not None:
            ensure(flush.owner is self, self, "called in a flush of", flush.owner)
            ensure(flush.flag & flag, self, "called in a flush of other events")
        return flush

    def on_recv(self, callback, message):
        flush = self.called(zmq.POLLIN)
        if flush is not None:
            flush.received += 1
        ensure(callback is self.receiver, self, "an old callback is called")
        ensure(not self.waiters, self, "has a callback called, and tasks wait")
        self.comes(message, callback.copy)

    def on_batch(self, callback, messages):
        ensure(type(messages) is list, "not a list:", messages)
        most = 1 if self.world.flushing() else callback.batch
        ensure(1 <= len(messages) <= most, self, "a batch of", len(messages), "instead of", most)
        for message in messages:
            self.on_recv(callback, message)

    def comes(self, message, copy):
        """`message` was received."""
        ensure(type(message) is list, "not a list:", message)
        kind = bytes if copy else zmq.Frame
        ensure(all(type(frame) is kind for frame in message), "not", kind, message)
        if not copy:
            more = [frame.more for frame in message]
            ensure(more == [True] * (len(message) - 1) + [False], "more:", more)
            self.world.frames = message[-2:]
        frames = [bytes(frame) for frame in message]
        self.tally.came(frames)
        self.take(frames)

    def on_drain(self, callback):
        self.flow.drained(callback)

    def on_monitor(self, callback, event):
        self.monitored.came(callback, event)

    def on_close(self, callback):
        ensure(callback is self.closer, self, "called an old close callback")
        self.closer = None
        if not self.closing:
            ensure(self.finishing, self, "was closed without a cause")
            self.closed(self.blocked())

    # -- flush and close -----------------------------------------------------------------------

    def foreseen(self, flag, limit):
        """The number of messages a flush handles if no plan runs in it, or None if unknown."""
        if not self.link.instant or self.link.hwm or self.alternating or self.blocked():
            return None
        if self.unclear() or self.waiters or (self.receiver and self.receiver.bound):
            return None
        if any(message.timed for queue in self.outbox.values() for message in queue):
            return None
        count = 0
        if flag & zmq.POLLIN:
            waiting = [pipe.waiting() for pipe in self.ins]
            if None in waiting or any(p.optional for p in self.ins):
                return None
            count += sum(waiting) - self.dropped
        if flag & zmq.POLLOUT:
            if self.sends_unreported and self.stream.sending():
                return None
            count += 0 if self.sends_unreported else self.queued()
        return count if limit is None else min(count, limit)

    def flush(self, flag, limit):
        """Flush. Returns the exception that flush() raised, or None."""
        world = self.world
        if (
            flag & zmq.POLLIN
            and self.receiver is None
            and (self.sends_unreported or self.alternating)
        ):
            flag = zmq.POLLIN  # the model must know how many messages are dropped, and when
        flush = Flush(self, flag, limit)
        foreseen = self.foreseen(flag, limit)
        world.stack.append(flush)
        came = self.messages_in()
        try:
            count, error = self.stream.flush(flag, limit), None
        except (*ERRORS.values(),) as caught:
            count, error = None, caught
        finally:
            world.stack.pop()
        world.note(self, "flushed", count if error is None else repr(error))
        ensure(error is flush.error, self, "flush raised", error, "instead of", flush.error)
        called = flush.received + flush.reported
        ensure(limit is None or called <= limit, self, "flush handled", called, "of", limit)
        if error is not None:
            return error
        ensure(limit is None or count <= limit, self, "flush says", count, "of", limit)
        ensure(count >= called, self, "flush says", count, "instead of", called)
        if flush.blind:
            dropped = count - called if world.backend.reference else self.messages_in() - came
            self.drop(dropped)
            called += dropped
        if not self.sends_unreported:  # tasks get their outcomes later
            most = called + len(self.asends)
            ensure(called <= count <= most, self, "flush says", count, "instead of", called)
        if foreseen is not None and not flush.plans:
            ensure(count == foreseen, self, "flush handled", count, "of", foreseen)
        return None

    def messages_in(self):
        return 0 if self.world.backend.reference else self.stream.stats().messages_in

    def drop(self, count):
        """A flush without a receiver has dropped `count` messages."""
        ensure(count <= sum(map(len, self.ins)), self, "dropped more than there was:", count)
        if count:
            self.may_send = True
            self.dropped += count
            self.tally.messages["in"] += count
            self.tally.bytes_known = False
            for pipe in self.ins:
                pipe.certain = False

    def close(self, linger=None):
        world = self.world
        linger = self.linger(linger)
        if self.sends_unreported and not self.stream.sending():
            self.all_sent()
        blocked = self.blocked()
        self.open, self.closing = False, True
        self.end_waiters()
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
        self.closed(blocked)

    def linger(self, linger):
        if self.link.tcp:
            there = all(pipe.receiver.open for pipe in self.outs)
            return TCP_LINGER if there else TCP_GONE_LINGER
        return linger

    def finish(self):
        """aclose() begins."""
        self.finishing = True
        self.receiver = None
        self.end_waiters()

    def end_waiters(self):
        while self.waiters:
            self.waiters.popleft().over = True

    def closed(self, blocked):
        """The stream was closed."""
        self.open = False
        self.end_waiters()
        for callback in self.bounded:  # coroutines that have not begun never will
            if callback.coroutine:
                self.world.scheduled -= callback.calls - callback.started
        self.loses(self.reported_lost(), blocked)
        for pipe in self.ins:
            pipe.forget()

    def reported_lost(self):
        """The number of lost messages that close() has logged."""
        if self.world.backend.reference:
            return sum(map(len, self.outbox.values()))  # pyzmq's class drops all and logs nothing
        for text in self.world.log:
            match = LOST.search(text)
            if match and f"{id(self.stream):#x}" in text:
                self.world.log.remove(text)
                return int(match[1])
        return 0

    # -- what must hold ------------------------------------------------------------------------

    def unmet(self):
        """What it still has to do, or None."""
        if (self.receiver is not None or self.waiters) and self.link.connected:
            under_way = [m for p in self.ins if not p.optional for lane in p.lanes for m in lane]
            if len(under_way) > self.dropped:
                return f"{self} has not got {under_way[:5]}"
        return self.monitored.unmet() or super().unmet()

    def check(self):
        if not self.world.backend.reference and not self.checked:
            self.tally.check()
        if not self.open:
            self.checked = True
            ensure(self.stream.closed() and self.stream.socket is None, self, "is not closed")
            return
        ensure(not self.stream.closed(), self, "is closed")
        # a message over tcp may arrive between a poll and a sweep, and counts as a repair
        if not self.raw_use and not self.link.tcp and self.world.backend.at_home:
            repaired = self.stream.stats().repaired
            ensure(not repaired, self, "lost edges without raw use:", repaired, kind="stalled")
        receiving = self.stream.receiving()
        ensure(receiving == (self.receiver is not None), self, "receiving:", receiving)
        if not self.sends_unreported and not self.unclear():
            sending = self.stream.sending()
            ensure(sending == bool(self.queued()), self, "sending:", sending, self.outbox)

    def check_quiet(self):
        """Check the state after everything has happened that must happen."""
        if self.open and not self.uncertain and not self.asends:
            ensure(not self.dropping, self, "did not report", self.dropping)
            ensure(not self.announced.total(), self, "on_err is ahead of on_send", self.announced)
