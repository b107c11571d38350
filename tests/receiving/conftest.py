import pytest
import zmq


@pytest.fixture(params=["alone", "with many"])
def others(backend, request):
    """Idle streams beside: more than the eight that are swept before each sleep."""
    if request.param == "alone":
        return []
    streams = []
    for _ in range(100):
        stream = backend.stream(backend.socket(zmq.PULL))
        stream.on_recv(print)
        streams.append(stream)
    return streams
