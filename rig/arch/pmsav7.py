# SPDX-License-Identifier: Apache-2.0
"""PMSAv7 of Armv7-M (DDI0403E.e §B3.5) as pure functions: registers, one access, the whole map.

Every byte is judged on its own. `decide` walks the regions as the hardware does; `grants` computes the same
answer by interval arithmetic over all 4 GiB. Sizes and addresses are bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

from rig.arch.types import NO_FAULT, SPACE32, Access, Decision, Intervals, Kind, Syndrome, Unpredictable

ENABLE, HFNMIENA, PRIVDEFENA = 1, 2, 4  # MPU_CTRL
MIN_SIZE = 32  # bytes
MIN_SRD_SIZE = 256  # bytes: smaller regions have no subregions
PPB = (0xE000_0000, 0xE010_0000)  # private peripheral bus: the MPU is not asked
SYSTEM = 0xE000_0000  # from here up nothing is executable, whatever a region says
DEFAULT_XN = Intervals.of((0x4000_0000, 0x6000_0000), (0xA000_0000, SPACE32))  # default map, §B3.1

_VALID = 1 << 4  # RBAR.VALID: the write also selects RBAR.REGION
_GRANULE = 32  # no boundary of region, subregion or map lies inside a naturally aligned block of this size
_RW, _RO, _NONE = frozenset({Kind.READ, Kind.WRITE}), frozenset({Kind.READ}), frozenset[Kind]()
# AP -> (privileged, unprivileged) data rights; 0b100 is UNPREDICTABLE and not here
ACCESS_PERMISSIONS: dict[int, tuple[frozenset[Kind], frozenset[Kind]]] = {
    0b000: (_NONE, _NONE), 0b001: (_RW, _NONE), 0b010: (_RW, _RO), 0b011: (_RW, _RW),
    0b101: (_RO, _NONE), 0b110: (_RO, _RO), 0b111: (_RO, _RO),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Region:
    """One region as its registers hold it. Whether the values make sense is `problem`'s answer, not a constructor's."""

    number: int
    base: int  # RBAR.ADDR as written, bits [31:5]
    size: int  # bytes, 2^(RASR.SIZE + 1)
    ap: int = 0b011
    xn: bool = True
    srd: int = 0  # bit i = 1 disables subregion i
    tex_scb: int = 0b000_110  # RASR[21:16]: TEX, S, C, B; default normal write-through, shareable
    enabled: bool = True

    @property
    def end(self) -> int:
        return self.base + self.size


def encode(region: Region) -> tuple[int, int]:
    """(RBAR, RASR) to write. Up to region 15 RBAR selects the region itself (VALID = 1); above, write RNR first.

    Any field that does not fit its register is a ValueError; settings that fit but are UNPREDICTABLE are encoded.
    """
    size_field = region.size.bit_length() - 2
    checks = {"number": 0 <= region.number <= 255, "base": 0 <= region.base < SPACE32 and region.base % MIN_SIZE == 0,
              "size": 0 <= size_field <= 31 and region.size == 2 << size_field, "ap": 0 <= region.ap <= 7,
              "srd": 0 <= region.srd <= 0xFF, "tex_scb": 0 <= region.tex_scb <= 0x3F}
    for name, fits in checks.items():
        if not fits:
            raise ValueError(f"PMSAv7 region {region.number}: {name} = {getattr(region, name):#x} does not fit "
                             "(base: multiple of 32 below 2^32; size: a power of two, 2 B to 4 GiB)")
    select = _VALID | region.number if region.number <= 15 else 0
    rasr = (int(region.xn) << 28 | region.ap << 24 | region.tex_scb << 16 | region.srd << 8 | size_field << 1
            | int(region.enabled))
    return region.base | select, rasr


def disabled(number: int) -> tuple[int, int]:
    """(RBAR, RASR) that switches a region off and leaves no old base behind."""
    return (_VALID | number if number <= 15 else 0), 0


def read_back(number: int, rbar: int, rasr: int) -> tuple[int, int]:
    """What the registers of region `number` read after (rbar, rasr) was written: VALID reads 0, REGION the number."""
    return rbar & ~0x1F & 0xFFFF_FFFF | number & 0xF, rasr & 0x173F_FF3F


def decode(number: int, rbar: int, rasr: int) -> Region | Unpredictable:
    """The region these registers describe (RBAR[4:0] ignored), or why an enabled one has no defined meaning."""
    region = fields(number, rbar, rasr)
    return problem(region) or region


def fields(number: int, rbar: int, rasr: int) -> Region:
    """The registers taken apart, without judging them."""
    return Region(number=number, base=rbar & 0xFFFF_FFE0, size=2 << (rasr >> 1 & 0x1F), ap=rasr >> 24 & 7,
                  xn=bool(rasr >> 28 & 1), srd=rasr >> 8 & 0xFF, tex_scb=rasr >> 16 & 0x3F, enabled=bool(rasr & 1))


def problem(region: Region) -> Unpredictable | None:
    """§B3.5.8–9: why an enabled region is UNPREDICTABLE as a whole (AP = 100 matters only where it decides)."""
    if not region.enabled:
        return None
    if region.size < MIN_SIZE:
        return Unpredictable("region", region.number, f"size {region.size} B is below {MIN_SIZE} B (SIZE < 4)")
    if region.base % region.size:
        return Unpredictable("region", region.number,
                             f"base {region.base:#010x} is not a multiple of its size {region.size:#x}")
    if region.srd and region.size < MIN_SRD_SIZE:
        return Unpredictable("region", region.number,
                             f"SRD {region.srd:#04x} on {region.size} B, below {MIN_SRD_SIZE} B")
    return None


def matched(region: Region) -> Intervals:
    """The bytes an enabled, well-formed region matches: all of it except the disabled subregions."""
    if not region.enabled:
        return Intervals()
    step = region.size // 8
    return Intervals((region.base + i * step, region.base + (i + 1) * step)
                     for i in range(8) if not region.srd >> i & 1)


@dataclass(frozen=True)
class Context:
    """The MPU registers as read back. `regions[i]` is (RBAR, RASR) of region i; missing ones are disabled.

    More regions than MPU_TYPE.DREGION are a ValueError.
    """

    type: int  # MPU_TYPE
    ctrl: int  # MPU_CTRL
    regions: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        if len(self.regions) > self.dregion:
            raise ValueError(f"regions: {len(self.regions)} given, but MPU_TYPE {self.type:#x} says {self.dregion}")

    @property
    def dregion(self) -> int:
        """Number of regions the part has."""
        return self.type >> 8 & 0xFF

    @property
    def fields(self) -> tuple[Region, ...]:
        """The registers taken apart, by region number, unjudged."""
        return tuple(fields(i, rbar, rasr) for i, (rbar, rasr) in enumerate(self.regions))

    @cached_property
    def _decoded(self) -> _Decoded:
        return _decode_all(self.regions)

    def on(self, hardfault: bool = False) -> bool:
        """Is the MPU asked? At priority < 0 only with HFNMIENA (§B3.5.5)."""
        return bool(self.ctrl & ENABLE) and (not hardfault or bool(self.ctrl & HFNMIENA))

    def problems(self, hardfault: bool = False) -> tuple[str, ...]:
        """Why nothing can be said about any access: UNPREDICTABLE settings that are in force."""
        if self.ctrl & (ENABLE | HFNMIENA) == HFNMIENA:
            return (str(Unpredictable("MPU_CTRL", 0, "ENABLE = 0 with HFNMIENA = 1")),)
        return self._decoded.problems if self.on(hardfault) else ()


class _Rule(NamedTuple):
    base: int
    shift: int  # log2 of an eighth of the size
    subregions: int  # bit i = 1: eighth i matches; no bit from 8 up: past the end nothing does
    rights: tuple[frozenset[Kind], frozenset[Kind]] | None  # (unprivileged, privileged); None: AP = 100
    number: int


class _Decoded(NamedTuple):
    rules: tuple[_Rule, ...]  # the enabled regions, highest number first: the order in which they decide
    problems: tuple[str, ...]


@lru_cache(maxsize=4096)
def _decode_all(registers: tuple[tuple[int, int], ...]) -> _Decoded:
    regions = [fields(i, rbar, rasr) for i, (rbar, rasr) in enumerate(registers)]
    rules = tuple(_Rule(r.base, r.size.bit_length() - 4, ~r.srd & 0xFF, _rights(r), r.number)
                  for r in reversed(regions) if r.enabled)
    return _Decoded(rules, tuple(str(found) for found in map(problem, regions) if found))


def _rights(region: Region) -> tuple[frozenset[Kind], frozenset[Kind]] | None:
    """What (unprivileged, privileged) code may do; execution needs read permission and XN = 0 (§B3.5.9)."""
    pair = ACCESS_PERMISSIONS.get(region.ap)
    if pair is None:
        return None
    privileged, unprivileged = (p | {Kind.EXECUTE} if Kind.READ in p and not region.xn else p for p in pair)
    return unprivileged, privileged


_ALLOWED = ""  # what `_judge` answers beside a cause or an Unpredictable


def _judge(context: Context, on: bool, address: int, privileged: bool, kind: Kind) -> str | Unpredictable:
    """One byte: allowed, the cause of its denial, or unknown."""
    if kind is Kind.EXECUTE:
        if address >= SYSTEM:
            return "IACCVIOL"
    elif PPB[0] <= address < PPB[1]:
        return _ALLOWED if privileged else "PRECISERR"
    if on:
        for rule in context._decoded.rules:
            if address >= rule.base and rule.subregions >> (address - rule.base >> rule.shift) & 1:
                if rule.rights is None:
                    return Unpredictable("region", rule.number, "AP = 100 is reserved")
                if kind in rule.rights[privileged]:
                    return _ALLOWED
                return "IACCVIOL" if kind is Kind.EXECUTE else "DACCVIOL"
        if not (privileged and context.ctrl & PRIVDEFENA):
            return "IACCVIOL" if kind is Kind.EXECUTE else "DACCVIOL"
    if kind is Kind.EXECUTE and DEFAULT_XN.contains(address):
        return "IACCVIOL"
    return _ALLOWED


_ALLOW = Decision(True, ())
_STACKING = {("DACCVIOL", Kind.WRITE): "MSTKERR", ("DACCVIOL", Kind.READ): "MUNSTKERR",
             ("PRECISERR", Kind.WRITE): "STKERR", ("PRECISERR", Kind.READ): "UNSTKERR"}
_CLAUSES = {
    "DACCVIOL": "B3.5: data access denied; MMFAR holds the address",
    "IACCVIOL": "B3.2.15: fetch denied or XN; MMFAR is not written",
    "PRECISERR": "B3.1.1: unprivileged access to the PPB; BFAR holds the address",
}


def decide(context: Context, access: Access) -> Decision:
    """Is this access allowed, and if not, in which ways may the fault show?

    Protection only: bus errors, memory types and UNALIGN_TRP are left aside; words > 1 and exclusives need alignment.
    An access that crosses 2^32 is a ValueError.
    """
    if access.end > SPACE32:
        raise ValueError(f"access [{access.address:#x}, {access.end:#x}) crosses 2^32")
    on = context.on(access.hardfault)
    if problems := context.problems(access.hardfault):
        return Decision(None, (), problems)
    unit = access.size if access.exclusive else 4 if access.words > 1 else 1
    if access.address % unit:
        return Decision(False, (Syndrome("UNALIGNED", None, None, clause="A3.2.1: multi-word and exclusive accesses "
                                         "need alignment, checked before the MPU"),))
    for beat in range(access.address, access.end, access.size):
        denials: list[str] = []
        for address in _samples(beat, access.size):
            answer = _judge(context, on, address, access.privileged, access.kind)
            if isinstance(answer, Unpredictable):
                return Decision(None, (), (str(answer),))
            if answer and answer not in denials:
                denials.append(answer)
        if denials:
            return Decision(False, _syndromes(access, beat, denials))
    return _ALLOW


def _samples(address: int, size: int) -> range | tuple[int, ...]:
    """One byte of every granule the bytes touch: within one nothing changes."""
    end = address + size
    if (address ^ end - 1) < _GRANULE:  # one granule, the common case
        return (address,)
    return (address, *range((address | _GRANULE - 1) + 1, end, _GRANULE))


def _syndromes(access: Access, beat: int, causes: list[str]) -> tuple[Syndrome, ...]:
    """The admissible faults of the first beat that is denied for `causes`."""
    found: list[Syndrome] = []
    aligned = access.size & access.size - 1 == 0 and beat % access.size == 0
    first, last = (beat, beat) if aligned else (beat, beat + access.size - 1)
    for cause in causes:
        if access.frame:
            found.append(Syndrome(_STACKING[cause, access.kind], None, None,
                                  clause="B1.5.6, DUI0553A table 4-25: a failed exception frame writes no MMFAR"))
            continue
        if cause == "IACCVIOL":
            found.append(Syndrome(cause, None, None, clause=_CLAUSES[cause]))
            continue
        clause = _CLAUSES[cause] + ("" if aligned else " (unaligned: any address of the access, DUI0553A)")
        found.append(Syndrome(cause, first, last, clause=clause))
        if access.stacking:
            both = f"{cause}|{_STACKING[cause, Kind.WRITE]}"
            found.append(Syndrome(both, first, last, clause=clause + "; its frame fails on the same stack"))
    if access.exclusive and access.kind is Kind.WRITE:
        found.append(Syndrome(NO_FAULT, None, None, clause="A3.4: whether abort or monitor comes first is "
                              "IMPLEMENTATION DEFINED; status 1 and nothing written"))
    return tuple(found)


def grants(context: Context, privileged: bool, kind: Kind, size: int = 1, hardfault: bool = False) -> Intervals:
    """All addresses, over 4 GiB, at which an access of `size` bytes is allowed (not: unknown, see `unknown`)."""
    allowed, _ = _map(context, privileged, kind, hardfault)
    return allowed.starts(size)


def unknown(context: Context, privileged: bool, kind: Kind, size: int = 1, hardfault: bool = False) -> Intervals:
    """All addresses at which the architecture does not say what an access of `size` bytes does."""
    _, open_ = _map(context, privileged, kind, hardfault)
    return Intervals((max(0, start - size + 1), min(end, SPACE32 - size + 1)) for start, end in open_)


def _map(context: Context, privileged: bool, kind: Kind, hardfault: bool) -> tuple[Intervals, Intervals]:
    """The bytes that are allowed and the bytes that are unknown, by painting regions from the highest down."""
    everything = Intervals.of((0, SPACE32))
    on = context.on(hardfault)
    if context.problems(hardfault):
        return Intervals(), everything
    allowed, open_, free = Intervals(), Intervals(), everything
    if kind is Kind.EXECUTE:
        free &= Intervals.of((0, SYSTEM))
    else:
        free -= Intervals.of(PPB)
        if privileged:
            allowed |= Intervals.of(PPB)
    if on:
        for region in reversed(context.fields):
            hit = matched(region) & free
            rights = _rights(region)
            if rights is None:
                open_ |= hit
            elif kind in rights[privileged]:
                allowed |= hit
            free -= hit
    if not on or (privileged and context.ctrl & PRIVDEFENA):
        allowed |= free - DEFAULT_XN if kind is Kind.EXECUTE else free
    return allowed, open_
