/* What is awaited gives its result through the slot am_send, which needs no StopIteration: 3.10 and
 * newer have it, and Cython cannot fill it. `await` itself uses it in CPython 3.10, 3.11 and 3.14,
 * asyncio's tasks in all. In 3.12 and 3.13 `await` calls tp_iternext. */
#ifndef ZMQSTREAM_AWAITABLE_H
#define ZMQSTREAM_AWAITABLE_H

#include <Python.h>

typedef int (*zs_send) (PyObject *self, PyObject *value, PyObject **result);

static void zs_set_slots (PyObject *o, zs_send send, iternextfunc next)
{
    PyTypeObject *type = (PyTypeObject *) o;
    type->tp_as_async->am_send = (sendfunc) send;
    type->tp_iternext = next;
    /* made by streams alone: without one there is nothing to await */
    type->tp_new = NULL;
    type->tp_vectorcall = NULL;
}

/* End an iteration with a result. No error of Cython's kind: it is nobody's to have a traceback. */
static PyObject *zs_stop (PyObject *result)
{
    PyObject *stop;
    if (result == Py_None) {
        PyErr_SetNone (PyExc_StopIteration);
        return NULL;
    }
    /* an instance, as a tuple or an exception would be taken for its arguments or itself */
    stop = PyObject_CallOneArg (PyExc_StopIteration, result);
    if (stop != NULL) {
        PyErr_SetObject (PyExc_StopIteration, stop);
        Py_DECREF (stop);
    }
    return NULL;
}

#endif
