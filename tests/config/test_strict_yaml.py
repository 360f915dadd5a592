"""YAML that says where it is wrong: file:line:column, and what was meant."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import ConfigDict

from expander.config.strict_yaml import did_you_mean, parse, read
from expander.errors import UsageError


@dataclass(frozen=True, slots=True)
class Inner:
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    steps: int = 1
    rate: float = 0.1
    flip: bool = True

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError("steps must be at least 1")


@dataclass(frozen=True, slots=True)
class Outer:
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    name: str
    inner: Inner
    sizes: tuple[int, ...] = ()


def load(tmp_path: Path, text: str | bytes) -> Outer:
    file = tmp_path / "f.yaml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return read(Outer, file)


def refused(tmp_path: Path, text: str | bytes) -> str:
    """The one line that a faulty file is refused with, from the file's name on."""
    with pytest.raises(UsageError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(tmp_path / "f.yaml"))
    return message.removeprefix(f"{tmp_path}/")


def test_a_sound_file_is_read(tmp_path: Path) -> None:
    text = "name: a\ninner: {steps: 3, rate: 1e-3, flip: false}\nsizes: [1, 2]\n"
    assert load(tmp_path, text) == Outer("a", Inner(3, 0.001, False), (1, 2))


@pytest.mark.parametrize(
    ("written", "number"),
    [("1e-3", 0.001), ("1E3", 1000.0), ("+1.5e+2", 150.0), (".5", 0.5), ("5.", 5.0), ("5e-5", 5e-5),
     ("-1e-3", -0.001), ("2", 2), ("0.1", 0.1)],
)  # fmt: skip
def test_a_number_is_the_number_that_people_read(written: str, number: float) -> None:
    assert parse(f"a: {written}", "f")[0] == {"a": number}


@pytest.mark.parametrize("written", ["e3", "1e", "v1.0", "1.2.3", "--1", "1e-3x"])
def test_what_only_looks_like_a_number_stays_text(written: str) -> None:
    assert parse(f"a: {written}", "f")[0] == {"a": written}


def test_places_are_those_of_keys_and_items() -> None:
    _, places = parse("a:\n  b: [1,\n    2]\nc: 3\n", "f")
    assert places == {
        (): "f:1:1", ("a",): "f:1:1", ("a", "b"): "f:2:3", ("a", "b", 0): "f:2:7", ("a", "b", 1): "f:3:5",
        ("c",): "f:4:1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("name: [1, 2\nb: 3\n", "f.yaml:2:2: "),
        ("name: a\n  inner: b\n", "f.yaml:2:8: "),
        ("name: 'a\n", "f.yaml:2:1: "),
        ("name: a\n\tinner: b\n", "f.yaml:2:1: "),
        ("name: a\ninner:\n\tsteps: 1\n", "f.yaml:3:1: "),
        ("name: @a\n", "f.yaml:1:7: "),
        ("name: a\n---\nname: b\n", "f.yaml:2:1: "),
    ],
    ids=["open list", "indented", "open quote", "tab", "tab below a key", "reserved", "second document"],
)
def test_a_syntax_error_is_told_with_its_line_and_column(tmp_path: Path, text: str, place: str) -> None:
    assert refused(tmp_path, text).startswith(place)


def test_a_duplicate_key_is_told_with_both_places(tmp_path: Path) -> None:
    text = "name: a\ninner:\n  steps: 1\n  rate: 1\n  steps: 2\n"
    assert refused(tmp_path, text) == "f.yaml:5:3: key 'steps' is already set at " + str(
        tmp_path / "f.yaml:3:3"
    )


def test_an_unknown_key_is_told_with_what_was_meant(tmp_path: Path) -> None:
    text = "name: a\ninner:\n  setps: 1\n"
    assert refused(tmp_path, text) == "f.yaml:3:3: unknown key 'inner.setps'; did you mean 'steps'?"


def test_an_unknown_key_is_told_before_the_missing_one_that_it_stands_for(tmp_path: Path) -> None:
    text = "nmae: a\ninner: {}\n"
    assert refused(tmp_path, text) == "f.yaml:1:1: unknown key 'nmae'; did you mean 'name'?"


