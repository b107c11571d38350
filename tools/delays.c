/* Delays system calls now and then. tools/disturb.py preloads it.

   libzmq's threads are delayed where they receive or send an event, as they are on a machine without
   a free processor. The main thread is delayed only if DELAYS_MAIN is 1, because each delay is one
   more wait, and tests of idle programs count waits. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static double share;      /* of the calls, which is delayed */
static double longest;    /* seconds */
static int main_thread;   /* whether it is delayed too */
static __thread uint64_t state;

static double setting(const char *name)
{
    const char *value = getenv(name);
    return value ? atof(value) : 0;
}

__attribute__((constructor)) static void begin(void)
{
    share = setting("DELAYS_SHARE");
    longest = setting("DELAYS_LONGEST");
    main_thread = (int) setting("DELAYS_MAIN");
}

static double chance(void)
{
    if (state == 0) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        state = ((uint64_t) now.tv_nsec << 32 | (uint64_t) syscall(SYS_gettid)) * 0x9E3779B97F4A7C15u | 1;
    }
    state ^= state << 13;  /* xorshift */
    state ^= state >> 7;
    state ^= state << 17;
    return (double) (state >> 11) / 9007199254740992.0;  /* 2^53 */
}

static void delay(void)
{
    const int code = errno;
    if ((main_thread || syscall(SYS_gettid) != getpid()) && chance() < share) {
        const double seconds = chance() * longest;
        const struct timespec time = {(time_t) seconds, (long) ((seconds - (time_t) seconds) * 1e9)};
        nanosleep(&time, NULL);
    }
    errno = code;
}

#define THE_REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name)) dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *bytes, size_t size)
{
    ssize_t result;
    THE_REAL(write);
    delay();
    result = real(fd, bytes, size);
    delay();
    return result;
}

int epoll_wait(int epfd, struct epoll_event *events, int most, int timeout)
{
    int result;
    THE_REAL(epoll_wait);
    result = real(epfd, events, most, timeout);
    delay();
    return result;
}

int poll(struct pollfd *fds, nfds_t count, int timeout)
{
    int result;
    THE_REAL(poll);
    result = real(fds, count, timeout);
    delay();
    return result;
}
