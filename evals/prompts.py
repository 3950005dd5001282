"""The prompts of a run: ours, those of OpenAI's scripts, or those of a file.

Prompts are templates with placeholders such as `<<question>>`. OpenAI's prompts are read when a run
is planned, from the installed package `gpt_oss` or from its wheel; this package does not contain
them. The modules are parsed, not imported.
"""

import ast
import hashlib
import re
import zipfile
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from pathlib import Path

import yaml

from harness.errors import ConfigurationError
from harness.records.runs import PromptsInfo

OURS = "ours"
GPT_OSS = "gpt-oss"
GRADER = "healthbench_grader"
GRADER_SYSTEM = "healthbench_grader_system"

PLACEHOLDERS: Mapping[str, tuple[str, ...]] = {
    "aime25": ("question",),
    "gpqa": ("question", "A", "B", "C", "D"),
    GRADER: ("conversation", "rubric_item"),
    GRADER_SYSTEM: (),
}
"""The placeholders that each template must have. The last template is a system message; if it is
empty, no system message is sent."""

_PLACEHOLDER = re.compile(r"<<(\w+)>>")
_SCRIPTS = {
    "aime25": ("aime_eval", "AIME_TEMPLATE"),
    "gpqa": ("gpqa_eval", "QUERY_TEMPLATE_MULTICHOICE"),
    GRADER: ("healthbench_eval", "GRADER_TEMPLATE"),
    GRADER_SYSTEM: ("chat_completions_sampler", "OPENAI_SYSTEM_MESSAGE_API"),
}
"""Module of `gpt_oss.evals` and name of each template (release 0.0.9)."""
_INSTALL = "install it (pip install gpt-oss, Python 3.12 or later), or pass its wheel to --prompts"


def choose_prompts(name: str | None) -> PromptsInfo:
    """Return the prompts of `--prompts`: ours, gpt-oss, a wheel or a file.

    Raises ConfigurationError.
    """
    if name is None or name == OURS:
        return our_prompts()
    if name == GPT_OSS:
        return _installed()
    path = Path(name)
    return _from_wheel(path) if path.suffix == ".whl" else _from_file(path)


@cache
def our_prompts() -> PromptsInfo:
    """Return the prompts that ship with this package."""
    text = files("evals").joinpath("data", "prompts.yaml").read_text(encoding="utf-8")
    return _checked(OURS, yaml.safe_load(text))


def fill(template: str, **values: str) -> str:
    """Return a template with its placeholders replaced, but not placeholders within the values."""
    return _PLACEHOLDER.sub(lambda found: values[found[1]], template)


def wording(prompts: PromptsInfo, name: str) -> str | None:
    """Return the SHA-256 of the templates on which an eval's scores depend.

    None without templates.
    """
    grading = name.startswith("healthbench")
    used = (GRADER, GRADER_SYSTEM) if grading else (name,) if name in _SCRIPTS else tuple(_SCRIPTS)
    texts = [prompts.templates[part] for part in used if part in prompts.templates]
    return _sha256("\0".join(texts)) if texts else None


def _installed() -> PromptsInfo:
    try:
        package = distribution("gpt_oss")
    except PackageNotFoundError:
        raise ConfigurationError(
            f"--prompts gpt-oss needs the package gpt_oss: {_INSTALL}."
        ) from None
    return _from_scripts(
        f"gpt-oss {package.version}",
        lambda path: Path(str(package.locate_file(path))).read_text(encoding="utf-8"),
    )


def _from_wheel(path: Path) -> PromptsInfo:
    try:
        with zipfile.ZipFile(path) as wheel:
            version = path.name.split("-")[1] if path.name.count("-") > 1 else "of unknown version"
            return _from_scripts(
                f"gpt-oss {version}", lambda member: wheel.read(member).decode("utf-8")
            )
    except (OSError, zipfile.BadZipFile) as error:
        raise ConfigurationError(f"--prompts {path} cannot be read as a wheel: {error}.") from None


def _from_scripts(source: str, read: Callable[[str], str]) -> PromptsInfo:
    """Return OpenAI's templates, with their placeholders in our form."""
    found: dict[str, str] = {}
    for name, (module, constant) in _SCRIPTS.items():
        path = f"gpt_oss/evals/{module}.py"
        try:
            found[name] = _constant(read(path), constant)
        except (OSError, KeyError, ValueError, SyntaxError):
            raise ConfigurationError(
                f"{source} has no template {constant} in {path}; --prompts knows those of 0.0.9: "
                f"{_INSTALL}."
            ) from None
    # The first two are templates for str.format, the third already has our form.
    found["aime25"] = found["aime25"].format(question="<<question>>")
    letters = {letter: f"<<{letter}>>" for letter in "ABCD"}
    found["gpqa"] = found["gpqa"].format(Question="<<question>>", **letters)
    return _checked(source, found)


def _constant(source: str, name: str) -> str:
    """Return a text constant of a module, stripped if the module strips it. Raises KeyError."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and name in map(ast.unparse, node.targets):
            value = node.value
            stripped = isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute)
            if stripped and value.func.attr == "strip" and not value.args:  # type: ignore[attr-defined]
                return str(ast.literal_eval(value.func.value)).strip()  # type: ignore[attr-defined]
            return str(ast.literal_eval(value))
    raise KeyError(name)


def _from_file(path: Path) -> PromptsInfo:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"--prompts {path} cannot be read: {error.strerror}; name ours, gpt-oss, a wheel of "
            "gpt-oss, or a YAML file of templates."
        ) from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"--prompts {path} is not YAML: {error}.") from None
    if not isinstance(content, dict) or not content:
        raise ConfigurationError(
            f"--prompts {path} has no templates; it may have {', '.join(PLACEHOLDERS)}."
        )
    return _checked(str(path), {**our_prompts().templates, **content})


def _checked(source: str, templates: Mapping[str, object]) -> PromptsInfo:
    """Return the templates as a record, if each one is known and has the placeholders it needs."""
    found: dict[str, str] = {}
    for name, text in templates.items():
        if name not in PLACEHOLDERS or not isinstance(text, str):
            raise ConfigurationError(
                f"--prompts {source}: {name} is not a template; there are "
                f"{', '.join(PLACEHOLDERS)}, and each is a text."
            )
        wanted = PLACEHOLDERS[name]
        if sorted(set(_PLACEHOLDER.findall(text))) != sorted(wanted):
            needed = ", ".join(f"<<{placeholder}>>" for placeholder in wanted) or "none"
            raise ConfigurationError(
                f"--prompts {source}: the placeholders of {name} must be {needed}."
            )
        found[name] = text
    digest = _sha256("\0".join(f"{name}\0{found[name]}" for name in sorted(found)))
    return PromptsInfo(source=source, sha256=digest, templates=found)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
