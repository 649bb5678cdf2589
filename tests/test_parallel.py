import os
import signal

import pytest

from hparams import UserError
from parallel import run_jobs


def double(job):
    return 2 * job


def process_of(job):
    return os.getpid()


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


@pytest.mark.parametrize("num_workers", [1, 2])
def test_errors_reach_the_caller(num_workers):
    with pytest.raises(UserError, match="job 1"):
        list(run_jobs(fail, [1, 2], num_workers))


def test_a_killed_process_is_a_message():
    with pytest.raises(UserError, match="try --num_workers 1"):
        list(run_jobs(die, [1, 2], 2))
