"""The events of a stream's socket that its monitor must report.

A stream that binds and unbinds an endpoint gets LISTENING and CLOSED. libzmq sends the first at
once, and the second when its I/O thread has closed the endpoint. Other events, which connections
cause, may arrive at any time.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import zmq

from model.callbacks import Callback
from model.ends import ensure

MOST_ENDPOINTS = 4  # for each stream
EVENTS = (zmq.EVENT_ALL, zmq.EVENT_LISTENING, zmq.EVENT_LISTENING | zmq.EVENT_CLOSED,
          zmq.EVENT_CONNECTED)  # fmt: skip


class Monitored:
    """The events of `owner`'s socket."""

    def __init__(self, owner):
        self.owner = owner
        self.callback = None  # the Callback of on_monitor
        self.events = 0  # the flags of the events to report
        self.endpoints = []  # bound endpoints
        self.listening = deque()  # endpoints whose LISTENING must be reported, in this order
        self.closing = set()  # endpoints whose CLOSED must be reported
        self.closed = set()  # endpoints whose CLOSED may be reported to a later callback

    def set_callback(self, events, coroutine):
        """Call on_monitor(), with None if `events` is 0."""
        self.callback = Callback(self.owner, "on_monitor", coroutine=coroutine) if events else None
        self.events = events
        self.listening.clear()
        self.closed |= self.closing
        self.closing.clear()
        if events:
            self.owner.raw_use = True  # on_monitor() accesses the socket
            self.callback.register(self.owner.stream.on_monitor, self.callback, events)
        else:
            self.owner.stream.on_monitor(None)

    def bind(self):
        if len(self.endpoints) < MOST_ENDPOINTS:
            self.owner.raw_use = True
            self.owner.stream.bind("tcp://127.0.0.1:*")
            endpoint = self.owner.socket.last_endpoint
            self.endpoints.append(endpoint)
            self.closed.discard(endpoint)  # another endpoint may have had its port
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
        """The callback of on_monitor is called."""
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
            return f"{self.owner} did not report {[*self.listening, *self.closing]}"
        return None


# -- actions -----------------------------------------------------------------------------------


class SetMonitor(NamedTuple):
    """Call on_monitor()."""

    stream: int
    events: int
    coroutine: bool

    @classmethod
    def draw(cls, pick):
        return cls(pick.integer(0, 5), pick.choice((0, *EVENTS)), pick.chance(4))

    def do(self, world):
        stream = world.stream(self.stream)
        if stream and not world.backend.reference:
            stream.monitored.set_callback(self.events, self.coroutine)


class Bind(NamedTuple):
    """Call bind() or unbind() with an endpoint to which no peer connects."""

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
