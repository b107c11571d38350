ctypedef struct LibUv:          # functions of the libuv behind uvloop; a loop or a handle is a void *
    unsigned int (*version)() noexcept nogil
    size_t (*handle_size)(int) noexcept nogil
    int (*backend_fd)(void *) noexcept nogil
    int (*backend_timeout)(void *) noexcept nogil
    void (*update_time)(void *) noexcept nogil
    void (*unref)(void *) noexcept nogil
    void (*close)(void *, void (*)(void *) noexcept nogil) noexcept nogil
    int (*prepare_init)(void *, void *) noexcept nogil
    int (*prepare_start)(void *, void (*)(void *) noexcept nogil) noexcept nogil
    int (*idle_init)(void *, void *) noexcept nogil
    int (*idle_start)(void *, void (*)(void *) noexcept nogil) noexcept nogil
    int (*idle_stop)(void *) noexcept nogil


@cython.final
cdef class UvHook:
    """Runs a reactor before each poll of a loop of uvloop's."""
    cdef void *uv_loop
    cdef object loop
    cdef OwnLoopReactor reactor  # None: it has no sources
    cdef object close_loop      # what loop.close was before it was ours
    cdef void **prepare         # what runs the reactor; NULL: not hooked
    cdef void *idle             # active in each of libuv's polls, so that these never sleep

    cdef int attach(self, OwnLoopReactor reactor) except -1
    cdef int stop(self) except -1
    cdef int stop_if_unused(self) except -1
    cdef int64_t deadline(self, int64_t now) noexcept
    cdef int run(self) noexcept
    cdef int report(self, object error) except -1
