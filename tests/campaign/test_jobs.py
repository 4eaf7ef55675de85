# SPDX-License-Identifier: Apache-2.0
"""Jobs run side by side, results keep their numbers, and a dead worker is an error with a name, never a silence."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

from rig.campaign.jobs import Done, Event, Report, run_jobs
from rig.errors import InfrastructureError, UsageError


def _work(job: Any, report: Report) -> Any:
    report("started", job=job)
    match job:
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "usage":
            raise UsageError("bad.toml: key x: use y")
        case "bug":
            raise ZeroDivisionError("oops")
        case "sleep":
            time.sleep(60)
    return job


@pytest.mark.parametrize("parallel", [1, 2, 5])
def test_every_job_ends_once_whatever_the_number(parallel: int) -> None:
    done = {item.job: item for item in run_jobs(["a", "b", "c"], _work, parallel) if isinstance(item, Done)}
    assert {number: item.result for number, item in done.items()} == {0: "a", 1: "b", 2: "c"}


def test_events_carry_job_and_facts() -> None:
    events = [item for item in run_jobs(["a"], _work, 1) if isinstance(item, Event)]
    assert [(e.job, e.name, e.facts) for e in events] == [(0, "started", {"job": "a"})]


def test_a_killed_worker_is_an_infrastructure_error_and_the_others_go_on() -> None:
    done = {item.job: item for item in run_jobs(["die", "b"], _work, 1) if isinstance(item, Done)}
    assert isinstance(done[0].error, InfrastructureError) and "died" in str(done[0].error)
    assert done[1].result == "b"


def test_errors_keep_kind_and_words_and_bugs_show_their_trace() -> None:
    done = {item.job: item for item in run_jobs(["usage", "bug"], _work, 2) if isinstance(item, Done)}
    assert isinstance(done[0].error, UsageError) and str(done[0].error) == "bad.toml: key x: use y"
    assert isinstance(done[1].error, InfrastructureError) and "ZeroDivisionError" in str(done[1].error)


def test_closing_the_iterator_leaves_no_worker() -> None:
    iterator = run_jobs(["sleep", "sleep"], _work, 2)
    next(iterator)
    began = time.monotonic()
    iterator.close()
    assert time.monotonic() - began < 8
