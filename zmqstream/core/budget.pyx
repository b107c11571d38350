# What a turn, or a flush, may still handle.

cdef enum:
    LOOKS = 16             # a turn looks at the clock after each such part of its time...
    LOOK_MESSAGES = 16     # ...and at least every so many messages: 27 ns / 16 = 1.7 ns each


cdef double LONGEST_NS = 4e18  # 127 years: what a number of seconds is cut at


cdef inline bint spent(Budget *budget) noexcept:
    """Count a message; whether the budget has come to its end."""
    budget.left -= 1
    if budget.left <= 0:
        return True
    budget.unlooked -= 1
    return budget.unlooked <= 0 and look(budget)


cdef inline void begin(Budget *budget, int messages, int64_t ns, int64_t now) noexcept:
    """So many messages, and so much time, from now on."""
    budget.left = messages
    budget.raising = False
    budget.unlooked = budget.looked = 1
    budget.last = now
    budget.pace = ns // LOOKS
    budget.deadline = now + ns


cdef bint look(Budget *budget) noexcept:
    """Look at the clock, and settle when to look again, from what messages cost lately."""
    cdef int64_t now = zs_now()
    cdef int64_t each = (now - budget.last) // budget.looked
    if now >= budget.deadline:
        return True
    budget.last = now
    budget.looked = LOOK_MESSAGES
    if each > budget.pace // LOOK_MESSAGES:
        budget.looked = <int> max(1, budget.pace // each)
    budget.unlooked = budget.looked
    return False
