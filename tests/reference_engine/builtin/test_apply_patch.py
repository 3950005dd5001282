"""Valid, fuzzy, malformed and hostile patches."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_engine.builtin.apply_patch import PatchError, apply_patch, parse_patch

LAKE = "def depth():\n    return 412\n\n\ndef area():\n    return 97\n"


def patch(*lines: str) -> str:
    return "\n".join(("*** Begin Patch", *lines, "*** End Patch"))


def update(*lines: str, path: str = "lake.py") -> str:
    return patch(f"*** Update File: {path}", *lines)


FITS = {
    "a line": (LAKE, ["@@", "-    return 412", "+    return 413"], LAKE.replace("412", "413")),
    "no marker": (LAKE, ["-    return 97", "+    return 98"], LAKE.replace("97", "98")),
    "context": (
        LAKE,
        ["@@", " def area():", "-    return 97", "+    return 98"],
        LAKE.replace("97", "98"),
    ),
    "an anchor": (
        "def a():\n    x = 1\ndef b():\n    x = 1\n",
        ["@@ def b():", "-    x = 1", "+    x = 2"],
        "def a():\n    x = 1\ndef b():\n    x = 2\n",
    ),
    "two changes": (
        LAKE,
        ["@@", "-    return 412", "+    return 1", "", "@@", "-    return 97", "+    return 2"],
        LAKE.replace("412", "1").replace("97", "2"),
    ),
    "lines at the end": ("a\n", ["@@", "+b", "+c"], "a\nb\nc\n"),
    "two additions": ("a\n", ["@@", "+b", "@@", "+c"], "a\nb\nc\n"),
    "the end of the file": (
        "x\ny\nx\n",
        ["@@", "-x", "+z", "*** End of File"],
        "x\ny\nz\n",
    ),
    "no end of file after all": ("x\ny\n", ["@@", "-x", "+z", "*** End of File"], "z\ny\n"),
    "no last line break": ("a\nb", ["@@", "-b", "+c"], "a\nc\n"),
    "an empty line for the end": ("a\nb\n", ["@@", "-b", "+c", ""], "a\nc\n"),
    "a deletion": ("a\nb\nc\n", ["@@", " a", "-b"], "a\nc\n"),
    "all lines": ("a\n", ["@@", "-a"], ""),
    "blank last lines": ("a\n\n", ["@@", "-a", "+b"], "b\n\n"),
    "spaces at the end": ("a  \nb\t\n", ["@@", "-a", "+c", " b"], "c\nb\n"),
    "indentation": ("        a\n", ["@@", "-a", "+b"], "b\n"),
    "typography": ("it\u2019s 3\u20134\u00a0m\n", ["@@", "-it's 3-4 m", "+it is"], "it is\n"),
    "exact before fuzzy": (" a\na\n", ["@@", "-a", "+b"], " a\nb\n"),
    "Windows lines": ("a\r\nb\r\n", ["@@", "-a", "+c"], "c\r\nb\r\n"),
    "odd line separators": ("a\x0bb\u2028c\n", ["@@", "-a\x0bb\u2028c", "+d"], "d\n"),
}


@pytest.mark.parametrize(("before", "lines", "after"), FITS.values(), ids=FITS)
def test_updates_are_applied(tmp_path, before, lines, after):
    file = tmp_path / "lake.py"
    file.write_bytes(before.encode())
    assert "M lake.py" in apply_patch(tmp_path, update(*lines))
    assert file.read_bytes().decode() == after


def test_a_patch_of_several_files(tmp_path):
    (tmp_path / "old.txt").write_text("a\n", encoding="utf-8")
    (tmp_path / "gone.txt").write_text("b\n", encoding="utf-8")
    text = patch(
        "  *** Delete File: gone.txt  ",
        "*** Add File: new/deep.txt", "+one", "+", "+three",
        "*** Update File: old.txt", "*** Move to: new/name.txt", "@@", "-a", "+A",
        "*** Update File: new/name.txt", "@@", "-A", "+B",
    )  # fmt: skip
    done = apply_patch(tmp_path, f"  <<'EOF'\n{text}\nEOF\n".strip(" "))
    assert done.splitlines()[1:] == ["A new/deep.txt", "D gone.txt", *["M new/name.txt"] * 2]
    left = {f.relative_to(tmp_path).as_posix(): f.read_text() for f in tmp_path.rglob("*.txt")}
    assert left == {"new/deep.txt": "one\n\nthree\n", "new/name.txt": "B\n"}


MALFORMED = {
    "": "the first line must be",
    "*** Begin Patch": "the last line must be",
    patch(): "changes no files",
    patch("*** Rename File: a"): "at line 2: '.*' is not one of",
    patch("*** Update File: lake.py"): "'lake.py' has no lines",
    update("@@"): "needs lines",
    update("@@", "*** End of File"): "needs lines",
    update("@@", "-a", "b"): "at line 5: 'b' is not '@@'",
    update("@@ def depth():", "def x():"): "needs lines",
    update("@@", "-nowhere", "+b"): "not found in lake.py:\nnowhere",
    update("@@ class Sea:", "-    return 97"): "'class Sea:' was not found",
    update("@@", "-    return 97", "+", "@@", "-    return 412"): "not found",
    update("@@", "-a", path="sea.py"): "no file sea.py",
    patch("*** Delete File: sea.py"): "no file sea.py",
    patch("*** Delete File: lake.py", "*** Delete File: lake.py"): "no file lake.py",
    patch("*** Delete File: folder"): "folder is a folder",
    patch("*** Add File: lake.py/x", "+a"): "lake.py is not a folder",
    patch("*** Add File: a", "+a", "*** Add File: a/b", "+b"): "a file and a folder",
    update("@@", "-a", path="binary"): "not a text file",
}
HOSTILE = (
    "/etc/passwd", "../out.txt", "a/../../out.txt", "link/out.txt", "link.txt", "loop",
    "..\\out.txt", "C:\\out.txt", "C:/out.txt", ".git/hooks/pre-commit", ".GIT/config", "a\x00b",
    "", ".",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "inside"
    (inside / "folder").mkdir(parents=True)
    (inside / "lake.py").write_text(LAKE, encoding="utf-8")
    (inside / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "out.txt").write_text("a\n", encoding="utf-8")
    (inside / "link").symlink_to(tmp_path / "outside")
    (inside / "link.txt").symlink_to(tmp_path / "outside" / "out.txt")
    (inside / "loop").symlink_to(inside / "loop")
    return inside


def state(folder):
    files = [path for path in folder.parent.rglob("*") if not path.is_dir() or path.is_symlink()]
    return {p: p.readlink() if p.is_symlink() else p.read_bytes() for p in files}


@pytest.mark.parametrize(("text", "message"), MALFORMED.items())
def test_patches_that_do_not_fit_change_nothing(folder, text, message):
    before = state(folder)
    first = patch("*** Add File: first.txt", "+a").removesuffix("*** End Patch")
    changes = text.removeprefix("*** Begin Patch\n")
    with pytest.raises(PatchError, match=message):
        apply_patch(folder, text)
    if text.startswith("*** Begin Patch\n") and changes != "*** End Patch":
        with pytest.raises(PatchError):
            apply_patch(folder, first + changes)
    assert state(folder) == before


@pytest.mark.parametrize("path", HOSTILE)
@pytest.mark.parametrize(
    "lines",
    [
        ("*** Add File: {}", "+a"),
        ("*** Delete File: {}",),
        ("*** Update File: {}", "@@", "-a", "+b"),
        ("*** Update File: lake.py", "*** Move to: {}", "@@", "-    return 97"),
    ],
    ids=["add", "delete", "update", "move"],
)
def test_hostile_paths_change_nothing(folder, path, lines):
    before = state(folder)
    with pytest.raises(PatchError):
        apply_patch(folder, patch(*(line.format(path) for line in lines)))
    assert state(folder) == before


LINES = st.lists(st.sampled_from(
    ["*** Update File: a", "*** Add File: b", "*** Move to: c", "*** End of File", "@@", "@@ x",
     "", " x", "-x", "+x", "x", "*", "*** End Patch"]))  # fmt: skip


@given(LINES)
def test_any_text_is_parsed_or_is_a_patch_error(lines):
    with contextlib.suppress(PatchError):
        assert parse_patch(patch(*lines))
