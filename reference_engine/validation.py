"""Checks whether a checkpoint is complete and its model computes the expected results.

Two checks read known texts by teacher forcing:

- Known continuations: the output of the published models at temperature 0 after a raw prompt,
  according to the integration tests of Hugging Face transformers.
- Fixed text: an answer that copies a text of the prompt. A working language model predicts each of
  its tokens; a model with damaged attention, positions or experts does not.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import orjson

from harmony.conversation import Answer, Conversation, ConversationItem, User
from harmony.render import render_prompt
from harmony.vocabulary import bytes_of, encode
from reference_engine.checkpoint.download import published_hashes, sha256_of
from reference_engine.checkpoint.files import open_files
from reference_engine.checkpoint.layouts import Layout
from reference_engine.checkpoint.reader import Checkpoint
from reference_engine.errors import SetupError
from reference_engine.generation.sampling import Token
from reference_engine.known_texts import COPIED, OPENING, known_model
from reference_engine.model.config import VOCABULARY, ModelConfig, read_config
from reference_engine.model.transformer import Transformer
from reference_engine.scoring import identity, score_completion
from reference_engine.server.opening import load, prepare
from reference_engine.server.settings import ServeSettings

Status: TypeAlias = Literal["passed", "failed", "not verifiable", "not compared"]
Verdict: TypeAlias = Literal["valid", "not valid", "not verifiable"]
_STATUSES: dict[Verdict, int] = {"valid": 0, "not valid": 1, "not verifiable": 4}

LARGEST_GAP = 2.0
"""How much less probable than the best token a known token may be, in nats. Healthy engines differ
if two tokens are almost equally probable: bfloat16 changes logprobs by about 0.6 nats at the 99th
percentile (docs/numerics.md)."""
LEAST_MEAN = -0.5
"""The least mean logprob of a copied token, in nats."""


@dataclass(frozen=True)
class Check:
    """The result of one check; `not compared` does not affect the verdict."""

    name: str
    status: Status
    detail: str
    values: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Validation:
    """The results of all checks up to the first failure that prevents the others."""

    checkpoint: str
    checks: tuple[Check, ...]

    @property
    def verdict(self) -> Verdict:
        """Failed checks outweigh those that are not verifiable."""
        found = {check.status for check in self.checks}
        if "failed" in found:
            return "not valid"
        return "not verifiable" if "not verifiable" in found else "valid"

    @property
    def status(self) -> int:
        """The exit status of the verdict: 0, 1 or 4."""
        return _STATUSES[self.verdict]

    @property
    def reason(self) -> str:
        """The details of the checks that decide the verdict."""
        deciding = {"valid": "passed", "not valid": "failed"}.get(self.verdict, self.verdict)
        found = [check for check in self.checks if check.status == deciding]
        if self.verdict == "valid":
            return f"{len(found)} checks passed"
        return " ".join(f"{check.name}: {check.detail.rstrip('.')}." for check in found)

    def text(self) -> str:
        """Returns a table of the checks, and the verdict with its reason."""
        rows = [("check", "result", "detail")]
        rows += [(check.name, check.status, check.detail) for check in self.checks]
        lines = [f"{name:<21}{status:<16}{detail}" for name, status, detail in rows]
        return "\n".join([*lines, "", f"{self.checkpoint} is {self.verdict}: {self.reason}"])

    def json(self) -> str:
        """Returns the verdict and the checks as JSON."""
        found = {"checkpoint": self.checkpoint, "verdict": self.verdict, "reason": self.reason}
        return orjson.dumps(found | {"checks": self.checks}, option=orjson.OPT_INDENT_2).decode()


class _FailedError(Exception):
    """A check failed that all later checks depend on."""

    def __init__(self, check: Check) -> None:
        super().__init__(check.detail)
        self.check = check


def validate(
    settings: ServeSettings, *, sha256: str | None = None, hub: str | None = None
) -> Validation:
    """Checks the checkpoint of the settings. Raises SetupError if it cannot be examined.

    `sha256` is the expected `identity`; `hub` is a name that `download` takes.
    """
    folder = settings.checkpoint
    if not folder.is_dir():
        raise SetupError(f"{folder} is not a folder; a checkpoint is a folder with config.json.")
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise SetupError(f"--sha256 must be 64 hexadecimal digits, not {sha256!r}.")
    prepare(settings)
    checks: list[Check] = []
    try:
        checks.extend(_checks(settings, sha256, hub))
    except _FailedError as error:
        checks.append(error.check)
    except (MemoryError, RuntimeError) as error:
        reason = str(error).partition("\n")[0] or "not enough memory"
        raise SetupError(f"{folder} cannot be run on {settings.device}: {reason}") from error
    return Validation(str(folder), tuple(checks))


def _checks(settings: ServeSettings, sha256: str | None, hub: str | None) -> Iterator[Check]:
    folder = settings.checkpoint
    with _required("files"), ExitStack() as stack:
        raw = read_config(folder)
        tensors = open_files(folder, stack)
        layout: Layout = "original" if "embedding.weight" in tensors else "hf"
        paths = sorted({file.path for file in tensors.values()})
        size = sum(path.stat().st_size for path in paths)
    files = "one weights file" if len(paths) == 1 else f"{len(paths)} weights files"
    yield Check("files", "passed", f"{files}, {size / 1e9:.3g} GB, complete")
    yield _hashes(folder, paths, sha256, published_hashes(hub, layout) if hub else None)
    with _required("configuration"):
        config = ModelConfig.from_dict(raw, source=folder / "config.json")
    yield _configuration(config)
    with _required("tensors"):
        with Checkpoint(folder) as checkpoint:
            count = checkpoint.check_tensors()
        model = load(settings)
    yield Check("tensors", "passed", f"{count} with the names, shapes and types of the model")
    yield from text_checks(model)


@contextmanager
def _required(name: str) -> Iterator[None]:
    """Turn an error about the checkpoint into a failed check."""
    try:
        yield
    except SetupError as error:
        raise _FailedError(Check(name, "failed", str(error))) from error


def _hashes(
    folder: Path, paths: Sequence[Path], sha256: str | None, published: Mapping[str, str] | None
) -> Check:
    """Compare the checkpoint with the given hash, and its files with published hashes."""
    found = identity(folder)
    statuses: set[Status] = set()
    details = [f"SHA-256 of configuration and weights {found}"]
    if sha256 is not None:
        same = found == sha256.lower()
        statuses.add("passed" if same else "failed")
        details.append("as given" if same else f"{sha256.lower()} was given")
    if published is not None:
        status, detail = _compared(paths, published)
        statuses.add(status)
        details.append(detail)
    if not statuses:
        details.append("compare it with --sha256, or the files with --hub")
    order: tuple[Status, ...] = ("failed", "not verifiable", "passed", "not compared")
    status = next((each for each in order if each in statuses), "not compared")
    return Check("hashes", status, "; ".join(details), {"weights_sha256": found})


def _compared(paths: Sequence[Path], published: Mapping[str, str]) -> tuple[Status, str]:
    names = {path.name for path in paths}
    if names != published.keys():
        other = min(names ^ published.keys())
        return (
            "not verifiable",
            f"the Hub lists different weights files: {other} is only in one place",
        )
    changed = [path.name for path in paths if sha256_of(path) != published[path.name]]
    if changed:
        return "failed", f"the Hub lists a different SHA-256 of {', '.join(changed)}"
    return "passed", "each weights file has the SHA-256 that the Hub lists"


def _configuration(config: ModelConfig) -> Check:
    known = known_model(config)
    shape = f"{config.num_hidden_layers} layers of {config.num_local_experts} experts"
    if known is None:
        return Check("configuration", "not compared", f"{shape}, unlike any model known here")
    wrong = [
        f"{key} is {value}, not {getattr(known.config, key)}"
        for key, value in vars(config).items()
        if value != getattr(known.config, key)
    ]
    if wrong:
        return Check("configuration", "failed", f"not that of {known.name}: {', '.join(wrong)}")
    return Check("configuration", "passed", f"that of {known.name}, {shape}")


def text_checks(model: Transformer) -> tuple[Check, Check]:
    """Returns the checks of the known continuations and of the fixed text."""
    names = "known continuations", "fixed text"
    if model.config.vocab_size != VOCABULARY:
        reason = f"the model has {model.config.vocab_size} tokens, gpt-oss has {VOCABULARY}"
        return Check(names[0], "not verifiable", reason), Check(names[1], "not verifiable", reason)
    return _continuations(names[0], model), _fixed_text(names[1], model)


def _continuations(name: str, model: Transformer) -> Check:
    known = known_model(model.config)
    if known is None:
        reason = "no known continuations of a model with these numbers of layers and experts"
        return Check(name, "not verifiable", reason)
    tokens = [
        token
        for prompt, text in known.continuations
        for token in score_completion(model, encode(prompt), encode(text), 1)
    ]
    # The comparison also treats NaN as the worst gap.
    worst = max(tokens, key=lambda token: (math.isnan(_gap(token)), _gap(token)))
    gap = _gap(worst)
    detail = f"{len(tokens)} tokens of {known.name}, at most {gap:.2f} nats below the best"
    if gap <= LARGEST_GAP:
        return Check(name, "passed", detail, {"largest_gap": gap})
    likely, expected = (_shown(token) for token in (worst.top[0][0], worst.id))
    detail = (
        f"{expected} is {gap:.2f} nats less probable than {likely}, at most {LARGEST_GAP:g} allowed"
    )
    return Check(name, "failed", detail, {"largest_gap": gap})


def _gap(token: Token) -> float:
    assert token.logprob is not None
    return token.top[0][1] - token.logprob


def _shown(token: int) -> str:
    return repr(bytes_of(token).decode(errors="replace"))


def _fixed_text(name: str, model: Transformer) -> Check:
    logprobs: list[float] = []
    items: tuple[ConversationItem, ...] = ()
    for text in COPIED:
        items = (*items, User(f"Repeat exactly: {text}"))
        prompt = render_prompt(Conversation(items)) + encode(OPENING)
        tokens = score_completion(model, prompt, encode(f"{text}<|return|>"), 1)
        logprobs += [token.logprob for token in tokens if token.logprob is not None]
        items = (*items, Answer(text))
    mean, least = sum(logprobs) / len(logprobs), min(logprobs)
    status: Status = "passed" if mean >= LEAST_MEAN else "failed"  # NaN fails
    detail = (
        f"{len(logprobs)} copied tokens, mean logprob {mean:.3f} (at least {LEAST_MEAN:g} "
        f"required), least {least:.2f}"
    )
    return Check(name, status, detail, {"mean_logprob": mean, "least_logprob": least})
