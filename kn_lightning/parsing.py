"""Parsers of the commands, and one line for what is wrong with the arguments of any of them."""

from __future__ import annotations

from argparse import ArgumentError
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from kn_lightning.complaint import Complaint
from kn_lightning.config_files import Configs
from kn_lightning.errors import InputError, nearest
from kn_lightning.examples import COMMANDS, examples
from kn_lightning.flags import flags_of
from kn_lightning.given import Given, is_path
from kn_lightning.help_format import HelpedParser
from kn_lightning.wrong_class import reading


def subcommand(name: str, description: str) -> ArgumentParser:
    """A parser for ``analyze.py NAME``, with its examples but no arguments yet."""
    return HelpedParser(
        prog=f"analyze.py {name}",
        description=description,
        epilog=examples(f"analyze.py {name}"),
        exit_on_error=False,
    )


def no_command(word: str) -> InputError:
    """The error for a first argument that is neither a flag nor a command of ``analyze.py``."""
    if word[0] in "\u2013\u2014":
        return InputError(f"{word}: it begins with a long dash; write --{word[1:]}, two hyphens")
    if word == "help":
        return InputError("help: no command; write --help")
    if not is_path(word):
        close = nearest(word.lower(), COMMANDS)
        return InputError(
            f"{word}: no command{close}; choose from {', '.join(COMMANDS)}, or give flags alone,"
            " which makes a study (--help lists them)"
        )
    if Path(word).is_dir():
        meant = f"python analyze.py report {word} for the report of a run, or --run_dir {word}"
        return InputError(f"{word}: a folder, and no command; write {meant} to go on with it")
    return InputError(f"{word}: a file, and no command; write {reading('data', word)}")


def parsed(
    parser: ArgumentParser,
    arguments: Sequence[str],
    bases: Mapping[str, type] | None = None,
    configs: Configs | None = None,
) -> Namespace:
    """The arguments of a command.

    Args:
        parser: its own.
        arguments: without the command's name.
        bases: for each flag that takes a class, what that is a subclass of.
        configs: the config files that they name, where the command takes any.

    Raises:
        InputError: an argument that the parser doesn't take.
    """
    with refusing(parser, arguments, configs or {}, bases or {}):
        return parser.parse_args(list(arguments))


@contextmanager
def refusing(
    parser: ArgumentParser,
    arguments: Sequence[str],
    configs: Configs,
    bases: Mapping[str, type],
) -> Iterator[None]:
    """Within it, what the parser raises becomes the InputError that a user reads.

    Args:
        parser: which parses there.
        arguments: the command line.
        configs: its config files.
        bases: as of :func:`parsed`.
    """
    try:
        yield
    except OverflowError as error:
        raise InputError(f"{Given(arguments, configs).endless()}: too large a number") from error
    except (ArgumentError, ValueError, TypeError, RecursionError) as error:
        text = " ".join(str(error).split())  # it may be a page
        given, flags = Given(arguments, configs), flags_of(parser, bases)
        hidden = given.hiding(flags.kinds)  # before a value is cut, which would leave half of it
        complaint = Complaint(hidden(text), given.without_secrets(hidden), flags)
        raise InputError(complaint.line()) from error
