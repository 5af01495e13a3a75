"""What all commands share: options, help, and one line for a wrong option."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperArgument, TyperCommand

from samotion import __version__, manifest
from samotion.backends.folder import DEFAULT, engine_folder
from samotion.commands import exits, streams
from samotion.contract import DEVICES
from samotion.presets import FAST, MAX_LABELS, NANO

WIDTH = 100  # columns of help, where the terminal has them


class Command(TyperCommand):
    """A command whose usage errors are one line, as all errors are."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As typer's, with one line for a wrong use and exit code 2."""
        try:
            self._refuse_nameless_folders(ctx, list(args))
            return super().parse_args(ctx, args)
        except UsageProblem as error:
            problem = " ".join(error.format_message().split()).rstrip(".")
            streams.note(f"error: {problem}; see: {ctx.command_path} --help")
            raise typer.Exit(2) from None
        except KeyboardInterrupt as error:
            raise typer.Exit(exits.tell(error)) from None

    def get_params(self, ctx: Any) -> list[Any]:
        """As typer's; help calls arguments by their names alone, without `<list[str]>`."""
        params: list[Any] = super().get_params(ctx)
        for one in params:
            if isinstance(one, TyperArgument):
                one.display_type_rich = lambda ctx: None  # type: ignore[method-assign]
        return params

    def _refuse_nameless_folders(self, ctx: Any, args: list[str]) -> None:
        """An empty text, such as of a variable that is not set, would be the current folder."""
        given, *_ = self.make_parser(ctx).parse_args(args)
        known: list[Any] = list(self.params)
        for option in known:
            if option.metavar == "FOLDER" and given.get(option.name) == "":
                raise typer.BadParameter("an empty text; expected a folder", ctx, option)


UsageProblem: Any = typer.BadParameter.__mro__[1]  # click's UsageError, wherever typer has it from


def command_line(function: Callable[..., None], epilog: str | None = None) -> typer.Typer:
    """The command line of a function; its docstring is the help, `epilog` ends it. Plain text: no
    boxes, the same on any terminal.
    """
    app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)
    settings = {"max_content_width": WIDTH, "help_option_names": ["--help"]}
    app.command(cls=Command, context_settings=settings, epilog=epilog)(function)
    return app


def start(app: typer.Typer, name: str) -> None:
    """Be the command `name`."""
    streams.prepare()
    try:
        app(prog_name=name)
    except (KeyboardInterrupt, OSError) as error:  # OSError: help to a full disk
        sys.exit(exits.tell(error))


def one_of(choices: Sequence[object]) -> Callable[[Any], Any]:
    """A check that an option is one of `choices`, or left out; if it may be repeated, every
    time.
    """

    def check(value: Any) -> Any:
        given = value if isinstance(value, list | tuple) else [value]
        if wrong := [one for one in given if one is not None and one not in choices]:
            raise typer.BadParameter(f"{wrong[0]!r} is not one of {', '.join(map(str, choices))}")
        return value

    return check


def some_of(choices: Sequence[str]) -> Callable[[str | None], str | None]:
    """A check that an option is a list of some of `choices`, with commas between them, or left
    out.
    """

    def check(value: str | None) -> str | None:
        given = None if value is None else names(value)
        if given == ():
            raise typer.BadParameter(f"an empty list; expected some of {', '.join(choices)}")
        one_of(choices)(given)
        return value

    return check


def names(text: str) -> tuple[str, ...]:
    """The parts of a list with commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def moment(flag: str, **more: Any) -> Any:
    """An option that takes a time in a clip: 83.5, 1:23.5 or 0:01:23.5."""
    return typer.Option(flag, metavar="TIME", parser=seconds, **more)


def seconds(text: str) -> float:
    """A time in s, from seconds or from hours, minutes and seconds with colons between them."""
    if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d*)?", text, re.ASCII):
        raise typer.BadParameter(f"{text!r} is no time; expected 83.5, 1:23.5 or 0:01:23.5")
    total = 0.0
    for part in text.split(":"):
        total = 60 * total + float(part)
    return total


def choice(choices: Sequence[object], *flags: str, **more: Any) -> Any:
    """An option that takes one of `choices`: they are its metavar, its check, and what the shell
    completes.
    """
    texts = [str(value) for value in choices]

    def complete(incomplete: str) -> list[str]:
        return [text for text in texts if text.startswith(incomplete)]

    return typer.Option(
        *flags, metavar="|".join(texts), callback=one_of(choices), autocompletion=complete, **more
    )


def several(choices: Sequence[str], **more: Any) -> Any:
    """An option that takes some of `choices`, with commas between them; the shell completes the
    last one.
    """

    def complete(incomplete: str) -> list[str]:
        *given, last = incomplete.split(",")
        left = [one for one in choices if one.startswith(last) and one not in given]
        return [",".join([*given, one]) for one in left]

    return typer.Option(callback=some_of(choices), autocompletion=complete, **more)


def teller(quiet: bool) -> Callable[[str], None]:
    """A function that says a line on stderr, or nothing."""
    return (lambda line: None) if quiet else streams.note


def engines_at(engine_dir: str | None) -> str:
    """How a first line names the engines it is about to open. Raises EngineError for what is no
    engine folder.
    """
    folder = engine_folder(engine_dir)
    preset = manifest.read(folder).preset
    if folder == manifest.BUNDLED:
        return f"the bundled engines ({preset})"
    return f"the engines in {str(folder)!r} ({preset})"


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"samotion {__version__}")
        raise typer.Exit


def preset_default(name: str) -> str:
    """How help tells a default that the engines' preset decides."""
    nano, others = getattr(NANO, name), getattr(FAST, name)
    return (
        f"the preset's: {nano}"
        if nano == others
        else f"the preset's: {nano} for nano, {others} for others"
    )


EngineDir = Annotated[
    str | None,
    typer.Option(metavar="FOLDER", help="Folder that samotion-export wrote.", show_default=DEFAULT),
]
Device = Annotated[str, choice(DEVICES, help="Where the engines run.")]
MinConfidence = Annotated[
    float | None,
    typer.Option(
        metavar="NUMBER",
        min=0,
        max=1,
        help="Leave out objects that move less probably.",
        show_default=f"the preset's: {NANO.min_confidence} for nano, none left out by others",
    ),
]
MaxTracks = Annotated[
    int | None,
    typer.Option(
        metavar="NUMBER",
        min=1,
        help="Points to follow.",
        show_default=preset_default("max_tracks"),
    ),
]
MaxObjects = Annotated[
    int,
    typer.Option(
        metavar="NUMBER",
        min=1,
        max=MAX_LABELS,
        help="Objects to look for, at most; of a long clip, in each window.",
    ),
]
Seed = Annotated[int, typer.Option(metavar="NUMBER", min=0, help="Fixes every random choice.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say warnings and errors only.")]
Verbose = Annotated[
    bool, typer.Option("-v", "--verbose", help="Say more, and show stack traces with errors.")
]
Version = Annotated[
    bool,
    typer.Option(
        "--version", callback=_print_version, is_eager=True, help="Print the version and leave."
    ),
]
