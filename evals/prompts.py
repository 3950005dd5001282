"""The prompts of a run: ours, those of OpenAI's scripts, or those of a file.

Prompts are templates with placeholders such as `<<question>>`. OpenAI's prompts are read when a run
is planned, from the installed package `gpt_oss` or from its wheel; this package does not contain
them. The modules are parsed, not imported.
"""

import ast
import hashlib
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from pathlib import Path
from string import Formatter

import yaml

from harness.errors import ConfigurationError
from harness.records.runs import PromptsInfo

OURS = "ours"
GPT_OSS = "gpt-oss"
_PLACEHOLDER = re.compile(r"<<(\w+)>>")
FILE = "prompts.yaml"
Script = tuple[str, str]  # module of `gpt_oss.evals` and name of a constant in it (release 0.0.9)
_INSTALL = "install it (pip install gpt-oss, Python 3.12 or later), or pass its wheel to --prompts"


def choose_prompts(name: str | None, scripts: Mapping[str, Script]) -> PromptsInfo:
    """Return the prompts of `--prompts`: ours, gpt-oss, a wheel or a file.

    `scripts` has the places of OpenAI's templates. Raises ConfigurationError.
    """
    if name is None or name == OURS:
        return our_prompts()
    if name == GPT_OSS:
        return _installed(scripts)
    path = Path(name)
    return _from_wheel(path, scripts) if path.suffix == ".whl" else _from_file(path)


@cache
def our_prompts() -> PromptsInfo:
    """Return the prompts that ship with this package."""
    return _recorded(OURS, our_templates())


@cache
def our_templates() -> Mapping[str, str]:
    """Return our templates by name, those of every folder of this package."""
    folders = sorted(files("evals").iterdir(), key=lambda folder: folder.name)
    texts = (folder / FILE for folder in folders if (folder / FILE).is_file())
    loaded = [yaml.safe_load(text.read_text(encoding="utf-8")) for text in texts]
    return {name: text for templates in loaded for name, text in templates.items()}


def with_ours(prompts: PromptsInfo) -> Mapping[str, str]:
    """Return the templates, and ours that they lack: those of earlier versions are fewer."""
    return {**our_templates(), **prompts.templates}


def fill(template: str, **values: str) -> str:
    """Return a template with its placeholders replaced, but not placeholders within the values."""
    return _PLACEHOLDER.sub(lambda match: values[match[1]], template)


def wording(prompts: PromptsInfo, names: Iterable[str]) -> str | None:
    """Return the SHA-256 of the templates on which an eval's scores depend; None without any."""
    texts = [with_ours(prompts)[name] for name in names]
    return _sha256("\0".join(texts)) if texts else None


def _installed(scripts: Mapping[str, Script]) -> PromptsInfo:
    try:
        package = distribution("gpt_oss")
    except PackageNotFoundError:
        raise ConfigurationError(
            f"--prompts gpt-oss needs the package gpt_oss: {_INSTALL}."
        ) from None
    return _from_scripts(f"gpt-oss {package.version}", Path(str(package.locate_file(""))), scripts)


def _from_wheel(path: Path, scripts: Mapping[str, Script]) -> PromptsInfo:
    version = path.name.split("-")[1] if path.name.count("-") > 1 else "of unknown version"
    try:
        return _from_scripts(f"gpt-oss {version}", zipfile.Path(path), scripts)
    except (OSError, zipfile.BadZipFile) as error:
        raise ConfigurationError(f"--prompts {path} cannot be read as a wheel: {error}.") from None


def _from_scripts(
    source: str, root: Path | zipfile.Path, scripts: Mapping[str, Script]
) -> PromptsInfo:
    """Return OpenAI's templates, with their placeholders in our form, and ours where it has none.

    Raises ConfigurationError.
    """
    prompts: dict[str, str] = {}
    for name, (module, constant) in scripts.items():
        path = f"gpt_oss/evals/{module}.py"
        try:
            text = (root / path).read_text(encoding="utf-8")
            prompts[name] = _in_our_form(_constant(text, constant), placeholders(name))
        except (OSError, KeyError, ValueError, SyntaxError):
            raise ConfigurationError(
                f"{source} has no template {constant} in {path}; --prompts knows those of 0.0.9: "
                f"{_INSTALL}."
            ) from None
    return _checked(source, prompts)


def placeholders(name: str) -> list[str]:
    """Return the placeholders that a template must have, which are those of ours."""
    return sorted(set(_PLACEHOLDER.findall(our_templates()[name])))


def _in_our_form(template: str, wanted: Sequence[str]) -> str:
    """Return a template for `str.format` with placeholders in our form; others are returned."""
    if not wanted or _PLACEHOLDER.search(template):
        return template
    names = {name.casefold(): name for name in wanted}
    fields = [field for _, field, _, _ in Formatter().parse(template) if field]
    return template.format(**{field: f"<<{names[field.casefold()]}>>" for field in fields})


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
            f"--prompts {path} has no templates; it may have {', '.join(our_templates())}."
        )
    return _checked(str(path), {**our_templates(), **content})


def _checked(source: str, templates: Mapping[str, object]) -> PromptsInfo:
    """Return the templates as a record, if each one is known and has the placeholders it needs."""
    prompts: dict[str, str] = {}
    for name, text in templates.items():
        if name not in our_templates() or not isinstance(text, str):
            raise ConfigurationError(
                f"--prompts {source}: {name} is not a template; there are "
                f"{', '.join(our_templates())}, and each is a text."
            )
        if sorted(set(_PLACEHOLDER.findall(text))) != (wanted := placeholders(name)):
            needed = ", ".join(f"<<{placeholder}>>" for placeholder in wanted) or "none"
            raise ConfigurationError(
                f"--prompts {source}: the placeholders of {name} must be {needed}."
            )
        prompts[name] = text
    return _recorded(source, prompts)


def _recorded(source: str, templates: Mapping[str, str]) -> PromptsInfo:
    digest = _sha256("\0".join(f"{name}\0{templates[name]}" for name in sorted(templates)))
    return PromptsInfo(source=source, sha256=digest, templates=templates)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
