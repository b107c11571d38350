"""Asynchronous sockets, of zmqstream.asyncio: peers of streams, which tasks await and cancel."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple

import zmq

import zmqstream.asyncio
from model.ends import Raw, ensure
from model.tasks import Task


class Asynchronous(Raw):
    """A raw socket, and an asynchronous one that shadows it. Both are used."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.aio = zmqstream.asyncio.Socket(shadow=self.socket)
        self.receives = deque()  # futures, in the order of the calls
        self.sends = {}  # {future: message}, likewise
        self.cancelled = False  # whether futures were cancelled, which tasks may await

    def receive(self, copy=True):
        """A future of a message. It stands in the line."""
        self.settle()
        future = self.aio.recv_multipart(copy=copy)
        future.add_done_callback(self.done)
        self.receives.append(future)
        return future

    def receive_now(self):
        """Receive before those in the line, if there is a message."""
        self.settle()
        future = self.aio.recv_multipart(zmq.NOBLOCK)
        ensure(future.done(), self, "waits in spite of NOBLOCK")
        if future.exception() is None:
            self.take(future.result())
        else:
            ensure(isinstance(future.exception(), zmq.Again), self, "got", future.exception())

    def send(self, sizes):
        """A future that is done when libzmq has the message."""
        self.settle()
        message = self.new_message(0, sizes, False)
        for pipe in message.pipes:
            pipe.add(message)
        future = self.aio.send_multipart(message.all_frames())
        future.add_done_callback(self.done)
        self.sends[future] = message
        self.settle()
        return future

    def done(self, future):
        """A future has ended, which perhaps nobody awaits."""
        self.world.event()

    def settle(self):
        """See what has become of the futures since the last call."""
        self.receives = deque(each for each in self.receives if not each.cancelled())
        while self.receives and self.receives[0].done():
            self.take([bytes(frame) for frame in self.receives.popleft().result()])
        overtaken = any(each.done() for each in self.receives)
        ensure(not overtaken, self, "gave a later call its message first", kind="reordered")
        for future, message in list(self.sends.items()):
            if not future.done():
                continue
            del self.sends[future]
            self.world.note(self, "withdrew" if future.cancelled() else "sent", message)
            for pipe in message.pipes:
                if future.cancelled():
                    pipe.not_sent(message)
                else:
                    ensure(future.result() is None, message, "got", future.result())
                    pipe.handed_over(message)

    def send_raw(self, peer, sizes):
        self.settle()
        super().send_raw(peer, sizes)

    def take_raw(self):
        self.settle()
        return super().take_raw()

    def handed_over(self, pipe):
        self.settle()
        handed = pipe.sent[0] - sum(pipe in message.pipes for message in self.sends.values())
        return handed, handed

    def unclear(self):
        self.settle()
        return bool(self.sends)

    def unmet(self):
        """What it still has to send, or None. (World.unmet() has what it must get.)"""
        self.settle()
        for pipe in self.outs:
            hub = pipe.receiver
            room = not self.link.hwm or hub.receiver
            if self.sends and self.link.connected and hub.open and room:
                return f"{self} has not sent {list(self.sends.values())[:5]}"
        return None

    def cancel(self):
        """Cancel everything that waits."""
        self.settle()
        for task in self.world.tasks:
            if task.owner is self:
                task.cancel()
        for future in [*self.receives, *self.sends]:
            future.cancel()
        self.settle()
        ensure(not self.receives and not self.sends, self, "was cancelled, and still waits")

    def close(self):
        self.aio.close()


class AtSocket(Task):
    """Awaits receives, polls or sends of an asynchronous socket, one after another."""

    def __init__(self, owner, how, limit, count, sizes=None):
        self.how, self.limit, self.count, self.sizes = how, limit, count, sizes
        super().__init__(owner)

    def must_end(self):
        return False  # World.unmet() and Asynchronous.unmet() check for what it waits for

    async def body(self):
        for _ in range(self.count):
            try:
                await getattr(self, self.how)()
            except asyncio.TimeoutError:
                ensure(self.how in ("in_time", "polled"), self, "got a TimeoutError")
            except asyncio.CancelledError:
                if self.cancelled:
                    raise
                ensure(self.owner.cancelled, self, "was cancelled without a cause")
                return
            self.world.event()
            if self.cancelled:  # up to Python 3.11, wait_for() may swallow that
                return

    def start(self):
        return self.owner.send(self.sizes) if self.sizes else self.owner.receive()

    async def directly(self):
        """A task that is cancelled must have nothing in hand, and have sent nothing by halves."""
        future = self.start()
        try:
            await future
        except asyncio.CancelledError:
            # a send may have gone just before, and a send has nothing in hand
            kept = future.done() and not future.cancelled() and not self.sizes
            ensure(not kept, self, "was cancelled, and had a message", kind="lost")
            raise
        finally:
            self.owner.settle()

    async def in_time(self):
        await asyncio.wait_for(self.directly(), self.limit)

    async def gathered(self):
        await asyncio.gather(self.start(), self.start())

    async def waited(self):
        future = self.start()
        await asyncio.wait([future], timeout=self.limit)
        future.cancel()  # in vain if it is done
        self.owner.settle()

    async def left(self):
        """Nobody awaits the future."""
        self.start()
        await asyncio.sleep(0)

    async def polled(self):
        """A poll, which says that something can be done at once."""
        mask = zmq.POLLOUT if self.sizes else zmq.POLLIN
        events = await asyncio.wait_for(self.owner.aio.poll(flags=mask), self.limit)
        ensure(events == mask, self, "was polled:", events)
        if not self.sizes:
            self.owner.receive_now()


# -- actions -----------------------------------------------------------------------------------

HOW = ("directly", "directly", "in_time", "in_time", "gathered", "waited", "left", "polled")


def socket_of(world, number, needs):
    """An asynchronous socket that has pipes in ("ins") or out ("outs"), or None."""
    ends = [end for end in world.raws if isinstance(end, Asynchronous) and getattr(end, needs)]
    return ends[number % len(ends)] if ends else None


class AtSockets(NamedTuple):
    """Start tasks that await an asynchronous socket."""

    socket: int
    how: str
    limit: float  # seconds, of a wait
    sizes: tuple | None  # of the frames to send, in bytes; None: receive
    count: int = 1  # messages for each task
    tasks: int = 1

    @classmethod
    def draw(cls, pick):
        return cls(
            pick.integer(0, 5), pick.choice(HOW), pick.choice((0, 0.0005, 0.002)),
            pick.sizes() if pick.chance(3) else None,
            pick.choice((1, 1, 2, 10, 300)), pick.choice((1, 1, 2, 3)),
        )  # fmt: skip

    def do(self, world):
        end = socket_of(world, self.socket, "outs" if self.sizes else "ins")
        if end is None:
            return
        if not world.loop.is_running():
            world.soon(self)
            return
        for _ in range(self.tasks):
            AtSocket(end, self.how, self.limit, self.count, self.sizes)


class CancelFuture(NamedTuple):
    """Cancel a receive or a send, which a task may await."""

    socket: int
    number: int
    sends: bool

    @classmethod
    def draw(cls, pick):
        return cls(pick.integer(0, 5), pick.integer(0, 9), pick.chance(2))

    def do(self, world):
        end = socket_of(world, self.socket, "outs" if self.sends else "ins")
        if end is None:
            return
        end.settle()
        futures = list(end.sends if self.sends else end.receives)
        if futures:
            end.cancelled = True
            cancelled = futures[self.number % len(futures)].cancel()
            ensure(cancelled, end, "refused to cancel what waits")
            end.settle()
