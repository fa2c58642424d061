"""`weir up` and `weir demo-data`: a whole federation from a folder, and a folder to try it with."""

from __future__ import annotations

import json
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from privacy.errors import UnavailableError
from weir.cli.errors import shown_errors

if TYPE_CHECKING:
    from types import FrameType

    from weir.federation import Federation

WATCH_S = 1.0  # between looks at whether every daemon still runs


def up(
    folder: Annotated[Path, typer.Argument(help="With catalog.toml, coordinator.toml and nodes/*.toml.")],
    listen: Annotated[str, typer.Option(help="Where the coordinator listens; port 0 lets the kernel choose.")] = (
        "127.0.0.1:0"
    ),
) -> None:
    """Start a whole federation on this machine; Ctrl-C stops it."""
    with shown_errors():
        from weir.federation import Federation

        asked = _interrupted_when_asked_to_stop()
        with suppress(KeyboardInterrupt), Federation(folder, listen=listen) as federation:
            _announce(federation)
            _watch(federation, asked)


def demo_data(
    folder: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    visits: Annotated[int, typer.Option(min=10_000, max=100_000_000, help="How many visits to make.")] = 100_000,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds make equal data.")] = 7,
) -> None:
    """Make an example federation of generated people, ready for `weir up`."""
    with shown_errors():
        from weir.demo_data import generate

        generate(folder, visits=visits, seed=seed)
        typer.echo(f"{folder} holds a federation. Start it: weir up {folder}", err=True)


def _interrupted_when_asked_to_stop() -> list[int]:
    """From here on both ways to ask, Ctrl-C and SIGTERM, raise KeyboardInterrupt and leave its number in the list.

    The list is for an exception that is lost: Python drops one that is raised in a finalizer or a weak reference's
    callback, as modules are imported, for example.
    """
    asked: list[int] = []  # no threading.Event: setting one while the same thread waits on it can lock up

    def ask(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask)
    return asked


def _announce(federation: Federation) -> None:
    """Words for people on stderr; where stdout is no terminal, one line of JSON for machines."""
    from rich.markup import escape

    _say(f"[green]Serving[/] {escape(str(federation.folder))}: nodes {', '.join(federation.nodes)}.")
    _say(f"Ask it: [bold]weir catalog --at {federation.address}[/] (stop it with Ctrl-C)")
    said = {"serving": "federation", "address": federation.address, "nodes": federation.nodes}
    if not sys.stdout.isatty():  # last: whoever reads it may stop us at once
        print(json.dumps(said), flush=True)


def _watch(federation: Federation, asked: list[int]) -> None:
    """Until `asked` to stop; says when a node is gone.

    Raises:
        UnavailableError: the coordinator is gone.
    """
    from rich.markup import escape

    gone: set[str] = set()
    while not asked:
        time.sleep(WATCH_S)
        dead = federation.dead()
        for name in dead.keys() - gone:
            last = dead[name].splitlines()[-1] if dead[name] else ""
            _say(f"[red]The {name} stopped.[/] {escape(last)}")
        gone |= dead.keys()
        if "coordinator" in gone:
            raise UnavailableError("The coordinator stopped.", remedy="Start again: weir up.")


def _say(text: str) -> None:
    from rich.console import Console

    Console(stderr=True, highlight=False, soft_wrap=True).print(text)
