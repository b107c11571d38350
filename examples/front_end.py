"""The front end of a language model: many requests at a time, one engine, streams of tokens.

An engine, here a thread with blocking sockets, receives requests by a ROUTER, and pushes their
tokens to a PULL of the front end. Each request is a task that waits for its own tokens.

    python examples/front_end.py            # with zmqstream.asyncio
    python examples/front_end.py --pyzmq    # with zmq.asyncio, to compare
"""

import argparse
import asyncio
import sys
import threading
import time

import zmq
import zmq.asyncio

import zmqstream.asyncio

REQUESTS = 500
TOKENS = 20


def engine(context: zmq.Context, requests: str, tokens: str) -> None:
    """Answer each request with TOKENS tokens, one message each."""
    with context.socket(zmq.ROUTER) as router, context.socket(zmq.PUSH) as push:
        push.set_hwm(0)
        router.connect(requests)
        push.connect(tokens)
        for _ in range(REQUESTS):
            _, number, prompt = router.recv_multipart()
            for i in range(TOKENS):
                push.send_multipart([number, prompt + b" %d" % i])


class FrontEnd:
    def __init__(self, context: zmq.asyncio.Context, requests: str, tokens: str) -> None:
        self.requests = context.socket(zmq.DEALER)
        self.tokens = context.socket(zmq.PULL)
        self.requests.bind(requests)
        self.tokens.bind(tokens)
        self.waiting: dict[bytes, asyncio.Queue[bytes]] = {}

    async def hand_out(self) -> None:
        """Give each token to the task of its request."""
        while True:
            number, token = await self.tokens.recv_multipart()
            self.waiting[number].put_nowait(token)

    async def request(self, number: bytes) -> list[bytes]:
        queue = self.waiting[number] = asyncio.Queue()
        await self.requests.send_multipart([number, b"token"])
        try:
            return [await queue.get() for _ in range(TOKENS)]
        finally:
            del self.waiting[number]

    def close(self) -> None:
        self.requests.close(linger=0)
        self.tokens.close(linger=0)


async def main(module) -> None:
    with module.Context() as context:
        where = "inproc://requests", "inproc://tokens"
        front_end = FrontEnd(context, *where)
        thread = threading.Thread(target=engine, args=[zmq.Context(context), *where])
        thread.start()
        handing_out = asyncio.create_task(front_end.hand_out())
        began = time.process_time()
        answers = await asyncio.gather(*(front_end.request(b"%d" % i) for i in range(REQUESTS)))
        took = time.process_time() - began
        handing_out.cancel()
        front_end.close()
        thread.join()
    expected = [b"token %d" % i for i in range(TOKENS)]
    assert all(answer == expected for answer in answers)
    print(f"{REQUESTS} requests, {REQUESTS * TOKENS} tokens")
    print(f"{took * 1e6 / REQUESTS / TOKENS:.0f} us of processor time a token", file=sys.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pyzmq", action="store_true", help="use zmq.asyncio instead")
    asyncio.run(main(zmq.asyncio if parser.parse_args().pyzmq else zmqstream.asyncio))
