"""Compiles the kernels for an H200 (sm_90) without a GPU; test_kernel_suite.py runs this.

Triton includes a compiler and an assembler, so the code of a GPU can be examined on any machine:
whether it uses the matrix units, loads data ahead of its use, and has enough registers.
"""

import os
import re
from functools import cache, partial
from unittest import mock

os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")

import pytest
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.language import target_info

from reference_engine.kernels import KernelsError, attention_triton, experts_triton
from reference_engine.kernels.attention_triton import attention_kernel, combine_kernel
from reference_engine.kernels.block_triton import (
    add_norm_kernel,
    choose_kernel,
    place_kernel,
    rotate_kernel,
    score_kernel,
)
from reference_engine.kernels.chunk_sums_triton import chunk_kernel
from reference_engine.kernels.experts_triton import down_kernel, gate_up_kernel
from reference_engine.kernels.triton_support import require_right_products

H200 = GPUTarget("cuda", 90, 32)
TYPES = {
    "*bf16": "inner query key_pages value_pages sinks bias normalized qkv scores",
    "*fp32": "largest sums logits divisors out part_maximum part_sum weights own_weights stream "
    "parts cos sin",
    "*i32": "slots tile_experts tile_rows tile_ends block_tables query_starts context_lengths "
    "positions chosen counts blocks",
    "*u8": "scales",
    "fp32": "limit scale eps",
    "i32": "sequences heads table_width query_stride page_stride key_stride tokens tiles "
    "splits rows load vocabulary chunks",
}
MULTIPLES_OF_16 = {"query_stride", "page_stride", "key_stride", "heads", "vocabulary"}

# gpt-oss-20b: 2,880 wide, 32 experts; 64 query heads of size 64 over 8 of keys and values.
GATE_UP = {"IN": 2880, "OUT": 5760, "TOP": 4}
DOWN = {"IN": 2880, "OUT": 2880}
HEADS = {"HEAD_DIM": 64, "HEAD_COLUMNS": 64, "GROUP": 8, "GROUP_ROWS": 8, "PAGE_SIZE": 64}


def compiled(kernel, warps, stages, types=None, *, target=H200, registers=None, **constants):
    """Returns the machine code of a kernel; `types` of arguments replace those in TYPES.

    `registers` is the maximum number of a thread.
    """
    known = {name: kind for kind, names in TYPES.items() for name in names.split()}
    types = known | (types or {}) | dict.fromkeys(constants, "constexpr")
    signature = {name: types[name] for name in kernel.arg_names}
    aligned = [
        (place,)
        for place, name in enumerate(kernel.arg_names)
        if signature[name].startswith("*") or name in MULTIPLES_OF_16
    ]
    source = ASTSource(
        fn=kernel,
        signature=signature,
        constexprs=constants,
        attrs={place: [["tt.divisibility", 16]] for place in aligned},
    )
    options = {"num_warps": warps, "num_stages": stages, "maxnreg": registers}

    def current_target():
        return target

    current_target.__triton_builtin__ = True
    with mock.patch.object(target_info, "current_target", current_target):  # not of this machine
        return triton.compile(source, target=target, options=options)


def loops(made):
    """Returns the intermediate code of each loop of the kernel."""
    return re.findall(r"scf\.for.*?scf\.yield", made.asm["ttgir"], re.DOTALL)


def instructions_of_loops(made):
    """Returns the lines from the label of each loop with matrix products to the jump back to it."""
    lines = made.asm["sass"].splitlines()
    jumps = [
        (lines.index(f"{line.split()[-1].rstrip(';')}:"), end)
        for end, line in enumerate(lines)
        if " BRA " in line and f"{line.split()[-1].rstrip(';')}:" in lines[:end]
    ]
    return [
        [line.rpartition("\t")[2].strip() for line in lines[start:end]]
        for start, end in jumps
        if any("HGMMA" in line for line in lines[start:end])
    ]


SHARED_MEMORY = 227 * 1024
"""Bytes of a program on an H200."""
FLOATS = "inner query key_pages value_pages sinks bias"
FLOAT32 = dict.fromkeys(FLOATS.split(), "*fp32")


def each(groups):
    """Returns a test parameter for each configuration."""
    return [
        pytest.param(group, found, id=f"{group}, {found}")
        for group, configurations in groups.items()
        for found in configurations
    ]


def check(made, unit, *, prefetches, whole=True):
    """Checks the arithmetic unit, registers, shared memory, and loads ahead of their use.

    Registers must not be spilled in the loop, or in the `whole` kernel.
    """
    code = made.asm["sass"]
    assert unit in code
    looping = "".join(each for loop in instructions_of_loops(made) for each in loop)
    assert "LDL" not in (code if whole else looping), "spilled"
    assert made.metadata.shared <= SHARED_MEMORY
    assert loops(made)
    for loop in loops(made):
        assert "async_copy_global_to_local" in loop
        assert not (prefetches and "tt.load" in loop), "a load is not ahead of its use"


