"""`tocsin drill build`: the drill's world as files."""

import json
from pathlib import Path
from typing import Annotated

import typer

from tocsin.commands.groups import group


def register(app: typer.Typer) -> None:
    """Mounts this room's commands."""
    drills = group(app, "drill")
    drills.command("build")(build)
    drills.callback()(_drill)


def _drill() -> None:
    """The made-up world in which exercises take place."""


def build(
    out: Annotated[Path, typer.Option(help="Folder for the files; made if it is not there.")],
    seed: Annotated[int, typer.Option(help="Another seed is another storm in another valley.")] = 1,
    picture: Annotated[bool, typer.Option(help="Draw world.png too.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    """Write the world of a seed as files: OED locations, roads, safe zones, households, readings, footprints, fleet."""
    from tocsin.drill import files, play
    from tocsin.drill.world import build as build_world

    world = build_world(seed)
    written = files.write(world, out, picture=picture)
    told = play.summary(world)
    if as_json:
        print(json.dumps(told | {"files": [str(path) for path in written]}, ensure_ascii=False, indent=2))
        return
    print(f"EXERCISE world of seed {seed} in {out}:")
    for name, value in told.items():
        print(f"  {name}: {value}")
    print("  files: " + ", ".join(path.name for path in written))
