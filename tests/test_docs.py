"""What README.md, CONTRIBUTING.md and docs/ name exists: commands, options, links, files, error lines."""

from __future__ import annotations

import ast
import re
import shlex
from functools import cache
from pathlib import Path

import click
import pytest
from pages import FENCE, PAGES, ROOT, blocks, fenced_commands

from expander.cli.main import cli
from expander.data.format_detection import FORMATS

LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
PATH = re.compile(
    r"(?:expander|tests|analysis|benchmarks|search_spaces|recipes|docs|runs/reference)/[\w/.-]*\w"
)
HELP = {"--help", "-h", "--version"}


def _command_lines(text: str) -> list[str]:
    """Every `expander …` line, of fenced blocks and inline code."""
    inline = [code.strip() for code in CODE.findall(FENCE.sub("", text))]
    return fenced_commands(text) + [line for line in inline if line.startswith("expander ")]


def _fault(line: str) -> str:
    """What the command line does not have, or an empty string."""
    words = shlex.split(line, comments=True)[1:]
    command: click.Command = cli
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        if words[0].isupper():  # COMMAND stands for any
            return ""
        if words[0] not in command.commands:
            return f"no command {words[0]!r}"
        command = command.commands[words.pop(0)]
    known = {name: option for option in command.params for name in option.opts}
    while words:
        name, equals, value = words.pop(0).partition("=")
        if not name.startswith("-") or name in HELP:
            continue
        if name not in known:
            return f"no option {name}"
        option = known[name]
        if isinstance(option, click.Option) and not option.is_flag:
            if not (equals or words):
                return f"{name} needs a value"
            value = value if equals else words.pop(0)
            if isinstance(option.type, click.Choice) and value not in option.type.choices:
                return f"{name} does not take {value!r}"
    return ""


COMMANDS = [(page.name, line) for page in PAGES for line in _command_lines(page.read_text())]


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=lambda value: value)
def test_every_command_line_shown_exists_with_its_options(page: str, line: str) -> None:
    assert not _fault(line), f"{page}: {line}"


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("expander serch --run a", "no command 'serch'"),
        ("expander weights copy a", "no command 'copy'"),
        ("expander search --target-glops 2", "no option --target-glops"),
        ("expander search --cost time", "--cost does not take 'time'"),
        ("expander search --run", "--run needs a value"),
        ("expander search --run a --resume  # --no-option", ""),
    ],
)
def test_a_command_line_that_does_not_exist_is_found(line: str, fault: str) -> None:
    assert _fault(line) == fault


def test_the_pages_show_command_lines() -> None:
    shown = [page for page, _ in COMMANDS]
    assert shown.count("README.md") >= 6
    assert shown.count("tutorial.md") >= 15


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and mkdocs make them."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    plain = [re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings]
    return {re.sub(r"[\s-]+", "-", heading) for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_and_picture_points_to_something(page: Path) -> None:
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.is_file(), f"{page.name}: {link}"
        assert not anchor or anchor in _anchors(target), f"{page.name}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_of_the_repository_that_is_named_exists(page: Path) -> None:
    for code in [*CODE.findall(FENCE.sub("", page.read_text())), *blocks(page.read_text())]:
        for path in PATH.findall(code):
            assert (ROOT / path).exists(), f"{page.name}: {path}"


def test_every_page_is_in_the_navigation() -> None:
    listed = re.findall(r": (\w+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(page.name for page in (ROOT / "docs").glob("*.md"))


def test_every_test_that_contributing_says_to_copy_exists() -> None:
    named = re.findall(r"`(test_\w+)`", (ROOT / "CONTRIBUTING.md").read_text())
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert named
    assert [name for name in named if f"def {name}(" not in tests] == []


def test_the_architecture_has_every_package_and_the_order_of_the_imports() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    packages = [path.parent.name for path in (ROOT / "expander").glob("*/__init__.py")]
    assert [name for name in packages if f"| `expander/{name}/` |" not in text] == []
    tree = ast.parse((ROOT / "tests" / "test_architecture.py").read_text())
    order = next(ast.literal_eval(node.value) for node in tree.body
                 if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ORDER")  # fmt: skip
    assert " ← ".join(f"`{name}`" for name in order) in text


def test_formats_has_every_annotation_format() -> None:
    text = (ROOT / "docs" / "formats.md").read_text()
    assert [name for name in (*FORMATS, "folders") if f"| `{name}` |" not in text] == []


def test_the_command_line_page_has_every_command_and_option() -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    for name, command in cli.commands.items():
        assert f"\n## {name}\n" in text
        parts = command.commands.values() if isinstance(command, click.Group) else [command]
        options = {option.opts[0] for part in parts for option in part.params if option.opts[0][0] == "-"}
        assert options - set(re.findall(r"--[a-z-]+", text)) == set(), name


@cache
def _texts() -> tuple[str, ...]:
    """Every piece of text in the code: what an error line is made of."""
    trees = [ast.parse(path.read_text()) for path in (ROOT / "expander").rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return tuple({node.value for node in nodes if isinstance(node.value, str)})


ERRORS = re.findall(r"^\| [^`|]*`([^`]*…[^`]*)`", (ROOT / "docs" / "faq.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("line", ERRORS)
def test_every_error_line_of_the_faq_is_one_of_the_code(line: str) -> None:
    longest = max((part.strip(" :;,.'") for part in line.split("…")), key=len)
    assert any(longest in text or (len(text) >= 12 and text in line) for text in _texts()), longest
