"""Runs a function over many jobs on several threads, with a progress bar."""

import os
from concurrent.futures import ThreadPoolExecutor

from threadpoolctl import threadpool_limits
from tqdm import tqdm


def count_cores():
    """Number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_jobs(function, jobs, num_workers=0, label=""):
    """Yield `function(job)` for each of `jobs` (a list), in order, from `num_workers` threads.

    0 workers means one a core. Threads, not processes: decoding, NumPy and hashing leave Python to
    the others, while a process would first have to import it all. BLAS has one thread meanwhile:
    results do not depend on `num_workers`.
    """
    workers = min(num_workers or count_cores(), len(jobs))
    bar = {"total": len(jobs), "desc": label, "disable": None}  # None: no bar but in a terminal
    with threadpool_limits(1):
        if workers <= 1:
            yield from tqdm(map(function, jobs), **bar)
            return
        pool = ThreadPoolExecutor(workers)
        try:
            yield from tqdm(pool.map(function, jobs), **bar)
        finally:
            pool.shutdown(cancel_futures=True)
