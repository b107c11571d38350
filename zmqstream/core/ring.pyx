# What waits to be sent: a ring of items, oldest first.
#
# An item owns its frames and costs 24 bytes beside them. What the few messages carry that have a
# callback, a tracker or a deadline stands in a deque beside the ring, where the garbage collector
# sees it. Such a message can be withdrawn from the middle: that leaves an item without frames, a
# hole, which goes when it has become the oldest. So if there is an oldest, it is a message. Behind
# one that nobody takes holes would pile up: when most of the ring is holes, it is closed up.

from cpython.mem cimport PyMem_Realloc

cdef enum:
    SMALLEST_RING = 8
    KEPT_RING = 1024  # a larger ring is given back when it has run empty
    FEW_HOLES = 64    # so many are left where they are


@cython.final
cdef class SendExtra:
    """What a message carries beside its frames: see the fields in _core.pxd."""

    def __cinit__(self, callback, context, tracker, int64_t deadline):
        self.callback = callback
        self.context = context
        self.tracker = tracker
        self.deadline = deadline

    cdef int forget(self) noexcept:
        """All has been told. A hole in the queue may keep this for long, and drop it at any time."""
        self.callback = self.context = self.tracker = self.awaited = self.further = None
        return 0


@cython.final
cdef class SendQueue:
    def __cinit__(self):
        self.items = NULL
        self.capacity = self.head = self.count = self.holes = 0

    def __dealloc__(self):
        while self.count:
            zs_count(ZS_UNSENT, self.items[self.head].frames is not NULL)
            Py_XDECREF(self.items[self.head].frames)
            self.head = (self.head + 1) & (self.capacity - 1)
            self.count -= 1
        PyMem_Free(self.items)

    cdef int push(self, object frames, Py_ssize_t size, int flags, SendExtra extra) except -1:
        cdef Item *item
        if extra is not None and self.extras is None:
            self.make_extras()
        if self.count == self.capacity:
            self.grow()
        item = &self.items[(self.head + self.count) & (self.capacity - 1)]
        item.size = size
        item.flags = flags
        item.has_extra = extra is not None
        if extra is not None:
            self.extras.append(extra)
            extra.queue = self
            extra.place = self.first + self.count
        Py_INCREF(frames)
        item.frames = <PyObject *> frames
        self.count += 1
        return 0

    cdef int make_extras(self) except -1:
        """With the first that is needed: an empty deque has 760 bytes, as much as a whole stream."""
        cdef object extras = deque()
        if self.extras is None:  # garbage may have been collected, and other threads have sent
            self.extras = extras
        return 0

    cdef int grow(self) except -1:
        cdef Py_ssize_t capacity = self.capacity * 2 or SMALLEST_RING
        cdef Item *items = <Item *> PyMem_Realloc(self.items, capacity * sizeof(Item))
        if items is NULL:
            raise MemoryError(f"no memory for a send queue of {capacity} messages")
        # the part of the ring that had wrapped around moves behind the rest
        memcpy(items + self.capacity, items, self.head * sizeof(Item))
        self.items = items
        self.capacity = capacity
        return 0

    cdef int take_back(self, object frames) except -1:
        """Undo the push() of `frames`, unless another thread's loop has taken them meanwhile.

        Returns whether it did.
        """
        cdef Item *item
        if self.count == 0:
            return 0
        item = &self.items[(self.head + self.count - 1) & (self.capacity - 1)]
        if item.frames is <PyObject *> frames:
            self.count -= 1
            if item.has_extra:
                (<SendExtra> self.extras.pop()).queue = None
            Py_DECREF(frames)
            return 1
        return 0

    cdef inline object pop(self):
        """Take the oldest message's frames. Its extra must have been taken before."""
        cdef PyObject *frames = self.items[self.head].frames
        cdef object result
        self.advance()
        while self.count and self.items[self.head].frames is NULL:
            self.holes -= 1
            self.extras.popleft()
            self.advance()
        if self.count == 0:
            self.head = 0
            if self.capacity > KEPT_RING:
                PyMem_Free(self.items)
                self.items = NULL
                self.capacity = 0
        result = <object> frames
        Py_DECREF(result)
        return result

    cdef inline int advance(self) noexcept:
        self.head = (self.head + 1) & (self.capacity - 1)
        self.first += 1
        self.count -= 1
        return 0

    cdef inline Item *at(self, int64_t place) noexcept:
        return &self.items[(self.head + <Py_ssize_t> (place - self.first)) & (self.capacity - 1)]

    cdef object withdraw(self, SendExtra extra):
        """Take the message of `extra` out, wherever it stands. Returns its frames."""
        cdef Item *item = self.at(extra.place)
        cdef object frames
        extra.queue = None
        if extra.place == self.first:
            self.extras.popleft()
            item.has_extra = False
            return self.pop()
        frames = <object> item.frames
        item.frames = NULL
        item.size = 0
        self.holes += 1
        Py_DECREF(frames)
        if self.holes > FEW_HOLES and self.holes > self.count // 2:
            try:
                self.close_up()
            except MemoryError:  # it has been withdrawn all the same; the next one tries again
                pass
        return frames

    cdef int close_up(self) except -1:
        """Move what waits together, so that there are no holes."""
        cdef int64_t first = self.first
        cdef Py_ssize_t count = self.count, kept = 0, seen = 0, i
        cdef Item *item
        cdef SendExtra extra
        cdef list waiting = [extra for extra in list(self.extras) if extra.queue is self]
        cdef object extras = deque(waiting)
        # Where that took memory, garbage may have been collected, and a thread may have sent.
        if self.first != first or self.count != count:
            return 0
        for i in range(count):
            item = &self.items[(self.head + i) & (self.capacity - 1)]
            if item.frames is NULL:
                continue
            if item.has_extra:
                (<SendExtra> waiting[seen]).place = first + kept
                seen += 1
            self.items[(self.head + kept) & (self.capacity - 1)] = item[0]
            kept += 1
        self.count = kept
        self.holes = 0
        self.extras = extras
        return 0

    cdef SendExtra first_extra(self):
        """The oldest message's extra, left where it is."""
        return self.extras[0] if self.items[self.head].has_extra else None

    cdef SendExtra take_extra(self):
        """Take the oldest message's extra: None for most."""
        cdef SendExtra extra
        if not self.items[self.head].has_extra:
            return None
        self.items[self.head].has_extra = False
        extra = self.extras.popleft()
        if extra.queue is self:  # and not of the queue that it has moved to
            extra.queue = None
        return extra

    cdef int clear(self) except -1:
        while self.count:
            zs_count(ZS_UNSENT, 1)
            self.take_extra()
            self.pop()
        return 0
