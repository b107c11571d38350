/* Valgrind's client requests, for Python: they do nothing outside of valgrind. */
#include <valgrind/callgrind.h>

void guard_begin (void)
{
    CALLGRIND_ZERO_STATS;
}

void guard_end (const char *name)
{
    CALLGRIND_DUMP_STATS_AT (name);
}
