# include/threads.h: what keeps threads apart in Pythons without the GIL.
#
# A stream is used by the thread that owns it: see owns(). Other threads may send, and may ask for counts.
# So this is all that several threads touch:
#
# - the mailbox, which has a lock.
# - the outbox, at one moment only: a thread sends before the loop runs, and the loop begins in another
#   thread. Such a send is in a critical section of the reactor, and so is the change of the thread. Where
#   user code may leave the section, the send looks again: see owned_elsewhere().
# - `parts`, a dict in which each thread has a key of its own.
# - the way to wake the loop: `posted`, a deque, and flags.
# - states, limits and counts, which one thread writes, and others read.
# - the socket of a stream, which close() takes away in a critical section of the stream.
# - containers of the module. Each operation on them is one of Python's, and so is atomic.
#
# With the GIL, all of this is plain C, and a critical section is nothing.

cdef extern from "threads.h" nogil:
    const bint zs_free_threaded
    int zs_load(const int *p) noexcept
    void zs_store(int *p, int value) noexcept
    int zs_exchange(int *p, int value) noexcept
    int zs_load_state(const void *p) noexcept
    void zs_store_state(void *p, int value) noexcept
    uintptr_t zs_load_thread(const uintptr_t *p) noexcept
    void zs_store_thread(uintptr_t *p, uintptr_t value) noexcept
    Py_ssize_t zs_load_count(const Py_ssize_t *p) noexcept
    void zs_store_count(Py_ssize_t *p, Py_ssize_t value) noexcept
    int64_t zs_load_bytes(const int64_t *p) noexcept
    void zs_store_bytes(int64_t *p, int64_t value) noexcept
    bint zs_only_ours(PyObject *o) noexcept
