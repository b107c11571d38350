"""The data model of the core: every class and enum, each field with its comment.

Who changes what: a Source's `state` only changes in become(), which is called in _reactor.pxi
(enqueue) and in the source's own open, settle() and close(); its place on the ready list, in
_reactor.pxi (link, unlink).
"""
cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int64_t
from zmqstream._counters cimport ZS_SOURCES, zs_count
from zmq.backend.cython._zmq cimport Frame, Socket
from zmq.backend.cython.libzmq cimport zmq_msg_t


cdef enum State:
    IDLE    # nothing is wanted: no receiver, nothing to send
    ARMED   # ZMQ_EVENTS was read after the last libzmq call, and nothing wanted was pending
    READY   # something wanted may be pending: on the ready list, or in its turn
    CLOSED  # for good


cdef struct Item:               # a queued message
    PyObject *frames            # owned: its only frame, or a tuple of frames; NULL: withdrawn
    Py_ssize_t size             # bytes of all its frames
    int flags                   # the caller's flags for zmq_msg_send()
    bint has_extra              # there is a SendExtra of it in SendQueue.extras


cdef struct Budget:             # what a turn, or a flush, may still handle
    int left                    # messages
    bint raising                # callbacks' exceptions go to the caller (flush), not to the loop
    int unlooked                # messages until the next look at the clock; they cost 27 ns each
    int looked                  # messages since the last one
    int64_t last                # when that was, ns
    int64_t pace                # ns between two looks, about
    int64_t deadline            # ns; INT64_MAX: no clock, only messages count


@cython.final
cdef class SendExtra:           # what few messages carry
    cdef object callback        # on_send for this message alone, or None
    cdef object context         # the contextvars context it was given in
    cdef object tracker         # zmq.MessageTracker of what is not copied, or None
    cdef object awaited         # the AwaitedSend of asend(), or None
    cdef SendExtra further      # of a message in parts: the next that has a callback, too; or None
    cdef int64_t deadline       # the clock's time when it expires, ns; 0: never
    cdef SendQueue queue        # where the message waits; None: it has gone
    cdef int64_t place          # which one it is there, counted from the queue's beginning

    cdef int forget(self) noexcept


@cython.final
cdef class SendQueue:
    cdef Item *items            # a ring
    cdef Py_ssize_t capacity    # a power of two, or 0
    cdef Py_ssize_t head        # index of the oldest
    cdef Py_ssize_t count       # items: messages waiting, and holes between them
    cdef Py_ssize_t holes       # those: items without frames
    cdef int64_t first          # items that have gone: the place of the oldest
    cdef object extras          # a deque: the SendExtras of those that have one, oldest first; or None
    cdef bytes peer             # of a ROUTER's parked messages: whose they are; or None

    cdef int push(self, object frames, Py_ssize_t size, int flags, SendExtra extra) except -1
    cdef int make_extras(self) except -1
    cdef int grow(self) except -1
    cdef int take_back(self, object frames) except -1
    cdef object pop(self)
    cdef SendExtra first_extra(self)
    cdef SendExtra take_extra(self)
    cdef int advance(self) noexcept
    cdef Item *at(self, int64_t place) noexcept
    cdef object withdraw(self, SendExtra extra)
    cdef int close_up(self) except -1
    cdef int clear(self) except -1


cdef struct ReadyList:          # a doubly linked list through the sources themselves
    PyObject *first
    PyObject *last


