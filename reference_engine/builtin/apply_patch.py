"""Patches in the format of `apply_patch`, applied to the text files of a folder.

gpt-oss was trained to edit files with such patches (openai/gpt-oss `gpt_oss/tools/apply_patch.md`).
The grammar and the search for the lines to replace are those of Codex (openai/codex
`codex-rs/apply-patch`). Unlike Codex, this module applies a patch completely or not at all, and
rejects paths outside the folder.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_BEGIN, _END = "*** Begin Patch", "*** End Patch"
_ADD, _DELETE, _UPDATE = "*** Add File: ", "*** Delete File: ", "*** Update File: "
_MOVE, _END_OF_FILE = "*** Move to: ", "*** End of File"
_HEREDOC = frozenset({"<<EOF", "<<'EOF'", '<<"EOF"'})
_FORBIDDEN = re.compile(r"[\\:\x00-\x1f]")
_LONGEST_FILE = 8 * 2**20

# Punctuation and spaces that are treated as equal in the last, most tolerant search.
_PLAIN = str.maketrans(
    dict.fromkeys("‐‑‒–—―−", "-")
    | dict.fromkeys("‘’‚‛", "'")
    | dict.fromkeys("“”„‟", '"')
    | dict.fromkeys("\xa0\u202f\u205f\u3000", " ")
    | {chr(code): " " for code in range(0x2002, 0x200B)}
)
_SEARCHES: Sequence[Callable[[str], str]] = (
    str,
    str.rstrip,
    str.strip,
    lambda line: line.strip().translate(_PLAIN),
)


class PatchError(ValueError):
    """A patch is malformed or does not fit the files; the message is for the model."""


@dataclass(frozen=True)
class Chunk:
    """Lines to replace."""

    anchor: str | None  # a line before them, such as the head of a function
    old: tuple[str, ...]  # the current lines, with context
    new: tuple[str, ...]  # the new lines
    at_end: bool = False  # whether the lines are at the end of the file


@dataclass(frozen=True)
class Add:
    """Write a file, whether or not it exists."""

    path: str
    text: str


@dataclass(frozen=True)
class Delete:
    """Delete a file."""

    path: str


@dataclass(frozen=True)
class Update:
    """Replace lines of a file, and perhaps rename the file."""

    path: str
    new_path: str | None
    chunks: tuple[Chunk, ...]


Change = Add | Delete | Update


def parse_patch(text: str) -> tuple[Change, ...]:
    """Return the changes of a patch. Raises PatchError."""
    lines = [line.removesuffix("\r") for line in text.strip().split("\n")]
    if len(lines) >= 4 and lines[0] in _HEREDOC and lines[-1].endswith("EOF"):
        lines = lines[1:-1]
    if lines[0].strip() != _BEGIN:
        raise PatchError(f"Invalid patch: the first line must be '{_BEGIN}'.")
    if len(lines) < 2 or lines[-1].strip() != _END:
        raise PatchError(f"Invalid patch: the last line must be '{_END}'.")
    reader = _Reader(lines[:-1])
    changes = []
    while not reader.ended:
        changes.append(reader.change())
    if not changes:
        raise PatchError("The patch changes no files.")
    return tuple(changes)


class _Reader:
    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines
        self._at = 1

    @property
    def ended(self) -> bool:
        """Whether all lines are read."""
        return self._at >= len(self._lines)

    def change(self) -> Change:
        """Return the next change."""
        header = self._peek().strip()
        if not header.startswith((_ADD, _DELETE, _UPDATE)):
            known = f"'{_ADD}PATH', '{_DELETE}PATH', '{_UPDATE}PATH'"
            raise self._error(f"'{header}' is not one of {known}")
        self._next()
        if header.startswith(_ADD):
            added = []
            while self._peek().startswith("+"):
                added.append(self._next()[1:] + "\n")
            return Add(header.removeprefix(_ADD), "".join(added))
        if header.startswith(_DELETE):
            return Delete(header.removeprefix(_DELETE))
        return self._update(header.removeprefix(_UPDATE))

    def _update(self, path: str) -> Update:
        new_path = None
        if self._peek().startswith(_MOVE):
            new_path = self._next().removeprefix(_MOVE).strip()
        chunks: list[Chunk] = []
        while not self.ended and not self._peek().startswith("*"):
            if not self._peek().strip():
                self._next()
                continue
            chunks.append(self._chunk(first=not chunks))
        if not chunks:
            raise self._error(f"the update of '{path}' has no lines")
        return Update(path, new_path, tuple(chunks))

    def _chunk(self, *, first: bool) -> Chunk:
        anchor = None
        if self._peek() == "@@" or self._peek().startswith("@@ "):
            anchor = self._next()[3:] or None
        elif not first:
            raise self._error(f"'{self._peek()}' is not '@@' or a line with ' ', '+' or '-' before")
        old: list[str] = []
        new: list[str] = []
        count = 0
        while not self.ended and self._peek() != _END_OF_FILE:
            line = self._peek()
            if line[:1] not in {"", " ", "+", "-"}:
                break
            self._next()
            count += 1
            old += [line[1:]] if line[:1] != "+" else []
            new += [line[1:]] if line[:1] != "-" else []
        if not count:
            raise self._error("a change needs lines with ' ', '+' or '-' before")
        at_end = self._peek() == _END_OF_FILE
        self._at += at_end
        return Chunk(anchor, tuple(old), tuple(new), at_end)

    def _peek(self) -> str:
        return "" if self.ended else self._lines[self._at]

    def _next(self) -> str:
        self._at += 1
        return self._lines[self._at - 1]

    def _error(self, problem: str) -> PatchError:
        return PatchError(f"Invalid patch at line {self._at + 1}: {problem}.")


def updated(text: str, change: Update) -> str:
    """Replace all chunks in the text of a file, and end it with a line break. Raises PatchError."""
    breaks = text.count("\n")
    ending = "\r\n" if breaks and text.count("\r\n") == breaks else "\n"
    lines = text.split(ending)
    if not lines[-1]:
        lines.pop()
    at = 0
    replaced: list[tuple[int, int, Sequence[str]]] = []
    for chunk in change.chunks:
        if chunk.anchor is not None:
            found = _find(lines, (chunk.anchor,), at, at_end=False)
            if found is None:
                raise PatchError(f"The line '{chunk.anchor}' was not found in {change.path}.")
            at = found + 1
        if not chunk.old:
            replaced.append((len(lines), 0, chunk.new))
            continue
        start, old, new = _place(lines, chunk, at, change.path)
        replaced.append((start, len(old), new))
        at = start + len(old)
    result: list[str] = []
    done = 0
    for start, count, new in sorted(replaced, key=lambda change: change[0]):
        result += [*lines[done:start], *new]
        done = start + count
    return "".join(line + ending for line in (*result, *lines[done:]))


def _place(
    lines: Sequence[str], chunk: Chunk, at: int, path: str
) -> tuple[int, Sequence[str], Sequence[str]]:
    """Find the lines of a chunk; a last empty line may mean the end of the file."""
    old, new = chunk.old, chunk.new
    start = _find(lines, old, at, at_end=chunk.at_end)
    if start is None and old[-1] == "":
        old, new = old[:-1], new[:-1] if new[-1:] == ("",) else new
        start = _find(lines, old, at, at_end=chunk.at_end)
    if start is None:
        raise PatchError(f"These lines were not found in {path}:\n" + "\n".join(chunk.old))
    return start, old, new


def _find(lines: Sequence[str], wanted: Sequence[str], at: int, *, at_end: bool) -> int | None:
    """Find the lines; each search is more tolerant than the previous one."""
    last = len(lines) - len(wanted)
    for begin in (*([max(last, at)] if at_end else ()), at):
        for plain in _SEARCHES:
            there, sought = [plain(line) for line in lines], [plain(line) for line in wanted]
            for start in range(begin, last + 1):
                if there[start : start + len(wanted)] == sought:
                    return start
    return None


def apply_patch(folder: Path, patch: str) -> str:
    """Apply a patch to the files of a folder; returns the list of changes.

    Raises PatchError, without changing any file, if the patch is malformed, does not fit, or has a
    path that is not allowed. Raises OSError if a file cannot be written.
    """
    texts: dict[Path, str | None] = {}
    done: list[str] = []

    def read(path: str) -> str:
        file = _inside(folder, path)
        text = texts[file] if file in texts else _text_of(file, path)
        if text is None:
            raise PatchError(f"There is no file {path}.")
        return text

    for change in parse_patch(patch):
        match change:
            case Add(path, text):
                texts[_inside(folder, path)] = text
                done.append(f"A {path}")
            case Delete(path):
                read(path)
                texts[_inside(folder, path)] = None
                done.append(f"D {path}")
            case Update(path, new_path):
                text = updated(read(path), change)
                if new_path is not None:
                    texts[_inside(folder, path)] = None
                target = path if new_path is None else new_path
                texts[_inside(folder, target)] = text
                done.append(f"M {target}")
    _require_folders(folder, [file for file, text in texts.items() if text is not None])
    for file, result in texts.items():
        if result is None:
            file.unlink(missing_ok=True)
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(result, encoding="utf-8", newline="")
    return "\n".join(("Success. Updated the following files:", *sorted(done), ""))


def _require_folders(folder: Path, files: Sequence[Path]) -> None:
    """Raise PatchError if a file of the patch would be the folder of another one."""
    for file in files:
        if parents := set(file.parents) & set(files):
            name = parents.pop().relative_to(folder)
            raise PatchError(f"The patch makes {name} both a file and a folder.")


def _inside(folder: Path, path: str) -> Path:
    """Return the file of a path in a patch: relative, and without `..`, links and Git's files."""
    parts = PurePosixPath(path).parts
    hostile = {"..", ".git"} & {part.lower() for part in parts}
    if not parts or path.startswith("/") or hostile or _FORBIDDEN.search(path):
        raise PatchError(f"The path '{path}' is not allowed: it must be relative and without '..'.")
    file = folder
    for at, part in enumerate(parts, start=1):
        file /= part
        if file.is_symlink():
            raise PatchError(f"The path '{path}' is not allowed: {part} is a link.")
        if file.exists() and file.is_dir() == (at == len(parts)):
            kind = "a folder" if file.is_dir() else "not a folder"
            raise PatchError(f"The path '{path}' is not a file: {part} is {kind}.")
    return file


def _text_of(file: Path, path: str) -> str | None:
    if not file.exists():
        return None
    if not file.is_file() or file.stat().st_size > _LONGEST_FILE:
        raise PatchError(f"{path} is not a text file, or is larger than {_LONGEST_FILE} bytes.")
    try:
        return file.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise PatchError(f"{path} is not a text file in UTF-8.") from None
