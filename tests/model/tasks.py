"""Tasks that await a stream."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import zmq

import zmqstream
from model.callbacks import Leave
from model.ends import ensure


class Task:
    """A task. `body()` is its coroutine; `must_end()` is whether nothing prevents its end."""

    def __init__(self, owner):
        self.owner, self.world = owner, owner.world
        self.started = self.cancelled = self.done = False
        self.world.tasks.append(self)
        self.task = self.world.loop.create_task(self.run())

    def __repr__(self):
        return f"{type(self).__name__} of {self.owner}"

    async def run(self):
        self.started = True
        # The start of its wait is an event for the model.
        self.world.loop.call_soon(self.world.event)
        try:
            with self.world.checking():
                await self.body()
        except asyncio.CancelledError:
            with self.world.checking():
                ensure(self.cancelled, self, "was cancelled without a cause")
                self.world.note(self, "was cancelled")
                self.ends()
        except Leave as error:
            with self.world.checking():
                ensure(not self.owner.open, self, "got", repr(error), "of no close callback")
        finally:
            self.done = True
            self.world.tasks.remove(self)
            self.world.event()

    def ends(self):
        """The task was cancelled: handle its outcome."""

    def cancel(self):
        self.cancelled = True
        self.task.cancel()

    def unmet(self):
        if not self.started or self.cancelled or self.must_end():
            return f"{self} has not ended"
        return None


class Receiving(Task):
    """Awaits messages one by one."""

    def __init__(self, owner, how, copy, count):
        self.how, self.copy, self.count = how, copy or how == "__anext__", count
        self.over = False  # whether the stream is closed
        super().__init__(owner)

    def must_end(self):
        return self.over  # Stream.unmet() checks for messages that it could get

    async def body(self):
        for _ in range(self.count):
            frames = await self.message()
            if frames is None:
                return
            self.owner.comes(frames, self.copy)
            plan = self.owner.next_plan()
            self.world.event()
            if plan is not None:
                self.world.in_callback += 1
                for action in plan.actions:
                    self.world.do(action)
                self.world.in_callback -= 1

    async def message(self):
        """Await the next message. Returns None if there will be none."""
        owner = self.owner
        self.over = not owner.open or owner.finishing
        conflict = not self.over and owner.receiver is not None
        if not self.over and not conflict:
            owner.waiters.append(self)
        owner.raw_use = True  # the stream also checks for missed events then
        awaited = owner.stream.__anext__() if self.how == "__anext__" else None
        try:
            if awaited is None:
                frames = await getattr(owner.stream, self.how)(self.copy)
            else:
                frames = await awaited
            if self.how == "recv":
                frames = [frames]
        except zmqstream.MultipartMessageError as error:
            frames = error.message
            ensure(self.how == "recv" and len(frames) != 1, self, "got", error)
        except (OSError, RuntimeError, StopAsyncIteration, zmq.ZMQError) as error:
            self.world.note(self, "got", repr(error))
            if self in owner.waiters:
                owner.waiters.remove(self)
            self.fails(error, conflict)
            return None
        ensure(not self.over and not conflict, self, "received", frames)
        ensure(owner.waiters[0] is self, self, "has overtaken", owner.waiters[0])
        owner.waiters.popleft()
        return frames

    def fails(self, error, conflict):
        if isinstance(error, zmq.ZMQError):
            ensure(error.errno == zmq.EFSM and self.owner.alternating, self, "got", repr(error))
        elif isinstance(error, RuntimeError):
            ensure(conflict, self, "got", repr(error))
        else:
            last = isinstance(error, StopAsyncIteration)
            ensure(self.over and last == (self.how == "__anext__"), self, "got", repr(error))

    def ends(self):
        if self in self.owner.waiters:
            self.owner.waiters.remove(self)


class Sending(Task):
    """Awaits that libzmq accepts `message`."""

    def __init__(self, owner, message, awaited):
        self.message, self.awaited = message, awaited
        super().__init__(owner)

    def __repr__(self):
        return f"asend of {self.message} by {self.owner}"

    def must_end(self):
        owner = self.owner
        return self.message.timed or not owner.open or owner.can_flow(self.message.key)

    async def body(self):
        try:
            result = await self.awaited
        except (zmq.ZMQError, OSError) as error:
            self.owner.awaited_sends(self.message, error)
        else:
            self.owner.awaited_sends(self.message, result)

    def ends(self):
        self.owner.taken_back(self.message)


class Draining(Task):
    """Awaits room."""

    emptied = False

    def must_end(self):
        owner = self.owner
        size = owner.flow.size()
        return not owner.open or (size[0] == 0 if self.emptied else owner.flow.is_low(size))

    async def body(self):
        owner, flow = self.owner, self.owner.flow
        self.emptied = not flow.limited()
        try:
            await owner.stream.drain()
        except OSError as error:
            ensure(not owner.open, self, "got", error)
            return
        ensure(owner.open, self, "ended with a closed stream")
        size = flow.size()
        if self.emptied:
            ensure(size[0] == 0, self, "ended, with", size)
        elif not owner.asends:  # limits do not apply to these
            ensure(not flow.is_beyond(size), self, "ended, with", size)


class Finishing(Task):
    """aclose()"""

    def __init__(self, owner, timeout, linger):
        self.timeout, self.linger = timeout, linger
        super().__init__(owner)

    def must_end(self):
        return self.timeout is not None or not self.owner.open or not self.owner.blocked()

    async def body(self):
        owner = self.owner
        lost = 0
        was_open = owner.open
        if was_open:
            owner.finish()
        lost = await owner.stream.aclose(self.timeout, linger=owner.linger(self.linger))
        ensure(not owner.open, self, "ended, and the stream is open")
        ensure(lost == (owner.lost if was_open else 0), self, "lost", lost, "of", owner.lost)

    def ends(self):
        ensure(not self.owner.open, self, "was cancelled, and the stream is open")


# -- actions -----------------------------------------------------------------------------------


class Await(NamedTuple):
    """Start tasks that await messages."""

    stream: int
    how: str = "recv_multipart"
    copy: bool = True
    count: int = 1  # messages for each task
    tasks: int = 1

    HOW = ("recv_multipart", "recv_multipart", "recv", "__anext__")

    @classmethod
    def draw(cls, pick):
        return cls(
            pick.integer(0, 5), pick.choice(cls.HOW), not pick.chance(3),
            pick.choice((1, 1, 2, 10, 300)), pick.choice((1, 1, 2, 3)),
        )  # fmt: skip

    def do(self, world):
        stream = world.stream(self.stream, "ins")
        if stream is None or world.backend.reference:
            return
        for _ in range(self.tasks):
            Receiving(stream, self.how, self.copy, self.count)


class SendAwaited(NamedTuple):
    """Start tasks that call asend()."""

    stream: int
    sizes: tuple
    copy: bool
    track: bool
    peer: int
    timeout: float | None
    count: int

    @classmethod
    def draw(cls, pick):
        return cls(
            pick.integer(0, 5), pick.sizes(), not pick.chance(3), pick.chance(3),
            pick.integer(0, 3), pick.choice((None, None, 0.001, 0.005)),
            pick.choice((1, 1, 2, 10)),
        )  # fmt: skip

    def do(self, world):
        stream = world.stream(self.stream, "outs")
        if stream is None or world.backend.reference or stream.alternating:
            return
        if not world.loop.is_running():
            world.soon(self)  # aclose() must be called in the loop
            return
        timeout = None if stream.sends_unreported or stream.link.tcp else self.timeout
        for _ in range(self.count):
            message = stream.new_message(self.peer % len(stream.outs), self.sizes, False)
            track = self.track and not self.copy
            message.status = None if self.copy else zmq.MessageTracker if track else object
            stream.asend(message, timeout, copy=self.copy, track=track)


class Drain(NamedTuple):
    """Start a task that awaits drain()."""

    stream: int

    @classmethod
    def draw(cls, pick):
        return cls(pick.integer(0, 5))

    def do(self, world):
        stream = world.stream(self.stream, "outs")
        if stream and not world.backend.reference:
            Draining(stream)


class Finish(NamedTuple):
    """Start a task that awaits aclose()."""

    stream: int
    timeout: float | None
    linger: int | None

    @classmethod
    def draw(cls, pick):
        return cls(pick.integer(0, 5), pick.choice((None, 0, 0.002)), pick.choice((None, 1000)))

    def do(self, world):
        stream = world.stream(self.stream)
        if stream is None or world.backend.reference:
            return
        link = stream.link
        if link.mandatory and stream is not link.hub and link.hub.open:
            return  # the model cannot predict which of the hub's messages would fail
        if not link.tcp:  # World.end() reads tcp links until they are empty
            Finishing(stream, self.timeout, self.linger)


class Cancel(NamedTuple):
    """Cancel a task."""

    task: int

    @classmethod
    def draw(cls, pick):
        return cls(pick.integer(0, 9))

    def do(self, world):
        tasks = [task for task in world.tasks if task.started and not task.cancelled]
        if tasks:
            tasks[self.task % len(tasks)].cancel()
