cdef struct Budget:             # what a turn, or a flush, may still handle
    int left                    # messages
    bint raising                # callbacks' exceptions go to the caller (flush), not to the loop
    int unlooked                # messages until the next look at the clock; they cost 27 ns each
    int looked                  # messages since the last one
    int64_t last                # when that was, ns
    int64_t pace                # ns between two looks, about
    int64_t deadline            # ns; INT64_MAX: no clock, only messages count
