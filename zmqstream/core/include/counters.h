/* Debug counters: what the tests balance. They cost nothing unless built with ZMQSTREAM_COUNTERS. */
#ifndef ZMQSTREAM_COUNTERS_H
#define ZMQSTREAM_COUNTERS_H

enum zs_counter {
    ZS_SOURCES,                     /* five of them: sources alive, by their State */
    ZS_MSGS = ZS_SOURCES + 5,       /* our own zmq_msg_t between init and close */
    ZS_RECEIVED,                    /* messages that libzmq gave: they were... */
    ZS_DELIVERED,                   /* given to a callback */
    ZS_DROPPED,                     /* received by a flush without a receiver */
    ZS_GIVEN_UP,                    /* reported: no memory for them */
    ZS_QUEUED,                      /* messages accepted by send: they were... */
    ZS_SENT,                        /* taken by libzmq */
    ZS_FAILED,                      /* refused for good, and told */
    ZS_UNSENT,                      /* lost at close, and counted in the log */
    ZS_SWEPT,                       /* sources that were looked at because they may be deaf */
    ZS_REPAIRED,                    /* how many of them were */
    ZS_COUNTERS
};

#ifdef ZMQSTREAM_COUNTERS
static int64_t zs_counters[ZS_COUNTERS];
#ifdef Py_GIL_DISABLED
#define zs_count(counter, n) ((void) _Py_atomic_add_int64 (&zs_counters[counter], (n)))
#else
#define zs_count(counter, n) ((void) (zs_counters[counter] += (n)))
#endif
#define zs_counted(counter) (zs_counters[counter])
#define zs_counting 1
#else
#define zs_count(counter, n) ((void) (counter), (void) (n))
#define zs_counted(counter) 0LL
#define zs_counting 0
#endif

#endif
