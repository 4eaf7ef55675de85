# SPDX-License-Identifier: Apache-2.0
"""Records of the fuser are believed only when they are there, well-formed and true of this very module."""

from __future__ import annotations

from typing import Any

import pytest
from image_samples import Lab, attestation, custom, resigned, section, with_records, without

from rig.errors import UsageError
from rig.image.model import Model
from rig.image.records import ATTESTATION, MANIFEST, PROVENANCE, read_records
from rig.image.wasm import parse_module


@pytest.fixture(scope="module")
def fused(lab: Lab) -> bytes:
    return lab.fuse(Model.MULTI, "app", "sink", "tick", flags=("--emit-manifest",))


def refuse(data: bytes, *words: str) -> None:
    with pytest.raises(UsageError) as error:
        read_records(parse_module(data, "fused.wasm"))
    text = str(error.value)
    assert text.startswith("fused.wasm: ") and all(w in text for w in words), text
    assert "rebuild it with `meld fuse`" in text or "build it again" in text


def test_real_records_are_read(fused: bytes) -> None:
    records = read_records(parse_module(fused, "x"))
    assert [i.artifact.name for i in records.attestation.inputs] == [
        "app.1024.wasm",
        "sink.1024.wasm",
        "tick.1024.wasm",
    ]
    assert [(o.function, o.component, o.index) for o in records.origins[:2]] == [
        (0, "tick.1024.wasm", 0),
        (1, "sink.1024.wasm", 0),
    ]
    assert records.signatures is not None
    push = records.signatures["demo:iso/sink#push"]
    assert push.params == (("b", "list<u8>"),) and push.core.params == ("i32", "i32") and push.realloc == "cabi_realloc"


def test_a_module_without_attestation_is_refused_with_the_flag(lab: Lab, fused: bytes) -> None:
    refuse(without(fused, ATTESTATION), "--no-attestation")
    refuse(lab.fuse(Model.MULTI, "app", "sink", "tick", flags=("--no-attestation",)), "--no-attestation")


def test_a_module_without_provenance_is_refused_with_the_flag(fused: bytes) -> None:
    refuse(without(fused, PROVENANCE), "--no-component-provenance")


def test_two_attestations_are_refused(fused: bytes) -> None:
    refuse(fused + custom(ATTESTATION, section(fused, ATTESTATION)), "where one is allowed")


def test_a_changed_module_is_refused(fused: bytes) -> None:
    assert fused.count(b"hello") == 1
    refuse(fused.replace(b"hello", b"hellO"), "changed after fusion")


def test_an_added_section_is_a_change(fused: bytes) -> None:
    refuse(fused + custom("surprise", b""), "changed after fusion")


def test_the_manifest_is_not_part_of_the_hash(fused: bytes) -> None:
    read_records(parse_module(without(fused, MANIFEST), "x"))


def test_records_made_true_again_are_believed(fused: bytes) -> None:
    """The control of the two tests above: what they change is only the hash."""
    bare = without(fused, ATTESTATION, PROVENANCE, MANIFEST)
    read_records(parse_module(resigned(bare.replace(b"hello", b"hellO"), fused), "x"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r.update(version="2.0"), "version '2.0'"),
        (lambda r: r["tool"].update(name="other"), "'other'"),
        (lambda r: r.update(inputs=[]), "inputs"),
        (lambda r: r.pop("metadata"), "metadata"),
        (lambda r: r["output"].update(size="459"), "output.size"),
        (lambda r: r["output"].update(hash="ab"), "output.hash"),
        (lambda r: r["output"].update(size=1), "changed after fusion"),
        (lambda r: r["output"].update(hash="0" * 64), "changed after fusion"),
        (lambda r: r["metadata"]["boundaries"][0].update(from_component=-1), "boundaries.0.from_component"),
        (lambda r: r["metadata"]["boundaries"][0].update(from_component=1.5), "boundaries.0.from_component"),
        (lambda r: r["metadata"].update(placements=[{"component": 0}]), "placements.0"),
    ],
)
def test_a_malformed_or_lying_attestation_names_the_key(fused: bytes, change: Any, words: str) -> None:
    record = attestation(fused)
    change(record)
    refuse(with_records(fused, record), words)


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b'{"a":' * 5000, b'{"a": ' + b"9" * 10000 + b"}", b"\xff\xfe"])
def test_hostile_json_is_one_clear_error(fused: bytes, text: bytes) -> None:
    bare = without(fused, ATTESTATION)
    refuse(bare + custom(ATTESTATION, text), "wsc.transformation.attestation")


def scpv(fused: bytes, at: int, value: bytes) -> bytes:
    payload = bytearray(section(fused, PROVENANCE))
    payload[at : at + len(value)] = value
    return with_records(fused, scpv=bytes(payload))


def test_provenance_that_lies_about_places_is_refused(fused: bytes) -> None:
    first = 43  # magic, version, two flags, hash, count
    name = int.from_bytes(section(fused, PROVENANCE)[first + 4 : first + 8], "little")
    with pytest.raises(UsageError, match="says function 0 is at 3"):
        read_records(parse_module(scpv(fused, first + 8 + name + 5, b"\3"), "x"))
    with pytest.raises(UsageError, match="names function 99"):
        read_records(parse_module(scpv(fused, first, b"\x63"), "x"))
    with pytest.raises(UsageError, match="version 4"):
        read_records(parse_module(scpv(fused, 4, b"\4"), "x"))
    with pytest.raises(UsageError, match="begin with SCPV"):
        read_records(parse_module(scpv(fused, 0, b"X"), "x"))
    with pytest.raises(UsageError, match="too many"):
        read_records(parse_module(scpv(fused, 39, b"\1"), "x"))
    refuse(scpv(fused, 8, b"\0\0\0\0"), "changed after fusion")


def test_provenance_cut_short_is_refused(fused: bytes) -> None:
    payload = section(fused, PROVENANCE)
    for at in range(0, len(payload), 7):
        with pytest.raises(UsageError):
            read_records(parse_module(with_records(fused, scpv=payload[:at]), "x"))
