@cython.final
cdef class Sweeper:
    cdef public int64_t epoch   # grows whenever user code ran, which may have used raw sockets
    cdef readonly int64_t swept_epoch  # the epoch up to which every armed source is known to be right
    cdef int64_t begun_epoch    # the epoch when the sweep under way began
    cdef int64_t swept_at       # when the last sweep ended, ns
    cdef readonly Py_ssize_t cursor  # sources that the sweep under way has still to see; 0: none is
    cdef readonly list touched  # sources whose raw socket was handed out since the last sweep
    cdef readonly int64_t sweeps
    cdef readonly int64_t repaired  # events that were found

    cpdef double wait(self, list sources, int64_t now) noexcept
    cpdef bint overdue(self, int64_t now) noexcept
    cpdef int sweep(self, list sources, Py_ssize_t most) except -1
    cpdef int sweep_touched(self) except -1
    cpdef int forget(self, Source source) except -1
    cdef int recheck(self, Source source) except -1