KERNELS = pytest.mark.parametrize(
    "kernel", [gate_up_kernel, down_kernel], ids=["gate and up", "down"]
)


@cache
def expert_code(kernel, chosen, rows, *, exact=False, target=H200):
    """Returns the machine code of an expert kernel; `exact` means float32."""
    types = {"tokens": "*fp32", **FLOAT32} if exact else {"tokens": "*bf16"}
    shape = GATE_UP if kernel is gate_up_kernel else DOWN
    constants = {"BLOCK_ROWS": rows, **shape, **chosen.kwargs}
    warps, stages = chosen.num_warps, chosen.num_stages
    limit = chosen.maxnreg
    return compiled(kernel.fn, warps, stages, types, target=target, registers=limit, **constants)


@KERNELS
@pytest.mark.parametrize(("group", "chosen"), each(experts_triton.CONFIGURATIONS))
def test_experts(kernel, group, chosen):
    exact = group == "float32"
    rows = 128 if group == "more rows" else 16
    made = expert_code(kernel, chosen, rows, exact=exact)
    whole = rows == 16 or triton.__version__ >= "3.7"
    prefetches = not chosen.kwargs["AHEAD"]
    check(made, "FFMA" if exact else "HGMMA", prefetches=prefetches, whole=whole)


def registers(instruction):
    """Returns the registers that an instruction names or writes; it writes up to four in a row."""
    named = [int(number) for number in re.findall(r"\bR(\d+)", instruction)]
    four, two = (re.search(rf"\.({size})\b", instruction) for size in ("128|4", "64|WIDE|2"))
    return (
        {*named, *range(named[0], named[0] + (4 if four else 2 if two else 1))} if named else set()
    )


def early_uses(code):
    """Returns the instructions of a loop that use a register before a product has read it.

    The loop is read twice, because its products can still run in the next round.
    """
    being_read, found = set(), []
    for instruction in 2 * code:
        if product := re.search(r"HGMMA\S* R\d+, R(\d+),", instruction):
            being_read |= {int(product[1]) + place for place in range(4)}
        elif "HGMMA" not in instruction and being_read & registers(instruction):
            found.append(instruction)
        elif "WARPGROUP.DEPBAR.LE gsb0, 0x0" in instruction:
            being_read.clear()
    return found


def loads_before_products(code):
    """Returns the ordinary loads of a loop whose values are used before the round's first product.

    Threads exchange the scales in shared memory, so all of them would wait for the slowest load at
    a barrier.
    """
    first = next(place for place, each in enumerate(code) if "HGMMA" in each)
    loads = [
        (place, int(found[1]))
        for place, each in enumerate(code[:first])
        if (found := re.search(r"\bLDG\.\S* R(\d+)", each))
    ]
    return [
        code[place]
        for place, loaded in loads
        if any(loaded in registers(each) for each in code[place + 1 : first])
    ]


EVERY = pytest.mark.parametrize(
    ("kernel", "rows", "chosen"),
    [
        pytest.param(kernel, rows, chosen, id=f"{kernel.fn.__name__}, {rows} rows, {chosen}")
        for kernel, sizes in ((gate_up_kernel, (16, 128)), (down_kernel, (16, 64, 128)))
        for rows in sizes
        for chosen in experts_triton.CONFIGURATIONS["16 rows" if rows == 16 else "more rows"]
    ],
)
"""Both kernels have one loop: half tiles of 64 rows are compiled for one of them."""


@EVERY
def test_no_product_waits_for_scales_that_its_round_loads(kernel, rows, chosen):
    """Triton loads them rounds ahead, or the kernel does so in the round before."""
    for code in instructions_of_loops(expert_code(kernel, chosen, rows)):
        assert not loads_before_products(code)
        assert any("LDG.E.U" in each for each in code) == chosen.kwargs["AHEAD"]


