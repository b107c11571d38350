#!/usr/bin/env python3
"""A proxy with a filter: like zmq.proxy(), but it sees each message.

    python proxy.py streamer  --drop '^debug'     # PULL to PUSH
    python proxy.py forwarder --drop '^debug'     # XSUB to XPUB, subscriptions go back
    python proxy.py queue     --drop 'secret'     # ROUTER to DEALER, answers go back

A message from front to back is dropped if --drop matches its last frame.
"""

from __future__ import annotations

import argparse
import re
import sys

import zmq
from ending import interrupted

import zmqstream

KINDS = {  # front, back, and whether messages go back, too
    "streamer": (zmq.PULL, zmq.PUSH, False),
    "forwarder": (zmq.XSUB, zmq.XPUB, True),
    "queue": (zmq.ROUTER, zmq.DEALER, True),
}


class Proxy:
    """Forwards the result of `keep(msg)`. None drops the message.

    If one side accepts no messages, at most `high` messages and one more wait here. Then the proxy
    stops receiving from the other side, so the queues of a sender that is too fast fill up.
    """

    def __init__(self, front, back, keep, both_ways, high):
        self.seen = self.forwarded = 0
        self.keep = keep
        self.way(front, back, high, self.filtered)
        if both_ways:
            self.way(back, front, high, lambda msg: msg)

    def way(self, source, target, high, through):
        def received(msg):
            msg = through(msg)
            if msg is not None:
                target.send_multipart(msg, copy=False)
                if target.get_write_buffer_size() > high:
                    source.on_recv(None)  # until there is room

        def resume():
            source.on_recv(received, copy=False)

        target.set_write_buffer_limits(high)
        target.on_drain(resume)
        resume()

    def filtered(self, msg):
        self.seen += 1
        msg = self.keep(msg)
        self.forwarded += msg is not None
        return msg


async def run(options):
    drop = options.drop

    def keep(msg):
        return None if drop is not None and drop.search(msg[-1].buffer) else msg

    front, back, both_ways = KINDS[options.kind]
    with zmq.Context() as context:
        streams = [zmqstream.ZMQStream(context.socket(kind)) for kind in (front, back)]
        for stream in streams:
            stream.socket.hwm = options.hwm  # both ways
        proxy = Proxy(*streams, keep, both_ways, options.high)
        for stream, address in zip(streams, (options.front, options.back), strict=True):
            stream.bind(address)
            print("listening on", stream.socket.last_endpoint.decode(), flush=True)
        await interrupted()
        for stream in streams:
            stream.close(linger=1000)
        waited = max(stream.stats().peak_queued for stream in streams)
        print(f"{proxy.forwarded} of {proxy.seen} messages forwarded, {waited} waited", flush=True)


def pattern(text):
    try:
        return re.compile(text.encode())
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a regular expression: {error}") from None


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--front", default="tcp://127.0.0.1:5575")
    parser.add_argument("--back", default="tcp://127.0.0.1:5576")
    parser.add_argument("--drop", type=pattern, help="a regular expression")
    parser.add_argument("--high", type=int, default=1000, help="messages that may wait, each way")
    parser.add_argument("--hwm", type=int, default=1000, help="high-water mark of the sockets")
    zmqstream.run(run(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