def test_an_unknown_key_like_no_other_lists_what_is_known(tmp_path: Path) -> None:
    text = "name: a\ninner: {zzz: 1}\n"
    expected = "f.yaml:2:9: unknown key 'inner.zzz'; known: flip, rate, steps"
    assert refused(tmp_path, text) == expected


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    assert refused(tmp_path, "inner: {}\n") == "f.yaml:1:1: 'name' is missing"


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("name: 1\ninner: {}\n", "f.yaml:1:1: name: input should be a valid string"),
        ("name: a\ninner: {steps: two}\n", "f.yaml:2:9: inner.steps: input should be a valid integer"),
        ("name: a\ninner: {steps: 1.5}\n", "f.yaml:2:9: inner.steps: "),
        ("name: a\ninner: {steps: true}\n", "f.yaml:2:9: inner.steps: input should be a valid integer"),
        ("name: a\ninner: {flip: 1}\n", "f.yaml:2:9: inner.flip: input should be a valid boolean"),
        ("name: a\ninner: {rate: '0.1'}\n", "f.yaml:2:9: inner.rate: input should be a valid number"),
        ("name: a\ninner: {}\nsizes: [1, x]\n", "f.yaml:3:12: sizes.1: input should be a valid integer"),
        ("name: a\ninner: [1]\n", "f.yaml:2:1: inner: input should be an object"),
        ("name: a\ninner: null\n", "f.yaml:2:1: inner: input should be an object"),
    ],
)
def test_a_wrong_type_is_told_at_its_key(tmp_path: Path, text: str, start: str) -> None:
    assert refused(tmp_path, text).startswith(start)


def test_a_value_out_of_range_is_told_at_its_key(tmp_path: Path) -> None:
    text = "name: a\ninner:\n  rate: 1\n  steps: 0\n"
    assert refused(tmp_path, text) == "f.yaml:4:3: inner: steps must be at least 1"


@pytest.mark.parametrize(
    "value",
    ["!!python/object/apply:os.getcwd []", "!!python/name:os.system ''", "!custom x"],
)
def test_a_tag_is_refused(tmp_path: Path, value: str) -> None:
    message = refused(tmp_path, f"name: {value}\ninner: {{}}\n")
    assert message.startswith("f.yaml:1:7: could not determine a constructor for the tag")


def test_an_alias_bomb_is_refused_at_its_first_alias(tmp_path: Path) -> None:
    """Nine lists of nine lists of ... would be 9 ** 9 items."""
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    assert refused(tmp_path, "\n".join(rows)) == "f.yaml:2:10: aliases are not allowed"


def test_a_merge_key_is_refused(tmp_path: Path) -> None:
    assert "aliases are not allowed" in refused(tmp_path, "name: a\ninner: &i {}\nmore:\n  <<: *i\n")


@pytest.mark.parametrize(
    "text", ["- name: a\n", "just text\n", "3\n", "null\n"], ids=["list", "text", "number", "null"]
)
def test_what_is_not_a_mapping_is_refused(tmp_path: Path, text: str) -> None:
    assert refused(tmp_path, text).startswith("f.yaml:1:1: Outer: input should be an object")


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n"])
def test_an_empty_file_is_refused(tmp_path: Path, text: str) -> None:
    assert refused(tmp_path, text).startswith("f.yaml:1:1: Outer: input should be an object")


@pytest.mark.parametrize("value", ["2026-01-01", "!!binary aGk=", "!!set {a, b}"])
def test_a_value_that_json_does_not_have_is_refused(tmp_path: Path, value: str) -> None:
    refused(tmp_path, f"name: {value}\ninner: {{}}\n")


@pytest.mark.parametrize("key", ["[1, 2]", "{a: b}", "? [1, 2]\n"], ids=["list", "mapping", "explicit"])
def test_a_key_that_is_no_text_is_refused(tmp_path: Path, key: str) -> None:
    refused(tmp_path, f"{key}: 1\n")


def test_absurd_nesting_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "name: " + "[" * 5000)


@pytest.mark.parametrize(
    "content",
    [b"\x00\x01\x02\x03", b"name: \x07a\n", b"\x89PNG\r\n\x1a\n\x00\x00", b"\xff\xfe\x00a"],
    ids=["control", "bell", "image", "utf-16"],
)
def test_a_binary_file_is_refused(tmp_path: Path, content: bytes) -> None:
    refused(tmp_path, content)


def test_a_missing_file_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent\.yaml: cannot be read: No such file or directory"):
        read(Outer, tmp_path / "absent.yaml")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        read(Outer, tmp_path)


@pytest.mark.parametrize(
    ("word", "known", "end"),
    [
        ("dpeth", ["depth", "width"], "; did you mean 'depth'?"),
        ("zzz", ["depth", "width"], "; known: depth, width"),
        ("zzz", [], ""),
    ],
)
def test_did_you_mean(word: str, known: list[Any], end: str) -> None:
    assert did_you_mean(word, known) == end
    assert did_you_mean(word, iter(known)) == end
