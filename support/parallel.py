"""Run a function over many jobs on several threads, with a progress bar."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits
from tqdm import tqdm

Job = TypeVar("Job")
Result = TypeVar("Result")


def run_jobs(
    function: Callable[[Job], Result], jobs: Sequence[Job], num_workers: int = 0, label: str = ""
) -> Iterator[Result]:
    """Yield `function(job)` for each job, in order, from `num_workers` threads (0: all cores)."""
    # Threads are enough: decoding, NumPy and hashing release the GIL, and processes start slowly.
    affinity = getattr(os, "sched_getaffinity", None)  # the cores that we can use; only on Linux
    workers = num_workers or (len(affinity(0)) if affinity else os.cpu_count() or 1)
    workers = min(workers, len(jobs))
    # disable=None: the bar appears only in a terminal
    bar: dict[str, Any] = {"total": len(jobs), "desc": label, "disable": None}
    with threadpool_limits(1):  # one BLAS thread, so that results do not depend on num_workers
        if workers <= 1:
            yield from tqdm(map(function, jobs), **bar)
            return
        pool = ThreadPoolExecutor(workers)  # not `with`, which would wait for all jobs
        try:
            yield from tqdm(pool.map(function, jobs), **bar)
        finally:
            pool.shutdown(cancel_futures=True)
