# Queued messages: a ring of entries, oldest first.
#
# An entry owns its frames and costs 24 bytes beside them. A message that has a callback, a tracker,
# a deadline or a waiting sender has a Delivery, too. Deliveries stand in a deque beside the ring,
# where the garbage collector sees them. Such a message can be cancelled in the middle of the ring.
# That leaves a tombstone: an entry without frames, removed when it becomes the oldest. So the oldest
# entry is always a message. A ring that is mostly tombstones is compacted.
#
# Up to Python 3.11 an allocation may run the garbage collector, and with it user code that sends.
# So code here that allocates checks afterwards whether the ring has changed.

cdef enum:
    SMALLEST_RING = 8
    KEPT_RING = 1024     # a larger ring is freed when it becomes empty
    FEW_TOMBSTONES = 64  # a ring with no more than these is not compacted


@cython.final
cdef class Delivery:
    """What a message carries beside its frames: see the fields in ring.pxd."""

    def __cinit__(self, Callback callback=None, tracker=None, int64_t deadline=0):
        self.callback = callback
        self.tracker = tracker
        self.deadline = deadline

    cpdef int release(self) noexcept:
        """Drop its references: a tombstone may keep the Delivery alive for a long time."""
        self.callback = self.next_part = None
        self.tracker = self.awaited = None
        return 0


@cython.final
cdef class Ring:
    """Messages in the order in which they were pushed."""

    def __dealloc__(self):
        while self.count:
            zs_count(ZS_UNSENT, self.oldest().frames is not NULL)
            Py_XDECREF(self.oldest().frames)
            self.advance()
        PyMem_Free(self.entries)

    cpdef int push(self, object frames, Py_ssize_t size, int flags, Delivery delivery) except -1:
        if delivery is not None and self.deliveries is None:
            self.make_deliveries()
        if self.count == self.capacity:
            self.grow()
        if delivery is not None:
            self.deliveries.append(delivery)
            delivery.ring = self
            delivery.place = self.first + self.count
        self.append(frames, size, flags).has_delivery = delivery is not None
        return 0

    cdef inline Entry *append(self, object frames, Py_ssize_t size, int flags) noexcept:
        """Like push(), for a message without a Delivery, if the ring has room."""
        cdef Entry *entry = &self.entries[(self.head + self.count) & (self.capacity - 1)]
        Py_INCREF(frames)
        entry.frames = <PyObject *> frames
        entry.size = size
        entry.flags = flags
        entry.has_delivery = False
        self.count += 1
        return entry

    cdef int make_deliveries(self) except -1:
        """Create the deque when the first Delivery needs it: an empty one takes 760 bytes."""
        cdef object deliveries = deque()
        if self.deliveries is None:
            self.deliveries = deliveries
        return 0

    cdef int grow(self) except -1:
        cdef Py_ssize_t capacity = self.capacity * 2 or SMALLEST_RING
        cdef Entry *entries = <Entry *> PyMem_Realloc(self.entries, capacity * sizeof(Entry))
        if entries is NULL:
            raise MemoryError(f"no memory for a send queue of {capacity} messages")
        # move the wrapped part of the ring behind the rest
        memcpy(entries + self.capacity, entries, self.head * sizeof(Entry))
        self.entries = entries
        self.capacity = capacity
        return 0

    cpdef object pop(self):
        """Take the oldest message's frames. Its Delivery must have been taken before."""
        cdef PyObject *frames = self.pop_frames()
        cdef object result = <object> frames
        Py_DECREF(result)
        return result

    cdef inline PyObject *pop_frames(self) noexcept:
        """Like pop(), but the caller owns the reference."""
        cdef PyObject *frames = self.advance()
        while self.count and self.oldest().frames is NULL:
            self.tombstones -= 1
            self.deliveries.popleft()
            self.advance()
        if self.count == 0:
            self.head = 0
            if self.capacity > KEPT_RING:
                PyMem_Free(self.entries)
                self.entries = NULL
                self.capacity = 0
        return frames

    cdef inline PyObject *advance(self) noexcept:
        """Remove the oldest entry. Returns its frames."""
        cdef PyObject *frames = self.oldest().frames
        self.head = (self.head + 1) & (self.capacity - 1)
        self.first += 1
        self.count -= 1
        return frames

    cpdef Delivery first_delivery(self):
        """The oldest message's Delivery, which stays; None for most messages."""
        return self.deliveries[0] if self.oldest().has_delivery else None

    cpdef Delivery take_delivery(self):
        """Take the oldest message's Delivery; None for most messages."""
        cdef Delivery delivery
        if not self.oldest().has_delivery:
            return None
        self.oldest().has_delivery = False
        delivery = self.deliveries.popleft()
        if delivery.ring is self:  # else the message has moved to another ring
            delivery.ring = None
        return delivery

    cdef inline Entry *oldest(self) noexcept:
        return &self.entries[self.head]

    cdef inline Entry *at(self, int64_t place) noexcept:
        return &self.entries[(self.head + <Py_ssize_t> (place - self.first)) & (self.capacity - 1)]

    cpdef object cancel(self, Delivery delivery):
        """Take a message that has a Delivery, from any place in the ring. Returns its frames."""
        cdef Entry *entry = self.at(delivery.place)
        cdef object frames
        delivery.ring = None
        if delivery.place == self.first:
            self.deliveries.popleft()
            entry.has_delivery = False
            return self.pop()
        frames = <object> entry.frames
        entry.frames = NULL
        entry.size = 0
        self.tombstones += 1
        Py_DECREF(frames)
        if self.tombstones > FEW_TOMBSTONES and self.tombstones > self.count // 2:
            self.compact()
        return frames

    cdef int compact(self) except -1:
        """Remove the tombstones."""
        cdef int64_t first = self.first
        cdef Py_ssize_t count = self.count, tombstones = self.tombstones, kept = 0, seen = 0, i
        cdef Entry *entry
        cdef Delivery delivery
        cdef object deliveries = self.deliveries  # keep it alive: another compaction may replace it
        cdef list waiting = [delivery for delivery in list(deliveries) if delivery.ring is self]
        deliveries = deque(waiting)
        if self.first != first or self.count != count or self.tombstones != tombstones:
            return 0  # user code ran: the next cancel() tries again
        for i in range(count):
            entry = &self.entries[(self.head + i) & (self.capacity - 1)]
            if entry.frames is NULL:
                continue
            if entry.has_delivery:
                (<Delivery> waiting[seen]).place = first + kept
                seen += 1
            self.entries[(self.head + kept) & (self.capacity - 1)] = entry[0]
            kept += 1
        self.count = kept
        self.tombstones = 0
        self.deliveries = deliveries
        return 0
