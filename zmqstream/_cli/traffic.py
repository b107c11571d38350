"""push, pull, pub, sub and echo: send and receive messages from the command line.

Only messages go to stdout. Rates, totals and errors go to stderr.
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

PATIENCE = 2  # seconds of waiting, after which the command prints why it waits

_ENDS = """\
Only messages go to stdout; rates and totals go to stderr. Ctrl-C ends the command and prints the
total."""

DESCRIPTION = {
    "push": f"""\
Send messages to PULL sockets, to each in turn, as fast as they accept them.

    {{prog}} push --connect tcp://127.0.0.1:5555                      until Ctrl-C
    {{prog}} push --bind 'tcp://*:5555' --count 1000000 --size 100    a million of 100 bytes
    {{prog}} push --connect tcp://127.0.0.1:5555 --rate 10 --duration 60
    tail -f log | {{prog}} push --connect tcp://127.0.0.1:5555 --stdin

The command waits for a peer. At the end it waits until all messages have been sent.
{_ENDS}
""",
    "pull": f"""\
Receive messages of PUSH sockets, and count or print them.

    {{prog}} pull --bind tcp://127.0.0.1:5555                  rates, until Ctrl-C
    {{prog}} pull --connect tcp://127.0.0.1:5555 --print       a line for each message
    {{prog}} pull --bind tcp://127.0.0.1:5555 --print hex --count 1
    {{prog}} pull --bind tcp://127.0.0.1:5555 --print | head

{_ENDS}
""",
    "pub": f"""\
Publish messages to all subscribers.

    {{prog}} pub --bind tcp://127.0.0.1:5556 --rate 10
    {{prog}} pub --bind tcp://127.0.0.1:5556 --topic weather --wait --count 100
    seq 10 | {{prog}} pub --bind tcp://127.0.0.1:5556 --wait --stdin

Without --wait the command publishes at once, and subscribers that connect later miss messages.
ZeroMQ drops messages for a slow subscriber: use --rate to avoid losses.
{_ENDS}
""",
    "sub": f"""\
Subscribe, and count or print published messages.

    {{prog}} sub --connect tcp://127.0.0.1:5556                   everything: rates, until Ctrl-C
    {{prog}} sub --connect tcp://127.0.0.1:5556 --topic weather --topic news --print
    {{prog}} sub --connect tcp://127.0.0.1:5556 --print hex --count 1 --duration 5

{_ENDS}
""",
    "echo": f"""\
Send every message back to the REQ, DEALER or ROUTER socket that sent it.

    {{prog}} echo --bind tcp://127.0.0.1:5557
    {{prog}} echo --bind tcp://127.0.0.1:5557 --bind ipc:///tmp/echo --count 1000

ZeroMQ drops replies to a peer that does not receive them.
{_ENDS}
""",
}


# -- the command line ------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    group = parser.add_argument_group("endpoints (at least one; options may be repeated)")
    for verb in ("bind", "connect"):
        group.add_argument(f"--{verb}", action="append", default=[], metavar="ENDPOINT")
    done = "sent" if name in SENDERS else "received"
    parser.add_argument(
        "--count", type=positive_int, metavar="N", help=f"end after N {done} messages"
    )
    parser.add_argument(
        "--duration",
        type=positive,
        metavar="SECONDS",
        help="end after this time; fail (exit code 1) if --count was not reached by then",
    )
    parser.add_argument(
        "--interval",
        type=not_negative,
        metavar="SECONDS",
        help="print rates at this interval; 0: never. Default: 1, or 0 with --print or --stdin",
    )
    parser.add_argument("--quiet", action="store_true", help="print errors, but no rates or totals")
    if name in SENDERS:
        parser.add_argument("--rate", type=positive, metavar="N", help="at most N messages/s")
        parser.add_argument(
            "--size", type=not_negative_int, metavar="BYTES", help="size of a message; default: 16"
        )
        parser.add_argument(
            "--stdin", action="store_true", help="send each line of stdin, and end at its end"
        )
    if name in ("pull", "sub"):
        parser.add_argument(
            "--print",
            nargs="?",
            const="text",
            choices=("text", "hex"),
            help="print messages, with tabs between frames; text (the default) has escapes (\\xff, "
            "\\n) for all that is not printable UTF-8",
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
            help="wait for N subscriptions (default: 1) before the first message",
        )
    if name == "sub":
        parser.add_argument(
            "--topic",
            action="append",
            help="receive messages whose first frame begins so; may be repeated; default: all",
        )
    parser.set_defaults(error=parser.error)


def number_type(convert: Any, description: str, fits: Any) -> Any:
    def read(text: str) -> Any:
        try:
            value = convert(text)
        except ValueError:
            value = math.nan
        if not fits(value) or value == math.inf:
            raise argparse.ArgumentTypeError(f"{text!r} is not {description}")
        return value

    return read


positive_int = number_type(int, "a whole number of at least 1", lambda value: value >= 1)
not_negative_int = number_type(int, "a whole number of at least 0", lambda value: value >= 0)
positive = number_type(float, "a number greater than 0", lambda value: value > 0)
not_negative = number_type(float, "a number of at least 0", lambda value: value >= 0)


def check(options: argparse.Namespace) -> None:
    """Check what argparse cannot check, and set the defaults that depend on other options."""
    if not options.bind and not options.connect:
        options.error("a --bind or --connect ENDPOINT is missing, such as tcp://127.0.0.1:5555")
    for verb in ("bind", "connect"):
        for endpoint in getattr(options, verb):
            endpoints.check(verb, endpoint)
    in_lines = getattr(options, "print", None) or getattr(options, "stdin", False)
    if options.interval is None:
        options.interval = 0.0 if in_lines else 1.0
    if options.command in SENDERS:
        if options.stdin and options.size is not None:
            options.error("--size and --stdin exclude each other")
        options.size = 16 if options.size is None else options.size


# -- a command -------------------------------------------------------------------------------------


def main(options: argparse.Namespace) -> int:
    check(options)
    # close() would log the number of unsent messages, which the total does not count.
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
    done = traffic.meter.messages
    if traffic.time_is_up and done < (options.count or 0):
        raise Failure(f"{done} of {options.count} messages in {options.duration:g} s")
    return 0


def term(context: zmq.Context[Any], quiet: bool) -> None:
    """Terminate the context, which waits without limit until all messages have been sent."""
    thread = threading.Thread(target=context.term, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    if thread.is_alive():
        if not quiet:
            say("waiting for peers to receive the sent messages; Ctrl-C drops them")
        thread.join()
