"""What tests import, and is no test."""

import pytest

# pytest shows what their asserts compare, as it does for tests
for name in ("backends", "children", "commands", "loops", "tornado_programs", "traffic"):
    pytest.register_assert_rewrite(f"{__name__}.{name}")

TIMEOUT = 20  # seconds: generous, for loaded machines; nothing waits so long when all is well
