"""The defects that `benchmarks/diagnosis.py` judges, although the catalogue does not have most."""

import json
from pathlib import Path

from harness.probes.rule_results import RULES
from harness.verdict.signatures import layers, shipped

OTHERS = json.loads(
    (Path(__file__).parents[3] / "benchmarks" / "others.json").read_text(encoding="utf-8")
)


def test_the_benchmark_names_existing_checks_layers_and_defects() -> None:
    known = {fault.name for fault in shipped().faults}
    assert OTHERS["judged"].keys() <= RULES.keys()
    for each in OTHERS["defects"]:
        assert each["found"].keys() <= RULES.keys()
        assert set(each["layers"]) <= layers().keys()
        assert set(each["same"]) <= known