cdef class Source:
    """A ZeroMQ socket that a reactor watches."""
    cdef object __weakref__
    cdef Reactor reactor        # of the loop it belongs to; None before open()
    cdef Socket sock            # pyzmq's socket; None when closed
    cdef Socket origin          # the one that `sock` shadows, or `sock` itself
    cdef int fd                 # its ZMQ_FD, kept: after ETERM it cannot be asked for
    cdef int watched            # what is polled: fd, or our own duplicate of it; -1: nothing
    cdef State state
    cdef PyObject *ready_prev   # neighbours on a ready list; borrowed
    cdef PyObject *ready_next
    cdef ReadyList *listed      # the list it is on, or NULL
    cdef Py_ssize_t index       # its place in reactor.sources; -1: not there
    cdef int64_t checked        # reactor.epoch when EVENTS was last read
    cdef int64_t held           # reactor.iteration in which it gets no further turn; 0: none
    cdef bint suspect           # its raw socket was handed out since the last sweep
    cdef bint input_due         # a turn should try to receive
    cdef bint retry             # no event will tell when to go on: it gets a turn each RETRY_NS
    cdef int64_t repaired       # events that a sweep found: swallowed edges, and some that just came

    cdef inline void *handle(self) noexcept:
        """libzmq's socket, or NULL when somebody has closed it."""
        if self.sock is None or self.origin.handle is NULL:
            return NULL
        return self.sock.handle

    cdef inline void become(self, State state) noexcept:
        """The one place where `state` changes."""
        zs_count(ZS_SOURCES + <int> self.state, -1)
        zs_count(ZS_SOURCES + <int> state, 1)
        self.state = state

    cdef int wanted(self) noexcept
    cdef int still_wanted(self, int events) except -1
    cdef int leave(self) except -1
    cdef int set_retry(self, bint retry) except -1
    cdef int turn(self) except -1
    cdef int settle(self) except -1
    cdef int failed(self, int code) except -1
    cdef int read_events(self) except -2
    cdef int open_source(self, Socket socket, Socket origin, int fd, Reactor reactor) except -1
    cdef int orphan(self) except -1
    cdef int suspect_raw_use(self) except -1


cdef class Reactor:
    """The sources of one loop, and the turns that those get which are ready."""
    cdef object __weakref__
    cdef readonly object loop   # the asyncio loop
    cdef readonly str poller    # "epoll" or "selectors"
    cdef int epfd               # -1: not epoll, or not attached
    cdef int generation         # fork_generation at the start; -1: the loop was closed
    cdef list sources           # all of them, each at its index; keeps them alive
    cdef PyObject **by_fd       # the source that watches a descriptor, borrowed; NULL: none
    cdef int by_fd_size
    cdef ReadyList ready        # who gets a turn, in order
    cdef ReadyList later        # who had one in this pass and is still ready
    cdef Source current         # whose turn it is; None: no pass is under way
    cdef list suspects          # whose raw socket was handed out since the last sweep
    cdef int retrying           # sources with `retry`
    cdef bint sleeping          # nobody looks at the ready list: who makes a source ready wakes us
    cdef bint called            # the loop was given something to run since it came by
    cdef int64_t now            # the clock, ns, when it was last read
    cdef int64_t yielded_at     # when other threads and signal handlers last had their chance, ns
    cdef int64_t iteration      # of the loop; see Source.held
    cdef bint holding           # it has sources that are held, and ends in _on_hold_end()
    cdef int held_for           # how often the loop has come by since
    cdef int64_t epoch          # grows whenever user code ran, which may have touched raw sockets
    cdef int64_t swept_epoch    # the epoch up to which every armed source is known to be right
    cdef int64_t sweep_epoch    # the epoch when the sweep under way began
    cdef int64_t swept_at       # when the last full sweep ended, ns
    cdef Py_ssize_t cursor      # sources that the sweep under way has still to see; 0: none is
    cdef int64_t retry_at       # when sources with `retry` get their next turn, ns
    cdef readonly int64_t repaired  # of all sources
    cdef int64_t polls          # and what else stats() tells
    cdef int64_t sleeps
    cdef int64_t passes
    cdef int64_t turns
    cdef int64_t sweeps

    cdef int check(self) except -1
    cdef int check_process(self) except -1

    # each home has its own
    cdef int watch(self, Source source) except -1
    cdef int unwatch(self, Source source) except -1
    cdef int wake(self) except -1

    cdef int emptied(self) except -1
    cdef int end_hold(self) except -1
    cdef int check_loop(self) except -1

    cdef int call_soon(self, object callback, tuple args) except -1
    cdef int wake_future(self, object future) except -1
    cdef int wake_all(self, list futures) except -1
    cdef int hold(self) except -1
    cdef int grow_old(self) noexcept
    cdef int add(self, Source source) except -1
    cdef int map_fd(self, Source source, int fd) except -1
    cdef int unmap_fd(self, Source source, int fd) noexcept
    cdef int remove(self, Source source) except -1
    cdef int serve(self, Source source) except -1
    cdef int later_to_ready(self) noexcept
    cdef int look_again(self, Source source) except -1
    cdef int link(self, Source source, ReadyList *target) noexcept
    cdef int enqueue(self, Source source) except -1
    cdef int enqueue_later(self, Source source) except -1
    cdef int unlink(self, Source source) noexcept
    cdef int run_pass(self) except -1
    cdef double sweep_wait(self) noexcept
    cdef int sweep(self) except -1
    cdef int sweep_suspects(self) except -1
    cdef double retry_wait(self) noexcept
    cdef int retry_all(self) except -1
    cdef list poll_epoll(self, double timeout, dict keys)
    cdef int close_sources(self) except -1


