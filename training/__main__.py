"""Trains a checkpoint: `python -m training --seed 7 --minutes 90 --out DIR`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from training import snapshot, workers
from training.data import LENGTHS, Shares
from training.loop import Trainer
from training.net import Shape
from training.reopen import RECORD, reopen
from training.schedule import Schedule
from training.ship import write_checkpoint


def main(arguments: Sequence[str] | None = None) -> int:
    """Starts the worker processes, or runs as one of them."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(given)
    options.out.mkdir(parents=True, exist_ok=True)
    if not workers.is_worker():
        return workers.launch("training", given, options.processes)
    rank = workers.join(options.processes)
    if options.resume:
        load = reopen if options.resume.is_dir() else snapshot.load
        run = load(options.resume, more_ids=snapshot.frequent_ids(options.seed))
    else:
        run = snapshot.start(options.seed, Shape())
    Trainer(
        run,
        Schedule(options.minutes, options.peak),
        seed=options.seed,
        rank=rank,
        out=options.out,
        tokens_per_step=options.tokens,
        shares=Shares(copy=0.0, long=options.long, builtin=options.builtin, client=options.client),
        longest=options.longest,
        keep_attention=options.keep_attention,
    ).train()
    if rank == 0:
        write_checkpoint(run, options.out / "checkpoint")
    return 0


def _resumable(path: str) -> Path:
    found = Path(path)
    if not (found / RECORD if found.is_dir() else found).is_file():
        raise argparse.ArgumentTypeError(
            f"{path} is neither a snapshot nor the folder of a checkpoint with its {RECORD}"
        )
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--minutes",
        type=float,
        default=90,
        help="CPU minutes of the whole run; determine the learning-rate and rounding schedules",
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for snapshots and log.jsonl"
    )
    parser.add_argument(
        "--resume", type=_resumable, help="snapshot or shipped checkpoint folder to continue from"
    )
    parser.add_argument(
        "--peak", type=float, default=1.0, help="largest factor of the learning rates"
    )
    parser.add_argument("--processes", type=int, default=2, help="single-threaded workers")
    add = parser.add_argument
    add("--tokens", type=int, default=3300, help="fewest tokens per step and process")
    ordinary = Shares(copy=0.0)
    for name, what in (
        ("long", "a long text"),
        ("builtin", "built-in tools"),
        ("client", "tools of clients' libraries"),
    ):
        default = getattr(ordinary, name)
        add(f"--{name}", type=float, default=default, help=f"share of groups with {what}")
    add(
        "--keep-attention",
        action="store_true",
        help="keep the attention scores of the full-attention layers unchanged",
    )
    parser.add_argument("--longest", type=int, default=LENGTHS[1], help="tokens of a text at most")
    return parser


if __name__ == "__main__":
    sys.exit(main())
