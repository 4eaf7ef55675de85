# SPDX-License-Identifier: Apache-2.0
"""Fusing with the real meld: what it is given, what it may not do silently, and its own words when it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from build_samples import GIVER, TAKER, component

from rig.build import fuse as module
from rig.build.fuse import fuse
from rig.errors import InfrastructureError, Refusal, UsageError
from rig.image.component import Component
from rig.image.model import Model


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Component, Component]:
    folder = tmp_path_factory.mktemp("pair")
    return (
        component(folder, "giver", GIVER.format(word="AAAA"), "giver"),
        component(folder, "taker", TAKER, "taker"),
    )


def test_identity_is_the_same_twice_although_the_files_differ(tmp_path: Path, pair: tuple[Component, ...]) -> None:
    one, two = fuse(pair, Model.MULTI, tmp_path / "1"), fuse(pair, Model.MULTI, tmp_path / "2")
    assert one.identity == two.identity and len(one.identity) == 64
    assert one.data != two.data and one.path.read_bytes() == one.data


def test_meld_never_sees_a_name_from_outside(tmp_path: Path, pair: tuple[Component, ...]) -> None:
    hostile = [replace(pair[0], name="../../<script>\n"), replace(pair[1], name="--memory")]
    made = fuse(hostile, Model.MULTI, tmp_path)
    assert made.names == {"c0.wasm": "../../<script>\n", "c1.wasm": "--memory"}
    assert [word for word in made.argv if "script" in word] == [] and made.argv.count("--memory") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["fused.wasm"]


def test_the_same_component_twice_keeps_two_names(tmp_path: Path, pair: tuple[Component, ...]) -> None:
    twice = [replace(pair[0], name="left"), replace(pair[0], name="right")]
    assert list(fuse(twice, Model.MULTI, tmp_path).names.values()) == ["left", "right"]


def test_no_component_is_a_usage_error_and_one_works(tmp_path: Path, pair: tuple[Component, ...]) -> None:
    with pytest.raises(UsageError, match="at least one"):
        fuse([], Model.MULTI, tmp_path)
    assert fuse(pair[:1], Model.MULTI, tmp_path).names == {"c0.wasm": "giver"}


def test_forty_components_fuse(tmp_path: Path, pair: tuple[Component, ...]) -> None:
    many = [replace(pair[0], name=f"n{index}") for index in range(40)]
    assert len(fuse(many, Model.MULTI, tmp_path).names) == 40


@pytest.mark.parametrize("model", [Model.PAGE, Model.PACKED])
def test_missing_relocations_are_melds_own_words_with_the_cure(
    model: Model, tmp_path: Path, pair: tuple[Component, ...]
) -> None:
    # Behind another component the giver must be rebased, and its loads have no relocations to do it with.
    with pytest.raises(UsageError) as caught:
        fuse(pair[::-1], model, tmp_path)
    message = str(caught.value)
    assert "meld says:" in message and "giver (c1.wasm)" in message
    assert "--emit-relocs" in message
    assert not (tmp_path / "fused.wasm").exists()


def test_a_shared_stack_needs_heap_bases_and_says_whose_is_missing(
    tmp_path: Path, pair: tuple[Component, ...]
) -> None:
    with pytest.raises(UsageError, match=r"giver, taker lack\(s\) `__heap_base`"):
        fuse(pair, Model.STACK, tmp_path)


def test_what_meld_only_warns_of_is_kept(tmp_path: Path, pair: tuple[Component, ...]) -> None:
    assert any("NO relocation metadata" in line for line in fuse(pair, Model.PAGE, tmp_path).warnings)
    assert fuse(pair, Model.MULTI, tmp_path).warnings == ()


def test_custom_page_sizes_are_refused_with_the_cure(tmp_path: Path) -> None:
    wat = TAKER.replace('(memory (export "memory") 1)', '(memory (export "memory") 2048 2048 (pagesize 1))')
    with pytest.raises(UsageError, match=r"(?s)pages of 64 KiB only \(F7\).*meld says.*custom page sizes"):
        fuse([component(tmp_path, "small", wat, "taker")], Model.MULTI, tmp_path)


def test_a_broken_component_is_melds_own_words(tmp_path: Path, pair: tuple[Component, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        fuse([replace(pair[0], name="cut", data=pair[0].data[:300])], Model.MULTI, tmp_path)
    assert "unexpected end-of-file" in str(caught.value) and "cut (c0.wasm)" in str(caught.value)
    assert "_start" not in str(caught.value)  # no stack backtrace


DOMAINS = [
    ({}, "is in 0 domains"),
    ({"a": ["giver"]}, "'taker' is in 0 domains"),
    ({"a": ["giver", "taker"], "b": ["taker"]}, "'taker' is in 2 domains"),
    ({"a": ["giver", "taker"], "b": []}, "domain 'b' is empty"),
    ({"a": ["giver", "taker", "ghost"]}, "no component is called 'ghost'"),
]


@pytest.mark.parametrize(("domains", "words"), DOMAINS)
def test_domains_must_name_every_component_once(
    domains: dict[str, list[str]], words: str, tmp_path: Path, pair: tuple[Component, ...]
) -> None:
    with pytest.raises(UsageError, match=words):
        fuse(pair, Model.DOMAINS, tmp_path, domains=domains)


def test_a_silent_fallback_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # zig keeps relocations, but `__heap_base` is not exported: meld warns, exits 0 and lays out page-granular.
    without = _demo_without_heap_base(tmp_path, monkeypatch)
    with pytest.raises(Refusal) as caught:
        fuse(without, Model.PACKED, tmp_path / "out")
    assert "page-granular" in str(caught.value) and "--export=__heap_base" in str(caught.value)
    assert "sensor" in caught.value.detail
    assert not (tmp_path / "out" / "fused.wasm").exists()
    assert fuse(without, Model.PAGE, tmp_path / "out").path.is_file()


def _demo_without_heap_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Component]:
    from rig.build import components

    monkeypatch.setattr(components, "_LINK", tuple(flag for flag in components._LINK if "heap_base" not in flag))
    folder = components._sources() / "scalar"
    made = []
    for name in ("sensor", "actuator"):
        out = tmp_path / f"{name}.wasm"
        components.compile_component(folder / f"{name}.c", folder / "scalar.wit", f"{name}-world", out)
        made.append(components.read_component(out, name=name))
    return made


def test_a_module_without_attestation_is_not_believed(
    tmp_path: Path, pair: tuple[Component, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = {**module.FLAGS, Model.MULTI: ("--memory", "multi", "--no-attestation")}
    monkeypatch.setattr(module, "FLAGS", flags)
    with pytest.raises(InfrastructureError, match="without a readable attestation"):
        fuse(pair, Model.MULTI, tmp_path)


def test_a_usage_error_of_ours_is_not_blamed_on_the_user(
    tmp_path: Path, pair: tuple[Component, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FLAGS", {**module.FLAGS, Model.MULTI: ("--no-such-flag",)})
    with pytest.raises(InfrastructureError, match="--no-such-flag"):
        fuse(pair, Model.MULTI, tmp_path)
