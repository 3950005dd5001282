"""`python -m reference_engine convert`, `download` and `synthesize`: checkpoints to be had."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from reference_engine.options import size_option

if TYPE_CHECKING:
    from argparse import _SubParsersAction

NAMES = ("convert", "download", "synthesize")
_LAYOUTS = ["original", "hf"]


def add_commands(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the commands and their options."""
    convert = commands.add_parser(
        "convert", help="write a checkpoint in the other layout, bit for bit the same"
    )
    convert.add_argument("source", type=Path, metavar="FROM", help="a checkpoint in either layout")
    convert.add_argument("dest", type=Path, metavar="DIR", help=_DEST)
    convert.add_argument("--layout", choices=_LAYOUTS, required=True, help="the layout to write")
    _add_shard_size(convert)
    synthesize = commands.add_parser(
        "synthesize", help="write a checkpoint of any size with random weights"
    )
    synthesize.add_argument("dest", type=Path, metavar="DIR", help=_DEST)
    synthesize.add_argument(
        "--shape",
        required=True,
        metavar="20b|120b|tiny|FILE",
        help="a published model's, a tiny one, or that of a config.json",
    )
    synthesize.add_argument(
        "--layout", choices=_LAYOUTS, default="hf", help="the layout to write (default: hf)"
    )
    synthesize.add_argument("--seed", type=int, default=0, help="of the weights (default: 0)")
    _add_shard_size(synthesize)
    download = commands.add_parser(
        "download", help="fetch a published checkpoint from the Hugging Face hub, hashes checked"
    )
    download.add_argument(
        "name", metavar="NAME", help="gpt-oss-20b, gpt-oss-120b, or a repository as owner/name"
    )
    download.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="where to put it; made if missing"
    )
    download.add_argument(
        "--layout", choices=_LAYOUTS, default="hf", help="the layout to fetch (default: hf)"
    )


_DEST = "the folder to make; until it is complete, it is called DIR.partial"


def run(arguments: argparse.Namespace) -> None:
    """Does what one of the commands says, and prints the folder that was written.

    Raises:
        ValueError: It cannot be done; the message says why.
    """
    if arguments.command == "download":
        from reference_engine.checkpoint.download import download

        sys.stdout.write(f"{download(arguments.name, arguments.out, arguments.layout)}\n")
        return
    if arguments.command == "convert":
        from reference_engine.checkpoint.convert import convert

        convert(
            arguments.source, arguments.dest, arguments.layout, shard_bytes=arguments.shard_size
        )
    else:
        from reference_engine.checkpoint.shapes import shape_named
        from reference_engine.checkpoint.synthetic import synthesize

        synthesize(
            shape_named(arguments.shape),
            arguments.dest,
            arguments.layout,
            seed=arguments.seed,
            shard_bytes=arguments.shard_size,
        )
    sys.stdout.write(f"{arguments.dest}\n")


def _add_shard_size(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--shard-size",
        type=size_option,
        default="5GB",
        metavar="SIZE",
        help="largest file of weights, as 500MB or 5GB (default: %(default)s)",
    )
