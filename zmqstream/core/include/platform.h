/* What differs between operating systems: the clock, epoll, and finding a loaded library's
 * functions. Everything else in the core is portable. */
#ifndef ZMQSTREAM_PLATFORM_H
#define ZMQSTREAM_PLATFORM_H

#include <stdint.h>

/* --- a monotonic clock, in nanoseconds ---------------------------------------------- */

#if defined _WIN32

#define PSAPI_VERSION 2  /* EnumProcessModules() is kernel32's: no library of its own to link with */
#if !defined WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#include <windows.h>

static inline int64_t zs_now (void)
{
    static LARGE_INTEGER frequency;
    LARGE_INTEGER ticks;
    if (frequency.QuadPart == 0)
        QueryPerformanceFrequency (&frequency);
    QueryPerformanceCounter (&ticks);
    return ticks.QuadPart / frequency.QuadPart * 1000000000LL
           + ticks.QuadPart % frequency.QuadPart * 1000000000LL / frequency.QuadPart;
}

#else

#include <time.h>

static inline int64_t zs_now (void)
{
    struct timespec t;
    clock_gettime (CLOCK_MONOTONIC, &t);
    return (int64_t) t.tv_sec * 1000000000LL + t.tv_nsec;
}

#endif

/* --- which thread this is: a number that no two threads have at the same time -------- */

static inline uintptr_t zs_thread (void)
{
#if defined __linux__ && defined __x86_64__
    uintptr_t pointer;
    __asm__ ("movq %%fs:0, %0" : "=r" (pointer)); /* glibc's and musl's pthread_self(), inlined */
    return pointer;
#elif defined __linux__ && defined __aarch64__
    uintptr_t pointer;
    __asm__ ("mrs %0, tpidr_el0" : "=r" (pointer));
    return pointer;
#else
    return (uintptr_t) PyThread_get_thread_ident ();
#endif
}

/* --- how many calls of Python functions this thread may still nest ------------------- */

static inline int zs_stack_left (void)
{
    PyThreadState *thread = PyThreadState_Get ();
#if PY_VERSION_HEX < 0x030B0000
    return Py_GetRecursionLimit () - thread->recursion_depth;
#elif PY_VERSION_HEX < 0x030C0000
    return thread->recursion_remaining;
#elif PY_VERSION_HEX < 0x030E0000
    return thread->py_recursion_remaining < thread->c_recursion_remaining
               ? thread->py_recursion_remaining : thread->c_recursion_remaining;
#else
    return thread->py_recursion_remaining;
#endif
}

/* --- the contextvars context that this thread is in; NULL: none ---------------------- */

static inline PyObject *zs_context (void) { return PyThreadState_Get ()->context; }

/* --- whether the interpreter ends: modules and classes may have gone ----------------- */

static inline int zs_is_finalizing (void)
{
#if PY_VERSION_HEX < 0x030D0000
    return _Py_IsFinalizing ();
#else
    return Py_IsFinalizing ();
#endif
}

/* --- epoll; where it does not exist, zs_epoll_create() says so by returning -1 ------- */

#if defined __linux__

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

typedef struct epoll_event zs_event;

static inline int zs_epoll_create (void) { return epoll_create1 (EPOLL_CLOEXEC); }

static inline int zs_epoll_add (int epfd, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.fd = fd}};
    return epoll_ctl (epfd, EPOLL_CTL_ADD, fd, &event);
}

static inline int zs_epoll_remove (int epfd, int fd)
{
    struct epoll_event event = {.events = 0, .data = {.fd = fd}};
    return epoll_ctl (epfd, EPOLL_CTL_DEL, fd, &event);
}

static inline int zs_epoll_wait (int epfd, zs_event *events, int size, int milliseconds)
{
    return epoll_wait (epfd, events, size, milliseconds);
}

static inline int zs_event_fd (const zs_event *event) { return event->data.fd; }

/* As asyncio reads an epoll mask: 1 = readable, 2 = writable; errors and hang-ups are both. */
static inline int zs_event_mask (const zs_event *event)
{
    return ((event->events & ~(uint32_t) EPOLLOUT) ? 1 : 0)
           | ((event->events & ~(uint32_t) EPOLLIN) ? 2 : 0);
}

static inline void zs_close (int fd) { close (fd); }

#else

#include <errno.h>

typedef struct { int fd; int mask; } zs_event;

static inline int zs_epoll_create (void) { errno = ENOSYS; return -1; }
static inline int zs_epoll_add (int epfd, int fd) { (void) epfd; (void) fd; return -1; }
static inline int zs_epoll_remove (int epfd, int fd) { (void) epfd; (void) fd; return -1; }
static inline int zs_epoll_wait (int epfd, zs_event *events, int size, int milliseconds)
{
    (void) epfd; (void) events; (void) size; (void) milliseconds;
    return -1;
}
static inline int zs_event_fd (const zs_event *event) { return event->fd; }
static inline int zs_event_mask (const zs_event *event) { return event->mask; }
static inline void zs_close (int fd) { (void) fd; }

#endif

/* --- functions of a library that this process has already loaded --------------------- */

#if defined _WIN32

#include <psapi.h>

/* An extension module's import table is not searched by GetProcAddress: look for the loaded
 * module that exports libzmq's functions instead. `path` is not needed. */
static inline void *zs_library_open (const char *path)
{
    HMODULE modules[1024];
    DWORD bytes = 0;
    DWORD i;
    (void) path;
    if (!EnumProcessModules (GetCurrentProcess (), modules, sizeof modules, &bytes))
        return NULL;
    for (i = 0; i < bytes / sizeof (HMODULE) && i < 1024; i++)
        if (GetProcAddress (modules[i], "zmq_msg_recv"))
            return (void *) modules[i];
    return NULL;
}

static inline void *zs_library_symbol (void *library, const char *name)
{
    return (void *) GetProcAddress ((HMODULE) library, name);
}

#else

#include <dlfcn.h>

/* RTLD_NOLOAD: the very library that is there, never a second copy. dlsym() on it searches
 * what it was linked with, too, and so finds libzmq behind pyzmq's extension module. */
static inline void *zs_library_open (const char *path)
{
    return dlopen (path, RTLD_LAZY | RTLD_NOLOAD);
}

static inline void *zs_library_symbol (void *library, const char *name)
{
    return dlsym (library, name);
}

#endif

#endif
