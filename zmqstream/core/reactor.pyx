# The reactor: who is ready, whose turn it is, and that nobody is forgotten.
#
# Theory of operation
# -------------------
# ZMQ_FD is edge-triggered: it says "something happened since you last looked", and any call of
# libzmq on the socket may be that look. So between two operations a source is in exactly one
# state: READY (on a ready list, or in its turn), ARMED (nothing wanted was pending after the last
# libzmq call, so the next edge will come), IDLE (nothing wanted) or CLOSED. Every operation ends
# in settle(), which sees to it.
#
# A pass gives a turn to each source on the ready list, oldest first. A source that is still ready
# after its turn waits for the next pass, so that timers, tasks and other descriptors run between.
#
# User code may call libzmq on a raw socket and swallow an edge. `epoch` grows whenever user code
# ran; a source whose `checked` is older may be deaf and is looked at by a sweep. On our own loop
# up to SWEEP_ALWAYS sources are swept before every sleep; more, once in SWEEP_NS; then, with no
# user code since, nothing is left to check and the loop sleeps for good.

from cpython.mem cimport PyMem_Calloc
from libc.errno cimport EEXIST, errno
from libc.math cimport ceil
from libc.stdint cimport INT64_MAX

cdef enum:
    EVENTS_A_POLL = 256      # what one epoll_wait() returns at most; more wait for the next
    SWEEP_ALWAYS = 8         # so many EVENTS are read before a sleep: 0.3 us each
    SWEEP_CHUNK = 512        # so many at a time in a large sweep: 0.2 ms
    SWEEP_NS = 50_000_000    # between two large sweeps
    RETRY_NS = 10_000_000    # between two attempts at peers that refused, without any event
    YIELD_NS = 1_000_000     # so often a busy loop lets threads and signal handlers run, as Python does
    PASS_NS = 2_000_000      # a pass ends then; who had no turn comes first in the next

# Counts forks: a reactor, and all its streams, belong to the process that made them. The child
# shares the parent's epoll descriptor, and libzmq answers it EINTR for ever.
cdef int fork_generation = 0

# One call of it does what Python does between bytecodes: hand the GIL over to a thread that has
# asked for it, and run signal handlers. (Letting go of the GIL for a moment is not enough: a
# waiting thread that is woken more often than each 5 ms never asks, and finds it taken again.)
cdef object run_bytecode = eval("lambda: None")


def _after_fork_in_child():
    global fork_generation
    fork_generation += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


# Imported with the first reactor: asyncio takes longer to import than pyzmq, and programs may import
# us that will not use a loop.
cdef object asyncio = None


