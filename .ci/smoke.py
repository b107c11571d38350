"""What a user does first, with the installed package: an echo over tcp, on two loops."""

import asyncio

import zmq

import zmqstream


async def main():
    with zmq.Context() as context, context.socket(zmq.DEALER) as client:
        server = context.socket(zmq.ROUTER)
        port = server.bind_to_random_port("tcp://127.0.0.1")
        client.connect(f"tcp://127.0.0.1:{port}")
        stream = zmqstream.ZMQStream(server)
        stream.on_recv(stream.send_multipart)
        answers = zmqstream.ZMQStream(client)
        done = asyncio.get_running_loop().create_future()
        answers.on_recv(done.set_result)
        answers.send_multipart([b"hello", b"world"])
        assert await asyncio.wait_for(done, 10) == [b"hello", b"world"]
        answers.close()
        stream.close()


zmqstream.run(main())
asyncio.run(main())
print(f"zmqstream {zmqstream.__version__} works, in {zmqstream.__file__}")
