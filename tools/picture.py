#!/usr/bin/env python3
"""Draw the picture of the README from the figures of a benchmark run.

    python -m zmqstream bench --json docs/performance/figures.json
    python tools/picture.py                      # writes docs/performance/picture.svg

The picture has its own background. A browser in dark mode shows its dark colours.
"""

from __future__ import annotations

import json
from pathlib import Path
from xml.sax.saxutils import escape

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "performance"
WORK = "tcp flood 1 x 16 B"
ROWS = {  # the name in the file, the name in the picture, and the class of the bar
    "C": ("a loop in C", "limit"),
    "zmqstream": ("zmqstream", "ours"),
    "zmqstream on asyncio": ("zmqstream on asyncio", "ours"),
    "pyomq blocking": ("pyomq, blocking calls", "other"),
    "pyzmq blocking": ("pyzmq, blocking calls", "other"),
    "aiozmq": ("aiozmq", "other"),
    "zmq.asyncio": ("zmq.asyncio", "other"),
    "pyzmq ZMQStream": ("pyzmq's ZMQStream", "other"),
}
WIDTH, LEFT, RIGHT, TOP, STEP, BAR = 760, 216, 104, 62, 29, 18

STYLE = """
    text { font: 14px system-ui, -apple-system, "Segoe UI", Arial, sans-serif; fill: #1f2933; }
    .title { font-weight: 600; font-size: 16px; }
    .small { font-size: 12px; fill: #52606d; }
    .page { fill: #ffffff; stroke: #d5dbe1; }
    .ours { fill: #c92a2a; } .other { fill: #7b8794; } .limit { fill: #c3cbd3; }
    text.ours { fill: #b02525; font-weight: 600; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e4e7eb; }
      .small { fill: #9fb0c0; }
      .page { fill: #161b22; stroke: #30363d; }
      .ours { fill: #ff6b6b; } .other { fill: #8b97a5; } .limit { fill: #4a5561; }
      text.ours { fill: #ff8787; }
    }
"""


def rate(found: dict) -> int:
    """Messages a second, to three digits."""
    return int(float(f"{1e9 / found['median']:.3g}"))


def picture(document: dict) -> str:
    work = next(work for work in document["works"] if work["name"] == WORK)
    rows = [
        (label, kind, rate(work["implementations"][name]))
        for name, (label, kind) in ROWS.items()
        if name in work["implementations"]
    ]
    height = TOP + STEP * len(rows) + 34
    scale = (WIDTH - LEFT - RIGHT) / max(per_second for _, _, per_second in rows)
    machine = document["environment"]
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
        f' width="{WIDTH}" height="{height}" role="img">',
        "  <title>Messages received a second, over TCP</title>",
        f"  <style>{STYLE}  </style>",
        f'  <rect class="page" x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
        '  <text class="title" x="18" y="28">Messages received a second, over TCP</text>',
        '  <text class="small" x="18" y="47">'
        "16 bytes a message, one callback or call for each. Longer is better.</text>",
    ]
    for number, (label, kind, per_second) in enumerate(rows):
        y = TOP + STEP * number
        width = max(per_second * scale, 1.5)
        style = ' class="ours"' if kind == "ours" else ""
        lines += [
            f'  <text{style} x="{LEFT - 10}" y="{y + 14}" text-anchor="end">{escape(label)}</text>',
            f'  <rect class="{kind}" x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}"/>',
            f'  <text{style} x="{LEFT + width + 8:.1f}" y="{y + 14}">{per_second:,}</text>',
        ]
    versions = (
        f"Linux, {machine['processors']} processors, Python {machine['python']}, "
        f"pyzmq {machine['packages']['pyzmq']}; median of five rounds, taken in turns"
    )
    lines += [f'  <text class="small" x="18" y="{height - 14}">{versions}</text>', "</svg>", ""]
    return "\n".join(lines)


def main() -> None:
    document = json.loads((FOLDER / "figures.json").read_text(encoding="utf-8"))
    (FOLDER / "picture.svg").write_text(picture(document), encoding="utf-8")


if __name__ == "__main__":
    main()
