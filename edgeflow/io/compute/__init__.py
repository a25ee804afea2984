"""Where segments run: in a process of their own that may die, or in threads of the node's.

    process    the worker as its node sees it: started, watched, started again
    orders     what it is asked for, in order, also across its deaths; `state` what is known of it
    wire       the words between the two; tensors cross in shared memory: `slabs`, `tray`
    child      the operating system's side of it
    program    the worker itself
    segments   builds and runs, in whatever process that is; `thread` is without a worker

Invariant: what crosses to the worker is data, checked on the other side; nothing there is code.
"""
