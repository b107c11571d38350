@cython.final
cdef class CloseUnowned:
    """The callback of a weak reference to a socket that a stream has left open."""
    cdef void **handle          # of the socket: borrowed
    cdef bint *closed           # likewise
    cdef int pid                # the process whose socket it is
