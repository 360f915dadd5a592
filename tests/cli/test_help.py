"""The --help pages: a whole summary of each command, its options in groups, an example that parses."""

from __future__ import annotations

import shlex

import click
import pytest
from click.testing import CliRunner

from expander.cli.help import EXAMPLES, GROUPS
from expander.cli.main import cli

COMMANDS = {name: command for name, command in cli.commands.items() if not isinstance(command, click.Group)}
COMMANDS |= {
    f"{group} {name}": command
    for group in ("data", "weights")
    for name, command in cli.commands[group].commands.items()  # type: ignore[attr-defined]
}


def page(*words: str) -> str:
    shown = CliRunner().invoke(cli, [*words, "--help"], terminal_width=100)
    assert shown.exit_code == 0, shown.exception
    return shown.output


@pytest.mark.parametrize("words", [(), ("data",), ("weights",)])
def test_no_summary_is_cut_off(words: tuple[str, ...]) -> None:
    _, heading, summaries = page(*words).partition("Commands:")
    assert heading
    assert "..." not in summaries


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_on_the_page_once_and_the_example_parses(name: str) -> None:
    shown, command = page(*name.split()), COMMANDS[name]
    options = [param for param in command.params if isinstance(param, click.Option) and not param.hidden]
    for option in options:
        longest = max(option.opts, key=len)
        assert sum(line.strip().split(" ")[0] == longest for line in shown.splitlines()) == 1, longest
    words = shlex.split(EXAMPLES[command.name or ""])
    assert f"Example:\n  {shlex.join(words)}\n" in shown
    assert words[: 1 + len(name.split())] == ["expander", *name.split()]
    command.make_context(command.name, words[1 + len(name.split()) :])


def test_the_options_of_a_search_come_in_groups() -> None:
    shown = page("search")
    places = [shown.index(f"\n{title}:\n") for title in GROUPS]
    assert places == sorted(places)
    for option, title, after in (("--max-params", "Budget", "Data"), ("--train-ann", "Data", "Cluster"),
                                 ("--ray-address", "Cluster", "Run")):  # fmt: skip
        assert shown.index(f"\n{title}:") < shown.index(f"  {option} ") < shown.index(f"\n{after}:")


def test_every_group_names_options_that_there_are() -> None:
    known = {param.name for command in COMMANDS.values() for param in command.params}
    assert not {name for names in GROUPS.values() for name in names} - known
