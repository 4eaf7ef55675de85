# SPDX-License-Identifier: Apache-2.0
"""Subjects: what the command line and the TOML file may say, and one message for everything that is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from build_samples import GIVER, TAKER, component, core

from rig.build.load_subject import load_subject
from rig.build.subject import Call, ComponentFile, HostImport, Peripheral, SharedBuffer, safe_name
from rig.errors import UsageError
from rig.image.model import Model

DOCS = Path(__file__).parents[2] / "docs" / "subject.md"


def write(folder: Path, text: str, *files: str) -> Path:
    for name in files:
        (folder / name).write_bytes(b"")
    (folder / "subject.toml").write_text(text)
    return folder / "subject.toml"


def complaints(folder: Path, text: str, *files: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        load_subject([write(folder, text, *files)])
    head, *lines = str(caught.value).split("\n  ")
    assert "subject.toml" in head
    return lines


ONE = 'schema = 1\n[[components]]\nfile = "a.wasm"\n'


def test_the_example_of_the_documentation_means_what_it_says(tmp_path: Path) -> None:
    example, fused = re.findall(r"```toml\n(.*?)```", DOCS.read_text(), re.S)
    subject = load_subject([write(tmp_path, example, "driver.wasm", "control.wasm", "guest.wasm", "tick.c")])
    assert subject.name == "pump" and subject.models == (Model.PAGE, Model.MULTI, Model.DOMAINS)
    assert subject.boards == ("mps2-an386", "virt-rv32") and subject.lowering is None
    assert subject.components == (
        ComponentFile(tmp_path / "driver.wasm", "driver", backed=8192),
        ComponentFile(tmp_path / "control.wasm", "control"),
        ComponentFile(tmp_path / "guest.wasm", "guest", intruder=True),
    )
    assert subject.domains == {"plant": ("driver", "control"), "guest": ("guest",)}
    assert subject.peripherals == (Peripheral("timer0", "driver", 0x40000000, 4096, "rw"),)
    assert subject.shared == (SharedBuffer("samples", 256, {"driver": "rw", "control": "r"}),)
    assert subject.calls == (Call("step", "control", (-1,), None), Call("reset", None, None, 0))
    assert subject.imports == {
        "acme:board/led#set": HostImport("stub"),
        "acme:board/panic#halt": HostImport("trap"),
        "acme:board/tick": HostImport("file", tmp_path / "tick.c"),
    }
    subject = load_subject([write(tmp_path, fused, "fused.wasm", "fused.o")])
    assert (subject.fused, subject.object, subject.models) == (tmp_path / "fused.wasm", tmp_path / "fused.o", ())


def test_defaults_are_all_layouts_that_can_isolate(tmp_path: Path) -> None:
    subject = load_subject([write(tmp_path, ONE, "a.wasm")])
    assert subject.models == (Model.PAGE, Model.PACKED, Model.MULTI)
    assert subject.components[0].name == "a" and subject.name == safe_name(tmp_path.name)
    with_domains = load_subject([write(tmp_path, ONE + '[domains]\nd = ["a"]\n', "a.wasm")])
    assert with_domains.models[-1] is Model.DOMAINS


def test_a_folder_stands_for_the_subject_file_in_it(tmp_path: Path) -> None:
    write(tmp_path, ONE, "a.wasm")
    assert load_subject([tmp_path]) == load_subject([tmp_path / "subject.toml"])


def test_all_wrong_keys_and_types_come_at_once_with_their_paths_and_hints(tmp_path: Path) -> None:
    text = """
schema = 2
modles = ["multi"]
models = ["multy", 3]
boards = [7]
lowering = "gcc"
[[components]]
file = 7
intruder = "yes"
memory.baked = "8 KiB"
[[components]]
nam = "x"
memory.backed = "8 kb"
[[peripherals]]
name = "p"
owner = "a"
base = -1
size = true
rights = "x"
[[calls]]
export = "f"
count = -1
[imports]
"x:y/z#f" = 3
"""
    lines = complaints(tmp_path, text)
    for expected in (
        "schema: this rig reads schema = 1",
        "modles: unknown key; did you mean 'models'?",
        "models[0]: unknown model 'multy'; did you mean 'multi'?",
        "models[1]: unknown model 3",
        "boards[0]: 7 cannot be a name",
        "lowering: ",
        "components[0].file: input should be a valid string, not 7",
        "components[0].intruder: input should be a valid boolean",
        "components[0].memory.baked: unknown key; did you mean 'backed'?",
        "components[1].file: missing",
        "components[1].nam: unknown key; did you mean 'name'?",
        'components[1].memory.backed: give a size as "8 KiB"',
        "peripherals[0].base: give an address",
        "peripherals[0].size: give a size",
        "peripherals[0].rights: ",
        "calls[0].count: ",
        'imports."x:y/z#f": input should be a valid string',
    ):
        assert any(line.startswith(expected) for line in lines), (expected, lines)
    assert len(lines) == 17


def test_all_contradictions_come_at_once(tmp_path: Path) -> None:
    text = """
