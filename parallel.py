"""Runs a function over many jobs in processes of their own, with a progress bar."""

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from threadpoolctl import threadpool_limits
from tqdm import tqdm

from hparams import UserError

MOST_WORKERS = 61  # Windows waits for no more processes than that


def count_cores():
    """Number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def start_worker(function):
    """Set a new process up: Ctrl-C left to the parent, and one BLAS thread.

    Taking `function` has loaded its module by now, and so the BLAS that is limited.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()
    threadpool_limits(1)


def end_with_parent():
    """End this process when the one that started it is gone, killed or not."""
    multiprocessing.parent_process().join()
    os._exit(1)


def run_jobs(function, jobs, num_workers=0, label=""):
    """Yield `function(job)` for each of `jobs` (a list), in order, from `num_workers` processes.

    0 workers means one a core. Processes are spawned, as on Windows and macOS, so `function` is one
    of a module's top level. Each computes with one thread: results do not depend on `num_workers`.
    Raises `UserError` when a process is killed.
    """
    workers = min(num_workers or count_cores(), len(jobs), MOST_WORKERS)
    bar = {"total": len(jobs), "desc": label, "disable": None}  # None: no bar but in a terminal
    if workers <= 1:
        with threadpool_limits(1):
            yield from tqdm(map(function, jobs), **bar)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, spawn, start_worker, (function,)) as pool:
        try:
            yield from tqdm(pool.map(function, jobs), **bar)
        except BrokenProcessPool as error:
            message = "a worker process was killed, perhaps for want of memory; try --num_workers 1"
            raise UserError(message) from error
