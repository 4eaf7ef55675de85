# SPDX-License-Identifier: Apache-2.0
"""Each rule of `rig.arch`, broken on purpose, must turn a comparison red. The unbroken one stays green elsewhere.

A mutant is the module's own source with one place changed. It is compared exactly as the real module is
(`arch_samples`); "killed" means at least one disagreement with the oracle or with an example worked by hand.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from arch_samples import arm_disagreements, pmp_disagreements

from rig.arch import pmp, pmsav7

ARM_MUTANTS = {
    "lowest region number wins": ("for r in reversed(regions) if", "for r in regions if"),
    "lowest region number wins, in grants": ("in reversed(context.fields)", "in context.fields"),
    "subregions ignored": ("~r.srd & 0xFF, _rights", "0xFF, _rights"),
    "subregion mask inverted": ("~r.srd & 0xFF, _rights", "r.srd, _rights"),
    "subregion order reversed, in grants": ("if not region.srd >> i & 1", "if not region.srd >> 7 - i & 1"),
    "subregions of a sixteenth": ("r.size.bit_length() - 4", "r.size.bit_length() - 5"),
    "SIZE taken as log2": ("size=2 << (rasr", "size=1 << (rasr"),
    "disabled regions match": ("for r in reversed(regions) if r.enabled", "for r in reversed(regions)"),
    "a ninth eighth": ("~r.srd & 0xFF, _rights", "~r.srd & 0x1FF, _rights"),
    "everything below the base matches": ("address >= rule.base and rule.subregions >> (address - rule.base",
                                          "rule.subregions >> (abs(address - rule.base)"),
    "AP 001 open to unprivileged code": ("0b001: (_RW, _NONE)", "0b001: (_RW, _RO)"),
    "AP 010 writable by unprivileged code": ("0b010: (_RW, _RO)", "0b010: (_RW, _RW)"),
    "AP 101 open to unprivileged code": ("0b101: (_RO, _NONE)", "0b101: (_RO, _RO)"),
    "AP 110 writable when privileged": ("0b110: (_RO, _RO)", "0b110: (_RW, _RO)"),
    "AP 111 reserved": (" 0b111: (_RO, _RO),", ""),
    "AP 100 as no access": ("0b000: (_NONE, _NONE),", "0b000: (_NONE, _NONE), 0b100: (_NONE, _NONE),"),
    "XN ignored": ("if Kind.READ in p and not region.xn", "if Kind.READ in p"),
    "execution without read permission": ("if Kind.READ in p and not region.xn", "if not region.xn"),
    "PRIVDEFENA ignored": ("if not (privileged and context.ctrl & PRIVDEFENA):", "if not privileged:"),
    "background for unprivileged code": ("if not (privileged and context.ctrl", "if not (context.ctrl"),
    "background ignores the default map's XN": ("kind is Kind.EXECUTE and DEFAULT_XN", "on is None and DEFAULT_XN"),
    "default map executable at 0xA0000000": ("(0xA000_0000, SPACE32))", "(0xC000_0000, SPACE32))"),
    "PPB open to unprivileged code": ('_ALLOWED if privileged else "PRECISERR"', "_ALLOWED"),
    "PPB checked by the MPU": ("elif PPB[0] <= address", "elif on is None and PPB[0] <= address"),
    "PPB denial as MemManage": ('if privileged else "PRECISERR"', 'if privileged else "DACCVIOL"'),
    "system space executable": ("SYSTEM = 0xE000_0000", "SYSTEM = 0xE010_0000"),
    "only the first byte is checked": ("(address, *range((address | _GRANULE - 1) + 1, end, _GRANULE))", "(address,)"),
    "MMFAR always the first byte": ("(beat, beat) if aligned else (beat, beat + access.size - 1)", "(beat, beat)"),
    "first address of the whole LDM reported": ("_syndromes(access, beat, denials)",
                                                "_syndromes(access, access.address, denials)"),
    "only the first word of an LDM is checked": ("range(access.address, access.end, access.size)", "(access.address,)"),
    "HFNMIENA ignored": ("and (not hardfault or bool(self.ctrl & HFNMIENA))", ""),
    "ENABLE ignored": ("bool(self.ctrl & ENABLE) and", ""),
    "HFNMIENA without ENABLE accepted": ("if self.ctrl & (ENABLE | HFNMIENA) == HFNMIENA:", "if False:"),
    "misaligned base accepted": ("if region.base % region.size:", "if False:"),
    "SRD on small regions accepted": ("if region.srd and region.size < MIN_SRD_SIZE:", "if False:"),
    "regions below 32 B accepted": ("if region.size < MIN_SIZE:", "if False:"),
    "fetch fault as data fault": ('return "IACCVIOL" if kind is Kind.EXECUTE else "DACCVIOL"\n        if not (priv',
                                  'return "DACCVIOL"\n        if not (priv'),
    "alignment of LDM ignored": ("4 if access.words > 1 else 1", "1"),
    "STREX cannot fail silently": ("if access.exclusive and access.kind is Kind.WRITE:", "if False:"),
    "stacking fault never ORed in": ("if access.stacking:", "if False:"),
    "frame fault as data fault": ("if access.frame:", "if False:"),
}  # fmt: skip

PMP_MUTANTS = {
    "highest entry wins": ("(low, high) in enumerate(spans) if", "(low, high) in [*enumerate(spans)][::-1] if"),
    "a partial match is enough": ("if not (rule.low <= start and end <= rule.high):", "if False:"),
    "a partial match is no match": ('return "the deciding entry matches only some of the bytes"', "continue"),
    "TOR from 0": ("low = (entries[index - 1][1] & keep) << 2 if index else 0", "low = 0"),
    "TOR bound of an OFF entry ignored": ("<< 2 if index else", "<< 2 if index and entries[index - 1][0] & 24 else"),
    "TOR end inclusive": ("high = (addr & keep) << 2", "high = ((addr & keep) << 2) + 4"),
    "TOR with lo > hi matches": ("return (low, high) if low < high else (0, 0)",
                                 "return min(low, high), max(low, high)"),
    "grain ignored by TOR": ("keep = ~((1 << grain) - 1)", "keep = ~0"),
    "grain ignored by NAPOT": ("addr = read_back(cfg, addr, grain)", "addr = addr"),
    "NAPOT half as long": ("base + (8 << ones)", "base + (4 << ones)"),
    "NA4 of 8 bytes": ("(addr << 2) + 4", "(addr << 2) + 8"),
    "OFF matches like NAPOT": ("if mode is Mode.NAPOT:", "if mode in (Mode.NAPOT, Mode.OFF):"),
    "U allowed where nothing matches": ("if not privileged or self.mseccfg & MMWP:", "if self.mseccfg & MMWP:"),
    "U allowed while all entries are OFF": ("if not self.cfg:", "if not self._rules:"),
    "M denied where nothing matches": ("if not privileged or self.mseccfg & MMWP:", "if True:"),
    "MMWP ignored": ("if not privileged or self.mseccfg & MMWP:", "if not privileged:"),
    "MML: fetch in M allowed by default": ("return not (self.mseccfg & MML and kind is Kind.EXECUTE)", "return True"),
    "MML ignored": ("if mseccfg & MML:", "if False:"),
    "MML: 1011 as RX for U": ('("X", "RX")', '("RX", "RX")'),
    "MML: 1111 as RWX for M": ('("R", "R"),\n', '("R", "RWX"),\n'),
    "MML: 0010 writable for U": ('("R", "RW"), ("RW", "RW")', '("RW", "RW"), ("RW", "RW")'),
    "M ignores locked entries": ('machine = lower if locked else "RWX"', 'machine = "RWX"'),
    "M bound by unlocked entries": ('machine = lower if locked else "RWX"', "machine = lower"),
    "R and W swapped": ('"R" * r + "W" * w', '"W" * r + "R" * w'),
    "W without R accepted": ("if cfg & 3 == 2 and not mml:", "if False:"),
    "NA4 accepted with a grain": ("if cfg & 0x18 == Mode.NA4 << 3 and grain:", "if False:"),
    "AMO needs no read permission": ('Kind.WRITE: "7"}', 'Kind.WRITE: "5"}'),
    "load faults as store fault": ('Kind.READ: "5"', 'Kind.READ: "7"'),
    "misaligned load as store": ('Kind.READ: "4"', 'Kind.READ: "6"'),
    "misaligned never traps": ('if misaligned and context.misaligned == "trap":', "if False:"),
    "misaligned AMO checked like any other": ("if misaligned and (access.atomic or access.exclusive):", "if False:"),
    "split into doublewords": ("step = min(start & -start or 4, 4)", "step = min(start & -start or 8, 8)"),
    "split not split": ('if misaligned != "split":', "if True:"),
    "mtval always the start": ("_last_portion(context, start, end, access) if divisible else start", "start"),
    "SC cannot fail silently": ("if access.exclusive and access.kind is Kind.WRITE:", "if False:"),
    "later beats unchecked": ("range(access.address, access.end, access.size)", "(access.address,)"),
    "grants: partial matches allowed": ("Intervals.of((low, high - size + 1))", "Intervals.of((low, high))"),
    "grants: only full matches decide": ("Intervals.of((max(0, low - size + 1), high))",
                                         "Intervals.of((low, max(low, high - size + 1)))"),
}  # fmt: skip

Compare = Callable[[ModuleType, int, int, int], Iterator[str]]


def mutate(monkeypatch: pytest.MonkeyPatch, folder: Path, original: ModuleType, old: str, new: str) -> ModuleType:
    """The module with `old`, which must occur exactly once, replaced by `new`."""
    assert original.__file__
    source = Path(original.__file__).read_text(encoding="utf-8")
    assert source.count(old) == 1, f"{old!r} occurs {source.count(old)} times: the mutant no longer fits the source"
    name = f"{original.__name__.rpartition('.')[2]}_mutant"
    (folder / f"{name}.py").write_text(source.replace(old, new), encoding="utf-8")
    spec = spec_from_file_location(name, folder / f"{name}.py")
    assert spec and spec.loader
    mutant = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, mutant)  # dataclasses look their module up
    spec.loader.exec_module(mutant)
    return mutant


def killed_by(compare: Compare, mutant: ModuleType) -> str | None:
    return next(compare(mutant, 7, 1500, 12), None)


@pytest.mark.parametrize("name", ARM_MUTANTS)
def test_a_broken_pmsav7_rule_is_seen(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mutant = mutate(monkeypatch, tmp_path, pmsav7, *ARM_MUTANTS[name])
    assert killed_by(arm_disagreements, mutant), f"survived: {name}"


@pytest.mark.parametrize("name", PMP_MUTANTS)
def test_a_broken_pmp_rule_is_seen(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mutant = mutate(monkeypatch, tmp_path, pmp, *PMP_MUTANTS[name])
    assert killed_by(pmp_disagreements, mutant), f"survived: {name}"


@pytest.mark.parametrize(("original", "compare"), [(pmsav7, arm_disagreements), (pmp, pmp_disagreements)])
def test_a_copy_with_nothing_broken_survives(
    original: ModuleType, compare: Compare, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The machinery itself kills nobody."""
    unchanged = "from __future__ import annotations"
    same = mutate(monkeypatch, tmp_path, original, unchanged, unchanged)
    assert next(compare(same, 7, 300, 12), None) is None