schema = 1
models = ["multi", "multi", "domains"]
object = "o.o"
[[components]]
file = "a.wasm"
[[components]]
file = "a.wasm"
[[components]]
file = "absent.wasm"
name = "c"
[domains]
one = ["a", "b"]
two = []
"<b>" = ["c", "c"]
[[peripherals]]
name = "p"
owner = "cc"
base = 0xFFFFFFFF
size = 2
[[shared]]
name = "s"
size = 4
owners = { a = "r", zz = "rw" }
[[calls]]
export = "f"
[imports]
"x:y/z#f" = "stubb"
"""
    lines = complaints(tmp_path, text, "a.wasm")
    for expected in (
        "object: needs fused",
        "components[1].name: 'a' is components[0] already",
        "components[2].file: there is no file",
        "models: multi is there 2 times",
        "domains.one: no component is called 'b'",
        "domains.two: is empty",
        'domains."<b>": cannot be a name',
        "domains: component 'c' is in 2 domains",
        "peripherals[0].owner: no component is called 'cc'; did you mean 'c'?",
        "peripherals[0]: base + size leaves",
        "shared[0].owners: no component is called 'zz'",
        "calls[0]: give either args",
        'imports."x:y/z#f": give "stub", "trap" or a C file',
    ):
        assert any(line.startswith(expected) for line in lines), (expected, lines)


def test_no_components_at_all_is_an_error_with_the_line_to_add(tmp_path: Path) -> None:
    assert complaints(tmp_path, "schema = 1") == [
        'components: there are none: add [[components]] with file = "X.wasm", or fused = "F.wasm"'
    ]
    assert complaints(tmp_path, "") == ["schema: missing"]


def test_with_a_fused_module_model_and_domains_are_not_the_users_to_say(tmp_path: Path) -> None:
    lines = complaints(tmp_path, 'schema = 1\nfused = "f.wasm"\nmodels = ["multi"]\n[domains]\nd = ["x"]\n', "f.wasm")
    assert [line.partition(":")[0] for line in lines] == ["models", "domains"]


def test_the_model_domains_needs_domains(tmp_path: Path) -> None:
    (line,) = complaints(tmp_path, 'models = ["domains"]\n' + ONE, "a.wasm")
    assert line.startswith("domains: the model domains needs")


@pytest.mark.parametrize("text", ["schema = ", "\0", "a = 1\na = 2", "a = " + "[" * 5000, "[a]\n[a]\n"])
def test_what_is_not_toml_is_one_message(text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"subject\.toml") as caught:
        load_subject([write(tmp_path, text)])
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000


@pytest.mark.parametrize("name", ["<script>", "../up", "new\\nline", "", "-x", "a" * 65, "ключ"])
def test_hostile_names_are_refused_and_cannot_break_the_line(name: str, tmp_path: Path) -> None:
    (line,) = complaints(tmp_path, ONE + f'name = "{name}"\n', "a.wasm")
    assert line.startswith("components[0].name: ") and "cannot be a name" in line and "\n" not in line


def test_hundreds_of_errors_are_cut(tmp_path: Path) -> None:
    lines = complaints(tmp_path, "schema = 1\n" + "".join(f"k{i} = 1\n" for i in range(500)))
    assert len(lines) == 31 and lines[-1] == "… and 470 more"


def test_a_subject_of_many_megabytes_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="more than 1 MiB"):
        load_subject([write(tmp_path, "#" * (2 << 20))])


# The command line.


def test_nothing_means_the_demo_image_scalar() -> None:
    assert load_subject([]) == load_subject(["scalar"])
    assert load_subject([]).domains == {"plant": ("sensor", "controller", "actuator"), "guest": ("intruder",)}


def test_component_files_keep_their_order_and_are_called_after_their_files(tmp_path: Path) -> None:
    component(tmp_path, "taker", TAKER, "taker")
    component(tmp_path, "giver", GIVER.format(word="AAAA"), "giver")
    subject = load_subject([tmp_path / "taker.wasm", str(tmp_path / "giver.wasm")])
    assert [file.name for file in subject.components] == ["taker", "giver"]
    assert subject.models == (Model.PAGE, Model.PACKED, Model.MULTI) and subject.name == "taker+1"
    assert [made.name for made in subject.read_components()] == ["taker", "giver"]


def test_one_component_is_a_subject(tmp_path: Path) -> None:
    component(tmp_path, "giver", GIVER.format(word="AAAA"), "giver")
    assert len(load_subject([tmp_path / "giver.wasm"]).components) == 1


def test_a_core_module_alone_is_taken_for_a_fused_one_and_may_have_its_object(tmp_path: Path) -> None:
    module = core(tmp_path, "f", "(module)")
    obj = tmp_path / "f.o"
    obj.write_bytes(b"\x7fELF")
    assert load_subject([module]).fused == module and load_subject([module]).models == ()
    assert load_subject([obj, module]).object == obj
    with pytest.raises(UsageError, match=r"FUSED\.wasm OBJECT\.o"):
        load_subject([obj])
    with pytest.raises(UsageError, match=r"FUSED\.wasm OBJECT\.o"):
        load_subject([obj, module, module])


def test_two_files_of_one_name_are_refused_with_the_cure(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.wasm").write_bytes(b"\0asm\x0d\0\x01\0")
    with pytest.raises(UsageError, match="would both be called 'a'"):
        load_subject([tmp_path / "x" / "a.wasm", tmp_path / "y" / "a.wasm"])


def test_a_hostile_file_name_becomes_a_safe_component_name(tmp_path: Path) -> None:
    path = tmp_path / "<script>\nalert(1).wasm"
    path.write_bytes(b"\0asm\x0d\0\x01\0")
    assert load_subject([path]).components[0].name == "script-alert-1"
    assert safe_name("../../etc") == "etc" and safe_name("…", "component-3") == "component-3"


def test_an_unknown_word_names_the_demo_images() -> None:
    with pytest.raises(UsageError, match="lists, scalar, wide"):
        load_subject(["skalar"])


def test_a_subject_file_is_given_alone(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is given alone"):
        load_subject([write(tmp_path, ONE, "a.wasm"), tmp_path / "a.wasm"])
