"""Compiles all kernels for the GPUs that we accept, without one; test_kernel_suite.py runs this.

    python tests/reference_engine/kernels/kernel_cards.py [CARD ...]    (`make cards`: all)

prints what each GPU's code is, and records it in cards.json: the units of its products, the
configurations that need more shared memory than a program can have, and those that load spilled
registers, with the number of loads.
"""

import json
import re
import subprocess
import sys
from collections import defaultdict
from functools import cache, partial
from pathlib import Path

import kernel_compile as compile_for
import pytest
from triton.backends.compiler import GPUTarget

from reference_engine.kernels import attention_triton, experts_triton
from reference_engine.kernels.triton_support import require_right_products

RECORD = Path(__file__).with_name("cards.json")
KIB = 1024
CARDS = {
    # Shared memory of a program: CUDA programming guide, technical specifications.
    "sm_80": (GPUTarget("cuda", 80, 32), 163 * KIB),
    "sm_89": (GPUTarget("cuda", 89, 32), 99 * KIB),
    "sm_90": (GPUTarget("cuda", 90, 32), 227 * KIB),
    "sm_100": (GPUTarget("cuda", 100, 32), 227 * KIB),
    "sm_103": (GPUTarget("cuda", 103, 32), 227 * KIB),
    "sm_120": (GPUTarget("cuda", 120, 32), 99 * KIB),
    # Local data share of a work group: AMD's CDNA 3, CDNA 4 and RDNA 4 instruction sets.
    "gfx942": (GPUTarget("hip", "gfx942", 64), 64 * KIB),
    "gfx950": (GPUTarget("hip", "gfx950", 64), 160 * KIB),
    "gfx1201": (GPUTarget("hip", "gfx1201", 32), 64 * KIB),
}


def recorded():
    """Returns what is recorded of each GPU."""
    return json.loads(RECORD.read_text("utf-8")) if RECORD.exists() else {}


EXPERTS = {"gate_up": compile_for.gate_up_kernel, "down": compile_for.down_kernel}
ROWS = {"16 rows": 16, "more rows": 128, "float32": 16}


def variants(card):
    """Yields (group, name, code) of each kernel with each configuration.

    Bfloat16 ends the compiler of AMD's GPUs, so they have float32 only.
    """
    target, _ = CARDS[card]
    nvidia = target.backend == "cuda"
    for name, kernel in EXPERTS.items():
        for group, choices in _groups(experts_triton, nvidia):
            code = partial(compile_for.expert_code, kernel, exact=group == "float32")
            for at, chosen in enumerate(choices):
                made = code(chosen=chosen, rows=ROWS[group], target=target)
                yield f"{name} {group}", f"{name} {group} {at}", made
    for group, choices in _groups(attention_triton, nvidia):
        for window, found in ((0, choices), (128, choices[:1])):
            for at, chosen in enumerate(found):
                made = compile_for.attention_code(group, chosen, window, target)
                yield f"attention {group}", f"attention {group} {at}, window {window}", made
    if nvidia:
        yield from ((name, name, made) for name, made in compile_for.small_steps(target).items())


def _groups(module, nvidia):
    found = module.CONFIGURATIONS
    return found.items() if nvidia else [("float32", found["float32"])]


def units(made):
    """Returns the kinds of instructions that multiply."""
    kinds = {
        "mma bf16": r"mma\.sync\S*\.bf16\.bf16\.",
        "wgmma bf16": r"wgmma\.mma_async\S*\.bf16\.bf16",
        "tcgen05 16 bits": r"tcgen05\.mma\S*kind::f16",
        "TF32": r"mma\S*tf32|xf32",
        "mfma float32": r"v_mfma_f32_\w+_f32\b",
        "wmma": r"v_s?wmma",
        "fma": r"\bfma\.rn\.f32(?!.*mma)|v_(?:dual_|pk_)?fmac?_f32",
    }
    code = made.asm.get("ptx") or made.asm["amdgcn"]
    return {kind for kind, pattern in kinds.items() if re.search(pattern, code)}


def spilled(made):
    """Returns how many instructions load spilled registers."""
    if "ptx" in made.asm:
        return made.asm["sass"].count("LDL")
    return int(re.search(r"vgpr_spill_count:\s+(\d+)", made.asm["amdgcn"])[1])


@cache
def looked_at(card):
    """Returns what is recorded of a GPU, and whether a configuration of each group fits."""
    used, fits, unfit, spills = defaultdict(set), defaultdict(bool), [], {}
    for group, name, made in variants(card):
        require_right_products(made)
        require_barriers(made)
        if " " in group and group != "chunk sums":
            precision = "float32" if "float32" in group else "bfloat16"
            used[precision] |= units(made) - ({"fma"} if precision == "bfloat16" else set())
        small = made.metadata.shared <= CARDS[card][1]
        fits[group] |= small
        if not small:
            unfit.append(name)
        elif count := spilled(made):
            spills[name] = count
    products = {precision: sorted(found) for precision, found in used.items()}
    return {"products": products, "too large": unfit, "spills": spills}, dict(fits)


def require_barriers(made):
    """The matrix units of a B200 read weights in the tensor memory while the program goes on."""
    for loop in compile_for.loops(made) if "tc_gen5_mma" in made.asm["ttgir"] else ():
        steps = re.findall(r"ttng\.(wait_barrier|tmem_store|tc_gen5_mma)", loop)
        assert steps.count("wait_barrier") >= steps.count("tc_gen5_mma"), steps


@pytest.mark.parametrize("card", recorded())
def test_the_code_is_what_is_recorded(card):
    found, fits = looked_at(card)
    assert all(fits.values()), fits
    assert found == recorded()[card]
    assert not {"TF32", "wmma"} & {*found["products"]["float32"]}


def test_bfloat16_ends_the_compiler_of_amd():
    """That is why `resolve_kernels` refuses AMD's GPUs: no exception could be caught."""
    code = (
        "import kernel_cards as c, kernel_compile as k\n"
        "chosen = c.experts_triton.CONFIGURATIONS['16 rows'][0]\n"
        "k.expert_code(k.gate_up_kernel, chosen, 16, target=c.CARDS['gfx942'][0])"
    )
    here = Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", code], cwd=here, capture_output=True, check=False)
    assert done.returncode
    assert b"couldn't allocate output register" in done.stderr


if __name__ == "__main__":
    for each in sys.argv[1:] or CARDS:
        found, _ = looked_at(each)
        print(each, json.dumps(found, indent=1), flush=True)
        record = recorded() | {each: found}
        RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
