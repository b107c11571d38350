# How the core was built, for bug reports.

cdef extern from "build.h":
    const char *zs_compiler "ZS_COMPILER"
    bint zs_optimised "ZS_OPTIMISED"
    bint zs_assertions "ZS_ASSERTIONS"
    bint zs_sanitized "ZS_SANITIZED"
    const unsigned int cython_hex_version "CYTHON_HEX_VERSION"
    const char *python_version "PY_VERSION"


def build():
    """How this module was built: what compiled it, against which headers, with which extras."""
    return {
        "compiler": zs_compiler.decode(),
        "cython": ".".join([str(cython_hex_version >> shift & 0xFF) for shift in (24, 16, 8)]),
        "python": python_version.decode(),
        "optimised": zs_optimised,
        "assertions": zs_assertions,
        "counters": zs_counting,
        "address sanitizer": zs_sanitized,
    }