cdef class Reactor:
    def __cinit__(self, *args, **kwargs):
        global asyncio
        if asyncio is None:
            asyncio = importlib.import_module("asyncio")
        self.epfd = -1
        self.generation = fork_generation
        self.sources = []
        self.suspects = []
        self.by_fd = NULL
        self.epoch = 1
        self.now = zs_now()

    def __dealloc__(self):
        PyMem_Free(self.by_fd)

    def __len__(self):
        return len(self.sources)

    def stats(self):
        """The values of a LoopStats."""
        return (
            len(self.sources), self.polls, self.sleeps, self.passes, self.turns, self.sweeps,
            self.repaired,
        )

    def streams(self):
        """A list of the streams whose socket is open."""
        cdef Source source
        return [
            source for source in self.sources
            if isinstance(source, Stream) and source.handle() is not NULL
        ]

    cdef int check(self) except -1:
        """Raise where the sources cannot be used any more."""
        if self.generation == fork_generation:
            return 0
        if self.generation < 0:
            raise RuntimeError("the event loop of this stream is closed")
        raise RuntimeError(
            "this stream's event loop belongs to the parent process: after fork, make context, loop "
            "and streams anew"
        )

    cdef int check_process(self) except -1:
        """Raise in a forked child: after user code, which may have come back there.

        libzmq only notices when it looks at its mailbox; until then the child would handle copies
        of the parent's messages.
        """
        return self.check() if 0 <= self.generation != fork_generation else 0

    # -- each home has its own ----------------------------------------------------------------

    cdef int watch(self, Source source) except -1:
        """Poll it, and note in `watched` by which descriptor. If it fails, it leaves nothing."""
        raise NotImplementedError

    cdef int unwatch(self, Source source) except -1:
        raise NotImplementedError

    cdef int wake(self) except -1:
        raise NotImplementedError

    cdef int emptied(self) except -1:
        """The last source has gone."""
        return 0

    cdef int check_loop(self) except -1:
        """Notice a loop that was closed without telling us."""
        return 0

    # -- members ------------------------------------------------------------------------------

    cdef int add(self, Source source) except -1:
        cdef Source other
        self.check()
        if source.fd < self.by_fd_size and self.by_fd[source.fd] is not NULL:
            other = <Source> self.by_fd[source.fd]
            if other.handle() is source.handle():
                raise ValueError(f"this socket has a stream on this loop already: {other!r}")
            # somebody closed the other's socket directly, and the number is in use again
            other.failed(ENOTSOCK)
        self.sources.append(source)
        source.index = len(self.sources) - 1
        try:
            self.map_fd(source, source.fd)
            self.watch(source)
            self.map_fd(source, source.watched)
        except BaseException:
            self.remove(source)
            raise
        return 0

    cdef int map_fd(self, Source source, int fd) except -1:
        cdef int size = self.by_fd_size or 64, i
        cdef PyObject **table
        if fd >= self.by_fd_size:
            while size <= fd:
                size *= 2
            table = <PyObject **> PyMem_Calloc(size, sizeof(PyObject *))
            if table is NULL:
                raise MemoryError(f"no memory for {size} descriptors")
            for i in range(self.by_fd_size):
                table[i] = self.by_fd[i]
            PyMem_Free(self.by_fd)
            self.by_fd = table
            self.by_fd_size = size
        self.by_fd[fd] = <PyObject *> source
        return 0

    cdef inline int unmap_fd(self, Source source, int fd) noexcept:
        if 0 <= fd < self.by_fd_size and self.by_fd[fd] is <PyObject *> source:
            self.by_fd[fd] = NULL
        return 0

    cdef int remove(self, Source source) except -1:
        """Forget a source. Before its socket is closed: the descriptor's number is reused at once."""
        cdef Source last
        if source.index < 0:
            return 0
        # First what may run out of memory, and can be tried again.
        if source.watched >= 0 and self.generation == fork_generation:
            self.unwatch(source)
        last = self.sources.pop()
        self.unlink(source)
        if last is not source:
            self.sources[source.index] = last
            last.index = source.index
        source.index = -1
        source.set_retry(False)
        if source.suspect:
            source.suspect = False
            self.suspects.remove(source)
        self.unmap_fd(source, source.fd)
        self.unmap_fd(source, source.watched)
        if source.watched != source.fd and source.watched >= 0:
            zs_close(source.watched)
        source.watched = -1
        if not self.sources:
            self.emptied()
        return 0

    cdef int close_sources(self) except -1:
        """The loop is being closed: its sources live on without it."""
        cdef Source source
        while self.sources:
            source = self.sources[len(self.sources) - 1]
            self.remove(source)
            source.orphan()
        self.generation = -1
        return 0

    # -- the ready list -----------------------------------------------------------------------

    cdef int enqueue(self, Source source) except -1:
        """Give `source` a turn in this pass, or in the next one if none is under way."""
        if source.index < 0:
            return 0  # not of this loop any more: the lists only borrow their members
        source.become(READY)
        if source.listed is NULL:
            self.link(source, &self.ready)
            if self.sleeping:
                self.wake()
        return 0

    cdef int enqueue_later(self, Source source) except -1:
        """Give `source`, which has just had a turn, another one in the next pass."""
        if self.current is None or source.index < 0:
            return self.enqueue(source)
        source.become(READY)
        if source.listed is NULL:
            self.link(source, &self.later)
        return 0

    cdef inline int link(self, Source source, ReadyList *target) noexcept:
        source.listed = target
        source.ready_next = NULL
        source.ready_prev = target.last
        if target.last is NULL:
            target.first = <PyObject *> source
        else:
            (<Source> target.last).ready_next = <PyObject *> source
        target.last = <PyObject *> source
        return 0

    cdef int unlink(self, Source source) noexcept:
        cdef ReadyList *owner = source.listed
        if owner is NULL:
            return 0
        if source.ready_prev is NULL:
            owner.first = source.ready_next
        else:
            (<Source> source.ready_prev).ready_next = source.ready_next
        if source.ready_next is NULL:
            owner.last = source.ready_prev
        else:
            (<Source> source.ready_next).ready_prev = source.ready_prev
        source.listed = NULL
        source.ready_prev = source.ready_next = NULL
        return 0

    cdef int wake_all(self, list futures) except -1:
        """Let those go on that wait for one of `futures`, and forget them."""
        while futures:
            self.wake_future(futures.pop(0))
        return 0

    cdef int wake_future(self, object future) except -1:
        if not future.done() and not self.loop.is_closed():
            self.called = True
            future.set_result(None)
        return 0

    cdef int call_soon(self, object callback, tuple args) except -1:
        self.called = True
        if asyncio._get_running_loop() is self.loop:
            self.loop.call_soon(callback, *args)
        else:
            self.loop.call_soon_threadsafe(callback, *args)
        return 0

    cdef int run_pass(self) except -1:
        """A turn for each ready source, those included that become ready meanwhile."""
        cdef Source source, outer = self.current
        cdef int64_t end
        self.passes += 1
        self.now = zs_now()
        end = self.now + PASS_NS
        try:
            while self.ready.first is not NULL and self.now < end:
                source = <Source> self.ready.first
                self.unlink(source)
                self.current = source
                self.turns += 1
                source.turn()
                self.now = zs_now()
        finally:
            self.current = outer
            self.later_to_ready()
        return 0

    cdef int later_to_ready(self) noexcept:
        cdef Source source
        while self.later.first is not NULL:
            source = <Source> self.later.first
            self.unlink(source)
            self.link(source, &self.ready)
        return 0

    cdef int serve(self, Source source) except -1:
        """The loop runs inside a callback: its source gets turns meanwhile, if it has need."""
        cdef int events
        if source is None or source.state == CLOSED:
            return 0
        events = source.read_events()
        if events > 0 and events & source.wanted():
            source.input_due = True
            self.enqueue(source)
        elif source.state != CLOSED:
            source.settle()  # for what is no event: levels and deadlines
        return 0

    # -- sweeps: edges that user code has swallowed ---------------------------------------------

    cdef double sweep_wait(self) noexcept:
        """Seconds until a sweep is due; -1: none is."""
        cdef Source source
        cdef Py_ssize_t i
        if self.cursor > 0:
            return 0
        if self.epoch == self.swept_epoch:
            return -1
        if len(self.sources) <= SWEEP_ALWAYS:
            for i in range(len(self.sources)):
                source = <Source> PyList_GET_ITEM(<PyObject *> self.sources, i)
                if source.state == ARMED and source.checked != self.epoch:
                    return 0
            self.swept_epoch = self.epoch
            return -1
        return max(0, self.swept_at + SWEEP_NS - self.now) * 1e-9

    cdef int sweep(self) except -1:
        """Look at the EVENTS of armed sources that user code may have made deaf: a chunk."""
        cdef Source source
        cdef Py_ssize_t stop
        # From the last to the first: remove() puts the last in the place of the one that goes,
        # so this way a source may be seen twice, but none is missed.
        if self.cursor == 0:
            self.cursor = len(self.sources)
            self.sweep_epoch = self.epoch
        stop = max(0, self.cursor - SWEEP_CHUNK)
        while self.cursor > stop:
            self.cursor -= 1
            if self.cursor < len(self.sources):
                source = self.sources[self.cursor]
                self.look_again(source)
        if self.cursor == 0:
            self.sweeps += 1
            self.swept_epoch = self.sweep_epoch
            self.swept_at = zs_now()
        return 0

    cdef int sweep_suspects(self) except -1:
        cdef Source source
        while self.suspects:
            source = self.suspects.pop()
            source.suspect = False
            self.look_again(source)
        return 0

    cdef int look_again(self, Source source) except -1:
        if source.state == ARMED and source.checked != self.epoch:
            zs_count(ZS_SWEPT, 1)
            source.settle()
            if source.state == READY or source.state == IDLE:  # idle: its receiver was woken
                zs_count(ZS_REPAIRED, 1)
                self.repaired += 1
                source.repaired += 1
                if isinstance(source, Stream) and (<Stream> source).debug:
                    _logger.warning(
                        "%r: an event was found that no poll has told of: other use of its socket may "
                        "have swallowed it", source)
        return 0

    # -- what no event will tell ----------------------------------------------------------------

    cdef double retry_wait(self) noexcept:
        """Seconds until sources with `retry` get their turn; -1: there are none."""
        if self.retrying == 0:
            return -1
        return max(0, self.retry_at - self.now) * 1e-9

    cdef int retry_all(self) except -1:
        cdef Source source
        self.retry_at = self.now + RETRY_NS
        for source in self.sources:
            if source.retry:
                self.enqueue(source)
        return 0

    # -- polling --------------------------------------------------------------------------------

    cdef list poll_epoll(self, double timeout, dict keys):
        """Make the sources with events ready; return [(key, mask)] of asyncio's descriptors.

        `timeout` in seconds; negative: none. epoll counts milliseconds, rounded up so that a
        timer is never early.
        """
        cdef zs_event events[EVENTS_A_POLL]
        cdef int count, i, fd, code = 0, milliseconds = -1
        cdef list fired = None
        cdef Source source
        if timeout >= 0:
            milliseconds = <int> min(ceil(timeout * 1e3), 86_400_000.0)
        self.polls += 1
        if milliseconds == 0:
            if self.now >= self.yielded_at + YIELD_NS:
                # Where callbacks are C code, no bytecode runs for as long as messages come.
                self.yielded_at = self.now
                run_bytecode()
            count = zs_epoll_wait(self.epfd, events, EVENTS_A_POLL, 0)
            if count < 0:
                code = errno
        else:
            self.sleeps += 1
            self.sleeping = True
            try:
                # A signal that came while C code ran, as a turn is, interrupts no sleep: its handler
                # must run now. If that makes a source ready, it wakes us.
                PyErr_CheckSignals()
                with nogil:
                    count = zs_epoll_wait(self.epfd, events, EVENTS_A_POLL, milliseconds)
                    if count < 0:
                        code = errno
            finally:
                self.sleeping = False
            self.now = zs_now()
        if count < 0:
            if code != EINTR:
                raise OSError(code, os.strerror(code))
            PyErr_CheckSignals()
            self.epoch += 1  # a handler is user code
            return None
        for i in range(count):
            fd = zs_event_fd(&events[i])
            source = None
            if fd < self.by_fd_size and self.by_fd[fd] is not NULL:
                source = <Source> self.by_fd[fd]
            if source is not None and source.watched == fd:
                source.input_due = True
                self.enqueue(source)
            elif keys is not None:
                key = keys.get(fd)
                if key is not None:
                    if fired is None:
                        fired = []
                    fired.append((key, zs_event_mask(&events[i]) & <int> key.events))
        return fired
