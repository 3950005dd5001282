"""Probes of texts that the model repeats; token counts show whether the server changed them."""

from collections.abc import Callable
from itertools import groupby
from random import Random

import pytest
from probing import judged
from replies import Reply, pieces

from harmony.render import text_tokens
from harmony.vocabulary import harmony_encoding
from harness.rules.probe import ProbeRequest
from harness.rules.text import probes as echo
from harness.run.attempts import Attempt
from reports.model import ShownRule

Change = Callable[[str], str]


def unchanged(text: str) -> str:
    return text


def provider(
    read: Change, written: Change, copied: Change = unchanged
) -> Callable[[ProbeRequest, Attempt], Reply]:
    """A provider that changes texts on their way to a model that copies them, or back."""

    def reply(request: ProbeRequest, _: Attempt) -> Reply:
        got = read(echo.ALL_TEXTS[request.id])
        said = copied(got)
        tokens = 60 + len(text_tokens(f"Please repeat after me: {got}"))
        return Reply(text=written(said), wrote=said, prompt=tokens)

    return reply


def test_tokens_show_that_the_model_changed_a_text() -> None:
    def copied(text: str) -> str:
        return "dock nine" if text == echo.TEXTS["spaces"] else text

    (result,) = judged(echo.GROUP, provider(unchanged, unchanged, copied)).values()
    assert not result.failures
    assert {reason.values["got"] for reason in result.reasons} == {"dock nine"}


def _without_equal_neighbours(text: str) -> str:
    """What arrives if a server drops each event of a stream that equals the one before."""
    tokens = harmony_encoding().encode(text, disallowed_special=())
    return harmony_encoding().decode([token for token, _ in groupby(tokens)])


@pytest.mark.parametrize("share", [1.0, 0.25])
@pytest.mark.parametrize("seed", range(4))
def test_events_that_are_lost_because_they_equal_the_one_before_are_found(
    share: float, seed: int
) -> None:
    """Also in a share of the streams of one API; a model that writes so is not accused."""
    for own in (False, True):
        random = Random(seed)

        def reply(request: ProbeRequest, attempt: Attempt) -> Reply:
            text = echo.ALL_TEXTS[request.id]
            streams = attempt.condition.streaming and attempt.condition.api == "chat"
            hit = (own or streams) and random.random() < share  # noqa: B023 (called at once)
            got = _without_equal_neighbours(text) if hit else text
            return Reply(text=got, wrote=got if own else text)  # noqa: B023

        (result,) = judged(echo.GROUP, reply).values()
        assert (result.status == "failed") != own
        if not own:
            assert "that equal the one before" in result.examples[0].message


def test_a_reply_unlike_what_was_requested_makes_no_plain_pass() -> None:
    """One of a model that mostly obeys; nothing tells whether the server changed it."""

    def reply(request: ProbeRequest, attempt: Attempt) -> Reply:
        odd = request.id == "quotes" and attempt.number == 1 and attempt.condition.streaming
        return Reply(text='the "Alma" sank' if odd else echo.ALL_TEXTS[request.id])

    (result,) = judged(echo.GROUP, reply, apis=["chat"]).values()
    made = 4 * len(echo.ALL_TEXTS)
    assert (result.status, result.in_part, result.applicable) == ("passed", True, made - 1)
    assert str(result.reason).startswith(f"{made - 1} of {made} replies were judged. 1 is unlike")
    assert ShownRule(result).label == "passed in part"


def test_a_piece_that_is_there_twice_is_not_called_another_order() -> None:
    def reply(request: ProbeRequest, attempt: Attempt) -> Reply:
        text = echo.ALL_TEXTS[request.id]
        wrong = attempt.number == 1 and attempt.condition.mode == "streaming"
        first, second, third = pieces(text)
        doubled = f"{first}{second}{second}{third}"
        return Reply(text=doubled if wrong and request.id == "words" else text, wrote=text)

    result = judged(echo.GROUP, reply, apis=["chat"])["echo.returned"]
    assert all("reordered" not in example.message for example in result.examples)


# --- Long texts


def _without_beginning(text: str) -> str:
    return text[text.index(" ") :]


def _on_one_line(text: str) -> str:
    return " ".join(text.split())


def _half(text: str) -> str:
    return text[: len(text) // 2]


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (_half, "at the end"),
        (lambda text: text[:200] + text[400:], "in the middle"),
    ],
)
@pytest.mark.parametrize("streaming", [True, False])
def test_a_damaged_copy_of_a_long_text_is_found(
    damage: Callable[[str], str], what: str, streaming: bool
) -> None:
    """In one of eight replies to one request."""

    def reply(request: ProbeRequest, attempt: Attempt) -> Reply:
        text = echo.ALL_TEXTS[request.id]
        one = attempt.number == 1 and attempt.condition.api == "chat"
        wrong = one and request.id == "long log" and attempt.condition.streaming == streaming
        return Reply(text=damage(text) if wrong else text, wrote=text)

    result = judged(echo.GROUP, reply)["echo.returned"]
    assert result.status == "failed"
    assert what in result.examples[0].message


@pytest.mark.parametrize("damage", [_without_beginning, _half, _on_one_line])
def test_a_model_that_copies_long_texts_badly_is_healthy(damage: Callable[[str], str]) -> None:
    def reply(request: ProbeRequest, attempt: Attempt) -> Reply:
        text = echo.ALL_TEXTS[request.id]
        return Reply(text=damage(text) if request.id.startswith("long") else text)

    (result,) = judged(echo.GROUP, reply).values()
    assert not result.failures
    assert {reason.code for reason in result.reasons} == {"same_value"}
