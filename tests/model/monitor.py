"""The events of a stream's socket: who is told of which.

What binds and unbinds an endpoint of its own is told of LISTENING and CLOSED. libzmq sends the
first at once, and the second when its I/O thread has closed the endpoint. Other events, which come
of connections, may come at any time.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import zmq

from model.callbacks import Callback
from model.ends import ensure

MOST_ENDPOINTS = 4  # of a stream
EVENTS = (zmq.EVENT_ALL, zmq.EVENT_LISTENING, zmq.EVENT_LISTENING | zmq.EVENT_CLOSED,
          zmq.EVENT_CONNECTED)  # fmt: skip


class Monitored:
    """The events of `owner`'s socket."""

    def __init__(self, owner):
        self.owner = owner
        self.callback = None  # the Callback of on_monitor
        self.events = 0  # that it wants
        self.endpoints = []  # that are bound
        self.listening = deque()  # endpoints of whose LISTENING it must be told, in this order
        self.closing = set()  # endpoints of whose CLOSED it must be told
        self.closed = set()  # and those of which it may be: another callback was registered since

    def tell(self, events, coroutine):
        """on_monitor(). `events`: 0 for on_monitor(None)."""
        self.callback = Callback(self.owner, "on_monitor", coroutine=coroutine) if events else None
        self.events = events
        self.listening.clear()
        self.closed |= self.closing
        self.closing.clear()
        if events:
            self.owner.raw_use = True  # on_monitor() takes the socket as a program does
            self.callback.register(self.owner.stream.on_monitor, self.callback, events)
        else:
            self.owner.stream.on_monitor(None)

    def bind(self):
        if len(self.endpoints) < MOST_ENDPOINTS:
            self.owner.raw_use = True
            self.owner.stream.bind("tcp://127.0.0.1:*")
            endpoint = self.owner.socket.last_endpoint
            self.endpoints.append(endpoint)
            self.closed.discard(endpoint)  # its port may have been another's
            if self.events & zmq.EVENT_LISTENING:
                self.listening.append(endpoint)

    def unbind(self):
        if self.endpoints:
            self.owner.raw_use = True
            endpoint = self.endpoints.pop(0)
            if self.events & zmq.EVENT_CLOSED:
                self.closing.add(endpoint)
            else:
                self.closed.add(endpoint)
            self.owner.stream.unbind(endpoint.decode())

    def came(self, callback, event):
        """on_monitor's callback is called."""
        owner = self.owner
        ensure(owner.open and callback is self.callback, owner, "an old callback is called")
        ensure(owner.world.flushing() is None, owner, "on_monitor in a flush")
        kind, endpoint = event["event"], event["endpoint"]
        ensure(type(kind) is zmq.Event and kind & self.events, owner, "unwanted event:", event)
        ensure(type(event["value"]) is int and type(endpoint) is bytes, owner, "event:", event)
        ensure(kind != zmq.Event.MONITOR_STOPPED, owner, "is not monitored any more")
        owner.world.counts["events"] += 1
        if kind == zmq.Event.LISTENING:
            expected = self.listening.popleft() if self.listening else None
            ensure(endpoint == expected, owner, event, "instead of", expected, kind="reordered")
        elif kind == zmq.Event.CLOSED and endpoint in self.closing:
            self.closing.remove(endpoint)
            ensure(endpoint not in self.listening, owner, event, "too early", kind="reordered")

    def unmet(self):
        if self.listening or self.closing:
            return f"{self.owner} was not told of {[*self.listening, *self.closing]}"
        return None


# -- actions -----------------------------------------------------------------------------------


class TellEvents(NamedTuple):
    """on_monitor()"""

    stream: int
    events: int
    coroutine: bool

    @classmethod
    def draw(cls, pick):
        return cls(pick.integer(0, 5), pick.choice((0, *EVENTS)), pick.chance(4))

    def do(self, world):
        stream = world.stream(self.stream)
        if stream and not world.backend.reference:
            stream.monitored.tell(self.events, self.coroutine)


class Bind(NamedTuple):
    """bind() or unbind(), with an endpoint to which nobody connects."""

    stream: int
    binds: bool
    count: int

    @classmethod
    def draw(cls, pick):
        return cls(pick.integer(0, 5), not pick.chance(3), pick.choice((1, 1, 1, 4)))

    def do(self, world):
        stream = world.stream(self.stream)
        if stream and not world.backend.reference:
            for _ in range(self.count):
                stream.monitored.bind() if self.binds else stream.monitored.unbind()
