# SPDX-License-Identifier: Apache-2.0
"""wasm2c's output, rewritten so that gates stand on the seams. Pure text in, text out.

What changes (all else stays as wasm2c wrote it):

* function *n* gets the external, never inlined name `rig_fn_<n>` (its prototype is the n-th `static` one);
* a call whose two ends have different owners, or that leaves for the host, goes to `rig_gate_<i>` of its seam;
* memories get their place from the linker (`rig_mem_<k>`), tables lie behind the instance, and data segments are left
  out: the image's own table fills every memory once, instead of once per instance;
* `rig_instance_init`, `rig_instance_size` and the offset of every global are added at the end.

The input is made by `sanitise`, so every name in it is one of ours: no name of the user's reaches the C text. Facts
about wasm2c 1.0.42: toolchain reference, section 5.3. Whatever does not look as expected is a Refusal, never a guess.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from rig.build.seams import Calls
from rig.errors import Refusal
from rig.image.leb import Cursor
from rig.image.model import Image
from rig.plan.globals import instance

HOST_MODULE = "rig"
_PROTOTYPE = re.compile(r"^static (?P<result>[\w ]+?) (?P<name>w2c_mod_f\d+)\((?P<params>[^()]*)\);$", re.M)
_IMPORT = re.compile(r"^(?P<result>[\w ]+?) (?P<name>w2c_rig_h(?P<index>\d+))\((?P<params>[^()]*)\);$", re.M)
_DEFINITION = re.compile(r"^[\w ]+? (?P<name>w2c_mod_f\d+)\([^()]*\) \{$", re.M)
_CALL = re.compile(r"\b(w2c_mod_f\d+|w2c_rig_h\d+)(?=\()")
_FIELD = re.compile(r"^  (?P<type>[\w ]+?\*?) (?P<name>\w+)(?: : 1)?;$", re.M)
_ALLOCATE = re.compile(
    r"^  wasm_rt_allocate_(?P<what>memory|funcref_table)\((?P<target>&instance->\w+), (?P<n>\d+), .*\);$", re.M
)
_SCALARS = ("u32", "u64", "f32", "f64")
_DESCRIPTORS = ("wasm_rt_memory_t", "wasm_rt_funcref_table_t", "struct w2c_rig*")


def sanitise(wasm: bytes) -> bytes:
    """The module with no names of the user's: function imports become `rig` `h<n>`, exports and custom sections go.

    Code, data, types and every index stay as they are. Raises Refusal for an import that is no function.
    """
    cursor = Cursor(wasm, "fused module", 8)
    out = bytearray(wasm[:8])
    while cursor.left:
        kind = cursor.u8()
        section = cursor.sub(cursor.u32())
        if kind in (0, 7):
            continue
        content = _imports(section) if kind == 2 else section.take(section.left)
        out += bytes([kind]) + _leb(len(content)) + content
    return bytes(out)


def _imports(c: Cursor) -> bytes:
    count = c.count("imports")
    out = bytearray(_leb(count))
    for index in range(count):
        module, title, kind = c.name(), c.name(), c.u8()
        if kind != 0:
            raise Refusal(f"the module imports {module}.{title}, which is no function")
        names = [HOST_MODULE.encode(), f"h{index}".encode()]
        out += b"".join(_leb(len(name)) + name for name in names) + b"\0" + _leb(c.u32())
    return bytes(out)


def _leb(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def rewrite(text: str, header: str, image: Image, calls: Calls) -> str:
    """C text for `image` with the gates on its seams. `header`: what wasm2c wrote beside it; it is put inside."""
    first = len(image.imports)
    prototypes = list(_PROTOTYPE.finditer(text))
    if len(prototypes) != len(image.functions) - first:
        raise Refusal(f"wasm2c declared {len(prototypes)} functions, the module has {len(image.functions) - first}")
    index = {match["name"]: first + i for i, match in enumerate(prototypes)}
    parameters = {first + i: (match["result"], match["params"]) for i, match in enumerate(prototypes)}
    for match in _IMPORT.finditer(header):
        index[match["name"]] = int(match["index"])
        parameters[int(match["index"])] = (match["result"], match["params"])

    bodies = list(_DEFINITION.finditer(text))
    if [match["name"] for match in bodies] != [match["name"] for match in prototypes]:
        raise Refusal("wasm2c defined other functions than it declared")
    head = text[: bodies[0].start()] if bodies else text
    parts = [_head(head, image)]
    for match, following in zip(bodies, [*bodies[1:], None], strict=True):
        body = text[match.end() : following.start() if following else len(text)]
        function = index[match["name"]]
        parts.append(match[0] + _gated(body, function, index, image, calls))
    source = "".join(parts)
    source, found = re.subn(r'^#include "[\w.]+\.h"$', "", source, flags=re.M)
    if found != 1:
        raise Refusal(f"wasm2c included {found} headers of its own where 1 was expected")
    source = _PROTOTYPE.sub(lambda m: f"RIG_FUNCTION {m['result']} {m['name']}({m['params']});", source)
    return "\n".join(
        [
            "// Made from wasm2c's output: gates on the seams, memories and tables placed by the plan.",
            "#define RIG_FUNCTION __attribute__((noinline, used))",
            *(f"#define {name} rig_fn_{number}" for name, number in index.items()),
            header,
            *_gates(image, parameters),
            source,
            *_tail(header, image),
        ]
    )


def _gates(image: Image, parameters: Mapping[int, tuple[str, str]]) -> list[str]:
    """Prototypes of the gates: each that of its callee. What does not come back in registers cannot pass one."""
    lines = []
    for seam in image.seams:
        result, params = parameters[seam.target]
        if len(seam.type.results) > 1:
            raise Refusal(f"{seam.label or seam.target} returns {len(seam.type.results)} values: no gate can pass them")
        lines.append(f"{result} rig_gate_{seam.index}({params});")
    return lines


def _gated(body: str, function: int, index: Mapping[str, int], image: Image, calls: Calls) -> str:
    """A function body whose calls across owners go through gates. The calls must be those of the wasm, in its order."""
    found: list[int] = []

    def one(match: re.Match[str]) -> str:
        callee = index[match[1]]
        found.append(callee)
        seam = calls.seam(function, callee)
        return match[1] if seam is None else f"rig_gate_{seam}"

    changed = _CALL.sub(one, body)
    # wasm2c drops unreachable code, so there may be fewer calls than in the wasm, but never others.
    if Counter(found) - Counter(image.functions[function].calls):
        raise Refusal(f"wasm2c's function {function} calls {found}, the wasm calls {image.functions[function].calls}")
    return changed


def _head(text: str, image: Image) -> str:
    """Everything before the first function body: memories and tables get their places, data segments go."""
    memories, offset = 0, 0

    def place(match: re.Match[str]) -> str:
        nonlocal memories, offset
        size = int(match["n"])
        if match["what"] == "memory":
            memories += 1
            return f"  rig_memory_init({match['target']}, rig_mem_{memories - 1}, {size});"
        line = f"  rig_table_init({match['target']}, (char *)(instance + 1) + {offset}, {size});"
        offset += 16 * size
        return line

    text = _ALLOCATE.sub(place, text)
    if memories != len(image.memories) or offset != 16 * sum(table.size for table in image.tables):
        raise Refusal(f"wasm2c places {memories} memories and {offset // 16} table entries, not those of the module")
    text = re.sub(r"^  LOAD_DATA\(instance->.*\);\n", "", text, flags=re.M)
    declared = "".join(f"extern uint8_t rig_mem_{k}[];\n" for k in range(memories))
    return declared + text


def _tail(header: str, image: Image) -> list[str]:
    """Instance set-up for the agent, and what the host and the linker need to know of the instance."""
    struct = re.search(r"^typedef struct w2c_mod \{\n(.*?)^\} w2c_mod;$", header, re.M | re.S)
    entry = re.search(r"^void wasm2c_mod_instantiate\(w2c_mod\*(?P<host>, struct w2c_rig\*)?\);$", header, re.M)
    if struct is None or entry is None or bool(entry["host"]) != bool(image.imports):
        raise Refusal("wasm2c's header does not declare the instance as expected")
    fields = list(_FIELD.finditer(struct[1]))
    strange = {m["type"] for m in fields} - {*_SCALARS, *_DESCRIPTORS}
    if strange:
        raise Refusal(f"an instance would hold {', '.join(sorted(strange))}, which fused code never needs")
    scalars = [m["name"] for m in fields if m["type"] in _SCALARS]
    if len(scalars) != len(image.globals):
        raise Refusal(f"wasm2c keeps {len(scalars)} globals, the module has {len(image.globals)}")
    expected = instance(image)
    checks = [
        f'_Static_assert(offsetof(w2c_mod, {name}) == {offset}, "global {i}");'
        for i, (name, offset) in enumerate(zip(scalars, expected.globals, strict=True))
    ]
    hosts = ", NULL" if image.imports else ""
    return [
        *checks,
        f'_Static_assert(sizeof(w2c_mod) == {expected.size}, "instance");',
        f"void rig_instance_init(void *instance) {{ wasm2c_mod_instantiate(instance{hosts}); }}",
        "",
    ]
