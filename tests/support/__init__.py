"""Modules that tests import."""

import sysconfig

import pytest

# makes pytest show the values that their asserts compare
for name in ("backends", "children", "commands", "loops", "tornado_programs", "traffic"):
    pytest.register_assert_rewrite(f"{__name__}.{name}")

# whether this Python can run without the GIL
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))

TIMEOUT = 20  # seconds: long, for loaded machines; no test that passes waits for it
