cdef struct Budget:             # what a turn, or a flush, may still handle
    int left                    # messages
    bint raising                # an exception of a callback goes to the caller, not to the loop
    int unchecked               # messages until the clock is read again; a read costs 27 ns
    int checked                 # messages between the last two reads
    int64_t read_at             # when the clock was last read, ns
    int64_t pace                # ns between two reads, about
    int64_t deadline            # ns; INT64_MAX: no clock, only messages count
