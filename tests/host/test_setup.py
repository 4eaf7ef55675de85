# SPDX-License-Identifier: Apache-2.0
"""`ensure` brings what is missing, says what could not be had, and does not try the same failure all the time."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig.errors import InfrastructureError, ToolMissing
from rig.host import selftest, setup, tools
from rig.host.tool import Tool


class Fake:
    """A tool that appears when installed, unless it cannot be."""

    def __init__(self, required: bool, problem: str = "", name: str = "fake") -> None:
        self.name = name
        self.problem = problem
        self.installed = False
        self.tries = 0
        self.broken = False
        self.entry = tools.Entry(name, self.find, required, "nothing works", self.install, self.check)

    def find(self) -> Tool:
        if not self.installed:
            raise ToolMissing(f"{self.name} is not here")
        return Tool(self.name, Path("/bin/sh"), "1", "cache")

    def install(self) -> None:
        self.tries += 1
        if self.problem:
            raise ToolMissing(self.problem)
        self.installed, self.broken = True, False

    def check(self, tool: Tool) -> None:
        if self.broken:
            raise InfrastructureError("fake does not start")


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, tools.Entry]]:
    """The table of tools, to be changed by a test."""
    table = dict(tools._BY_NAME)
    monkeypatch.setattr(tools, "_BY_NAME", table)
    monkeypatch.setattr(tools, "_found", {})
    yield table


def test_what_is_missing_is_installed_once(cache: Path, known: dict[str, tools.Entry]) -> None:
    fake = Fake(required=True)
    known["fake"] = fake.entry
    assert setup.ensure(["fake", "meld"]).tools.keys() == {"fake", "meld"}
    setup.ensure(["fake"])
    assert fake.tries == 1


def test_what_lies_in_the_cache_but_does_not_start_is_installed_again(
    cache: Path, known: dict[str, tools.Entry]
) -> None:
    fake = Fake(required=True)
    fake.installed = fake.broken = True
    known["fake"] = fake.entry
    setup.ensure(["fake"])
    assert fake.tries == 1


def test_required_ones_that_cannot_be_had_are_all_named(cache: Path, known: dict[str, tools.Entry]) -> None:
    known["one"], known["two"] = Fake(True, "no one", "one").entry, Fake(True, "no two", "two").entry
    with pytest.raises(ToolMissing, match=r"\Ano one\nno two\Z"):
        setup.ensure(["one", "meld", "two"])


def test_optional_one_is_done_without_and_said(
    cache: Path, known: dict[str, tools.Entry], capsys: pytest.CaptureFixture[str]
) -> None:
    known["fake"] = Fake(False, "no luck").entry
    box = setup.ensure(["fake", "meld"])
    assert box.missing == {"fake": "no luck"} and box.tools.keys() == {"meld"}
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err == "rig: going on without fake, so nothing works: no luck\n"


def test_a_failure_is_not_repeated_by_itself_but_on_request_and_later(
    cache: Path, known: dict[str, tools.Entry]
) -> None:
    fake = Fake(False, "no luck")
    known["fake"] = fake.entry
    assert setup.ensure(["fake"]).missing == {"fake": "no luck"}
    assert setup.ensure(["fake"]).missing == {"fake": "no luck (tried 0 min ago; `rig setup` tries again now)"}
    assert fake.tries == 1
    setup.ensure(["fake"], again=True)
    assert fake.tries == 2
    earlier = time.time() - 700
    os.utime(cache / "failed" / "fake", (earlier, earlier))
    setup.ensure(["fake"])
    assert fake.tries == 3
    fake.problem = ""
    assert setup.ensure(["fake"], again=True).tools.keys() == {"fake"}
    assert not (cache / "failed" / "fake").exists()


def test_an_old_record_from_the_future_does_not_count(cache: Path, known: dict[str, tools.Entry]) -> None:
    fake = Fake(False, "no luck")
    known["fake"] = fake.entry
    setup.ensure(["fake"])
    later = time.time() + 10_000
    os.utime(cache / "failed" / "fake", (later, later))
    setup.ensure(["fake"])
    assert fake.tries == 2


def test_the_main_job_needs_what_it_needs() -> None:
    assert set(setup.MAIN_JOB) >= {entry.name for entry in tools.ENTRIES if entry.required}
    assert {"synth", "wasmtime"} <= set(setup.MAIN_JOB) and "renode" not in setup.MAIN_JOB


def test_tools_found_are_remembered_until_the_selection_changes(
    cache: Path, known: dict[str, tools.Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = Fake(required=True)
    fake.installed = True
    known["fake"] = fake.entry
    first = tools.find("fake")
    assert tools.find("fake") is first
    monkeypatch.setenv("RIG_SYNTH", "/elsewhere")
    assert tools.find("fake") is not first


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], ["-n", "2", "--dist", "loadscope"]),
        (["-k", "x"], ["-n", "2", "--dist", "loadscope"]),
        (["-n", "4"], []),
        (["-n4"], []),
        (["--numprocesses=1"], []),
        (["--pdb"], []),
    ],
)
def test_two_test_processes_unless_said_otherwise(args: list[str], expected: list[str]) -> None:
    assert selftest.workers(args) == expected