@EVERY
def test_a_tile_that_is_half_empty_runs_half_of_the_products(kernel, rows, chosen):
    """A product has 64 outputs and the rows of the tile, or half of them. Tiles of 16 are whole."""
    code = instructions_of_loops(expert_code(kernel, chosen, rows))
    products = [re.findall(r"HGMMA\.64x(\d+)x16", "".join(loop)) for loop in code]
    sizes = [rows] if rows == 16 else [rows, rows // 2]
    assert products == [[str(size)] * len(products[0]) for size in sizes]


REGISTERS, SHARED_BY_ALL, RESERVED = 64 * 1024, 228 * 1024, 1024
"""Registers and bytes of shared memory of a multiprocessor, and the bytes that CUDA adds to each
program (CUDA programming guide, compute capability 9.0)."""


def programs(made, warps):
    """Returns how many programs fit a multiprocessor; registers are allocated in eights."""
    highest = max(int(number) for number in re.findall(r"\bR(\d+)", made.asm["sass"]))
    threads = 32 * warps
    return min(
        REGISTERS // (-(-(highest + 1) // 8) * 8 * threads),
        SHARED_BY_ALL // (made.metadata.shared + RESERVED),
    )


@pytest.mark.parametrize(
    ("kernel", "rows"), [(gate_up_kernel, 128), (down_kernel, 64), (down_kernel, 128)]
)
def test_several_programs_of_prompts_fit_a_multiprocessor(kernel, rows):
    """While one waits, the other multiplies. `test_experts` checks that no register is spilled."""
    limited = [each for each in experts_triton.CONFIGURATIONS["more rows"] if each.maxnreg]
    assert {each.maxnreg for each in limited} == {128}
    for chosen in limited:
        made = expert_code(kernel, chosen, rows)
        assert programs(made, chosen.num_warps) >= (2 if chosen.num_warps == 8 else 3)


@EVERY
def test_products_of_weights_end_before_the_next_round(kernel, rows, chosen):
    """In bfloat16, matrix units read the weights from registers while the program goes on."""
    made = expert_code(kernel, chosen, rows)
    for code in instructions_of_loops(made):
        waits = [each for each in code if "WARPGROUP.DEPBAR" in each]
        assert waits
        assert all("gsb0, 0x0" in each for each in waits)
        assert any(re.search(r"HGMMA\S* R\d+, R\d+", each) for each in code)
        assert not early_uses(code)
    assert set(re.findall(r"pendings = (\d+)", made.asm["ttgir"])) == {"0"}
    require_right_products(made)


@triton.jit
def not_waited_for(total):
    return total


def test_a_loop_that_does_not_wait_for_its_products_is_refused(monkeypatch, tmp_path):
    """This is how the loops were before they used the sum in each round."""
    kernel, chosen = gate_up_kernel, experts_triton.CONFIGURATIONS["more rows"][0]
    monkeypatch.setattr(experts_triton, "_finished", not_waited_for)
    monkeypatch.setattr(triton.knobs.cache, "dir", str(tmp_path))  # The key does not change.
    made = expert_code.__wrapped__(kernel, chosen, 128)
    assert all(early_uses(code) for code in instructions_of_loops(made))
    with pytest.raises(KernelsError, match=f"compiles {kernel.fn.__name__} so that it does not"):
        require_right_products(made)


@pytest.mark.parametrize(("inputs", "most"), [(128, 3.5), (256, 3.1)])
def test_instructions_per_weight(inputs, most):
    """A thread unpacks 1/128 of the weights of a tile; see docs/reference-engine.md."""
    blocks = {"BLOCK_ROWS": 16, "BLOCK_OUT": 128, "BLOCK_IN": inputs, "AHEAD": False}
    types = {"tokens": "*bf16"}
    made = compiled(gate_up_kernel.fn, 4, 5 if inputs == 128 else 3, types, **blocks, **GATE_UP)
    (code,) = instructions_of_loops(made)
    assert len(code) / inputs <= most


@cache
def attention_code(group, chosen, window, target=H200):
    """Returns the code of attention. Each token has eight rows; decode has 16 rows, float32 32."""
    types = FLOAT32 if group == "float32" else {}
    tokens = {"many rows": 16, "few rows": 2, "float32": 4}[group]
    blocks = {"WINDOW": window, "SPLIT": not window, "BLOCK_TOKENS": tokens}
    blocks |= HEADS | chosen.kwargs
    warps, stages, limit = chosen.num_warps, chosen.num_stages, chosen.maxnreg
    kernel = attention_kernel.fn
    return compiled(kernel, warps, stages, types, target=target, registers=limit, **blocks)


@pytest.mark.parametrize(
    ("group", "chosen", "window"),
    [
        pytest.param(group, chosen, window, id=f"{group}, {chosen}, {window}")
        for group, found in attention_triton.CONFIGURATIONS.items()
        for at, chosen in enumerate(found)
        for window in ((0, 128) if at == 0 else (0,))
    ],
)
def test_attention(group, chosen, window):
    """Without a window, the keys are split."""
    unit = {"float32": "FFMA", "few rows": "HMMA", "many rows": "HGMMA"}[group]
    made = attention_code(group, chosen, window)
    check(made, unit, prefetches=group != "float32")
    require_right_products(made)
    for code in instructions_of_loops(made):
        assert not early_uses(code)
    # Without a window, the keys that all rows of a prompt see have a loop of their own.
    assert len(loops(made)) == (2 if group == "many rows" and not window else 1)


@pytest.mark.parametrize("chosen", attention_triton.CONFIGURATIONS["many rows"], ids=str)
def test_instructions_per_score(chosen):
    """Most scores of a long prompt need no mask; both loops do the same arithmetic.

    A thread computes its share of the scores of a tile of 128 rows.
    """
    warps = chosen.num_warps
    made = attention_code("many rows", chosen, 0)
    plain, masked = instructions_of_loops(made)
    scores = 128 * chosen.kwargs["BLOCK_KEYS"] / (32 * warps)
    assert len(plain) / scores <= 11.1
    assert len(masked) / scores <= 15.7
    for name in ("FMUL", "FADD", "FFMA", "FMNMX", "MUFU", "HGMMA"):
        used = [sum(name in each for each in code) for code in (plain, masked)]
        assert used[0] == used[1], name
    if chosen.maxnreg:
        assert programs(made, warps) >= 2


def small_steps(target=H200):
    """Returns the code of the kernels that multiply no matrices; one token per program."""
    row = {"WIDTH": 2880, "COLUMNS": 4096}
    heads = {"KV_HEADS": 8, "GROUP": 8, "GROUP_ROWS": 8, "PAGE_SIZE": 64}
    scored = {"scores": "*fp32", "tokens": "*bf16", "weight": "*bf16"}
    split = {"HEAD_DIM": 64, "HEAD_COLUMNS": 64, "BLOCK_SPLITS": 32}
    half = {"HALF": 32, "HALF_COLUMNS": 32, **heads}
    on = partial(compiled, stages=3, target=target)
    return {
        "combine": on(combine_kernel, 4, types={"out": "*bf16"}, **split),
        "chunk sums": on(chunk_kernel, 4, CHUNKS=16, CHUNK=128),
        "add_norm": on(add_norm_kernel, 8, types={"scale": "*bf16"}, PARTS=4, **row),
        "rotate": on(rotate_kernel, 4, types={"sequences": "*i32"}, **half),
        "score": on(score_kernel, 4, types=scored, EXPERTS=32, **row),
        **router(32, 0, target),
    }


def test_small_steps_spill_no_registers():
    assert [name for name, made in small_steps().items() if "LDL" in made.asm["sass"]] == []


def test_sampling_reads_several_logits_at_a_time():
    assert "LDG.E.128" in compiled(chunk_kernel, 4, 3, CHUNKS=16, CHUNK=128).asm["sass"]


def router(experts, start, target=H200):
    """Returns the code of the router's kernels; those before `start` are of another process."""
    local = {"LOCAL_START": start, "LOCAL_END": experts}
    columns = {"EXPERTS": experts, "EXPERT_COLUMNS": experts}
    top = {"TOP": 4, "TOP_COLUMNS": 4}
    on = partial(compiled, stages=3, target=target, **local, **columns)
    return {
        "choose alone": on(choose_kernel, 1, CHUNK=1, **top),
        "choose": on(choose_kernel, 4, CHUNK=16, **top),
        "place": on(place_kernel, 4, BLOCK_ROWS=16, CHUNK=1024),
    }


@pytest.mark.parametrize(("experts", "start"), [(32, 0), (128, 64)])
def test_the_router_waits_at_few_barriers(experts, start):
    """All or half of the experts are local. With 256 tokens, no loop of a program repeats."""
    made = router(experts, start)
    barriers = []
    for each in made.values():
        assert "LDL" not in each.asm["sass"], "registers are spilled"
        barriers.append(each.asm["sass"].count("BAR.SYNC"))
    assert all(found <= most for found, most in zip(barriers, (2, 8, 18), strict=True)), barriers
    assert "MUFU.EX2" in made["choose"].asm["sass"]
    assert "MUFU" not in made["place"].asm["sass"], "the program of an expert scores tokens"


@pytest.mark.parametrize(
    ("dtype", "rows", "group"),
    [
        (torch.bfloat16, 16, "16 rows"),
        (torch.bfloat16, 64, "more rows"),
        (torch.float32, 16, "float32"),
    ],
    ids=str,
)
def test_only_fitting_configurations_are_tried(dtype, rows, group):
    tuned = gate_up_kernel
    arguments = {"bias": torch.empty(0, dtype=dtype)}
    found = tuned.early_config_prune(tuned.configs, arguments, BLOCK_ROWS=rows)
    assert found == experts_triton.CONFIGURATIONS[group]
