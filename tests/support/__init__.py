"""Modules that tests import."""

import pytest

# makes pytest show the values that their asserts compare
for name in ("backends", "children", "commands", "loops", "tornado_programs", "traffic"):
    pytest.register_assert_rewrite(f"{__name__}.{name}")

TIMEOUT = 20  # seconds: long, for loaded machines; no test that passes waits for it