@cython.final
cdef class HomeReactor(Reactor):
    """On our own EventLoop: the reactor is the loop's selector."""
    cdef object selector        # a selectors.DefaultSelector with asyncio's descriptors
    cdef object base_select     # its own select(), for the poller "selectors"
    cdef readonly dict keys     # {fd: SelectorKey} of asyncio's descriptors, for "epoll"
    cdef public object on_poll  # called before (True) and after (False) each poll, and in close() (None)
    cdef object loop_ready      # asyncio's queue of handles; None: unknown, see nothing_changed()
    # asyncio's heap of timers at the beginning of select(), its length and its head
    cdef object timers
    cdef Py_ssize_t timer_count
    cdef object timer_head

    cdef list poll_once(self, int64_t deadline)
    cdef list poll(self, double timeout)
    cdef list poll_selected(self, double timeout)
    cdef int remember_loop(self) except -1
    cdef bint nothing_changed(self) except -1


@cython.final
cdef class GuestReactor(Reactor):
    """On somebody else's loop: the epoll descriptor is one reader of it."""
    cdef bint attached          # registered with the loop
    cdef list timers            # the two TimerHandles of the next sweeps; empty: not attached
    cdef int64_t[2] due         # when they are, by zs_now()
    cdef int64_t asked          # calls that wake() has asked for; only the last one counts
    cdef int64_t answered       # the last that came
    cdef int64_t asked_then     # `asked` at the last sweep

    cdef int attach(self) except -1
    cdef int detach(self) except -1
    cdef int start_timer(self, int which, int64_t wait) except -1
    cdef int stop_timers(self) except -1
    cdef bint end_in_child(self) except -1
    cdef bint told_in_child(self) except -1
    cdef int dispatch(self) except -1


cdef class Outgoing(Source):
    """The way out of one stream: its queue, and what is told of each message's outcome."""
    cdef int socket_type
    cdef int running            # turns and flushes under way, nested
    cdef SendQueue queue
    cdef dict parked            # ROUTER: {peer: SendQueue} of peers that refused; None: never
    cdef Py_ssize_t parked_count      # messages in it
    cdef bytes next_parked      # whom unpark() begins with; None, or gone: with the first
    cdef Py_ssize_t queued      # messages that wait: in `queue` and in `parked`
    cdef int64_t queued_bytes
    cdef Py_ssize_t peak_queued
    cdef int turn_messages      # the budget of a turn: messages...
    cdef int64_t turn_ns        # ...and time
    cdef int64_t messages_out   # and what else stats() tells
    cdef int64_t bytes_out
    cdef int64_t errors
    cdef int64_t turns
    cdef int64_t turns_cut
    cdef int64_t dropped        # because the queue was full
    cdef int64_t expired        # because their time was over
    cdef bint timing            # callbacks are timed...
    cdef bint timed_for_stats   # ...because stats() is to tell
    cdef int64_t callback_ns    # what they took
    cdef bint debug             # debug mode: calls from other threads are errors, slow callbacks are logged
    cdef bint blocked           # libzmq refused the oldest message in this turn
    cdef int lies               # how often EVENTS then said that it would be taken
    cdef int calling            # call_back()s under way, nested
    cdef bint clean             # the last libzmq call was a receive that found nothing
    cdef object send_callback   # of on_send, or None
    cdef object send_context    # the contextvars context of its registration
    cdef bint send_stream       # call it with the stream as first argument
    cdef object err_callback    # of on_err, or None
    cdef object err_context
    cdef set tasks              # of coroutine callbacks, until they end; None: never any

    cdef int send_queued(self, Budget *budget) except -1
    cdef bint has_flushed(self, Budget *budget) noexcept
    cdef int interrupted(self) except -1
    cdef int handed_over(self, SendQueue queue, int code, bint raising) except -1
    cdef int outcome(self, SendQueue queue, int code, bint raising) except -1
    cdef int expire(self, SendExtra extra, bint raising) except -1
    cdef int expire_overdue(self, SendQueue queue, bint raising) except -1
    cdef int park(self, bytes peer) except -1
    cdef int unpark(self, Budget *budget) except -1
    cdef int removed(self, Py_ssize_t size) noexcept
    cdef int tell(self, object frames, SendExtra extra, object error, bint raising) except -1
    cdef int tell_sender(
        self, object frames, SendExtra extra, object error, bint told, bint raising) except -1
    cdef int call_own(self, SendExtra extra, list message, object status, bint raising) except -1
    cdef int unparked(self, SendQueue waiting) except -1
    cdef int look_at_mailbox(self) noexcept
    cdef Py_ssize_t last_drain(self) except -1
    cdef int call_back(self, str what, object callback, tuple args, object context, bint raising) except -1
    cdef int returned(self, object result, object callback) except -1
    cdef object start(self, object result, object callback)
    cdef int task_ended(self, object task) except -1
    cdef int timed(self, int64_t began, str what, object callback) except -1
    cdef bint tell_error(self, object error, bint raising) except -1

    # the stream's, whose flow is in _flow.pxi, and whose life in _stream.pxi
    cdef int check_open(self) except -1
    cdef int check_usable(self) except -1
    cdef int check_thread(self, str method) except -1


