# SPDX-License-Identifier: Apache-2.0
"""Imports are bound by meld's own rule, and what nobody provides is named with the line to add."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from build_samples import GIVER, TAKER, component
from wasmtime import Engine, Func, Instance, Module, Store

from rig.build.fuse import fuse
from rig.build.imports import bind
from rig.build.subject import HostImport
from rig.errors import UsageError
from rig.image.component import Component, WitFunction, WitType
from rig.image.model import Model

MIDDLE = """(module (import "demo:pair/provider" "get" (func $get (result i32)))
  (import "demo:pair/provider" "put" (func $put (param i32))) (memory (export "memory") 1)
  (func (export "demo:pair/provider#get") (result i32) (i32.add (call $get) (i32.const 256)))
  (func (export "demo:pair/provider#put") (param i32) (call $put (local.get 0))))"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Component]:
    folder = tmp_path_factory.mktemp("imports")
    return {
        "a": component(folder, "a", GIVER.format(word="\\05\\00\\00\\00"), "giver"),
        "z": component(folder, "z", GIVER.format(word="\\09\\00\\00\\00"), "giver"),
        "t": component(folder, "t", TAKER, "taker"),
        "m": component(folder, "m", MIDDLE, "middle"),
    }


def bound(made: dict[str, Component], order: str) -> dict[str, str]:
    """importer → provider"""
    components = [made[name] for name in order]
    return {order[b.importer]: order[b.provider] for b in bind(components, {}) if b.provider is not None}


ORDERS = ["azt", "zat", "taz", "tza", "amt", "mat", "tma", "mta", "tam"]


@pytest.mark.parametrize("order", ORDERS)
def test_the_first_provider_that_is_not_the_importer_is_bound_and_meld_does_the_same(
    order: str, tmp_path: Path, made: dict[str, Component]
) -> None:
    providers = bound(made, order)
    expected = {"a": 5, "z": 9, "m": 256 + (5 if "a" in order else 9)}[providers["t"]] + 1
    data = fuse([made[name] for name in order], Model.MULTI, tmp_path).data
    store = Store(Engine())
    run = Instance(store, Module(store.engine, data), []).exports(store)["run"]
    assert isinstance(run, Func) and run(store) == expected


def test_what_nobody_provides_is_named_with_the_line_to_add(made: dict[str, Component]) -> None:
    with pytest.raises(UsageError) as caught:
        bind([made["t"]], {})
    assert "t import(s)" in str(caught.value) and '"demo:pair/provider#get" = "trap"' in str(caught.value)


@pytest.mark.parametrize("key", ["demo:pair/provider#get", "demo:pair/provider"])
def test_the_host_may_provide_a_function_or_a_whole_interface(key: str, made: dict[str, Component]) -> None:
    (binding,) = bind([made["t"]], {key: HostImport("stub")})
    assert binding.provider is None and binding.host == HostImport("stub")


def test_a_component_that_only_imports_its_own_export_has_no_provider(made: dict[str, Component]) -> None:
    with pytest.raises(UsageError, match="m import"):
        bind([made["m"]], {})


def test_an_entry_that_nobody_needs_is_an_error_with_a_hint(made: dict[str, Component]) -> None:
    with pytest.raises(UsageError) as caught:
        bind([made["t"]], {"demo:pair/provider#got": HostImport("trap")})
    assert "imported by no component" in str(caught.value)
    assert "did you mean 'demo:pair/provider#get'" in str(caught.value)


def test_other_types_on_both_sides_are_an_error(made: dict[str, Component]) -> None:
    wide = replace(made["t"], imports=(WitFunction("demo:pair/provider", "get", (), WitType("u64")),))
    with pytest.raises(UsageError, match="with other types"):
        bind([made["a"], wide], {})


def test_a_stub_cannot_return_a_list(made: dict[str, Component]) -> None:
    listed = replace(made["t"], imports=(WitFunction("x:y/z", "f", (), WitType("list", (WitType("u8"),))),))
    with pytest.raises(UsageError, match='use "trap"'):
        bind([listed], {"x:y/z#f": HostImport("stub")})
    assert bind([listed], {"x:y/z#f": HostImport("trap")})
