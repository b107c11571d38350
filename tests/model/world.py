"""The World: the links, the actions on them, and the results that they must have."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections import Counter, deque

import zmq

from model.callbacks import Leave
from model.ends import Broken, ensure
from model.stream import TCP_GONE_LINGER

PATIENCE = 10  # seconds: long, for loaded machines
SHORT_PATIENCE = 1  # while a known failure is reduced to fewer steps


class World:
    """The links, the actions on them, and the results that they must have."""

    patience = PATIENCE

    def __init__(self, backend):
        self.backend = backend
        self.loop = backend.loop
        self.trail = deque(maxlen=1000)  # the actions and their results
        self.counts = Counter()
        self.numbers = itertools.count()
        self.messages = {}
        self.streams, self.raws, self.links = [], [], []
        self.tasks = []  # tasks that await a stream
        self.frames = []  # zmq.Frames of the last message that was received with copy=False
        self.stack = []  # running flushes and closes, the innermost last
        self.in_callback = 0
        self.depth = 0  # nesting of actions
        self.failure = None  # the first Broken
        self.unreported = []  # [(stream, exception)] that the loop's handler must get
        self.leaving = None  # the exception that must leave the loop
        # Whether it does so in the next iteration. uvloop keeps only the last of an iteration.
        self.late = backend.name == "uvloop"
        self.may_leave = True  # whether a callback may raise such an exception
        self.scheduled = 0  # handles and coroutines that have not run yet
        self.look = None  # called after each event while run_until() waits
        self.unseen_outcomes = 0  # outcomes of tasks that were cancelled before they got them
        self.log = []
        self.handler = logging.Handler()
        self.handler.emit = lambda record: self.log.append(record.getMessage())
        self.logger = logging.getLogger("zmqstream")
        self.logger.addHandler(self.handler)
        self.logger.propagate = False

    # -- what happens --------------------------------------------------------------------------

    def note(self, *what):
        """Add a line to the trail: an action or an end, what it did, and the message."""
        if len(what) == 3 and self.trail and self.trail[-1][:3] == [self.depth, *what[:2]]:
            self.trail[-1].append(what[2])
        else:
            self.trail.append([self.depth, *what])

    @contextlib.contextmanager
    def checking(self):
        """Keep a Broken that a callback raises; the outermost do() raises it."""
        try:
            yield
        except Exception as error:
            if self.failure is None:
                self.failure = error
                if not isinstance(error, Broken):
                    self.failure = Broken("wrong", repr(error))
                    self.failure.__cause__ = error
                self.note("BROKEN", error)

    def event(self):
        if self.look is not None:
            self.look()

    def do(self, action):
        """Do an action, and check the results."""
        self.note(action)
        self.counts["operations"] += 1
        self.depth += 1
        try:
            with self.checking():
                return action.do(self)
        finally:
            self.depth -= 1
            if self.depth == 0:
                with self.checking():
                    self.check()
                self.raise_failure()

    def soon(self, action, delay=None):
        """Do an action in a handle of the loop."""

        def handle():
            self.scheduled -= 1
            self.do(action)
            self.event()

        self.scheduled += 1
        if delay is None:
            self.loop.call_soon(handle)
        else:
            self.loop.call_later(delay, handle)

    def stream(self, number, needs=None):
        """An open stream. With `needs`, one that has pipes in ("ins") or out ("outs")."""
        streams = [s for s in self.streams if s.open and (needs is None or getattr(s, needs))]
        return streams[number % len(streams)] if streams else None

    def raise_failure(self):
        if self.failure is not None:
            self.failure.args = (f"{self.failure.args[0]}\n{self.story()}",)
            raise self.failure

    def story(self):
        lines = []
        for depth, *what in self.trail:
            if len(what) > 8:
                what[5:-1] = [f"... ({len(what) - 2})"]
            lines.append("    " * depth + " ".join(map(str, what)))
        return "\n".join(lines)

    def flushing(self):
        """The flush that calls the running callback, or None if the loop or a close does."""
        return self.stack[-1] if self.stack and self.stack[-1].is_flush else None

    def will_raise(self, owner, error):
        """`error` is about to leave a callback of `owner`: find out where it must arrive.

        The caller of a flush gets the first one. There may be a second one, because a message's own
        callback is called even if that of on_err has raised.
        """
        frame = self.stack[-1] if self.stack else None
        first = frame is not None and frame.is_flush and frame.error is None
        if first or (frame is not None and isinstance(error, Leave)):
            frame.error = error
        elif isinstance(error, Leave):
            self.leaving = error
        else:
            self.unreported.append((owner, error))

    def check_reports(self):
        """Check that each exception was reported once, with its stream."""
        for context in self.backend.errors:
            error = context.get("exception")
            for i, (owner, expected) in enumerate(self.unreported):
                if expected is error:
                    ensure(context.get("stream") is owner.stream, "reported without", owner)
                    del self.unreported[i]
                    break
            else:
                raise Broken("wrong", f"reported, and not expected or twice: {context}")
        self.backend.errors.clear()

    def check(self):
        self.check_reports()
        ensure(self.leaving is None, "did not leave the loop:", self.leaving)
        others = [line for line in self.log if "and nobody awaits it" not in line]
        self.unseen_outcomes -= len(self.log) - len(others)
        ensure(not others and self.unseen_outcomes >= 0, "logged:", self.log)
        self.log.clear()
        for stream in self.streams:
            stream.check()

    # -- running the loop ----------------------------------------------------------------------

    def run_loop(self):
        """Run the loop until finish() is called, and again if an exception leaves the loop."""
        self.finished = False
        while not self.finished:
            self.run_until_exception()
        if self.leaving is not None and self.late:
            stop = self.loop.call_soon(self.loop.stop)
            self.run_until_exception()
            stop.cancel()

    def run_until_exception(self):
        try:
            self.loop.run_forever()
        except Leave as error:
            ensure(error is self.leaving, "left the loop:", error)
            self.leaving = None

    def finish(self):
        self.finished = True
        self.loop.stop()

    def run(self, iterations):
        def step():
            nonlocal iterations
            iterations -= 1
            if iterations > 0:
                self.loop.call_soon(step)
            else:
                self.finish()

        self.loop.call_soon(step)
        self.run_loop()

    def quiet(self):
        """Run the loop until everything was handled. Only the streams' own events wake it."""
        self.drain_raws(self.patience)
        while True:
            while self.failure is None and self.unmet():
                self.wait()
                self.drain_raws(self.patience)
            self.run(2)  # a callback that unmet() does not wait for may be called here, and act
            if self.failure is not None or not self.unmet():
                break
        for end in self.streams + self.raws:
            end.settle_dropped()
        for stream in self.streams:
            # after a cancelled task, drops may be unreported, and unmet() does not wait for them
            if (
                stream.open
                and stream.sends_unreported
                and not stream.uncertain
                and not stream.stream.sending()
            ):
                stream.all_sent()
            stream.check_quiet()
        self.check_reports()
        ensure(not self.unreported, "not reported:", self.unreported)

    def wait(self):
        spinning = False

        def look():
            nonlocal spinning
            with self.checking():
                self.drain_raws()
            if self.failure or not self.unmet():
                self.finish()
            # no event reports that these have sent, so run the loop
            elif not spinning and any(stream.silent() for stream in self.streams):
                spinning = True
                self.loop.call_soon(spin)

        def spin():
            nonlocal spinning
            spinning = False
            if self.look is look:
                look()

        def expire():
            if unmet := self.unmet():
                World.patience = SHORT_PATIENCE
                with self.checking():
                    raise Broken(self.kind_of(unmet), unmet)
            look()

        timer = self.loop.call_later(self.patience, expire)
        self.look = look
        self.loop.call_soon(spin)
        try:
            self.run_loop()
        finally:
            self.look = None
            timer.cancel()

    def unmet(self):
        """What still has to happen, or None."""
        if self.scheduled:
            return f"{self.scheduled} handles or coroutines have not run"
        for each in [*self.tasks, *(stream for stream in self.streams if stream.open)]:
            if unmet := each.unmet():
                return unmet
        for raw in self.raws:
            if unmet := raw.unmet():
                return unmet
            for pipe in raw.ins if raw.link.instant else ():
                if pipe.waiting() and not pipe.optional:
                    return f"{raw} has not got {[*pipe.lanes[0], *pipe.lanes[1]][:5]}"
        return None

    def kind_of(self, unmet):
        """Whether missing messages are stalled or lost."""
        for end in self.streams + self.raws:
            if unmet.startswith(f"{end} has not got"):
                there = end.socket.getsockopt(zmq.EVENTS) & zmq.POLLIN
                return "stalled" if there else "lost"
        return "stalled"

    def drain_raws(self, patience=0):
        """Read the messages of raw sockets, and wait for those over tcp.

        An asynchronous socket whose receives wait must get its messages by these.
        """
        for raw in self.raws:
            raw.settle()
            if raw.receives:
                continue
            while raw.ins and raw.take_raw():
                pass
            if patience and raw.link.tcp:
                while any(pipe.waiting() for pipe in raw.ins):
                    ensure(raw.socket.poll(patience * 1000), raw, "got nothing", kind="lost")
                    raw.take_raw()

    # -- the end -------------------------------------------------------------------------------

    def cancel_sockets(self):
        """Cancel what waits at asynchronous sockets, and read what is there."""
        for raw in self.raws:
            raw.cancel()
        self.quiet()

    def end(self):
        """Handle all events, close everything, and check that nothing follows."""
        self.depth += 1
        broken = self.failure is not None
        try:
            if not broken:
                with self.checking():
                    for stream in self.streams:
                        if stream.link.tcp and stream.ins:  # no message may be in transit
                            self.quiet()
                            while stream.waiters:
                                stream.end_receiving()
                                self.quiet()
                            if stream.open:
                                stream.receive(True, False, False)
                    self.quiet()
                    self.check()
                    self.cancel_sockets()
                    for link in self.links:
                        for end in [link.hub, *link.peers]:
                            if end.outbox is not None and end.open:
                                end.close()
                    self.quiet()
                    self.cancel_sockets()
                    self.check()
                    ensure(not self.tasks, "there are still tasks:", self.tasks)
        finally:
            self.backend.errors.clear()
            for end in self.streams + self.raws:
                if end.link.tcp:
                    (end.stream or end.socket).close(linger=TCP_GONE_LINGER)
            for raw in self.raws:
                raw.close()
            self.backend.close()
            self.logger.removeHandler(self.handler)
            self.logger.propagate = True
        if not broken:
            self.raise_failure()
