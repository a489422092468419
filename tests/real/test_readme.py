"""The README's commands: every one exists as it is written there, and the quick ones are run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest

from harness.cli import cli
from harness.methods import METHODS

REPOSITORY = Path(__file__).resolve().parents[2]
README = REPOSITORY / "README.md"
QUICK = {"doctor", "models", "methods", "scenarios", "runs"}


def commands(text: str) -> list[list[str]]:
    """The arguments of each ``harness`` command in the console blocks of a Markdown text."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                words = list(shlex.shlex(line[2:], posix=True, punctuation_chars=True))
                found += [part[1:] for part in _parts(words) if part[:1] == ["harness"]]
    return found


def _parts(words: list[str]) -> list[list[str]]:
    """The simple commands of a shell line, without redirections."""
    parts: list[list[str]] = [[]]
    for word in words:
        if set(word) <= set(";&|<>()"):
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


COMMANDS = commands(README.read_text(encoding="utf-8"))


def test_there_are_commands() -> None:
    """The README shows the main ones, and how to set up and test the project."""
    assert {args[0] for args in COMMANDS} >= {"doctor", "run", "compare", "recommend", "report"}
    assert re.search(r"^\$ .*nox -s bench$", README.read_text(), flags=re.MULTILINE)
    assert re.search(r"^\$ .*nox -s tests$", README.read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize("args", COMMANDS, ids=shlex.join)
def test_a_command_is_understood(args: list[str]) -> None:
    """The command line takes its name, options and arguments; nothing is run."""
    command: click.Command = cli
    context = click.Context(cli, info_name="harness")
    rest = list(args)
    while isinstance(command, click.Group):
        name = rest.pop(0)
        found = command.get_command(context, name)
        assert found is not None, f"there is no command {name}"
        command, context = found, click.Context(found, parent=context, info_name=name)
    for parameter in command.params:
        if isinstance(parameter.type, click.Path):
            parameter.type.exists = False  # what an earlier command of the README would have made
    command.make_context(command.name, rest, parent=context.parent)


@pytest.mark.parametrize("args", [args for args in COMMANDS if args[0] in QUICK or "--help" in args], ids=shlex.join)
def test_a_quick_command_runs(harness: Any, request: pytest.FixtureRequest, args: list[str]) -> None:
    """It ends well; the doctor too, where an engine is there and every method's tools are in reach."""
    code = 0
    if args[0] == "doctor":
        request.getfixturevalue("engine")
        code = 0 if METHODS["pex-scie"].check().ready else 3
    assert harness(*args).expect(code).out


@pytest.mark.parametrize("name", sorted(QUICK - {"doctor"}))
def test_what_lists_prints_json_too(harness: Any, name: str) -> None:
    """For people a table, for machines JSON, of the same things."""
    told, shown = harness(name, "--json").expect(0).json, harness(name).expect(0).out
    names = told if isinstance(told, dict) else [one.get("name") or one["run"] for one in told]
    assert names or name == "runs"
    assert all(one in shown for one in names)


def test_the_table_of_commands_is_whole() -> None:
    """Every command there is, and no other."""
    cells = re.findall(r"^\| (`harness .*?) \|", README.read_text(), flags=re.MULTILINE)
    firsts = {re.sub(r"`harness ([a-z-]+).*", r"\1", cell) for cell in cells}
    assert firsts <= set(cli.commands)
    named = {word for cell in cells for word in re.findall(r"[a-z-]+", cell)}
    assert set(cli.commands) - named == set()


def test_shell_lines_are_taken_apart() -> None:
    """Comments, redirections, continuations and other programs don't get into arguments."""
    lines = ["```console", "$ pip install x && harness doctor  # all", "$ harness run a \\", "    --rounds 1 | tee log"]
    text = "\n".join([*lines, "output", "```", ""])
    assert commands(text) == [["doctor"], ["run", "a", "--rounds", "1"]]
