#!/usr/bin/env python3
"""A relay that exports its figures for Prometheus.

    pip install prometheus_client
    python metrics.py --port 9100
    curl http://127.0.0.1:9100/metrics

Messages come in at a PULL socket and go out at a PUSH socket. Copy StreamCollector to your program.
It exports ZMQStream.stats() of any number of streams. Prometheus asks in a thread of its own, and
the loop's thread reads the figures. If the loop is blocked, the scrape fails, which is an alert
too.
"""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import sys

import prometheus_client
import zmq
from ending import interrupted
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

import zmqstream

COUNTERS = {
    "messages_in": "Messages received.",
    "bytes_in": "Bytes received.",
    "messages_out": "Messages handed to libzmq.",
    "bytes_out": "Bytes handed to libzmq.",
    "errors": "Errors of the socket.",
    "dropped": "Messages dropped by the limits of the queue.",
    "expired": "Messages that libzmq did not accept in time.",
    "turns": "Turns that the loop gave to the stream.",
    "turns_cut": "Turns that reached a limit with work left.",
    "repaired": "Events that other use of the socket had swallowed.",
}
GAUGES = {
    "queued": "Messages that wait in the stream.",
    "queued_bytes": "Bytes that wait in the stream.",
    "peak_queued": "The largest number of messages that waited.",
}


class StreamCollector(Collector):
    """Exports statistics of streams by name. Create it in their loop; use it in any thread."""

    def __init__(self, streams, timeout=5.0):
        self.loop = asyncio.get_running_loop()
        self.streams = streams
        self.timeout = timeout  # seconds

    def describe(self):
        return []  # the registration, in the loop, collects nothing

    def collect(self):
        taken = concurrent.futures.Future()

        def take():
            taken.set_result({name: stream.stats() for name, stream in self.streams.items()})

        self.loop.call_soon_threadsafe(take)
        stats = taken.result(self.timeout)
        kinds = ((CounterMetricFamily, COUNTERS), (GaugeMetricFamily, GAUGES))
        for family, metrics in kinds:
            for field, text in metrics.items():
                metric = family(f"zmqstream_{field}", text, labels=["stream"])
                for name, figures in stats.items():
                    metric.add_metric([name], getattr(figures, field))
                yield metric


async def relay(options):
    with zmq.Context() as context:
        source = zmqstream.ZMQStream(context.socket(zmq.PULL))
        target = zmqstream.ZMQStream(context.socket(zmq.PUSH))
        source.on_recv(target.send_multipart)
        for stream, address in ((source, options.source), (target, options.target)):
            stream.bind(address)
            print("listening on", stream.socket.last_endpoint.decode(), flush=True)

        registry = prometheus_client.CollectorRegistry()
        registry.register(StreamCollector({"source": source, "target": target}))
        server, thread = prometheus_client.start_http_server(
            options.port, "127.0.0.1", registry=registry
        )
        print(f"listening on http://127.0.0.1:{server.server_port}/metrics", flush=True)
        await interrupted()
        # not in the loop's thread: a running scrape waits for the loop
        await asyncio.get_running_loop().run_in_executor(None, server.shutdown)
        server.server_close()
        thread.join()
        source.close()
        target.close(linger=1000)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", default="tcp://127.0.0.1:5578", help="where messages come in")
    parser.add_argument("--target", default="tcp://127.0.0.1:5579", help="where they go out")
    parser.add_argument("--port", type=int, default=9100, help="port of /metrics on this machine")
    zmqstream.run(relay(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
