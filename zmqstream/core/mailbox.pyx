# Messages that other threads send, until the thread that owns the outbox moves them there.
#
# This is the only part that several threads touch, and it has a lock of its own. Nothing runs under
# the lock that could run Python code: no garbage collector, no destructor, no signal handler. So a
# thread holds the lock for some nanoseconds, and can never wait for itself.
#
# The limits of the outbox apply to quiet letters: those whose drop nobody has to be informed of. Any
# other letter is accepted, and dropped when it is moved into the outbox. A later letter may still push
# it out here. Then take() returns it, so that its drop is reported.


@cython.final
cdef class Mailbox:
    """Letters from other threads: messages on their way to the outbox."""

    def __cinit__(self):
        self.letters = deque()
        self.unreported = []
        self.lock = PyThread_allocate_lock()
        if self.lock is NULL:
            raise MemoryError("no memory for a lock")

    def __dealloc__(self):
        if self.lock is not NULL:
            PyThread_free_lock(self.lock)

    cpdef Posting put(self, Outbox outbox, tuple letter, bint quiet) except *:
        """Add a letter, in any thread. `quiet`: its drop would not be reported to anybody."""
        cdef Posting result
        cdef list gone = [] if quiet else None  # kept alive until the lock is released
        PyThread_acquire_lock(self.lock, WAIT_LOCK)
        try:
            result = self.put_locked(outbox, letter, letter[1], quiet, gone)
        finally:
            PyThread_release_lock(self.lock)
        return result

    cdef Posting put_locked(
        self, Outbox outbox, tuple letter, Py_ssize_t size, bint quiet, list gone
    ) except *:
        cdef bint had_mail = self.has_mail
        cdef Policy policy = <Policy> zs_load_state(&outbox.policy)
        cdef tuple oldest
        if self.is_shut:
            return REFUSED_SHUT
        if policy != WAIT:
            if self.exceeds(
                outbox, zs_load_count(&outbox.queued) + self.count,
                zs_load_bytes(&outbox.queued_bytes) + self.size + size
            ):
                if policy == RAISE:
                    return REFUSED_FULL
                if quiet and policy == DROP_NEWEST:
                    self.dropped += 1
                    zs_store(&self.has_mail, True)
                    return ACCEPTED if had_mail else FIRST
            while quiet and self.exceeds(outbox, self.count, self.size + size):
                # The oldest letter goes. What is in the outbox will be dropped for this one, too.
                oldest = <tuple> self.letters.popleft()
                self.account(-1, -<Py_ssize_t> oldest[1])
                if oldest[3] is None:
                    self.dropped += 1
                    gone.append(oldest)
                else:
                    self.unreported.append(oldest)
        self.letters.append(letter)
        self.account(1, size)
        zs_store(&self.has_mail, True)
        return ACCEPTED if had_mail else FIRST

    cdef bint exceeds(self, Outbox outbox, Py_ssize_t count, int64_t size) noexcept:
        return count > 0 and (
            count + 1 > zs_load_count(&outbox.high) or size > zs_load_count(&outbox.high_bytes))

    cdef inline int account(self, Py_ssize_t count, int64_t size) noexcept:
        """So many more letters, and bytes."""
        zs_store_count(&self.count, self.count + count)
        zs_store_bytes(&self.size, self.size + size)
        return 0

    cpdef tuple take(self):
        """All letters, oldest first, and what was dropped since the last call.

        The second value counts dropped letters without a Delivery. The third lists those with one.
        """
        cdef object fresh = deque(), letters
        cdef list none = [], unreported
        cdef Py_ssize_t dropped
        PyThread_acquire_lock(self.lock, WAIT_LOCK)
        letters, self.letters = self.letters, fresh
        dropped, self.dropped = self.dropped, 0
        unreported, self.unreported = self.unreported, none
        self.account(-self.count, -self.size)
        zs_store(&self.has_mail, False)
        PyThread_release_lock(self.lock)
        return letters, dropped, unreported

    cpdef int shut(self) except -1:
        """Refuse letters from now on."""
        PyThread_acquire_lock(self.lock, WAIT_LOCK)
        self.is_shut = True
        PyThread_release_lock(self.lock)
        return 0
