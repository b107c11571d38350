@cython.final
cdef class ReadyList:
    cdef PyObject *first        # sources, borrowed: linked through themselves
    cdef PyObject *last

    cpdef int append(self, Source source) except -1
    cpdef int remove(self, Source source) except -1


@cython.final
cdef class FdTable:
    cdef PyObject **sources     # by descriptor, borrowed; NULL: none
    cdef int size

    cpdef int put(self, int fd, Source source) except -1
    cpdef int remove(self, int fd, Source source) except -1
    cdef PyObject *find(self, int fd) noexcept
    cpdef Source get(self, int fd)
