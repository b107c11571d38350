#!/usr/bin/env python3
"""A relay, and a web page with live figures of its streams.

    pip install tornado
    python dashboard.py --port 8888
    xdg-open http://127.0.0.1:8888

Messages come in at a PULL socket and go out at a PUB socket. The page gets ZMQStream.stats() and
IOLoop.stats() over a WebSocket, every --interval seconds. Tornado and the streams share zmqstream's
loop. A browser that is too slow misses figures. Figures are not queued for it.
"""

from __future__ import annotations

import argparse
import json
import sys

import tornado.httpserver
import tornado.netutil
import tornado.web
import tornado.websocket
import zmq
from ending import interrupted

import zmqstream

PAGE = """\
<!doctype html>
<meta charset="utf-8">
<title>zmqstream</title>
<style>
  body { font: 15px sans-serif; margin: 2em; color: #222; background: #fff; }
  td, th { padding: .3em 1em; text-align: right; font-variant-numeric: tabular-nums; }
  th:first-child { text-align: left; }
  tr:nth-child(even) { background: #f0f4f8; }
  #state { color: #777; }
</style>
<h1>Streams</h1>
<table id="streams"></table>
<p id="loop"></p>
<p id="state">connecting</p>
<script>
  const table = document.getElementById("streams");
  function row(kind, cells) {
    const tr = document.createElement("tr");
    cells.forEach((text, i) => {
      const cell = document.createElement(i && kind == "td" ? "td" : "th");
      cell.textContent = text;
      tr.append(cell);
    });
    return tr;
  }
  let socket;
  function connect() {
    socket = new WebSocket(`ws://${location.host}/stats`);
    socket.onmessage = (event) => {
      const figures = JSON.parse(event.data);
      const names = Object.keys(figures.streams);
      const fields = Object.keys(figures.streams[names[0]]);
      table.replaceChildren(row("th", ["", ...names]), ...fields.map((field) =>
        row("td", [field, ...names.map((name) => figures.streams[name][field] ?? "")])));
      document.getElementById("loop").textContent = "Loop: " + Object.entries(figures.loop)
        .map(([field, value]) => `${field} ${value}`).join(", ");
      document.getElementById("state").textContent = "live";
    };
    socket.onclose = () => {
      document.getElementById("state").textContent = "not connected; trying again";
      setTimeout(connect, 1000);
    };
  }
  connect();
</script>
"""


class Page(tornado.web.RequestHandler):
    def get(self):
        self.set_header("Cache-Control", "no-store")
        self.write(PAGE)


class Live(tornado.websocket.WebSocketHandler):
    """Sends figures to one browser until it disconnects."""

    def initialize(self, streams, interval):
        self.streams = streams
        self.timer = zmqstream.PeriodicCallback(self.report, interval * 1000)  # milliseconds

    async def open(self):
        self.timer.start()
        await self.report()

    async def report(self):  # a PeriodicCallback waits for its coroutine
        try:
            await self.write_message(json.dumps(figures_of(self.streams)))
        except tornado.websocket.WebSocketClosedError:
            self.timer.stop()

    def on_close(self):
        self.timer.stop()


def figures_of(streams):
    return {
        "streams": {name: stream.stats()._asdict() for name, stream in streams.items()},
        "loop": zmqstream.IOLoop.current().stats()._asdict(),
    }


async def relay(options):
    with zmq.Context() as context:
        source = zmqstream.ZMQStream(context.socket(zmq.PULL))
        target = zmqstream.ZMQStream(context.socket(zmq.PUB))
        source.on_recv(target.send_multipart)
        source.set_callback_timing(True)
        for stream, address in ((source, options.source), (target, options.target)):
            stream.bind(address)
            print("listening on", stream.socket.last_endpoint.decode(), flush=True)

        live = {"streams": {"source": source, "target": target}, "interval": options.interval}
        web = tornado.httpserver.HTTPServer(
            tornado.web.Application([("/", Page), ("/stats", Live, live)])
        )
        sockets = tornado.netutil.bind_sockets(options.port, "127.0.0.1")
        web.add_sockets(sockets)
        print(f"listening on http://127.0.0.1:{sockets[0].getsockname()[1]}", flush=True)
        await interrupted()
        web.stop()
        await web.close_all_connections()
        source.close()
        target.close(linger=0)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", default="tcp://127.0.0.1:5580", help="where messages come in")
    parser.add_argument("--target", default="tcp://127.0.0.1:5581", help="where they go out")
    parser.add_argument("--port", type=int, default=8888, help="port of the page on this machine")
    parser.add_argument("--interval", type=float, default=1, help="seconds between figures")
    zmqstream.run(relay(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