cdef enum Policy:               # what becomes of a message beyond the limits
    WAIT
    RAISE
    DROP_NEWEST
    DROP_OLDEST


cdef class Flow(Outgoing):
    """How much may wait to be sent, for how long, and who is told when there is room."""
    cdef Py_ssize_t high        # messages: more are too many...
    cdef Py_ssize_t low         # ...until so few are left
    cdef Py_ssize_t high_bytes  # likewise
    cdef Py_ssize_t low_bytes
    cdef Policy policy
    cdef bint over              # the queue was too long, and has not fallen to `low` since
    cdef bint drop_logged       # a drop was logged since then
    cdef bint drain_due         # _call_on_drain() is scheduled
    cdef bint alert             # attend() has something to look at
    cdef list drainers          # futures of those that wait for `low`; None: never any
    cdef list emptiers          # futures of those that wait for an empty queue, or None
    cdef object drain_callback  # of on_drain, or None
    cdef object drain_context
    cdef object untold          # a deque of what was dropped: (frames, SendExtra, error); or None
    cdef list timed             # a heap of (deadline, serial, SendExtra), or None
    cdef Py_ssize_t most_timed  # it is made anew when it has so many
    cdef int64_t serial         # of the last one
    cdef object timer           # the TimerHandle of _on_expiry(), or None
    cdef int64_t timer_at       # when that will be, ns

    cdef bint has_limits(self) noexcept
    cdef bint is_full(self, Py_ssize_t size) noexcept
    cdef bint make_room(self, object frames, Py_ssize_t size, SendExtra extra) except -1
    cdef int drop_oldest(self) except -1
    cdef int drop(self, object frames, SendExtra extra) except -1
    cdef bint tell_untold(self, Budget *budget) except -1
    cdef int check_level(self) except -1
    cdef int attend(self) except -1
    cdef int watch_deadline(self, SendExtra extra) except -1
    cdef int set_timer(self) except -1
    cdef object withdraw(self, SendExtra extra)
    cdef int end_flow(self) except -1


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


cdef class Incoming(Sender):
    """The way in of one stream, and its turns."""
    cdef int changes            # grows when a loop over messages must look around
    cdef object recv_callback   # of on_recv, or None
    cdef object recv_context    # the contextvars context of its registration
    cdef bint recv_copy         # bytes rather than Frames
    cdef bint recv_stream       # call it with the stream as first argument
    cdef Py_ssize_t recv_batch  # call it with a list of so many messages at most; 0: with one message
    cdef Py_ssize_t max_alive   # so many of its coroutines may be alive; 0: any number
    cdef set alive              # those, where that is bounded; None: never any
    cdef int starting           # those whose task is being made
    cdef set closers            # tasks in aclose(), which waits for callbacks but not for these; or None
    cdef object receivers       # a deque of AwaitedMessages that wait, in order; None: never any
    cdef bint awaited           # the first of them is to be woken when there is a message
    cdef bint closing           # aclose() has begun: nothing is received any more
    cdef int64_t messages_in    # what stats() tells
    cdef int64_t bytes_in

    cdef int rest(self) except -1
    cdef int receive_turn(self, Budget *budget) except -1
    cdef int receive_loop(self, Budget *budget) except -1
    cdef int receive_batches(self, Budget *budget) except -1
    cdef int fill(self, list batch, Budget *budget) except -1
    cdef bint full(self) noexcept
    cdef int received(self, object result, object callback) except -1
    cdef int receive_failed(self, int code) except -1
    cdef object receive_rest(self, void *handle, zmq_msg_t *msg, int size, bint copy)
    cdef int flush_loop(self, int flag, Budget *budget) except -1
    cdef bint flush_receive(self) except -1


