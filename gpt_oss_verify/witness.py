"""The witness of `rescore`: a server that reads replies instead of a model in this process."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gpt_oss_verify.options import Options
from gpt_oss_verify.resolve import resolve
from gpt_oss_verify.screen import say
from harness.errors import ConfigurationError
from harness.golden.files import fitting
from harness.providers.entries import access
from harness.records.readings import ReaderInfo
from harness.records.runs import RunInfo
from harness.rules.numerics import golden_prompts
from reference_engine.rescoring.prompts import Rendering, prompt_of
from reference_engine.rescoring.reading import Reader
from reference_engine.rescoring.witness.connect import connect
from reference_engine.rescoring.witness.selfcheck import KnownAnswer

if TYPE_CHECKING:
    from gpt_oss_verify.rescore import ReaderOptions

ITSELF = "provider"
"""The witness that is the provider of the run."""


def witness(options: "ReaderOptions", info: RunInfo) -> tuple[Reader, ReaderInfo]:
    """Return a server that reads replies, after its self-check, and its description.

    Raises ConfigurationError, and SetupError if the server cannot be a witness.
    """
    model = info.tasks[0].conditions[0].model
    itself = options.witness == ITSELF
    if itself:
        provider = resolve(Options(), info).provider
        url, headers = provider.base_url, dict(access(provider).headers)
    else:
        url, headers = options.witness or "", _headers(options)
    say(f"checking the server that reads, at {url}")
    reader, found = connect(
        url,
        options.witness_model or (model if itself else None),
        headers=headers,
        known=() if itself else _known_answers(model),
    )
    return reader, ReaderInfo(
        name=found.name,
        model=found.model,
        form=f"{found.form} of {'the provider itself' if itself else 'another server'}",
        judges_numbers=not itself and found.compared > 0,
    )


def _headers(options: "ReaderOptions") -> dict[str, str]:
    """Return the header with the key of the witness. Raises ConfigurationError."""
    name = options.witness_key_env
    if name is None:
        return {}
    if not (key := os.environ.get(name)):
        raise ConfigurationError(f"--witness-key-env names {name}, but that variable is not set.")
    return {"Authorization": f"Bearer {key}"}


def _known_answers(model: str) -> Sequence[KnownAnswer]:
    """Return the golden answers of the model's weights; none for a model without a golden file."""
    golden = fitting(model)
    if golden is None:
        return ()
    asked = golden_prompts.requests()
    answers = []
    for name, answer in golden.continuations.items():
        prompt = prompt_of(asked.api, asked.greedy[name], Rendering(), "2026-01-31")
        if prompt is not None and len(prompt) == answer.prompt_tokens:
            logprobs = (
                dict(token.top).get(token.id) if token.steady else None for token in answer.tokens()
            )
            answers.append(KnownAnswer(prompt, tuple(answer.ids), tuple(logprobs)))
    return answers
