@cython.final
cdef class SocketStream(Stream):
    cdef object owner           # a weak reference to the asynchronous socket; None: there is none

    cdef int end_all(self) except -1
