"""Write the hashes of the questions of a published eval, by which `evals.identity` knows them.

`python tools/published_hashes.py NAME [PLACE]` reads them from the hub, or from a copy with a
known SHA-256.
"""

import argparse
from pathlib import Path

import evals
from evals.registry import EVALS, load_data
from harness.errors import ConfigurationError


def main() -> None:
    """Write the hashes of a published file: NAME [PLACE]."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=[name for name in EVALS if EVALS[name].facts.dataset])
    parser.add_argument("place", nargs="?", default="hub")
    options = parser.parse_args()
    try:
        write(options.name, options.place)
    except ConfigurationError as error:
        parser.error(str(error))


def write(name: str, place: str) -> None:
    """Write the hashes of the published file of an eval. Raises ConfigurationError."""
    data = load_data(name, place)
    dataset = EVALS[name].facts.dataset
    if dataset is None or data.info.revision != dataset.revision:
        raise ConfigurationError(f"{place} is not a published file of {name}: its hash is unknown.")
    ids = EVALS[name].make(data, 0, None).questions
    path = Path(evals.__file__).parent / dataset.folder / f"published-{name}.csv"
    pairs = zip(ids, data.rows, strict=True)
    lines = [f"{one.id},{row.fingerprint},{dataset.repository}" for one, row in pairs]
    kept = path.read_text("utf-8").splitlines()[1:] if path.exists() else []
    path.write_text("\n".join(["id,hash,source", *dict.fromkeys([*kept, *lines])]) + "\n", "utf-8")
    print(path)


if __name__ == "__main__":
    main()
