import threading
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from support.errors import UserError
from support.parallel import run_jobs


def thread_of(job):
    time.sleep(0.01)  # or one thread would do all of it
    return threading.get_ident()


def blas_threads(job=None):
    np.ones((300, 300)) @ np.ones((300, 300))
    return max(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")


@pytest.mark.parametrize("num_workers", [1, 2, 0])
def test_results_come_in_order(num_workers):
    jobs = list(range(20))
    assert list(run_jobs(lambda job: 2 * job, jobs, num_workers)) == list(range(0, 40, 2))


def test_no_job_is_no_result():
    assert list(run_jobs(thread_of, [])) == []


def test_one_worker_is_this_thread_and_three_are_three():
    assert set(run_jobs(thread_of, [1, 2], 1)) == {threading.get_ident()}
    assert len(set(run_jobs(thread_of, list(range(12)), 3))) == 3


@pytest.mark.parametrize("num_workers", [1, 2])
def test_blas_has_one_thread_meanwhile(num_workers):
    before = blas_threads()
    assert set(run_jobs(blas_threads, [1, 2, 3], num_workers)) == {1}
    assert blas_threads() == before


@pytest.mark.parametrize("num_workers", [1, 2])
def test_errors_reach_the_caller_and_end_the_rest(num_workers):
    done = []

    def fail_at_1(job):
        time.sleep(0.01)
        if job == 1:
            raise UserError(f"job {job}")
        done.append(job)

    with pytest.raises(UserError, match="job 1"):
        list(run_jobs(fail_at_1, list(range(100)), num_workers))
    assert len(done) < 99