cdef enum Kind:                 # what an AwaitedMessage gives
    MESSAGE                     # a message, of recv_multipart()
    FRAME                       # its only frame, of recv()
    ITEM                        # a message of an `async for`, which ends with the stream


cdef class Awaited:
    """What `await` waits for: a coroutine to asyncio."""
    cdef object __weakref__
    cdef Awaiting stream
    cdef object future          # of the loop, which wakes it; None: it does not wait for one
    cdef bint ended

    cdef object step(self)
    cdef int abandon(self) except -1
    cdef object sleep(self, object loop)


@cython.final
cdef class AwaitedNothing(Awaited):
    pass


@cython.final
cdef class AwaitedLevel(Awaited):
    cdef bint emptied           # an empty queue, not `low`


@cython.final
cdef class AwaitedSend(Awaited):
    cdef SendExtra extra        # of the message, as long as it is queued
    cdef bint told              # of the outcome:
    cdef object error
    cdef bint alone             # nobody else was told of that error
    cdef object result
    cdef bint pausing           # let the loop go once round first

    cdef int tell(self, object error, object result) except -1
    cdef int complain(self) except -1


@cython.final
cdef class AwaitedMessage(Awaited):
    cdef Kind kind
    cdef bint copy              # bytes rather than Frames
    cdef bint waiting           # it stands in `receivers`

    cdef object wait(self, bint pausing)


cdef class Awaiting(Incoming):
    """What coroutines await of a stream."""
    cdef Budget paced           # what they may do before the loop is let go once round
    cdef bint pace_asked        # _loop_came_by() is scheduled
    cdef object ended_by        # the error that has closed the stream, or None

    cdef int wake_receiver(self) except -1
    cdef int begin_pace(self) except -1
    cdef bint pace_over(self) except -1
    cdef int check_running(self) except -1
    cdef int check_receivable(self, Kind kind) except -1
    cdef object receive_one(self, bint copy)
    cdef AwaitedMessage receiver(self, Kind kind, bint copy)
    cdef AwaitedLevel level(self, bint emptied)
    cdef int end_awaiting(self) except -1


cdef class Stream(Awaiting):
    """One ZMQStream: see ZMQStream in stream.py for the public documentation."""
    cdef readonly object io_loop    # as given by the caller, or found
    cdef object py_socket       # what the `socket` attribute shows; None when it is closed
    cdef object shadowed        # the async socket that py_socket is our own shadow of, or None
    cdef str last_endpoint      # of a socket that is closed
    cdef object _monitor         # see _monitor.py: closed with the stream; None: there is none
    cdef readonly Py_ssize_t _lost  # messages that close() could not hand over
    cdef object close_callback  # of set_close_callback, or None
    cdef object close_context

    cdef str endpoint(self)
    cdef int set_receiver(
        self, object callback, bint copy, bint with_stream, Py_ssize_t batch, object max_concurrency,
    ) except -1
    cdef int close_for_good(self, object linger, Py_ssize_t unsent) except -1
    cdef int end_queues(self) except -1
    cdef int end_queue(self, SendQueue queue) except -1
    cdef int cancel_alive(self) except -1
    cdef int release(self, object linger, bint drain) except -1
    cdef int closed_directly(self) except -1
    cdef int close_socket(self, object linger) except -1


@cython.final
cdef class SocketHandler(Source):
    """A ZeroMQ socket in IOLoop.add_handler(): level-triggered, as for any other descriptor."""
    cdef object py_socket
    cdef object callback        # called as callback(socket, events)
    cdef object context
    cdef int mask               # POLLIN, POLLOUT
