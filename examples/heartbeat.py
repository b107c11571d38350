#!/usr/bin/env python3
"""A monitor that knows which services are alive.

    python heartbeat.py watch                    # prints "up NAME", "down NAME", "left NAME"
    python heartbeat.py beat NAME                # a service; after Ctrl-C it says goodbye

TCP does not report a peer that hangs, and reports a machine that is off late. So each service sends
"here" every --interval seconds. It is down if the monitor receives nothing for --liveness
intervals, and up again when the monitor receives something.
"""

from __future__ import annotations

import argparse
import asyncio

import zmq
from ending import interrupted

import zmqstream


class Monitor:
    """Calls `tell(word, name)` for each change."""

    def __init__(self, stream, interval, liveness, tell):
        self.heard = {}  # the time of each service's last message
        self.down = set()
        self.silence = interval * liveness
        self.tell = tell
        self.stream = stream
        self.clock = asyncio.get_running_loop().time
        self.timer = zmqstream.PeriodicCallback(self.look, interval * 1000)  # milliseconds
        self.stream.on_recv(self.received)
        self.timer.start()

    def received(self, msg):
        _, name, word = msg
        if word == b"here":
            if name not in self.heard or name in self.down:
                self.tell("up", name)
            self.down.discard(name)
            self.heard[name] = self.clock()
        elif word == b"bye" and self.heard.pop(name, None) is not None:
            self.down.discard(name)
            self.tell("left", name)

    def look(self):
        now = self.clock()
        for name, heard in self.heard.items():
            if now - heard > self.silence and name not in self.down:
                self.down.add(name)
                self.tell("down", name)

    def close(self):
        self.timer.stop()
        self.stream.close()


async def watch(options):
    with zmq.Context() as context:
        stream = zmqstream.ZMQStream(context.socket(zmq.ROUTER))
        stream.bind(options.address)
        print("listening on", stream.socket.last_endpoint.decode(), flush=True)
        monitor = Monitor(
            stream,
            options.interval,
            options.liveness,
            lambda word, name: print(word, name.decode(), flush=True),
        )
        await interrupted()
        monitor.close()


async def beat(options):
    with zmq.Context() as context:
        name = options.name.encode()
        socket = context.socket(zmq.DEALER)
        socket.sndhwm = options.liveness  # do not keep old heartbeats
        stream = zmqstream.ZMQStream(socket)
        stream.connect(options.address)

        def here():
            if not stream.sending():  # nor queue them
                stream.send_multipart([name, b"here"])

        timer = zmqstream.PeriodicCallback(here, options.interval * 1000)
        timer.start()
        await interrupted()
        timer.stop()
        stream.send_multipart([name, b"bye"])
        stream.close(linger=1000)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--address", default="tcp://127.0.0.1:5572", help="address of the monitor")
    parser.add_argument("--interval", type=float, default=1, help="seconds between heartbeats")
    parser.add_argument("--liveness", type=int, default=3, help="intervals of silence until down")
    parts = parser.add_subparsers(dest="part", required=True)
    parts.add_parser("watch")
    parts.add_parser("beat").add_argument("name")
    options = parser.parse_args(arguments)
    zmqstream.run({"watch": watch, "beat": beat}[options.part](options))


if __name__ == "__main__":
    main()
