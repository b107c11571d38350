# Edges that user code has swallowed, and when to look for them.
#
# User code may call libzmq on a raw socket, and that may swallow an edge of ZMQ_FD. `epoch` grows
# whenever user code ran. A source whose ZMQ_EVENTS were read in an older epoch may be deaf, and a
# sweep reads them again. Up to SWEEP_ALWAYS sources are swept before every sleep; more of them, once
# in SWEEP_NS. After that, if no user code ran since, nothing is left to check.

cdef enum:
    SWEEP_ALWAYS = 8         # so many ZMQ_EVENTS are read before every sleep: 0.3 us each
    SWEEP_CHUNK = 512        # so many at a time in a large sweep: 0.2 ms
    SWEEP_NS = 50_000_000    # between two large sweeps


@cython.final
cdef class Sweeper:
    """Knows which sources may have missed an event, and looks."""

    def __cinit__(self):
        self.epoch = 1
        self.touched = []

    cpdef double wait(self, list sources, int64_t now) noexcept:
        """Seconds until a sweep is due; -1: none is."""
        cdef PyObject *source  # borrowed: this is done before every poll
        cdef Py_ssize_t i
        if self.cursor > 0:
            return 0
        if self.epoch == self.swept_epoch:
            return -1
        if len(sources) <= SWEEP_ALWAYS:
            for i in range(len(sources)):
                source = PyList_GET_ITEM(<PyObject *> sources, i)
                if (<Source> source).state == ARMED and (<Source> source).events_read_at != self.epoch:
                    return 0
            self.swept_epoch = self.epoch
            return -1
        return max(0, self.swept_at + SWEEP_NS - now) * 1e-9

    cpdef inline bint overdue(self, int64_t now) noexcept:
        """Whether the last sweep is so long ago that a busy loop must sweep, too."""
        return now >= self.swept_at + SWEEP_NS

    cpdef int sweep(self, list sources, Py_ssize_t most) except -1:
        """Look at `most` sources at most; the next call goes on with the others."""
        cdef Py_ssize_t stop
        # From the last to the first: when a source goes, the last one takes its place. So a source may
        # be seen twice, but none is missed.
        if self.cursor == 0:
            self.cursor = len(sources)
            self.begun_epoch = self.epoch
        stop = max(0, self.cursor - most)
        while self.cursor > stop:
            self.cursor -= 1
            if self.cursor < len(sources):
                self.recheck(sources[self.cursor])
        if self.cursor == 0:
            self.sweeps += 1
            self.swept_epoch = self.begun_epoch
            self.swept_at = zs_now()
        return 0

    cpdef int sweep_touched(self) except -1:
        cdef Source source
        while self.touched:
            source = self.touched.pop()
            source.touched = False
            self.recheck(source)
        return 0

    cpdef int forget(self, Source source) except -1:
        if source.touched:
            source.touched = False
            self.touched.remove(source)
        return 0

    cdef int recheck(self, Source source) except -1:
        if source.state == ARMED and source.events_read_at != self.epoch:
            zs_count(ZS_SWEPT, 1)
            source.finish(LOOK)
            if source.state == READY or source.state == IDLE:  # idle: a waiting coroutine was woken
                zs_count(ZS_REPAIRED, 1)
                self.repaired += 1
                source.on_missed_event()
        return 0
