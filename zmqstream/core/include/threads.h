/* What several threads read and write, for Pythons without the GIL. With the GIL, these are plain reads
 * and writes. CPython has the atomic operations for every compiler. */
#ifndef ZMQSTREAM_THREADS_H
#define ZMQSTREAM_THREADS_H

#include <Python.h>

#ifdef Py_GIL_DISABLED

#define zs_free_threaded 1
/* flags: all threads see their changes in one order */
#define zs_load(p) _Py_atomic_load_int (p)
#define zs_store(p, value) _Py_atomic_store_int (p, value)
#define zs_exchange(p, value) _Py_atomic_exchange_int (p, value)
/* states and counts: a reader gets some recent value */
#define zs_load_state(p) _Py_atomic_load_int_relaxed ((const int *) (p))
#define zs_store_state(p, value) _Py_atomic_store_int_relaxed ((int *) (p), (int) (value))
#define zs_load_thread(p) _Py_atomic_load_uintptr_relaxed (p)
#define zs_store_thread(p, value) _Py_atomic_store_uintptr_relaxed (p, value)
#define zs_load_count(p) _Py_atomic_load_ssize_relaxed (p)
#define zs_store_count(p, value) _Py_atomic_store_ssize_relaxed (p, value)
#define zs_load_bytes(p) _Py_atomic_load_int64_relaxed (p)
#define zs_store_bytes(p, value) _Py_atomic_store_int64_relaxed (p, value)

#else

#define zs_free_threaded 0
#define zs_load(p) (*(p))
#define zs_store(p, value) ((void) (*(p) = (value)))
static inline int zs_exchange (int *p, int value) { int old = *p; *p = value; return old; }
#define zs_load_state(p) (*(p))
#define zs_store_state(p, value) ((void) (*(p) = (value)))
#define zs_load_thread(p) (*(p))
#define zs_store_thread(p, value) ((void) (*(p) = (value)))
#define zs_load_count(p) (*(p))
#define zs_store_count(p, value) ((void) (*(p) = (value)))
#define zs_load_bytes(p) (*(p))
#define zs_store_bytes(p, value) ((void) (*(p) = (value)))

#endif

/* Whether nobody else holds `o`, so that it can be used again. */
static inline int zs_only_ours (PyObject *o)
{
#if !defined Py_GIL_DISABLED
    return Py_REFCNT (o) == 1;
#elif PY_VERSION_HEX >= 0x030E0000
    return PyUnstable_Object_IsUniquelyReferenced (o);
#else
    (void) o;
    return 0;
#endif
}

#endif
