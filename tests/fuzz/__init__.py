"""Fuzzing: what arrives on the wire, and what callers pass to send.

target.py turns bytes into either, and checks what comes of it; test_fuzz.py gives it bytes of
hypothesis, tools/fuzz.py those of atheris (docs/testing.md).
"""
