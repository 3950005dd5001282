"""Finds the form in which a server reads, and checks it."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import orjson

from harmony.conversation import Conversation, User
from harmony.render import render_prompt
from harmony.vocabulary import encode
from reference_engine.backends.dialects import LlamaCpp, Served, Vllm
from reference_engine.errors import SetupError
from reference_engine.rescoring.reading import MOST_ALTERNATIVES
from reference_engine.rescoring.witness.forms import FORMS, Form, LlamaGrammar
from reference_engine.rescoring.witness.places import UnreadError
from reference_engine.rescoring.witness.reader import WitnessReader
from reference_engine.rescoring.witness.selfcheck import (
    KnownAnswer,
    UnfitError,
    require_fit,
    require_weights,
)
from reference_engine.rescoring.witness.server import RefusedError, Server, UnreachableError

AT_ONCE = 4
"""Requests at a time: vLLM computes the logits of whole chunks of prompts, which need memory."""
_TIMEOUT = 600.0  # seconds of silence; a long prompt takes minutes on a CPU
_TOPS = (MOST_ALTERNATIVES, 5, 1)  # most probable tokens that are asked for; the first accepted
_OTHER_KEY = frozenset({401, 403})
_OF_OPTIONS = frozenset({400, 422})  # a smaller number of most probable tokens may be allowed
_NO_HEADERS: Mapping[str, str] = {}


@dataclass(frozen=True)
class Witness:
    """A server that was found fit to read replies.

    Attributes:
        name: The server and its version, as far as it tells them.
        model: The model that it is asked for.
        form: The form of the requests; see `forms`.
        top: Most probable tokens that it returns for each place.
        max_context: Most tokens of a request, None if it does not tell.
        difference: Largest difference of its reading and its writing in nats.
        compared: Tokens of known answers that showed the weights; 0 if they were not checked.
    """

    name: str
    model: str
    form: str
    top: int
    max_context: int | None
    difference: float
    compared: int


def connect(
    url: str,
    model: str | None = None,
    api_key: str | None = None,
    *,
    headers: Mapping[str, str] = _NO_HEADERS,
    known: Sequence[KnownAnswer] = (),
    at_once: int = AT_ONCE,
    timeout: float = _TIMEOUT,
) -> tuple[WitnessReader, Witness]:
    """Find the form in which a server reads, and check it.

    Args:
        url: Its address, with or without `/v1`.
        model: The model to ask for; the one that it serves if None.
        api_key: Sent as a bearer token.
        headers: Sent with each request, for example another form of authorization.
        known: Answers of the expected weights, if they are known.
        at_once: Requests at a time.
        timeout: Longest silence of the server in seconds.

    Raises SetupError if it cannot be a witness.
    """
    sent = dict(headers)
    if api_key:
        sent.setdefault("Authorization", f"Bearer {api_key}")
    server = Server(url, sent, timeout)
    try:
        return _connected(server, model, known, at_once)
    except UnreachableError as error:
        reason = f"does not answer ({error}): start it, or correct its address"
    except UnfitError as error:
        reason = f"{error}; use another one, or a checkpoint"
    except (RefusedError, UnreadError) as error:
        reason = f"failed while it was checked: {error}"
    server.close()
    raise SetupError(f"The witness at {server.root} {reason}.")


def _connected(
    server: Server, model: str | None, known: Sequence[KnownAnswer], at_once: int
) -> tuple[WitnessReader, Witness]:
    served = _served(server, model)
    form, top = _form(server, served.model)
    max_context = _context(server, form) or served.max_context
    reader = WitnessReader(server, form, top, max_context, at_once)
    difference = require_fit(reader.places, reader.write)
    compared = require_weights(reader.places, known)
    name = _name(server, form)
    return reader, Witness(name, served.model, form.name, top, max_context, difference, compared)


def _served(server: Server, model: str | None) -> Served:
    """Return the model of a server. One that its list does not have may still be served."""
    try:
        return Vllm.served(server.get(Vllm.listing), model)
    except RefusedError as error:
        if error.status in _OTHER_KEY:
            raise UnfitError(f"refuses the key ({error})") from error
        reason = str(error)
    except ValueError as error:
        reason = str(error).partition("\n")[0]
    if model is None:
        raise UnfitError(f"does not list its model ({reason})")
    return Served(model, None)


def _form(server: Server, model: str) -> tuple[Form, int]:
    """Return the first form that returns logprobs, with as many probable tokens as it allows."""
    reasons: dict[str, list[str]] = {}
    for kind in FORMS:
        form = kind(model)
        for top in _TOPS:
            try:
                WitnessReader(server, form, top, None, 1).places(*_probe())
            except RefusedError as error:
                reason, again = str(error), error.status in _OF_OPTIONS
            except UnreadError as error:
                reason, again = str(error), False
            else:
                return form, top
            if not again:
                break
        reasons.setdefault(reason, []).append(form.name)
    said = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())
    if "vocab" in said.lower():
        raise UnfitError(f"has another vocabulary than gpt-oss ({said})")
    raise UnfitError(f"returns no logprobs of tokens that it is sent ({said})")


def _probe() -> tuple[tuple[int, ...], tuple[int, ...]]:
    prompt = render_prompt(Conversation((User("Hi"),)))
    return tuple(prompt), tuple(encode("<|channel|>final<|message|>Hello"))


def _context(server: Server, form: Form) -> int | None:
    if isinstance(form, LlamaGrammar):
        with suppress(RefusedError, ValueError):
            return LlamaCpp.served(server.get(LlamaCpp.listing), None).max_context
    return None


def _name(server: Server, form: Form) -> str:
    for path, member, name in form.about:
        with suppress(RefusedError, ValueError):
            found = orjson.loads(server.get(path))
            if isinstance(found, dict) and isinstance(found.get(member), str):
                return f"{name} {found[member]}"
    return f"a server with {form.name}"
