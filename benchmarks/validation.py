"""The numeric faults that `python -m reference_engine validate` finds in the small checkpoint.

    python benchmarks/validation.py [FAULT …]

Each fault changes the model in this process; the known continuations and the fixed text are then
read in bfloat16, including the residual stream. Without names: every fault of the model's numbers.
Faults that act between forward passes, such as those of a prefix cache, need a server.
"""

import copy
import math
import sys

import torch

from reference_engine.checkpoint import load_model
from reference_engine.faults.catalogue import CATALOGUE, read_plan
from reference_engine.server.settings import SMALL_CHECKPOINT
from reference_engine.validation import text_checks


def main() -> None:
    torch.set_num_threads(1)
    healthy = load_model(SMALL_CHECKPOINT, dtype=torch.bfloat16, residual=torch.bfloat16)
    names = sys.argv[1:] or [
        name
        for name, fault in CATALOGUE.items()
        if fault.layer == "numerics" and "model" in fault.changes
    ]
    print("| fault | largest gap | mean logprob | known continuations | fixed text |")
    print("| --- | ---: | ---: | --- | --- |")
    for name in ["none", *names]:
        plan = read_plan([name] if name != "none" else [])
        known, fixed = text_checks(plan.damage(copy.deepcopy(healthy)))
        gap, mean = (
            float(check.values.get(key, math.nan))
            for check, key in ((known, "largest_gap"), (fixed, "mean_logprob"))
        )
        print(f"| {name} | {gap:.1f} | {mean:.2f} | {known.status} | {fixed.status} |", flush=True)


if __name__ == "__main__":
    main()
