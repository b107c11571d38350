# include/counters.h: debug counters, which are nothing in an ordinary build.

cdef extern from "counters.h" nogil:
    enum zs_counter:
        ZS_SOURCES, ZS_MSGS, ZS_RECEIVED, ZS_DELIVERED, ZS_DROPPED, ZS_GIVEN_UP
        ZS_QUEUED, ZS_SENT, ZS_FAILED, ZS_UNSENT, ZS_SWEPT, ZS_REPAIRED
    void zs_count(int counter, int64_t n) noexcept
    int64_t zs_counted(int counter) noexcept
    bint zs_counting
