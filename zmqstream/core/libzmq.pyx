# libzmq's functions.
#
# A socket handle means something only to the library that made it, so nothing is linked against
# and no second libzmq is ever loaded: the functions are looked up, once, in the library behind
# pyzmq's own extension module. pyzmq's wheels contain it under a hashed name, so it cannot be
# looked up by its own name.


cdef LibZmq lib


cdef void *_function(void *library, const char *name, str where) except NULL:
    cdef void *pointer = zs_library_symbol(library, name)
    if pointer is NULL:
        raise ImportError(
            f"zmqstream: found no {name.decode()}() in the libzmq behind {where}. It needs pyzmq's "
            "Cython backend with a shared libzmq 4.2 or newer, as in pyzmq's wheels: "
            "pip install --force-reinstall --only-binary pyzmq pyzmq"
        )
    return pointer


cdef tuple _bind_libzmq(str path):
    cdef bytes encoded = path.encode("utf-8", "surrogateescape")
    cdef void *library = zs_library_open(encoded)
    cdef int major = 0, minor = 0, patch = 0
    if library is NULL:
        raise ImportError(
            f"zmqstream: pyzmq's extension module {path} is not a loaded library of this process, "
            "so its libzmq cannot be found. It needs pyzmq >= 27 from a wheel: "
            "pip install --force-reinstall --only-binary pyzmq pyzmq"
        )
    lib.version = <void (*)(int *, int *, int *) noexcept nogil> _function(library, b"zmq_version", path)
    lib.version(&major, &minor, &patch)
    if major != 4 or minor < 2:
        raise ImportError(
            f"zmqstream: pyzmq runs on libzmq {major}.{minor}.{patch}, which is unknown to it. It "
            "needs libzmq 4.2 or a newer 4.x: pip install --upgrade pyzmq"
        )
    lib.last_error = <int (*)() noexcept nogil> _function(library, b"zmq_errno", path)
    lib.getsockopt = <int (*)(void *, int, void *, size_t *) noexcept nogil> _function(
        library, b"zmq_getsockopt", path)
    lib.setsockopt = <int (*)(void *, int, const void *, size_t) noexcept nogil> _function(
        library, b"zmq_setsockopt", path)
    lib.close = <int (*)(void *) noexcept nogil> _function(library, b"zmq_close", path)
    lib.msg_init = <int (*)(zmq_msg_t *) noexcept nogil> _function(library, b"zmq_msg_init", path)
    lib.msg_init_size = <int (*)(zmq_msg_t *, size_t) noexcept nogil> _function(
        library, b"zmq_msg_init_size", path)
    lib.msg_close = <int (*)(zmq_msg_t *) noexcept nogil> _function(library, b"zmq_msg_close", path)
    lib.msg_move = <int (*)(zmq_msg_t *, zmq_msg_t *) noexcept nogil> _function(
        library, b"zmq_msg_move", path)
    lib.msg_copy = <int (*)(zmq_msg_t *, zmq_msg_t *) noexcept nogil> _function(
        library, b"zmq_msg_copy", path)
    lib.msg_data = <void *(*)(zmq_msg_t *) noexcept nogil> _function(library, b"zmq_msg_data", path)
    lib.msg_size = <size_t (*)(zmq_msg_t *) noexcept nogil> _function(library, b"zmq_msg_size", path)
    lib.msg_more = <int (*)(zmq_msg_t *) noexcept nogil> _function(library, b"zmq_msg_more", path)
    lib.msg_recv = <int (*)(zmq_msg_t *, void *, int) noexcept nogil> _function(
        library, b"zmq_msg_recv", path)
    lib.msg_send = <int (*)(zmq_msg_t *, void *, int) noexcept nogil> _function(
        library, b"zmq_msg_send", path)
    return major, minor, patch


libzmq_version = _bind_libzmq(_pyzmq_extension.__file__)


def libzmq_functions():
    """The addresses of the libzmq functions in use, by name without its zmq_ prefix.

    For programs in C that want to call the same library, as this project's benchmarks do.
    """
    return {
        "msg_init": <size_t> lib.msg_init,
        "msg_init_size": <size_t> lib.msg_init_size,
        "msg_close": <size_t> lib.msg_close,
        "msg_data": <size_t> lib.msg_data,
        "msg_size": <size_t> lib.msg_size,
        "msg_more": <size_t> lib.msg_more,
        "msg_recv": <size_t> lib.msg_recv,
        "msg_send": <size_t> lib.msg_send,
        "getsockopt": <size_t> lib.getsockopt,
        "last_error": <size_t> lib.last_error,
    }
