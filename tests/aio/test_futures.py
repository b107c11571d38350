"""What the methods return: futures that have begun at the call, in the order of the calls."""

import asyncio
import threading
import warnings

import pytest
import zmq

from support.coroutines import iterations, start


def test_futures(aio, pair):
    socket, peer = pair

    async def main():
        loop = asyncio.get_running_loop()
        futures = [socket.recv(), socket.recv_multipart(), socket.poll(), socket.send(b"x")]
        poller = aio.module.Poller()
        poller.register(socket, zmq.POLLIN)
        futures.append(poller.poll())
        for future in futures:
            assert isinstance(future, asyncio.Future)
            assert future.get_loop() is loop
            future.cancel()

    aio.run(main())


def test_what_is_there_is_in_the_future_at_once(aio, pair):
    socket, peer = pair

    async def main():
        peer.send_multipart([b"a", b"b"])
        assert socket.recv_multipart().result() == [b"a", b"b"]
        peer.send(b"c")
        assert socket.recv(zmq.NOBLOCK).result() == b"c"
        assert isinstance(socket.recv(zmq.NOBLOCK).exception(), zmq.Again)
        assert socket.send(b"d").result() is None
        assert peer.recv() == b"d"

    aio.run(main())


def test_not_awaited(aio, pair):
    """It is received for a future that no task awaits, and sent."""
    socket, peer = pair

    async def main():
        future = socket.recv()
        peer.send(b"x")
        while not future.done():
            await asyncio.sleep(0)
        assert future.result() == b"x"

    aio.run(main())


def test_awaited_later(aio, pair):
    """Another thing is awaited first."""
    socket, peer = pair

    async def main():
        early = socket.recv()
        late = socket.recv()
        await iterations()
        peer.send(b"1")
        peer.send(b"2")
        assert await late == b"2"
        assert await early == b"1"

    aio.run(main())


def test_ways(aio, pair, receive):
    socket, peer = pair

    async def main():
        for _ in range(2):
            waiting = start(receive(socket))
            await iterations()
            assert not waiting.done()
            peer.send_multipart([b"a", b"b"])
            assert await waiting == [b"a", b"b"]
        peer.send(b"there")
        assert await receive(socket) == [b"there"]

    aio.run(main())


def test_order_of_receivers(aio, pair, receive):
    """Futures of all kinds stand in one line."""
    socket, peer = pair

    async def main():
        got = []

        async def one(i):
            got.append((i, (await (receive(socket) if i % 2 else socket.recv_multipart()))[0]))

        tasks = []
        for i in range(20):
            tasks.append(start(one(i)))
            await asyncio.sleep(0)
        for i in range(20):
            peer.send(b"%d" % i)
        await asyncio.gather(*tasks)
        assert sorted(got) == [(i, b"%d" % i) for i in range(20)]

    aio.run(main())


def test_frames(aio, pair):
    socket, peer = pair

    async def main():
        peer.send_multipart([b"a", b"b", b"c"])
        assert await socket.recv() == b"a"
        assert socket.rcvmore
        assert await socket.recv_multipart() == [b"b", b"c"]
        waiting = start(socket.recv())
        await iterations()
        peer.send_multipart([b"d", b"e"])
        assert await waiting == b"d"
        frame = await socket.recv(copy=False)
        assert frame.bytes == b"e"
        assert not frame.more
        peer.send_multipart([b"f", b"g"])
        frames = await socket.recv_multipart(copy=False)
        assert [bytes(frame.buffer) for frame in frames] == [b"f", b"g"]
        assert frames[0].more

    aio.run(main())


def test_recv_into(aio, pair):
    socket, peer = pair
    buffer = bytearray(5)

    async def main():
        peer.send(b"there")
        assert await socket.recv_into(buffer) == 5
        assert buffer == b"there"
        waiting = start(wait_into())
        await iterations()
        peer.send(b"later")
        assert await waiting == 5  # its size, whatever there was room for
        assert buffer == b"laere"

    async def wait_into():
        return await socket.recv_into(buffer, nbytes=2)

    aio.run(main())


@pytest.mark.parametrize("there", [True, False])
def test_conversions(aio, pair, there):
    socket, peer = pair

    async def main():
        for send, value, method in (
            (peer.send_string, "text", "recv_string"),
            (peer.send_json, {"a": [1]}, "recv_json"),
            (peer.send_pyobj, {1, 2}, "recv_pyobj"),
        ):
            if there:
                send(value)
                assert await getattr(socket, method)() == value
            else:
                waiting = getattr(socket, method)()
                await iterations()
                send(value)
                assert await waiting == value
        waiting = socket.recv_serialized(lambda frames: [bytes(f) for f in frames])
        peer.send_multipart([b"a", b"b"])
        assert await waiting == [b"a", b"b"]
        for text in ("{", "also {"):
            waiting = socket.recv_json()
            if text == "{":
                await iterations()
            peer.send_string(text)
            with pytest.raises(ValueError):
                await waiting
        await socket.send_json([1])
        await socket.send_string("s")
        await socket.send_pyobj((1,))
        assert (peer.recv_json(), peer.recv_string(), peer.recv_pyobj()) == ([1], "s", (1,))

    aio.run(main())


# -- errors ----------------------------------------------------------------------------------------

