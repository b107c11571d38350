# include/platform.h: the clock, epoll and the loaded library's functions.

cdef extern from "platform.h" nogil:
    ctypedef struct zs_event:
        pass
    int64_t zs_now()
    uintptr_t zs_thread()
    int zs_stack_left()
    PyObject *zs_context()
    bint zs_is_finalizing()
    int zs_epoll_create()
    int zs_epoll_add(int epfd, int fd)
    int zs_epoll_remove(int epfd, int fd)
    int zs_epoll_wait(int epfd, zs_event *events, int size, int milliseconds)
    int zs_event_fd(const zs_event *event)
    int zs_event_mask(const zs_event *event)
    void zs_close(int fd)
    void *zs_library_open(const char *path)
    void *zs_library_symbol(void *library, const char *name)
