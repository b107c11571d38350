"""Links between ends: types of sockets, transports and high-water marks."""

from __future__ import annotations

import itertools

import zmq

from model.ends import Pipe, Raw
from model.sockets import Asynchronous
from model.stream import Stream

LINKS = {  # types of the hub and its peers, whether they send, the largest number of peers
    "PULL": (zmq.PULL, zmq.PUSH, False, True, 2),
    "PUSH": (zmq.PUSH, zmq.PULL, True, False, 1),
    "PAIR": (zmq.PAIR, zmq.PAIR, True, True, 1),
    "DEALER": (zmq.DEALER, zmq.DEALER, True, True, 1),
    "ROUTER": (zmq.ROUTER, zmq.DEALER, True, True, 3),
    "DEALER to ROUTER": (zmq.DEALER, zmq.ROUTER, True, True, 1),
    "PUB": (zmq.PUB, zmq.SUB, True, False, 2),
    "SUB": (zmq.SUB, zmq.PUB, False, True, 2),
    "REQ": (zmq.REQ, zmq.REP, True, True, 1),
    "REP": (zmq.REP, zmq.REQ, True, True, 1),
}
PLAIN = ("PULL", "PUSH", "PAIR", "DEALER")
_addresses = itertools.count()


class Link:
    """A hub, which is a stream, and its peers, as described by an actions.Open."""

    def __init__(self, world, spec):
        hub_kind, peer_kind, hub_sends, peers_send, most = LINKS[spec.link]
        count = min(spec.peers, most)
        plain = spec.link in PLAIN
        # (pyzmq's class blocks if the peer goes between its check of EVENTS and its send)
        self.tcp = plain and spec.tcp and not world.backend.reference
        self.instant = not self.tcp  # whether a message arrives as soon as it is sent
        late = plain and spec.late and self.instant and count == 1
        # (pyzmq's class misses events if its socket is used to connect)
        self.connected = not late or (world.backend.reference and not spec.raw)
        self.hwm = spec.hwm if plain and self.instant else 0
        self.mandatory = False
        if spec.link == "ROUTER" and not world.backend.reference:
            self.hwm = spec.hwm
            # without ROUTER_MANDATORY, libzmq drops at the high-water mark
            self.mandatory = spec.mandatory or self.hwm > 0
        # If a message may have to wait or may fail, a callback must get its outcome. Otherwise
        # no event would show that the message was sent.
        self.may_be_unreported = self.instant and self.connected and not self.hwm
        self.may_be_unreported &= not self.mandatory and spec.link not in ("REQ", "REP")
        number = len(world.links)
        options = {"router_mandatory": 1} if self.mandatory else {}
        self.hub = Stream(world, self, hub_kind, f"s{number}", **options)
        peer_class, letter = (Raw, "p") if spec.raw else (Stream, "s")
        alternating = spec.link in ("REQ", "REP")
        if spec.raw and spec.aio and not (self.tcp or alternating or world.backend.reference):
            peer_class, letter = Asynchronous, "a"
        self.peers = [
            peer_class(world, self, peer_kind, f"{letter}{number}.{i}") for i in range(count)
        ]
        for peer in self.peers:
            if hub_sends:
                self.pipe(self.hub, peer)
            if peers_send:
                self.pipe(peer, self.hub)
        self.bound, self.others = self.hub, self.peers
        if count == 1 and self.connected and not spec.hub_binds:
            self.bound, self.others = self.peers[0], [self.hub]
        name = f"inproc://model-{next(_addresses)}"
        self.bound.socket.bind("tcp://127.0.0.1:*" if self.tcp else name)
        self.endpoint = self.bound.socket.last_endpoint.decode()
        if self.connected:
            self.connect()
        if spec.raw and peers_send and self.connected:
            for _ in range(spec.early):
                self.peers[0].send_raw(0, (20,))
        for end in [self.hub, *self.peers]:
            if isinstance(end, Stream):
                end.open_stream(spec.reported or not self.may_be_unreported)
        (world.raws if spec.raw else world.streams).extend(self.peers)
        world.streams.append(self.hub)

    def pipe(self, sender, receiver):
        pipe = Pipe(sender, receiver)
        sender.outs.append(pipe)
        receiver.ins.append(pipe)

    def connect(self):
        for end in self.others:
            used = end.socket
            if isinstance(end, Stream) and end.stream is not None:
                used, end.raw_use = end.stream, True
            used.connect(self.endpoint)
        for end in [self.hub, *self.peers]:
            if end.kind == zmq.SUB:
                end.socket.subscribe(b"")
        if not self.hub.stream:
            for end in [self.hub, *self.peers] * 2:
                end.socket.getsockopt(zmq.EVENTS)  # makes libzmq read subscriptions and routing ids
        self.connected = True

    def open(self):
        return self.hub.open or any(isinstance(peer, Stream) and peer.open for peer in self.peers)
