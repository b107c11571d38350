cdef class Sender(Flow):
    """What is given to be sent, on its way into the queue."""
    cdef bint own_send          # the class does not override send_multipart()
    cdef list parts             # frames sent with SNDMORE, until the last one comes; or None
    cdef list part_extras       # their SendExtras

    cdef int queue_message(
        self, object msg, int flags, bint copy, bint track, object callback, object timeout) except -1
    cdef int enqueue_frames(self, object frames, int flags, SendExtra extra) except -1
    cdef int enqueue_item(self, object frames, Py_ssize_t size, int flags, SendExtra extra) except -1
    cdef int enqueue_parts(self, object frames, int flags, SendExtra extra) except -1
