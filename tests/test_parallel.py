import multiprocessing
import os
import signal

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from hparams import UserError
from parallel import run_jobs


def double(job):
    return 2 * job


def process_of(job):
    return os.getpid()


def start_method(job):
    return multiprocessing.get_start_method()


def blas_threads(job):
    np.ones((300, 300)) @ np.ones((300, 300))
    return max(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")


def fail(job):
    raise UserError(f"job {job}")


def die(job):
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("num_workers", [1, 2, 0])
def test_results_come_in_order(num_workers):
    assert list(run_jobs(double, list(range(20)), num_workers)) == list(range(0, 40, 2))


def test_no_job_is_no_result():
    assert list(run_jobs(double, [])) == []


def test_one_worker_is_this_process_and_two_are_others():
    assert set(run_jobs(process_of, [1, 2], 1)) == {os.getpid()}
    assert os.getpid() not in set(run_jobs(process_of, [1, 2], 2))


def test_processes_start_by_spawn():
    assert set(run_jobs(start_method, [1, 2], 2)) == {"spawn"}


@pytest.mark.parametrize("num_workers", [1, 2])
def test_each_computes_with_one_thread(num_workers):
    assert set(run_jobs(blas_threads, [1, 2, 3], num_workers)) == {1}


@pytest.mark.parametrize("num_workers", [1, 2])
def test_errors_reach_the_caller(num_workers):
    with pytest.raises(UserError, match="job 1"):
        list(run_jobs(fail, [1, 2], num_workers))


def test_a_killed_process_is_a_message():
    with pytest.raises(UserError, match="try --num_workers 1"):
        list(run_jobs(die, [1, 2], 2))
