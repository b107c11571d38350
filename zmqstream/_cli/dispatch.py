"""Finds the command that the command line names, and runs it.

COMMANDS is all that is known of the commands before one is used; then its module is imported. It
has

    DESCRIPTION: dict[str, str]           of each of its commands; the examples are in it
    def add_arguments(parser, name)       to an argparse parser; `name` is the command's
    def main(options) -> int              do it, and return the exit code; options.command: which

or, where argparse must not look at the arguments, `def take_over(arguments) -> NoReturn` alone.
"""

from __future__ import annotations

import argparse
import importlib
import io
import signal
import sys
from typing import NoReturn

import zmqstream
from zmqstream._cli import Failure, die_of, out, prog, say

COMMANDS = {
    "info": ("info", "versions and build: what a bug report needs"),
    "run": ("run", "run a program with zmqstream's ZMQStream in the place of pyzmq's"),
    "push": ("traffic", "send messages to pullers, in turns"),
    "pull": ("traffic", "receive what is pushed; print or count it"),
    "pub": ("traffic", "publish messages to all subscribers"),
    "sub": ("traffic", "receive what is published; print or count it"),
    "echo": ("traffic", "send every request back to its sender"),
    "bench": ("bench", "measure this machine: zmqstream, pyzmq, other libraries, and C"),
}

DESCRIPTION = """\
Callback streams on ZeroMQ sockets.

    {prog} info                                        paste this into a bug report
    {prog} run SCRIPT.py                               run a program with zmqstream in it
    {prog} pull --bind tcp://127.0.0.1:5555            count what arrives, and in another
    {prog} push --connect tcp://127.0.0.1:5555         terminal: send as fast as it takes
"""


def parser_of(name: str) -> argparse.ArgumentParser:
    """The parser of a command that does not take over."""
    module = importlib.import_module(f"zmqstream._cli.{COMMANDS[name][0]}")
    parser = argparse.ArgumentParser(
        prog=f"{prog()} {name}",
        description=module.DESCRIPTION[name].format(prog=prog()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser, name)
    parser.set_defaults(command=name, main=module.main)
    return parser


def overview(arguments: list[str]) -> NoReturn:
    """What there is; for a command that there is not, an error."""
    parser = argparse.ArgumentParser(
        prog=prog(),
        description=DESCRIPTION.format(prog=prog()),
        epilog=f"{prog()} COMMAND --help tells more, with examples.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"zmqstream {zmqstream.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, (_, text) in COMMANDS.items():
        commands.add_parser(name, help=text, add_help=False)
    parser.parse_args(arguments)
    parser.print_help()
    sys.exit(0)


def dispatch(arguments: list[str]) -> int:
    name = arguments[0] if arguments else ""
    if name not in COMMANDS:
        overview(arguments)
    module = importlib.import_module(f"zmqstream._cli.{COMMANDS[name][0]}")
    if hasattr(module, "take_over"):
        module.take_over(arguments[1:])
    options = parser_of(name).parse_args(arguments[1:])
    code: int = options.main(options)
    return code


def main(arguments: list[str] | None = None) -> NoReturn:
    """Do what the command line says, and end the process."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # not each encoding has each character
    try:
        try:
            code: object = dispatch(arguments)
        except SystemExit as exit:
            code = exit.code  # of argparse, which may have printed something
        except Failure as failure:
            say(f"{prog()} {arguments[0]}: {failure}")
            code = failure.code
        out()  # what argparse printed
    except KeyboardInterrupt:
        die_of(signal.SIGINT)
    except BrokenPipeError:  # `| head` has seen enough
        die_of(getattr(signal, "SIGPIPE", signal.SIGTERM))
    sys.exit(code)  # type: ignore[arg-type]
