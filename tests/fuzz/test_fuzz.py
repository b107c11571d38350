"""Fuzzing: any bytes may arrive on the wire, and anything may be passed to send.

A short run with bytes of hypothesis; tools/fuzz.py gives the same targets those of a fuzzer.
"""

import asyncio

import hypothesis
import pytest
from hypothesis import strategies as st

import zmqstream
from fuzz.target import Calls, Wire

EXAMPLES = {Wire: 300, Calls: 1000}


@pytest.fixture(params=[zmqstream.EventLoop, asyncio.SelectorEventLoop], ids=["own", "asyncio"])
def loop(request):
    return request.param()


@pytest.mark.parametrize("target", [Wire, Calls])
def test_any_bytes(loop, target):
    with target(loop) as run:

        @hypothesis.settings(max_examples=EXAMPLES[target], deadline=None, database=None)
        @hypothesis.given(st.binary(max_size=400))
        def examples(data):
            run(data)

        examples()
