"""Streams behave like the model under random actions.

    ZMQSTREAM_MODEL=long pytest tests/model      2,000 examples on each backend and more steps

A failing example is printed in the fewest steps that hypothesis could find, with the results of
each step. tools/soak.py does the same without hypothesis, for millions of steps.
"""

import functools
import os
import random

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from model import actions
from model.world import World

LONG = os.environ.get("ZMQSTREAM_MODEL") == "long"


class Draw(actions.Pick):
    """Lets hypothesis choose."""

    def __init__(self, draw):
        self.draw = draw

    def integer(self, least, most):
        return self.draw(st.integers(least, most))

    def choice(self, options):
        return self.draw(st.sampled_from(options))

    def chance(self, one_in):
        return self.integer(1, one_in) == one_in


@st.composite
def drawn(draw, kind):
    return kind.draw(Draw(draw))


def rule_of(kind):
    @rule(action=drawn(kind))
    def do(self, action):
        self.world.do(action)

    do.__name__ = kind.__name__.lower()
    return do


class Streams(RuleBasedStateMachine):
    """Opens a link, and then does any actions."""

    def __init__(self, backend_class, name):
        super().__init__()
        self.world = World(backend_class(name))

    @initialize(action=drawn(actions.Open))
    def begin(self, action):
        self.world.do(action)

    for kind in actions.EVERYWHERE:
        locals()[kind.__name__.lower()] = rule_of(kind)
    del kind

    def teardown(self):
        self.world.end()


def test_streams_do_what_the_model_says(backend):
    examples = 2000 if LONG else 100
    machine = functools.partial(Streams, type(backend), backend.name)
    # pytest-randomly has seeded `random`, so its seed repeats the examples
    hypothesis.seed(random.getrandbits(64))(machine)
    settings = hypothesis.settings(
        max_examples=examples,
        stateful_step_count=100 if LONG else 30,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    run_state_machine_as_test(machine, settings=settings)
