"""What the tests of streams that are awaited share."""

import asyncio

import zmq


async def iterations(count=5):
    """Of the loop."""
    for _ in range(count):
        await asyncio.sleep(0)


async def there(stream):
    """Until a message waits in the stream's socket."""
    while not stream.socket.get(zmq.EVENTS) & zmq.POLLIN:
        await asyncio.sleep(0)


def start(coroutine):
    return asyncio.ensure_future(coroutine)
