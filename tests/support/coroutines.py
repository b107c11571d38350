"""Coroutines for the tests of awaited streams."""

import asyncio

import zmq


async def iterations(count=5):
    """Wait for `count` iterations of the loop."""
    for _ in range(count):
        await asyncio.sleep(0)


async def there(stream):
    """Wait until the stream's socket has a message."""
    while not stream.socket.get(zmq.EVENTS) & zmq.POLLIN:
        await asyncio.sleep(0)


def start(coroutine):
    return asyncio.ensure_future(coroutine)
