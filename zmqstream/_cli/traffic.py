"""push, pull, pub, sub and echo: messages by hand, and how fast they go.

Only messages go to stdout; rates, totals and errors to stderr.
"""

from __future__ import annotations

import argparse
import logging
import math
import threading
from typing import Any

import zmq

import zmqstream
from zmqstream import _cli
from zmqstream._cli import Failure, endpoints, say
from zmqstream._cli.peer import SENDERS, open_socket, run

PATIENCE = 2  # seconds: then it says what it waits for

_ENDS = """\
Only messages go to stdout; rates and totals go to stderr. Ctrl-C ends it, with the total."""

DESCRIPTION = {
    "push": f"""\
Send messages to the peers that pull, in turns, as fast as they take them.

    {{prog}} push --connect tcp://127.0.0.1:5555                      until Ctrl-C
    {{prog}} push --bind 'tcp://*:5555' --count 1000000 --size 100    a million, 100 bytes each
    {{prog}} push --connect tcp://127.0.0.1:5555 --rate 10 --duration 60
    tail -f log | {{prog}} push --connect tcp://127.0.0.1:5555 --stdin

It waits for a peer, and in the end until the peers have what was sent. {_ENDS}
""",
    "pull": f"""\
Receive messages that are pushed, and count or print them.

    {{prog}} pull --bind tcp://127.0.0.1:5555                  rates, until Ctrl-C
    {{prog}} pull --connect tcp://127.0.0.1:5555 --print       each message on a line
    {{prog}} pull --bind tcp://127.0.0.1:5555 --print hex --count 1
    {{prog}} pull --bind tcp://127.0.0.1:5555 --print | head

{_ENDS}
""",
    "pub": f"""\
Publish messages to all who have subscribed by then.

    {{prog}} pub --bind tcp://127.0.0.1:5556 --rate 10
    {{prog}} pub --bind tcp://127.0.0.1:5556 --topic weather --wait --count 100
    seq 10 | {{prog}} pub --bind tcp://127.0.0.1:5556 --wait --stdin

Without --wait it publishes at once, and who is not there yet misses that. ZeroMQ drops what a slow
subscriber does not take: to see no losses, give a --rate. {_ENDS}
""",
    "sub": f"""\
Subscribe, and count or print what is published.

    {{prog}} sub --connect tcp://127.0.0.1:5556                   everything: rates, until Ctrl-C
    {{prog}} sub --connect tcp://127.0.0.1:5556 --topic weather --topic news --print
    {{prog}} sub --connect tcp://127.0.0.1:5556 --print hex --count 1 --duration 5

{_ENDS}
""",
    "echo": f"""\
Send every message back to the REQ, DEALER or ROUTER socket that it came from.

    {{prog}} echo --bind tcp://127.0.0.1:5557
    {{prog}} echo --bind tcp://127.0.0.1:5557 --bind ipc:///tmp/echo --count 1000

ZeroMQ drops answers to a peer that takes none for long. {_ENDS}
""",
}


# -- the command line ------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    group = parser.add_argument_group("endpoints (at least one; each may be given often)")
    for verb in ("bind", "connect"):
        group.add_argument(f"--{verb}", action="append", default=[], metavar="ENDPOINT")
    done = "received" if name not in SENDERS else "sent"
    parser.add_argument(
        "--count", type=positive_int, metavar="N", help=f"end when N messages were {done}"
    )
    parser.add_argument(
        "--duration",
        type=positive,
        metavar="SECONDS",
        help="end after so long; it has failed (exit code 1) if --count was not reached by then",
    )
    parser.add_argument(
        "--interval",
        type=not_negative,
        metavar="SECONDS",
        help="between lines with rates; 0: none. Default: 1, or 0 where messages are lines",
    )
    parser.add_argument("--quiet", action="store_true", help="no rates, no totals; only errors")
    if name in SENDERS:
        parser.add_argument("--rate", type=positive, metavar="N", help="N messages/s at most")
        parser.add_argument(
            "--size", type=not_negative_int, metavar="BYTES", help="of a message; default: 16"
        )
        parser.add_argument(
            "--stdin", action="store_true", help="send the lines of stdin, and end with them"
        )
    if name in ("pull", "sub"):
        parser.add_argument(
            "--print",
            nargs="?",
            const="text",
            choices=("text", "hex"),
            help="print messages, tabs between frames; text (the default) has escapes (\\xff, \\n) "
            "for what is no printable UTF-8",
        )
    if name == "pub":
        parser.add_argument("--topic", help="first frame of each message")
        parser.add_argument(
            "--wait",
            nargs="?",
            type=positive_int,
            const=1,
            default=0,
            metavar="N",
            help="for N subscriptions (1, if N is not given) before the first message",
        )
    if name == "sub":
        parser.add_argument(
            "--topic",
            action="append",
            help="messages whose first frame begins so; may be given often; default: all",
        )
    parser.set_defaults(error=parser.error)


def number_type(convert: Any, said: str, fits: Any) -> Any:
    def read(text: str) -> Any:
        try:
            value = convert(text)
        except ValueError:
            value = math.nan
        if not fits(value) or value == math.inf:
            raise argparse.ArgumentTypeError(f"{text!r} is not {said}")
        return value

    return read


positive_int = number_type(int, "a whole number of at least 1", lambda value: value >= 1)
not_negative_int = number_type(int, "a whole number of at least 0", lambda value: value >= 0)
positive = number_type(float, "a number greater than 0", lambda value: value > 0)
not_negative = number_type(float, "a number of at least 0", lambda value: value >= 0)


def check(options: argparse.Namespace) -> None:
    """What argparse cannot: options that belong together. argparse's defaults are completed."""
    if not options.bind and not options.connect:
        options.error("give it a --bind or a --connect ENDPOINT, as tcp://127.0.0.1:5555")
    for verb in ("bind", "connect"):
        for endpoint in getattr(options, verb):
            endpoints.check(verb, endpoint)
    in_lines = getattr(options, "print", None) or getattr(options, "stdin", False)
    if options.interval is None:
        options.interval = 0.0 if in_lines else 1.0
    if options.command in SENDERS:
        if options.stdin and options.size is not None:
            options.error("--size is for messages that are made up: not with --stdin")
        options.size = 16 if options.size is None else options.size


# -- a command -------------------------------------------------------------------------------------


def main(options: argparse.Namespace) -> int:
    check(options)
    # of what is not sent when it ends; the total does not count that
    logging.getLogger("zmqstream").disabled = True
    context: zmq.Context[Any] = zmq.Context()
    try:
        socket = open_socket(context, options)
        traffic = zmqstream.run(run(socket, options))
    except BaseException:
        context.destroy(linger=0)
        raise
    if not options.quiet:
        say(traffic.meter.total("sent" if options.command in SENDERS else "received"))
    term(context, options.quiet)
    if traffic.ending.signal:
        _cli.die_of(traffic.ending.signal)
    there = traffic.meter.messages
    if traffic.time_is_up and there < (options.count or 0):
        raise Failure(f"{there} of {options.count} messages in {options.duration:g} s")
    return 0


def term(context: zmq.Context[Any], quiet: bool) -> None:
    """Wait until peers have what was sent: for as long as it takes, and it says so."""
    thread = threading.Thread(target=context.term, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    if thread.is_alive():
        if not quiet:
            say("waiting for peers to take what was sent; Ctrl-C gives it up")
        thread.join()
