"""Computes the patterns of defects that are younger than the small checkpoint's golden file.

    python -m tools.golden_defects

writes `harness/golden/gpt-oss-small-defects.json`. The golden answers stay as they are.
"""

from dataclasses import replace
from pathlib import Path

from harness.golden import files
from harness.golden.content import Golden, Pattern
from harness.golden.create import pattern_of, questions_of
from harness.golden.trusted_engines import ReferenceEngine
from harness.rules.numerics.golden_prompts import requests

FOLDER = Path(files.__file__).parent
YOUNGER = ("yarn-missing", "expert-of-another-token", "experts-in-int4", "experts-in-tf32")


def patterns(golden: Golden, engine: ReferenceEngine) -> tuple[Pattern, ...]:
    """The patterns of the younger defects."""
    questions = questions_of(requests())
    engine = replace(engine, current_date=golden.current_date)
    found = [pattern_of(each, questions, engine, golden.continuations) for each in YOUNGER]
    return tuple(pattern for pattern in found if pattern is not None)


def main() -> None:
    golden = Golden.model_validate_json((FOLDER / files.SHIPPED).read_bytes())
    assert golden.dated is not None
    engine = ReferenceEngine(dtype="float32")
    found = patterns(golden, engine), patterns(golden.dated, engine)
    (FOLDER / files.YOUNGER).write_bytes(files.PATTERNS.dump_json(found) + b"\n")


if __name__ == "__main__":
    main()
