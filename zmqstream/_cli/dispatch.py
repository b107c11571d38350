"""Runs the command that the command line names.

COMMANDS has the module of each command, which is imported only when the command runs. It defines

    DESCRIPTION: dict[str, str]           description and examples of each of its commands
    def add_arguments(parser, name)       adds the options of command `name` to an argparse parser
    def main(options) -> int              runs options.command and returns the exit code

or only `def take_over(arguments) -> NoReturn`, if argparse must not parse the arguments.
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
    "info": ("info", "print versions and build, for bug reports"),
    "run": ("run", "run a program with zmqstream's ZMQStream in the place of pyzmq's"),
    "top": ("top", "show the streams of a running program as a live table"),
    "push": ("traffic", "send messages to PULL sockets, to each in turn"),
    "pull": ("traffic", "receive messages of PUSH sockets; print or count them"),
    "pub": ("traffic", "publish messages to all subscribers"),
    "sub": ("traffic", "receive published messages; print or count them"),
    "echo": ("traffic", "send every request back to its sender"),
    "bench": ("bench", "compare zmqstream, pyzmq, other libraries and C on this machine"),
}

DESCRIPTION = """\
Callback streams on ZeroMQ sockets.

    {prog} info                                        paste this into a bug report
    {prog} run SCRIPT.py                               run a program with zmqstream's class
    {prog} top                                         look at the streams of a running program
    {prog} pull --bind tcp://127.0.0.1:5555            count messages; in another terminal,
    {prog} push --connect tcp://127.0.0.1:5555         send messages as fast as possible
"""


def parser_of(name: str) -> argparse.ArgumentParser:
    """The argument parser of a command that has one."""
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
    """Print the commands, or an error for arguments that do not begin with a command."""
    parser = argparse.ArgumentParser(
        prog=prog(),
        description=DESCRIPTION.format(prog=prog()),
        epilog=f"{prog()} COMMAND --help describes a command and has examples.",
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
    """Run the command line, and end the process."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # the encoding may lack characters
    try:
        try:
            code: object = dispatch(arguments)
        except SystemExit as exit:
            code = exit.code
        except Failure as failure:
            say(f"{prog()} {arguments[0]}: {failure}")
            code = failure.code
        out()  # flush what argparse has printed
    except KeyboardInterrupt:
        die_of(signal.SIGINT)
    except BrokenPipeError:  # as other programs do in `| head`
        die_of(getattr(signal, "SIGPIPE", signal.SIGTERM))
    sys.exit(code)  # type: ignore[arg-type]
