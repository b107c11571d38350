# Which sources are ready, and which source watches a descriptor. Both only borrow the sources.


@cython.final
cdef class ReadyList:
    """Sources in the order in which they became ready: a doubly linked list through themselves."""

    def __iter__(self):
        cdef Source source
        cdef PyObject *each = self.first
        while each is not NULL:
            source = <Source> each
            each = source.ready_next
            yield source

    cpdef int append(self, Source source) except -1:
        """`source` must be on no list."""
        source.listed = <PyObject *> self
        source.ready_next = NULL
        source.ready_prev = self.last
        if self.last is NULL:
            self.first = <PyObject *> source
        else:
            (<Source> self.last).ready_next = <PyObject *> source
        self.last = <PyObject *> source
        return 0

    cpdef int remove(self, Source source) except -1:
        """`source` must be on this list."""
        if source.ready_prev is NULL:
            self.first = source.ready_next
        else:
            (<Source> source.ready_prev).ready_next = source.ready_next
        if source.ready_next is NULL:
            self.last = source.ready_prev
        else:
            (<Source> source.ready_next).ready_prev = source.ready_prev
        source.listed = source.ready_prev = source.ready_next = NULL
        return 0


@cython.final
cdef class FdTable:
    """The source of each watched descriptor."""

    def __dealloc__(self):
        PyMem_Free(self.sources)

    cpdef int put(self, int fd, Source source) except -1:
        cdef int size = self.size or 64
        cdef PyObject **sources
        if fd >= self.size:
            while size <= fd:
                size *= 2
            sources = <PyObject **> PyMem_Realloc(self.sources, size * sizeof(PyObject *))
            if sources is NULL:
                raise MemoryError(f"no memory for {size} descriptors")
            memset(sources + self.size, 0, (size - self.size) * sizeof(PyObject *))
            self.sources = sources
            self.size = size
        self.sources[fd] = <PyObject *> source
        return 0

    cpdef int remove(self, int fd, Source source) except -1:
        """Forget `source` there, unless another has taken its place."""
        if 0 <= fd < self.size and self.sources[fd] is <PyObject *> source:
            self.sources[fd] = NULL
        return 0

    cdef inline PyObject *find(self, int fd) noexcept:
        return self.sources[fd] if 0 <= fd < self.size else NULL

    cpdef Source get(self, int fd):
        """The source that watches `fd`, or None."""
        cdef PyObject *found = self.find(fd)
        return None if found is NULL else <Source> found
