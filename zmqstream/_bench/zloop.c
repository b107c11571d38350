/* The peer in C: czmq's reactor, zloop, used as its documentation shows.
 *
 *     zloop flood ENDPOINT            a PULL; when a message of two frames has come, the end of a
 *                                     flood, it prints the thread's processor time since the first
 *                                     message, in nanoseconds
 *     zloop dealer|router ENDPOINT    such a socket, that sends everything back
 *
 * It binds the socket and prints libzmq's version (czmq brings a libzmq of its own) and the
 * endpoint. Each line on stdin is answered by the process's processor time in nanoseconds; its end
 * ends the process.
 */
#include <czmq.h>
#include <pthread.h>
#include <stdint.h>
#include <time.h>

static int64_t clock_ns (clockid_t clock)
{
    struct timespec t;
    clock_gettime (clock, &t);
    return (int64_t) t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t began;

static int flooded (zloop_t *loop, zsock_t *socket, void *arg)
{
    zmsg_t *message = zmsg_recv (socket);
    (void) loop;
    (void) arg;
    if (!message)
        return -1;
    if (began == 0)
        began = clock_ns (CLOCK_THREAD_CPUTIME_ID);
    if (zmsg_size (message) > 1) {
        printf ("%lld\n", (long long) (clock_ns (CLOCK_THREAD_CPUTIME_ID) - began));
        fflush (stdout);
    }
    zmsg_destroy (&message);
    return 0;
}

static int echo (zloop_t *loop, zsock_t *socket, void *arg)
{
    zmsg_t *message = zmsg_recv (socket);
    (void) loop;
    (void) arg;
    return message ? zmsg_send (&message, socket) : -1;
}

static void *answer (void *arg)
{
    char line[80];
    while (fgets (line, sizeof line, stdin)) {
        printf ("%lld\n", (long long) clock_ns (CLOCK_PROCESS_CPUTIME_ID));
        fflush (stdout);
    }
    _exit (0); /* its sockets go with it */
    return arg;
}

int main (int argc, char **argv)
{
    int major, minor, patch, type = -1;
    pthread_t thread;
    zsock_t *socket;
    zloop_t *loop;
    if (argc == 3)
        type = streq (argv[1], "flood") ? ZMQ_PULL : streq (argv[1], "dealer") ? ZMQ_DEALER
             : streq (argv[1], "router") ? ZMQ_ROUTER : -1;
    if (type < 0)
        return 2;
    zmq_version (&major, &minor, &patch);
    socket = zsock_new (type);
    if (!socket || zsock_bind (socket, "%s", argv[2]) < 0)
        return 1;
    loop = zloop_new ();
    if (!loop || zloop_reader (loop, socket, type == ZMQ_PULL ? flooded : echo, NULL) < 0)
        return 1;
    printf ("%d.%d.%d\n%s\n", major, minor, patch, zsock_endpoint (socket));
    fflush (stdout);
    if (pthread_create (&thread, NULL, answer, NULL))
        return 1;
    zloop_start (loop);
    return 1;
}
