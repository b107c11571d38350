#!/usr/bin/env python3
"""Encrypt and authenticate with CURVE and pyzmq's ZAP authenticator.

    python secure.py keys FOLDER server alice bob      # NAME.key is public, NAME.key_secret is not
    python secure.py serve FOLDER --allow alice        # answers alice only
    python secure.py ask FOLDER alice hello            # HELLO
    python secure.py ask FOLDER bob hello              # refused

libzmq sends a ZAP request to inproc://zeromq.zap.01 for each connection. pyzmq's Authenticator
answers it in the coroutine function handle_zap_message(), which can be the callback of a stream.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

import zmq
import zmq.auth
from ending import interrupted
from zmq.auth.base import Authenticator

import zmqstream


class StreamAuthenticator(Authenticator):
    """pyzmq's Authenticator, as a callback of a stream."""

    def start(self):
        super().start()
        self.stream = zmqstream.ZMQStream(self.zap_socket)
        self.stream.on_recv(self.handle_zap_message)

    def stop(self):
        self.stream.close()
        super().stop()


class Friends:
    """A credentials provider of pyzmq: the public keys that may connect."""

    def __init__(self, folder, names):
        self.names = {zmq.auth.load_certificate(folder / f"{n}.key")[0]: n for n in names}

    def callback(self, domain, key):
        return key in self.names


def keys(options):
    folder = Path(options.folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in options.names:
        zmq.auth.create_certificates(folder, name)
    return 0


async def serve(options):
    folder = Path(options.folder)
    friends = Friends(folder, options.allow)
    with zmq.Context() as context:
        authenticator = StreamAuthenticator(context)
        authenticator.configure_curve_callback(credentials_provider=friends)
        authenticator.start()  # before bind(): earlier clients would be accepted

        socket = context.socket(zmq.ROUTER)
        socket.curve_publickey, socket.curve_secretkey = zmq.auth.load_certificate(
            folder / "server.key_secret"
        )
        socket.curve_server = True
        stream = zmqstream.ZMQStream(socket)

        def asked(frames):  # Frames, because they have the User-Id of the client
            name = friends.names[frames[-1].get("User-Id").encode()]
            print("asked by", name, flush=True)
            stream.send_multipart([*frames[:-1], bytes(frames[-1]).upper()])

        stream.on_recv(asked, copy=False)
        stream.bind(options.address)
        print("listening on", stream.socket.last_endpoint.decode(), flush=True)
        await interrupted()
        stream.close(linger=1000)
        authenticator.stop()
    return 0


async def ask(options):
    folder = Path(options.folder)
    with zmq.Context() as context:
        socket = context.socket(zmq.DEALER)
        socket.curve_serverkey, _ = zmq.auth.load_certificate(folder / "server.key")
        socket.curve_publickey, socket.curve_secretkey = zmq.auth.load_certificate(
            folder / f"{options.name}.key_secret"
        )
        # libzmq reports a refusal to the monitor of the socket only
        refusals = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
        stream = zmqstream.ZMQStream(socket)
        outcome = asyncio.get_running_loop().create_future()

        def refused(event):
            if not outcome.done():
                outcome.set_exception(PermissionError(int(event["value"])))

        def answered(msg):
            if not outcome.done():
                outcome.set_result(msg[-1].decode())

        stream.on_monitor(refused, refusals)
        stream.on_recv(answered)
        stream.connect(options.address)
        stream.send(options.word.encode())
        try:
            print(await asyncio.wait_for(outcome, options.timeout))
        except PermissionError as error:
            print(f"refused, with ZAP status {error}", file=sys.stderr)
            return 1
        except asyncio.TimeoutError:
            print(f"no answer from {options.address}", file=sys.stderr)
            return 2
        finally:
            stream.close(linger=0)
    return 0


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--address", default="tcp://127.0.0.1:5574")
    parts = parser.add_subparsers(dest="part", required=True)
    part = parts.add_parser("keys")
    part.add_argument("folder")
    part.add_argument("names", nargs="+")
    part = parts.add_parser("serve")
    part.add_argument("folder")
    part.add_argument("--allow", nargs="+", default=[], metavar="NAME")
    part = parts.add_parser("ask")
    part.add_argument("folder")
    part.add_argument("name")
    part.add_argument("word")
    part.add_argument("--timeout", type=float, default=10, help="seconds")
    options = parser.parse_args(arguments)
    if options.part == "keys":
        return keys(options)
    return zmqstream.run({"serve": serve, "ask": ask}[options.part](options))


if __name__ == "__main__":
    raise SystemExit(main())
