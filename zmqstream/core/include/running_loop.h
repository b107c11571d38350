/* Which asyncio loop this thread runs. asyncio._get_running_loop() tells, too, but takes 150 ns up to
 * Python 3.11, where it asks for the process id each time. Up to 3.12, asyncio keeps the loop in the
 * thread's dict: up to 3.11, as the first field of a _RunningLoopHolder. */
#ifndef ZMQSTREAM_RUNNING_LOOP_H
#define ZMQSTREAM_RUNNING_LOOP_H

#include <Python.h>
#include <string.h>

/* Borrowed; NULL: unknown. */
static inline PyObject *zs_running_loop (PyObject *key)
{
#if PY_VERSION_HEX >= 0x030D0000
    (void) key;
    return NULL;
#else
    PyObject *state = PyThreadState_GetDict ();
    PyObject *found = state == NULL ? NULL : PyDict_GetItem (state, key);
#if PY_VERSION_HEX < 0x030C0000
    static PyTypeObject *holder_type = NULL;
    if (found == NULL)
        return NULL;
    if (Py_TYPE (found) != holder_type) {
        if (strcmp (Py_TYPE (found)->tp_name, "_RunningLoopHolder") != 0
            || Py_TYPE (found)->tp_basicsize < (Py_ssize_t) (sizeof (PyObject) + sizeof (PyObject *)))
            return NULL;
        holder_type = Py_TYPE (found);
    }
    found = *(PyObject **) ((PyObject *) found + 1);
#endif
    return found;
#endif
}

#endif
