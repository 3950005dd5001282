"""A server that reads passages: a few requests at a time, and equal passages once."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from reference_engine.errors import SetupError
from reference_engine.rescoring.reading import Ask, Passage, ReadToken
from reference_engine.rescoring.witness.forms import Form, Written
from reference_engine.rescoring.witness.places import (
    Place,
    UnreadError,
    read_token,
    require_logprobs,
)
from reference_engine.rescoring.witness.server import RefusedError, Server, UnreachableError

_AS_IS: Mapping[str, Any] = {}
Key = tuple[tuple[int, ...], tuple[int, ...]]
"""A prompt, and the tokens after it that are read."""


class WitnessReader:
    """Reads passages with a server; see `reading.Reader`. Close it at the end."""

    def __init__(
        self, server: Server, form: Form, top: int, max_context: int | None, at_once: int
    ) -> None:
        """Read with requests of this form, `at_once` at a time."""
        self._server = server
        self._form = form
        self._top = top
        self._max_context = max_context
        self._at_once = at_once

    def close(self) -> None:
        """Close the connections."""
        self._server.close()

    def read(self, passages: Sequence[Passage], ask: Ask) -> Sequence[Sequence[ReadToken] | str]:
        """See `reading.Reader`. Passages with a common prompt follow each other.

        Raises SetupError if the server no longer answers.
        """
        keys = [_key(passage) for passage in passages]
        due = sorted({key for key in keys if key[1]})
        with ThreadPoolExecutor(self._at_once) as pool:
            try:
                found = dict(zip(due, pool.map(self._found, due), strict=True))
            except UnreachableError as error:
                raise SetupError(
                    f"The witness at {self._server.root} no longer answers ({error}): start it "
                    "again, with more memory or fewer requests at a time if it ended by itself."
                ) from error
            finally:
                pool.shutdown(cancel_futures=True)
        read: list[Sequence[ReadToken] | str] = []
        for number, (passage, key) in enumerate(zip(passages, keys, strict=True)):
            places = found.get(key, ())
            if isinstance(places, str):
                read.append(places)
                continue
            tokens = enumerate(zip(places, key[1], strict=True), passage.known)
            read.append(
                [
                    read_token(
                        place, token, passage.temperature, passage.top_p, partial(ask, number, at)
                    )
                    for at, (place, token) in tokens
                ]
            )
        return read

    def _found(self, key: Key) -> Sequence[Place] | str:
        """Return the places of tokens, or why they were not read. Raises UnreachableError."""
        try:
            return self.places(*key)
        except (RefusedError, UnreadError) as error:
            return str(error)

    def places(
        self, prompt: Sequence[int], completion: Sequence[int], sampling: Mapping[str, Any] = _AS_IS
    ) -> Sequence[Place]:
        """Return the places of a completion.

        Raises UnreadError, RefusedError and UnreachableError.
        """
        size = len(prompt) + len(completion)
        if self._max_context and size >= self._max_context:
            raise UnreadError(
                f"it has {size} tokens; the witness reads fewer than {self._max_context}"
            )
        asked = self._form.reading(prompt, completion, self._top, sampling)
        answer = self._server.post(self._form.path, asked)
        try:
            found = self._form.places(answer, prompt, completion, self._top)
        except UnreadError:
            raise
        except ValueError as error:
            raise UnreadError("its answer has no logprobs of the tokens that were sent") from error
        require_logprobs(found, completion)
        return found

    def write(self, prompt: Sequence[int], count: int) -> Written:
        """Return at most so many tokens at temperature 0.

        Raises UnreadError, RefusedError and UnreachableError.
        """
        answer = self._server.post(self._form.path, self._form.writing(prompt, count))
        try:
            return self._form.written(answer)
        except UnreadError:
            raise
        except ValueError as error:
            raise UnreadError("its answer has no logprobs of the tokens that it wrote") from error


def _key(passage: Passage) -> Key:
    """Return what to read of a passage: tokens that are known belong to the prompt."""
    known, completion = passage.known, passage.completion
    return (*passage.prompt, *completion[:known]), completion[known:]
