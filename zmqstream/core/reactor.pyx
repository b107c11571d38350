# The reactor: which source is ready, whose turn it is, and that none is forgotten.
#
# Theory of operation
# -------------------
# ZMQ_FD is edge-triggered: it says "something happened since you last looked", and any call of
# libzmq on the socket may be that look. So between two operations a source is in exactly one state:
# READY (on a ready list, or in its turn), ARMED (nothing of interest was pending after the last
# libzmq call, so the next edge will come), IDLE (no interest), CLOSED or FORKED. Every operation
# ends in finish(), which decides. See states.pyx.
#
# A pass gives a turn to each source on the ready list, oldest first. A source that is still ready
# after its turn waits for the next pass, so that timers, tasks and other descriptors run between.
#
# What user code does to a raw socket may swallow an edge: see sweeper.pyx.

cdef enum:
    EVENTS_A_POLL = 256      # what one epoll_wait() returns at most; more wait for the next
    RETRY_NS = 10_000_000    # between two attempts at peers that refused, without any event
    YIELD_NS = 1_000_000     # so often a busy loop lets threads and signal handlers run, as Python does
    PASS_NS = 2_000_000      # a pass ends then; who had no turn comes first in the next

# One call of it does what Python does between bytecodes: it hands the GIL over to a thread that has
# asked for it, and runs signal handlers. (Releasing the GIL for a moment is not enough: a waiting
# thread that is woken more often than every 5 ms never asks, and finds it taken again.)
cdef object run_bytecode = eval("lambda: None")

# Given by eventloop.py: asyncio takes longer to import than pyzmq, and programs may import us that will
# not use a loop.
cdef object asyncio = None


def _use_asyncio(module):
    global asyncio
    asyncio = module


# All that are alive, for the hook that runs in a child after fork. A reactor and its streams belong
# to the process that made them: the child shares the parent's epoll descriptor, and libzmq answers
# the child EINTR for ever.
cdef object reactors = weakref.WeakSet()


def _after_fork_in_child():
    cdef Reactor reactor
    for reactor in list(reactors):
        if reactor.state == LOOP_OPEN:
            zs_store_state(&reactor.state, LOOP_FORKED)
        for source in reactor.sources:
            (<Source> source).on_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def live_reactors():
    """A list of the reactors whose loops are open. Any thread may call it."""
    cdef list references = list(reactors.data)  # the WeakSet's own iterator may be interrupted by a thread
    cdef list found = [reference() for reference in references]
    return [reactor for reactor in found if reactor is not None and is_open(reactor)]


cdef inline bint is_open(Reactor self) noexcept:
    """Whether the loop is open; in any thread."""
    return zs_load_state(&self.state) == LOOP_OPEN


