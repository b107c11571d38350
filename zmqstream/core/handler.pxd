@cython.final
cdef class SocketHandler(Source):
    """A ZeroMQ socket in IOLoop.add_handler(): level-triggered, as for any other descriptor."""
    cdef object py_socket
    cdef Callback callback      # called as callback(socket, events)
    cdef int mask               # POLLIN, POLLOUT

    cdef int check_thread(self) except -1
