# SPDX-License-Identifier: Apache-2.0
"""The build cache: an entry is there whole or not at all, and what is damaged is made again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import rig
from rig.build.cache import cached, digest
from rig.errors import InfrastructureError, UsageError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RIG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Maker:
    """Counts how often something was made."""

    def __init__(self, text: str = "made") -> None:
        self.text, self.times = text, 0

    def __call__(self, folder: Path) -> None:
        self.times += 1
        (folder / "thing").write_text(self.text)


def test_digest_tells_apart_what_joins_to_the_same_text() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("a", b"a") != digest("a", "a")
    assert digest("a", "b") == digest("a", "b")


def test_what_was_made_once_is_not_made_again() -> None:
    maker = Maker()
    first, second = cached("k", digest("x"), maker), cached("k", digest("x"), maker)
    assert first == second and (first / "thing").read_text() == "made" and maker.times == 1


def test_another_key_is_another_entry() -> None:
    assert cached("k", digest("x"), Maker("x")) != cached("k", digest("y"), Maker("y"))


def test_a_flipped_bit_leads_to_a_rebuild() -> None:
    maker = Maker()
    place = cached("k", digest("x"), maker)
    (place / "thing").write_text("mode")
    assert (cached("k", digest("x"), maker) / "thing").read_text() == "made"
    assert maker.times == 2


def test_a_missing_file_leads_to_a_rebuild() -> None:
    maker = Maker()
    (cached("k", digest("x"), maker) / "thing").unlink()
    assert (cached("k", digest("x"), maker) / "thing").read_text() == "made"


def test_a_failed_make_leaves_nothing_behind(own_cache: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("…")
        raise UsageError("no")

    with pytest.raises(UsageError):
        cached("k", digest("x"), fail)
    assert [path for path in own_cache.rglob("*") if path.is_file()] == []
    assert cached("k", digest("x"), Maker()).is_dir()


def test_an_unwritable_cache_is_one_sentence_with_the_cure(own_cache: Path) -> None:
    own_cache.mkdir()
    (own_cache / "build").write_text("a file where a folder should be")
    with pytest.raises(InfrastructureError, match="RIG_CACHE"):
        cached("k", digest("x"), Maker())


def test_two_processes_at_once_agree_on_one_whole_entry(own_cache: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from rig.build.cache import cached\n"
        "def make(folder):\n"
        "    (folder / 'a').write_text('1'); time.sleep(0.3); (folder / 'b').write_text('2')\n"
        "place = cached('k', 'key', make); print(sorted(p.name for p in place.iterdir()))"
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(rig.__file__).parent.parent)},
        )
        for _ in range(3)
    ]
    answers = [child.communicate(timeout=60) for child in children]
    assert [out for out, _ in answers] == [b"['a', 'b', 'stamp.json']\n"] * 3, answers
    assert [path.name for path in (own_cache / "build" / "k").iterdir()] == ["key"]


def test_what_a_killed_process_left_is_swept_after_an_hour(own_cache: Path) -> None:
    folder = own_cache / "build" / "k"
    old, new = folder / ".private-old", folder / ".private-new"
    old.mkdir(parents=True)
    new.mkdir()
    os.utime(old, (time.time() - 7200,) * 2)
    cached("k", digest("x"), Maker())
    assert not old.exists() and new.exists()
