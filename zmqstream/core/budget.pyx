# The number of messages and the time that a turn or a flush has left.

cdef enum:
    CLOCK_READS = 16       # a turn reads the clock about this often...
    MESSAGES_A_READ = 16   # ...and at least once in this many messages: 27 ns / 16 = 1.7 ns each


cdef double LONGEST_NS = 4e18  # 127 years, the longest time


cdef inline void budget_start(Budget *budget, int messages, int64_t ns, int64_t now) noexcept:
    """Start with this many messages and this much time."""
    budget.left = messages
    budget.raising = False
    budget.unchecked = budget.checked = 1
    budget.read_at = now
    budget.pace = ns // CLOCK_READS
    budget.deadline = now + ns


cdef inline void budget_start_untimed(Budget *budget, int messages) noexcept:
    """Start with this many messages and no limit of time. Exceptions go to the caller."""
    budget.left = messages
    budget.raising = True
    budget.unchecked = budget.checked = INT_MAX
    budget.read_at = budget.pace = 0
    budget.deadline = INT64_MAX


cdef inline bint budget_spend(Budget *budget) noexcept:
    """Count a message. Returns whether the budget is spent."""
    budget.left -= 1
    if budget.left <= 0:
        return True
    budget.unchecked -= 1
    return budget.unchecked <= 0 and budget_check_clock(budget)


cdef bint budget_check_clock(Budget *budget) noexcept:
    """Read the clock, and decide when to read it again from the time that messages took lately."""
    cdef int64_t now = zs_now()
    cdef int64_t each = (now - budget.read_at) // budget.checked
    if now >= budget.deadline:
        return True
    budget.read_at = now
    budget.checked = MESSAGES_A_READ
    if each > budget.pace // MESSAGES_A_READ:
        budget.checked = <int> max(1, budget.pace // each)
    budget.unchecked = budget.checked
    return False
