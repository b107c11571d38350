"""Builds the extension zmqstream._core. Everything else is in pyproject.toml."""

import os
import sys
from pathlib import Path

import zmq
from Cython.Build import cythonize
from setuptools import Extension, setup

HERE = Path("zmqstream")

# Warnings are errors in CI (ZMQSTREAM_STRICT=1), not on a user's unknown compiler.
strict = os.environ.get("ZMQSTREAM_STRICT") == "1"
compile_args = []
link_args = []
if strict and sys.platform != "win32":
    compile_args += [
        "-Wall",
        "-Wextra",
        "-Werror",
        "-Wno-unused-parameter",  # generated code: METH_NOARGS functions, unused self
        "-Wno-missing-field-initializers",  # generated code: type objects
        "-Wno-cast-function-type",  # generated code: METH_FASTCALL tables
    ]

# Most Pythons build extensions with -O3, some distributions with -O2. An -O in CFLAGS has priority.
if sys.platform != "win32" and not any(
    flag.startswith("-O") for flag in os.environ.get("CFLAGS", "").split()
):
    compile_args += ["-O3"]

# Debug information would be two thirds of the file, and contain the paths of the build's folders.
# CFLAGS=-g keeps it and the symbols.
if sys.platform.startswith("linux") and "-g" not in os.environ.get("CFLAGS", "").split():
    compile_args += ["-g0"]
    link_args += ["-Wl,--strip-all"]

# Debug counters for the tests, see docs/testing.md.
macros: list[tuple[str, str | None]] = []
if "ZMQSTREAM_COUNTERS" in os.environ:
    macros += [("ZMQSTREAM_COUNTERS", None)]

core = Extension(
    "zmqstream._core",
    [str(HERE / "_core.pyx")],
    # The package's own zmq.h comes first, so that no zmq.h of the system is used.
    include_dirs=[str(HERE / "core" / "include"), *zmq.get_includes()],
    depends=[str(p) for p in sorted(HERE.glob("core/**/*.[ph]*"))] + [str(HERE / "_core.pxd")],
    extra_compile_args=compile_args,
    extra_link_args=link_args,
    define_macros=macros,
    libraries=["dl"] if sys.platform.startswith("linux") else [],
)

setup(
    ext_modules=cythonize(
        [core],
        emit_linenums="ZMQSTREAM_LINENUMS" in os.environ,  # .pyx lines in sanitizer reports
        annotate="ZMQSTREAM_ANNOTATE" in os.environ,
    )
)