CLOSED = {  # whether the method of a closed socket raises at the call, or its future fails
    "recv": True,
    "recv_multipart": True,
    "poll": True,
    "send": False,
    "send_multipart": False,
}


@pytest.mark.parametrize("method", CLOSED)
def test_closed(aio, pair, method):
    socket, _ = pair
    arguments = {"send": (b"x",), "send_multipart": ([b"x"],)}.get(method, ())

    async def main():
        socket.close()
        if CLOSED[method]:
            with pytest.raises(zmq.ZMQError) as error:
                getattr(socket, method)(*arguments)
        else:
            future = getattr(socket, method)(*arguments)
            with pytest.raises(zmq.ZMQError) as error:
                await future
        assert error.value.errno == (zmq.ENOTSUP if method == "poll" else zmq.ENOTSOCK)

    aio.run(main())


@pytest.mark.differs("it waits for ever")
def test_receive_on_a_socket_that_only_sends(aio):
    socket = aio.aio_socket(zmq.PUSH)

    async def main():
        with pytest.raises(zmq.ZMQError) as error:
            await socket.recv()
        assert error.value.errno == zmq.ENOTSUP

    aio.run(main())


def test_req_and_rep_out_of_turn(aio):
    """A receive waits, a send fails."""
    request, reply = aio.aio_socket(zmq.REQ), aio.aio_socket(zmq.REP)
    address = aio.address()
    reply.bind(address)
    request.connect(address)

    async def main():
        with pytest.raises(zmq.ZMQError) as error:
            await reply.send(b"too early")
        assert error.value.errno == zmq.EFSM
        answer = start(ask())
        await iterations()
        assert await reply.recv() == b"question"
        second = start(wait())
        await iterations()
        assert not second.done()
        await reply.send(b"answer")
        assert await answer == b"answer"
        await request.send(b"another")
        assert await second == b"another"

    async def ask():
        waiting = request.recv()
        await request.send(b"question")
        return await waiting

    async def wait():
        return await reply.recv()

    aio.run(main())


@pytest.mark.parametrize(
    ("message", "error"), [("text", TypeError), ([b"a", "b"], TypeError), ([], IndexError)]
)
def test_what_cannot_be_sent(aio, pair, message, error):
    socket, peer = pair

    async def main():
        with pytest.raises(error):
            await socket.send_multipart(message)
        await socket.send(b"next")
        assert peer.recv_multipart() == [b"next"]

    aio.run(main())


# -- loops -----------------------------------------------------------------------------------------


def test_one_loop_after_another(aio, pair):
    """What waits in the loop that was used before is cancelled."""
    socket, peer = pair
    left = []

    async def first():
        peer.send(b"1")
        assert await socket.recv() == b"1"
        left.append(socket.recv())
        left.append(socket.poll())
        await iterations()

    async def second():
        peer.send(b"2")
        assert await socket.recv() == b"2"
        waiting = start(asyncio.wait_for(socket.recv(), 10))
        await iterations()
        peer.send(b"3")
        assert await waiting == b"3"

    aio.run(first())
    other, _ = aio.new_loop()
    if aio.reference:
        left[0].cancel(), left[1].cancel()
    other.run_until_complete(second())
    other.close()
    assert all(future.cancelled() for future in left)


def test_two_loops_in_two_threads(aio):
    first, second = aio.aio_socket(zmq.PAIR), aio.aio_socket(zmq.PAIR)
    address = aio.address()
    first.bind(address)
    second.connect(address)
    other, _ = aio.new_loop()

    async def echo():
        for _ in range(100):
            await second.send(await second.recv())

    async def ask():
        for i in range(100):
            await first.send(b"%d" % i)
            assert await first.recv() == b"%d" % i

    thread = threading.Thread(target=other.run_until_complete, args=[echo()])
    thread.start()
    aio.run(ask())
    thread.join()
    other.close()


@pytest.mark.differs("its futures need a loop that runs")
def test_sent_outside_of_a_loop(aio, pair):
    """What need not wait needs no running loop."""
    socket, peer = pair
    asyncio.set_event_loop(aio.loop)
    try:
        peer.send(b"there")
        assert socket.send(b"x").done()
        assert socket.recv(zmq.NOBLOCK).result() == b"there"
        assert peer.recv() == b"x"
        with pytest.warns(RuntimeWarning, match="No running event loop"):
            waiting = socket.recv()
        peer.send(b"later")
        assert aio.run(_awaited(waiting)) == b"later"
    finally:
        asyncio.set_event_loop(None)


def test_without_any_loop(aio, pair):
    socket, _ = pair

    def main(raised):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                socket.recv()
        except RuntimeError as error:
            raised.append(error)

    raised = []
    thread = threading.Thread(target=main, args=[raised])
    thread.start()
    thread.join()
    assert len(raised) == 1


async def _awaited(future):
    return await future


@pytest.mark.differs("its frames are counted by nobody")
def test_stats(aio, pair):
    socket, peer = pair

    async def main():
        await socket.send_multipart([b"ab", b"c"])
        peer.send_multipart([b"d", b"e"])
        await socket.recv()
        await socket.recv()
        stats = socket.stats()
        assert (stats.messages_in, stats.bytes_in) == (1, 2)
        assert (stats.messages_out, stats.bytes_out) == (1, 3)

    aio.run(main())
