# Messages that wait to be sent: a ring, its limits, its deadlines, and the parked messages.
#
# - With more than `high` messages or bytes the outbox is `above_high`, until it has fallen to `low`.
# - A message with a deadline is in the ring, like any other, and in a heap as well. It leaves the
#   heap at its deadline, or when the heap has grown too long.
# - A message that one peer has no room for is parked: it moves to a ring of that peer's own. So
#   no message waits for another peer's room, and each peer receives its messages in order.

cdef enum:
    STALE_DEADLINES = 64  # entries of messages that have left; the heap may keep this many


cdef Py_ssize_t UNLIMITED = PY_SSIZE_T_MAX


@cython.final
cdef class Outbox:
    """Messages that wait to be sent, in the order in which each peer receives them."""

    def __cinit__(self):
        self.ring = Ring()
        self.high = self.low = self.high_bytes = self.low_bytes = UNLIMITED
        self.policy = WAIT
        self.most_deadlines = STALE_DEADLINES

    cpdef int put(self, object frames, Py_ssize_t size, int flags, Delivery delivery) except -1:
        """Add a message behind the others."""
        if delivery is None and self.ring.count < self.ring.capacity:
            self.ring.append(frames, size, flags)
        else:
            self.ring.push(frames, size, flags, delivery)
        self.account(1, size)
        if self.queued > self.peak_queued:
            self.peak_queued = self.queued
        return 0

    cdef inline int account(self, Py_ssize_t count, int64_t size) noexcept:
        """So many more messages, and bytes."""
        zs_store_count(&self.queued, self.queued + count)
        zs_store_bytes(&self.queued_bytes, self.queued_bytes + size)
        return 0

    cpdef object take(self, Ring ring):
        """Take the oldest message of `ring`, whose Delivery was taken before. Returns its frames."""
        cdef object frames
        self.account(-1, -ring.oldest().size)
        frames = ring.pop()
        if ring is not self.ring:
            self.unparked(ring)
        return frames

    cpdef inline int discard(self, Ring ring) except -1:
        """Like take(), but drop the frames."""
        cdef PyObject *frames
        self.account(-1, -ring.oldest().size)
        frames = ring.advance() if ring.count > 1 and ring.tombstones == 0 else ring.pop_frames()
        if ring is not self.ring:
            self.unparked(ring)
        Py_XDECREF(frames)  # last: a destructor may run
        return 0

    cpdef object cancel(self, Delivery delivery):
        """Take a message that has a Delivery, from any of the rings. Returns its frames."""
        cdef Ring ring = delivery.ring
        cdef object frames
        self.account(-1, -ring.at(delivery.place).size)
        frames = ring.cancel(delivery)
        if ring is not self.ring:
            self.unparked(ring)
        return frames

    # -- parked messages ------------------------------------------------------------------------

    cpdef int park(self, bytes peer) except -1:
        """Move the oldest message of the ring behind those that wait for room at `peer`."""
        cdef Entry *entry
        cdef int64_t first = self.ring.first
        cdef Delivery delivery = self.ring.first_delivery()
        cdef dict empty = {} if self.parked is None else None
        cdef Ring parked = None if self.parked is None else self.parked.get(peer)
        if parked is None:
            parked = Ring()
            parked.peer = peer
        if delivery is not None and parked.deliveries is None:
            parked.make_deliveries()
        # The garbage collector may have run user code that sends.
        if self.ring.first != first:
            return 0
        if self.parked is None:
            self.parked = empty
        elif self.parked.get(peer, parked) is not parked:
            return 0
        entry = self.ring.oldest()
        # allocate before the message leaves the ring
        parked.push(<object> entry.frames, entry.size, entry.flags, delivery)
        self.parked[peer] = parked
        self.parked_count += 1
        self.ring.take_delivery()
        self.ring.pop()
        return 0

    cdef int unparked(self, Ring ring) except -1:
        """A message has left `ring`, the ring of a peer."""
        self.parked_count -= 1
        if ring.count == 0 and self.parked.get(ring.peer) is ring:
            del self.parked[ring.peer]
        return 0

    cpdef list parked_peers(self):
        """Peers with parked messages, beginning with the one to retry next."""
        cdef dict parked = self.parked  # keep it alive: clear() may drop it while the list is allocated
        cdef list peers = list(parked)
        cdef Py_ssize_t first = peers.index(self.next_parked) if self.next_parked in parked else 0
        return peers[first:] + peers[:first]

    cpdef Ring oldest_ring(self):
        """The ring whose oldest message to drop first: of the peer that has had no room for longest."""
        cdef Ring ring
        if self.parked_count:
            for ring in self.parked.values():  # allocates nothing, as next(iter()) would
                return ring
        return self.ring

    # -- limits ---------------------------------------------------------------------------------

    cpdef int set_limits(
        self, Py_ssize_t high, Py_ssize_t low, Py_ssize_t high_bytes, Py_ssize_t low_bytes,
        Policy policy
    ) except -1:
        zs_store_count(&self.high, high)
        zs_store_count(&self.low, low)
        zs_store_count(&self.high_bytes, high_bytes)
        zs_store_count(&self.low_bytes, low_bytes)
        zs_store_state(&self.policy, policy)
        return self.check_high()

    cpdef bint has_limits(self):
        return self.high != UNLIMITED or self.high_bytes != UNLIMITED

    cpdef bint is_full(self, Py_ssize_t size):
        """Whether a message of `size` bytes would exceed a limit. An empty outbox accepts any."""
        return self.queued > 0 and (
            self.queued + 1 > self.high or self.queued_bytes + size > self.high_bytes)

    cpdef inline int check_high(self) noexcept:
        """Set above_high if the outbox exceeds a limit. Called after a message was put."""
        if self.queued > self.high or self.queued_bytes > self.high_bytes:
            self.above_high = True
        return 0

    cpdef bint fell_to_low(self):
        """Whether the outbox was above `high` and has now fallen to `low`. True once."""
        if self.above_high and self.queued <= self.low and self.queued_bytes <= self.low_bytes:
            self.above_high = self.drop_logged = False
            return True
        return False

    # -- deadlines ------------------------------------------------------------------------------

    cpdef int add_deadline(self, Delivery delivery) except -1:
        """Add the deadline of a message that is about to be put."""
        cdef tuple entry, each
        cdef list waiting = []
        self.serial += 1
        entry = (delivery.deadline, self.serial, delivery)
        # The garbage collector may have run user code that sends.
        if self.deadlines is None:
            self.deadlines = waiting
        elif len(self.deadlines) >= self.most_deadlines:
            for each in self.deadlines:
                if (<Delivery> each[2]).ring is not None:
                    waiting.append(each)
            heapify(waiting)
            self.deadlines = waiting
            self.most_deadlines = max(STALE_DEADLINES, 2 * len(waiting))
        heappush(self.deadlines, entry)
        return 0

    cpdef int64_t next_deadline(self) except -1:
        """The earliest deadline of a waiting message; 0 if there is none."""
        if self.deadlines is None:
            return 0
        while self.deadlines and (self.queued == 0 or (<Delivery> self.deadlines[0][2]).ring is None):
            heappop(self.deadlines)
        if not self.deadlines:
            self.deadlines = None
            return 0
        return self.deadlines[0][0]

    cpdef Delivery take_overdue(self, int64_t now):
        """The Delivery of a waiting message whose deadline has passed; None if there is none."""
        cdef int64_t deadline = self.next_deadline()
        if deadline == 0 or deadline > now:
            return None
        return heappop(self.deadlines)[2]

    cpdef int clear(self) except -1:
        """Drop all messages."""
        cdef Ring ring
        for ring in [self.ring, *(self.parked or {}).values()]:
            while ring.count:
                zs_count(ZS_UNSENT, 1)
                ring.take_delivery()
                ring.pop()
        self.parked = self.deadlines = None
        self.parked_count = 0
        self.account(-self.queued, -self.queued_bytes)
        return 0
