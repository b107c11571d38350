"""Builds the one extension, zmqstream._core; everything else is in pyproject.toml."""

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

# As most Pythons are built, and so their extensions; some distributions say -O2. CFLAGS=-O1 wins.
if sys.platform != "win32" and not any(
    flag.startswith("-O") for flag in os.environ.get("CFLAGS", "").split()
):
    compile_args += ["-O3"]

# Debug information is two thirds of the file, has the names of the build's folders in it, and is
# of use to nobody who did not ask for it: CFLAGS=-g keeps it, and the symbols.
if sys.platform.startswith("linux") and "-g" not in os.environ.get("CFLAGS", "").split():
    compile_args += ["-g0"]
    link_args += ["-Wl,--strip-all"]

# debug counters that the tests balance: see docs/testing.md
macros: list[tuple[str, str | None]] = []
if "ZMQSTREAM_COUNTERS" in os.environ:
    macros += [("ZMQSTREAM_COUNTERS", None)]

core = Extension(
    "zmqstream._core",
    [str(HERE / "_core.pyx")],
    # our zmq.h first, so that none of the system's is ever needed or found
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