cdef class Reactor:
    def __cinit__(self, *args, **kwargs):
        self.thread = zs_thread()
        self.epfd = -1
        self.sources = []
        self.by_fd = FdTable()
        self.ready = ReadyList()
        self.next_pass = ReadyList()
        self.sweeper = Sweeper()
        self.posted = deque()
        self.now = zs_now()
        reactors.add(self)

    def __len__(self):
        return len(self.sources)

    def __repr__(self):
        return f"<{type(self).__name__}, {self.kind}, {self.poller}, of {self.loop!r}>"

    def stats(self):
        """The values of a LoopStats."""
        return (
            len(self.sources), self.counts.polls, self.counts.sleeps, self.counts.passes,
            self.counts.turns, self.sweeper.sweeps, self.sweeper.repaired,
        )

    @property
    def repaired(self):
        """How many missed events sweeps have found."""
        return self.sweeper.repaired

    def open_sources(self):
        """A list of the sources whose socket is open."""
        cdef Source source
        return [source for source in self.sources if source.has_socket()]

    cdef int check(self) except -1:
        """Raise where the sources cannot be used any more."""
        cdef int state = zs_load_state(&self.state)
        if state == LOOP_OPEN:
            return 0
        if state == LOOP_CLOSED:
            raise RuntimeError("the event loop of this stream is closed")
        raise forked_error()

    cdef inline int enter(self) except -1:
        """This thread runs the loop from now on. A send in the thread that did before ends first."""
        if self.thread != zs_thread():
            with cython.critical_section(self):
                zs_store_thread(&self.thread, zs_thread())
        return 0

    # -- hooks ----------------------------------------------------------------------------------

    cdef int watch(self, Source source) except -1:
        """Poll it, and note in `watched` by which descriptor. If it fails, it leaves nothing."""

    cdef int unwatch(self, Source source) except -1:
        """Poll it no longer."""

    cdef int wake(self) except -1:
        """The loop is `sleeping`, and a source is ready or posted: have it look."""

    cdef int check_loop(self) except -1:
        """Notice a loop that was closed without telling us."""

    cdef int on_empty(self) except -1:
        """The last source has gone."""

    # -- members --------------------------------------------------------------------------------

    cdef int add(self, Source source) except -1:
        cdef Source other
        self.check()
        other = self.by_fd.get(source.fd)
        if other is not None:
            if other.handle() is source.handle():
                raise ValueError(f"this socket has a stream on this loop already: {other!r}")
            # somebody closed the other's socket directly, and the number is in use again
            other.on_socket_error(ENOTSOCK)
        self.sources.append(source)
        source.index = len(self.sources) - 1
        try:
            self.by_fd.put(source.fd, source)
            self.watch(source)
            self.by_fd.put(source.watched, source)
        except BaseException:
            self.remove(source)
            raise
        return 0

    cdef int remove(self, Source source) except -1:
        """Release a source. Before its socket is closed: the descriptor's number is reused at once."""
        cdef Source last
        if source.index < 0:
            return 0
        if source.watched >= 0 and self.state == LOOP_OPEN:
            self.unwatch(source)  # first: if it fails, it can be tried again
        last = self.sources.pop()
        self.unlink(source)
        if last is not source:
            self.sources[source.index] = last
            last.index = source.index
        source.index = -1
        source.set_retry(False)
        self.sweeper.forget(source)
        self.by_fd.remove(source.fd, source)
        self.by_fd.remove(source.watched, source)
        if source.watched != source.fd and source.watched >= 0:
            zs_close(source.watched)
        source.watched = -1
        if not self.sources:
            self.on_empty()
        return 0

    cdef int close_sources(self) except -1:
        """The loop is being closed: its sources live on without it."""
        cdef Source source
        while self.sources:
            source = self.sources[len(self.sources) - 1]
            self.remove(source)
            source.on_loop_closed()
        if self.state == LOOP_OPEN:
            zs_store_state(&self.state, LOOP_CLOSED)
        self.posted.clear()  # it may be all that refers to a stream
        return 0

    # -- who is ready ---------------------------------------------------------------------------

    cdef int enqueue(self, Source source) except -1:
        """Give `source` a turn in this pass, or in the next one if none is under way."""
        if source.index < 0 or source.state >= CLOSED:
            return 0  # not of this loop any more: the lists only borrow their members
        become(source, READY)
        if source.listed is NULL:
            self.ready.append(source)
            self.wake_if_sleeping()
        return 0

    cdef int enqueue_next_pass(self, Source source) except -1:
        """Give `source`, which has just had a turn, another one in the next pass."""
        if self.current is None or source.index < 0:
            return self.enqueue(source)
        become(source, READY)
        if source.listed is NULL:
            self.next_pass.append(source)
        return 0

    cdef inline int unlink(self, Source source) except -1:
        if source.listed is not NULL:
            (<ReadyList> source.listed).remove(source)
        return 0

    cdef int start_next_pass(self) except -1:
        """Who was left for the next pass is ready."""
        cdef Source source
        while self.next_pass.first is not NULL:
            source = <Source> self.next_pass.first
            self.next_pass.remove(source)
            self.ready.append(source)
        return 0

    cdef int post(self, Source source) except -1:
        """Another thread: `source` has mail."""
        if not is_open(self):
            return 0
        self.posted.append(source)
        zs_store(&self.has_posted, True)
        return self.wake_if_sleeping()

    cdef inline int wake_if_sleeping(self) except -1:
        if zs_load(&self.sleeping):
            self.wake()
        return 0

    cdef int enqueue_posted(self) except -1:
        cdef Source source
        zs_store(&self.has_posted, False)
        while self.posted:
            source = self.posted.popleft()
            if source.state < CLOSED:
                self.enqueue(source)
        return 0

    cdef int run_pass(self) except -1:
        """A turn for each ready source, those included that become ready meanwhile."""
        cdef Source source, outer = self.current
        cdef int64_t end
        if is_too_deep():
            raise too_deep("the event loop")
        self.counts.passes += 1
        self.now = zs_now()
        end = self.now + PASS_NS
        try:
            while self.ready.first is not NULL and self.now < end:
                source = <Source> self.ready.first
                self.ready.remove(source)
                self.current = source
                self.counts.turns += 1
                source.turn()
                self.now = zs_now()
        finally:
            self.current = outer
            self.start_next_pass()
        return 0

    cdef int dispatch_nested(self, Source source) except -1:
        """The loop runs inside a callback of `source`, which gets turns meanwhile if it needs them."""
        cdef int events
        if source is None or source.state >= CLOSED:
            return 0
        events = source.read_events()
        if events > 0 and events & source.interest():
            source.maybe_readable = True
            self.enqueue(source)
        elif source.state < CLOSED:
            source.finish(LOOK)  # for what is no event: levels and deadlines
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

    # -- the loop -------------------------------------------------------------------------------

    cdef int call_soon(self, object callback, tuple args) except -1:
        if asyncio._get_running_loop() is self.loop:
            self.called = True
            self.loop.call_soon(callback, *args)
        else:
            self.loop.call_soon_threadsafe(callback, *args)
        return 0

    cdef int wake_future(self, object future) except -1:
        if not future.done() and not self.loop.is_closed():
            self.called = True
            future.set_result(None)
        return 0

    cdef int yield_to_threads(self) except -1:
        """Where callbacks are C code, no bytecode runs for as long as messages come."""
        if self.now >= self.yielded_at + YIELD_NS:
            self.yielded_at = self.now
            run_bytecode()
        return 0

    cdef list poll_epoll(self, double timeout, dict keys):
        """Make the sources with events ready; return [(key, mask)] of asyncio's descriptors.

        `timeout` in seconds; negative: none. epoll counts milliseconds, rounded up so that a timer is
        never early.
        """
        cdef zs_event events[EVENTS_A_POLL]
        cdef int count, code = 0, milliseconds = -1
        if timeout >= 0:
            milliseconds = <int> min(ceil(timeout * 1e3), 86_400_000.0)
        self.counts.polls += 1
        if milliseconds == 0:
            self.yield_to_threads()
            count = zs_epoll_wait(self.epfd, events, EVENTS_A_POLL, 0)
            if count < 0:
                code = errno
        else:
            self.counts.sleeps += 1
            zs_store(&self.sleeping, True)
            try:
                # A signal that came while C code ran, as a turn is, interrupts no sleep: its handler
                # must run now. If that makes a source ready, it wakes us.
                PyErr_CheckSignals()
                if zs_load(&self.has_posted):
                    milliseconds = 0  # by a thread that found us awake
                with nogil:
                    count = zs_epoll_wait(self.epfd, events, EVENTS_A_POLL, milliseconds)
                    if count < 0:
                        code = errno
            finally:
                zs_store(&self.sleeping, False)
            self.now = zs_now()
        if count < 0:
            if code != EINTR:
                raise OSError(code, os.strerror(code))
            PyErr_CheckSignals()
            self.sweeper.epoch += 1  # a handler is user code
            return None
        return self.take_events(events, count, keys)

    cdef list take_events(self, zs_event *events, int count, dict keys):
        cdef list fired = None
        cdef PyObject *found
        cdef Source source
        cdef int i, fd
        for i in range(count):
            fd = zs_event_fd(&events[i])
            found = self.by_fd.find(fd)
            if found is not NULL and (<Source> found).watched == fd:
                source = <Source> found
                source.maybe_readable = True
                self.enqueue(source)
            elif keys is not None:
                key = keys.get(fd)
                if key is not None:
                    if fired is None:
                        fired = []
                    fired.append((key, zs_event_mask(&events[i]) & <int> key.events))
        return fired
