"""The kernels in Triton's interpreter, compiled, and on a GPU, each suite in its own process.

TRITON_INTERPRET must be set before Triton is imported and cannot be changed afterwards. Suites run
if their recorded results are outdated (kernel_suites.py); one kernel is interpreted and compiled in
each run of the tests.
"""

import importlib.util
import os
import sys

import pytest
import recorded_results
import torch
from files_read import ROOT
from kernel_suites import INTERPRETED, SUITES, of, recorded
from recorded_results import Suite, SuiteFailedError, outdated

pytestmark = pytest.mark.slow

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None,
    reason="Triton is not installed (there is none for this platform): its kernels go untested",
)


@needs_triton
@pytest.mark.parametrize("name", SUITES)
def test_kernels(name, record_property):
    """Interpreting and compiling take minutes: a kernel has thousands of tensor operations per
    program in the interpreter, and about 40 variants for an H200, each a second of assembler.
    """
    if why := outdated(recorded().get(name)):
        record_property("repeated", f"the suite of kernels {name!r}: {why}")
        SUITES[name].run()


@needs_triton
def test_a_kernel_is_interpreted():
    found = Suite(of("chunk_sums"), INTERPRETED).run("-k", "300 or inf")
    assert len(found["passed"]) == 2
    known = recorded().get("chunk sums and model")
    assert outdated(known) or found["files"].keys() < known["files"].keys()


@needs_triton
def test_a_kernel_is_compiled(monkeypatch, tmp_path):
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")
    import kernel_compile

    monkeypatch.setattr(kernel_compile.triton.knobs.cache, "dir", str(tmp_path))
    kernel_compile.test_sampling_reads_several_logits_at_a_time()


@needs_triton
@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_kernels_on_a_gpu():
    """The tests of the experts have not run on a GPU; the others passed on an H100, with older
    kernels of attention and routing.
    """
    for name in ("attention", "block", "experts", "chunk sums and model"):
        Suite(SUITES[name].files).run()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with a suite that reads a module and a data file."""
    (tmp_path / "data.txt").write_text("1", encoding="utf-8")
    (tmp_path / "helper.py").write_text(
        "from pathlib import Path\nVALUE = int(Path(__file__).with_name('data.txt').read_text())\n",
        encoding="utf-8",
    )
    (tmp_path / "test_it.py").write_text(
        "from helper import VALUE\n\ndef test_one():\n    assert VALUE < 3\n", encoding="utf-8"
    )
    for name in ("files_read.py", "recorded_results.py"):
        place = tmp_path / "tests/support" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes((ROOT / "tests/support" / name).read_bytes())
    monkeypatch.setattr(recorded_results, "ROOT", tmp_path)
    monkeypatch.setattr(recorded_results, "__file__", str(place))
    monkeypatch.setattr(recorded_results, "made_with", lambda: {"triton": "1"})
    monkeypatch.setitem(sys.modules, "coverage", None)
    return tmp_path, Suite((tmp_path / "test_it.py",))


def test_results_hold_until_something_changes_that_they_depend_on(project, monkeypatch):
    folder, suite = project
    made = suite.run()
    assert made["passed"] == ["test_it.py::test_one"]
    assert {"data.txt", "helper.py", "test_it.py"} < made["files"].keys()
    assert not outdated(made)
    for name in ("data.txt", "helper.py", "test_it.py"):
        before = (folder / name).read_bytes()
        (folder / name).write_bytes(before + b"\n")
        assert outdated(made) == f"changed since: {name}"
        (folder / name).unlink()
        assert name in outdated(made)
        (folder / name).write_bytes(before)
    assert not outdated(made)
    assert outdated(None)
    assert outdated(made | {"passed": []})
    monkeypatch.setattr(recorded_results, "made_with", lambda: {"triton": "2"})
    assert "recorded with {'triton': '1'}" in outdated(made)


TOUCHES = "import os\ndef test_one():\n    os.utime(__file__, (2**32, 2**32))\n"


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("test_it.py", TOUCHES, r"changed while the suite ran: test_it\.py"),
        ("data.txt", "3", "assert 3 < 3"),
    ],
)
def test_a_suite_that_fails_or_whose_files_change_has_no_results(project, file, text, reason):
    folder, suite = project
    (folder / file).write_text(text, encoding="utf-8")
    with pytest.raises(SuiteFailedError, match=reason):
        suite.run()


@needs_triton
def test_settings_of_the_compiler_count(monkeypatch):
    before = recorded_results.made_with()
    monkeypatch.setenv("TRITON_ALLOW_ANYTHING", "1")
    assert recorded_results.made_with() == before | {"TRITON_ALLOW_ANYTHING": "1"}


def test_measuring_coverage_repeats_the_suites(project, monkeypatch):
    _, suite = project
    made = suite.run()

    class Measuring:
        class Coverage:
            current = staticmethod(object)

    monkeypatch.setitem(sys.modules, "coverage", Measuring)
    assert outdated(made) == "coverage is measured"


@pytest.mark.parametrize("name", recorded())
def test_the_record_has_what_the_suite_consists_of(name):
    """Its own files, the kernels, and as many tests as its files define, or more."""
    found = recorded()[name]
    own = [os.path.relpath(path, ROOT) for path in SUITES[name].files]
    assert outdated(found) or {*own, "reference_engine/kernels/__init__.py"} < found["files"].keys()
    for path in SUITES[name].files:
        passed = {test.partition("[")[0] for test in found["passed"]}
        defined = {
            f"{path.name}::{line.removeprefix('def ').partition('(')[0]}"
            for line in path.read_text("utf-8").splitlines()
            if line.startswith("def test_")
        }
        assert outdated(found) or defined <= passed
