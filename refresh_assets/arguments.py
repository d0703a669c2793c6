"""From the words of a command line to the call of a function: argparse, whose refusals are errors of ours.

Here: registering a command with its options, help, what is refused and with which mend. Not here: the commands (cli.py).
argparse, for a command line is loaded at every start: a library that reads signatures takes longer than all else of it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from typing import Any, NoReturn

from refresh_assets.errors import UsageError

Work = Callable[..., int]


@dataclass(frozen=True)
class Option:
    """An argument of a command, as argparse takes it."""

    names: tuple[str, ...]
    how: dict[str, Any]


def option(*names: str, **how: Any) -> Option:
    """An option (`--date`), or an argument without a name (`portfolio`)."""
    return Option(names, how)


def a_day(text: str) -> date:
    """A date YYYY-MM-DD, and nothing else that Python takes for one. Raises UsageError."""
    try:
        if len(text) != 10:
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is not a date YYYY-MM-DD", "write for example 2026-03-13") from None


class Commands:
    """The commands of a program."""

    def __init__(self, name: str, about: str, ending: str, version: Callable[[], str]) -> None:
        """Args:
        ending: last words of the help.
        version: asked for where --version is given."""
        self._parser = _Parser(prog=name, description=about, epilog=ending, allow_abbrev=False)
        self._parser.add_argument("--version", action="store_true", help="Print the version.")
        self._version = version
        self._commands = self._parser.add_subparsers(metavar="COMMAND", title="commands", dest="command")
        self._named: dict[str, list[str]] = {}

    def command(self, *options: Option) -> Callable[[Work], Work]:
        """A function becomes the command of its name; its docstring is the help, in a list of commands its first paragraph."""

        def register(work: Work) -> Work:
            about = " ".join(line.strip() or "\n\n" for line in (work.__doc__ or "").splitlines())
            parser = self._commands.add_parser(
                work.__name__,
                help=about.partition("\n")[0],
                description=about,
                allow_abbrev=False,
                formatter_class=_Paragraphs,
            )
            for one in options:
                parser.add_argument(*one.names, **one.how)
            parser.set_defaults(work=work)
            self._named[work.__name__] = [name for one in options for name in one.names if name.startswith("-")]
            return work

        return register

    def call(self, words: Sequence[str]) -> int:
        """Carry out what the words say; their exit code. Without any: the help.

        Raises UsageError where they say nothing that can be carried out."""
        try:
            found, left = self._parser.parse_known_args(words)
        except SystemExit:  # help: printed
            return 0
        arguments = vars(found)
        name = arguments.pop("command")
        if left:
            raise self._refused(name, left[0])
        if arguments.pop("version"):
            print(self._version())
            return 0
        if name is None:
            self._parser.print_help()
            return 0
        work: Work = arguments.pop("work")
        return work(**arguments)

    def _refused(self, name: str | None, word: str) -> UsageError:
        program = self._parser.prog if name is None else f"{self._parser.prog} {name}"
        mend = f"see {program} --help"
        if not word.startswith("-"):
            hint = "name a day with --date, and " if "--date" in self._named.get(name or "", ()) else ""
            return UsageError(f"{word!r} is one word too many for {program}", hint + mend)
        near = get_close_matches(word.partition("=")[0], self._named.get(name or "", ()), 1)
        return UsageError(f"{program} has no option {word}", f"write {near[0]}, or {mend}" if near else mend)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong by an error, and ends no process but for help."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"see {self.prog} --help")


class _Paragraphs(argparse.HelpFormatter):
    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join(super(_Paragraphs, self)._fill_text(one, width, indent) for one in text.split("\n\n"))
