"""Messages as lines of text, in which nothing controls a terminal."""

from __future__ import annotations

import re

_UNSAFE = re.compile(r"[^ -\[\]-~]")  # matches all but printable ASCII, and matches the backslash
_SHORT = {"\t": "\\t", "\n": "\\n", "\r": "\\r", "\\": "\\\\"}


def text(frame: bytes) -> str:
    r"""UTF-8, with escapes for other bytes (\xff), control characters (\x1b, \u202e) and "\"."""
    return _UNSAFE.sub(_escaped, frame.decode("utf-8", "surrogateescape"))


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    if character in _SHORT:
        return _SHORT[character]
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x80:
        return f"\\x{code:02x}"
    if 0xDC80 <= code <= 0xDCFF:  # the surrogate of a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def line(message: list[bytes], how: str) -> str:
    """One line for a message: its frames, with tabs between them."""
    shown = map(text, message) if how == "text" else (frame.hex() for frame in message)
    return "\t".join(shown) + "\n"
