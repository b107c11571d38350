"""Modules that tests import."""

import sys
import sysconfig

import pytest

# makes pytest show the values that their asserts compare
for name in ("backends", "children", "commands", "loops", "tornado_programs", "traffic"):
    pytest.register_assert_rewrite(f"{__name__}.{name}")

# whether this Python can run without the GIL
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))

# CPython 3.13t never frees classes and functions once a thread was started, nor what they refer to.
# So it clears modules before it deletes contexts. pyzmq then does not know that the program ends.
KEEPS_CLASSES = FREE_THREADED and sys.version_info < (3, 14)

TIMEOUT = 20  # seconds: long, for loaded machines; no test that passes waits for it
