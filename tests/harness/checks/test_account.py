"""The account: who wrote a reply, decided by structure, copies, twins and counts, in this order."""

import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

import pytest
from healthy import rollout, stream_response
from replies import Reply, chat_blocks, chat_chunks

from harmony.render import text_tokens
from harness.api.parsed_rollout import parse_rollout
from harness.records.conditions import Condition
from harness.records.scores import Evidence, Finding, Score
from harness.records.traits import Ledger, Sheet, Traits, Wanted
from harness.rules.account import Account, account_of
from harness.rules.account.entry import Entry, What
from harness.rules.account.sheets import sheets as sheets_of

COT = "The user wants a sentence, so I write one about the harbour and its boats."
WORDS = ("quay", "mill", "ferry", "light", "buoy", "dock", "tide", "mast", "sail", "rope")
TEXTS = [
    f"The {one} is near the {other}, and the wind turns west at {other}{one}."
    for one, other in zip(WORDS, WORDS[1:] + WORDS[:1], strict=True)
]
MARKUP = 10  # tokens of the headers of CoT and answer, and of the end


def tokens(text: str) -> int:
    return len(text_tokens(text))


def sheet(
    text: str,
    cot: str = COT,
    *,
    wrote: str | None = None,
    thought: str | None = None,
    **more: object,
) -> Sheet:
    """A reply; its count is that of what the model wrote, by default of the reply itself."""
    made = tokens(text if wrote is None else wrote) + tokens(cot if thought is None else thought)
    own = Ledger(
        exchange=0,
        reported=made + MARKUP,
        prompt=70,
        cot=tokens(cot),
        answer=tokens(text),
        calls=0,
        markup=MARKUP,
        returned=tokens(cot) + tokens(text) + MARKUP,
        spellings=0,
        exact=True,
    )
    found = Sheet(0, text[:12], True, (), "", "model", cot, text, (), ledger=own)
    return replace(found, **more)


def counted(one: Sheet, by: Callable[[int], int]) -> Sheet:
    """The same reply with another count."""
    assert one.ledger is not None
    return replace(one, ledger=replace(one.ledger, reported=by(one.ledger.reported)))


WRONG = Evidence(record="r", exchange=0, expected="JSON", got="{'note': 'salt'}")


def run(
    sheets: Iterable[Sheet], tasks: int = 5, faulty: Collection[int] = (), rule: str = ""
) -> tuple[Account, list[str]]:
    """The account of a run with these replies, each to a sample of its own kind."""
    scores = []
    for at, one in enumerate(sheets):
        mode = "streaming" if one.streamed else "non-streaming"
        condition = Condition(model="m", api="chat", mode=mode)
        record, sample = f"r{at}", one.request or f"s{at}"
        score = Score(record, f"probes{at % tasks}", sample, condition, 1, "answered")
        error = Finding(id=rule, severity="error", message="It is wrong.", evidence=WRONG)
        findings = (error,) if at in faulty else ()
        scores.append(replace(score, traits=Traits(sheets=(one,)), findings=findings))
    return account_of(scores), [score.record for score in scores]


def entries(sheets: Iterable[Sheet], tasks: int = 5) -> list[Entry]:
    account, records = run(sheets, tasks)
    return [account.of(record) for record in records]


HEALTHY = [sheet(text) for text in TEXTS]
CALLED = Wanted(name="add_note", arguments={"note": 'salt "and" pepper'}, special='"and"')


def kinds(sheets: Iterable[Sheet]) -> set[tuple[str, str]]:
    return {(one.kind, one.place) for one in entries(sheets) if one.witness or one.kind != "intact"}


def test_healthy_replies_are_intact() -> None:
    assert {one.kind for one in entries(HEALTHY)} == {"intact"}
    assert kinds([]) == set()


@pytest.mark.parametrize("less", [10, 9, 6, 1, -3])
def test_a_server_may_count_more_or_less_of_the_format(less: int) -> None:
    assert kinds(counted(one, lambda n: n - less) for one in HEALTHY) == set()


# --- Structure


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (TEXTS[0] + TEXTS[0], What.TWICE),
        (TEXTS[0][:30] + TEXTS[0], What.RESTARTED),
    ],
)
def test_text_that_is_there_again_has_the_tokens_of_the_text_alone(text: str, what: What) -> None:
    (entry,) = [one for one in entries([*HEALTHY[1:], sheet(text, wrote=TEXTS[0])]) if one.witness]
    assert (entry.place, entry.what, entry.wanted) == ("answer", what, TEXTS[0])
    own = entries([*HEALTHY[1:], sheet(text)])[-1]  # The model wrote it: the tokens are its own.
    assert (own.kind, own.witness) == ("intact", "")


@pytest.mark.parametrize("between", ["", "\n\n"])
def test_every_answer_twice_shows_not_what_a_server_counts(between: str) -> None:
    asked = [f"{text} The word is orchid{at}." for at, text in enumerate(TEXTS)]
    twice = [
        sheet(text + between + text, wrote=text, wanted=Wanted(text=f"orchid{at}"))
        for at, text in enumerate(asked)
    ]
    assert {one.what for one in entries(twice)} == {What.TWICE}


def test_a_text_in_two_items_is_there_twice() -> None:
    one = sheet(TEXTS[0] * 2, wrote=TEXTS[0])
    assert one.ledger is not None
    second = one.ledger.returned + 7  # the header and the end token of the second message
    items = replace(one, ledger=replace(one.ledger, returned=second))
    assert entries([*HEALTHY[1:], items])[-1].what is What.TWICE


def test_each_piece_of_a_stream_twice_is_named() -> None:
    doubled = sheet(TEXTS[0], COT, thought=COT[:30], twice=("CoT",), streamed=True)
    (entry,) = [one for one in entries([doubled]) if one.witness]
    assert (entry.kind, entry.place) == ("added", "CoT")


def test_a_cot_under_two_names_is_not_there_twice() -> None:
    both, doubled = list(chat_chunks(Reply(reasoning=COT))), []
    for chunk in both:
        delta = chunk["choices"][0]["delta"] if chunk["choices"] else {}
        doubled += [chunk] * (1 + ("reasoning" in delta))
        delta |= {"reasoning_content": delta["reasoning"]} if "reasoning" in delta else {}
    for chunks, places in ((both, ()), (doubled, ("CoT",))):
        seen = rollout([stream_response(chat_blocks(chunks))], streaming=True)
        (found,) = sheets_of(parse_rollout(seen), counted=False)
        assert found.twice == places


def test_a_code_fence_around_a_structured_answer() -> None:
    json_text = '{"harbour": "Brest", "boats": 12}'
    fenced = sheet(f"```json\n{json_text}\n```", wrote=json_text, format="x")
    assert entries([*HEALTHY, fenced])[-1].what is What.FENCED
    assert entries([*HEALTHY, sheet(f"```json\n{json_text}\n```", format="x")])[-1].kind == "intact"


# --- Copies


def copy(text: str, *, wrote: str | None = None, said: str | None = None) -> Sheet:
    return sheet(text, wrote=wrote, wanted=Wanted(text=said or wrote or text))


def test_a_changed_copy_is_the_servers_if_the_tokens_are_those_of_the_text() -> None:
    same = [copy(text) for text in TEXTS[2:]]
    lost = copy(TEXTS[0][:20], wrote=TEXTS[0])
    (entry,) = [one for one in entries([*same, lost]) if one.kind not in ("intact", "unknown")]
    assert (entry.kind, entry.place, entry.wanted) == ("lost", "answer", TEXTS[0])
    assert "text is missing: at the end" in entry.message
    own = copy(TEXTS[0][:20], said=TEXTS[0])  # The model copied it badly.
    assert kinds([*same, own]) == {("unknown", "")}


def call(arguments: str, cot: str = COT, wanted: Wanted = CALLED, name: str = "add_note") -> Sheet:
    one = sheet("", cot)
    return replace(one, request=arguments, calls=((name, arguments),), ledger=None, wanted=wanted)


def test_all_values_of_a_type_or_names_of_a_style_are_changed_by_servers() -> None:
    volume = Wanted(name="set_volume", arguments={"volume": 0.5})
    retyped = [replace(call('{"volume": "0.5"}', wanted=volume, name="set_volume")) for _ in "ab"]
    assert kinds(retyped) == {("changed", "arguments")}
    kept = call('{"volume": 0.5}', wanted=volume, name="set_volume")
    assert kinds([*retyped, kept]) == {("unknown", "")}
    depth = Wanted(name="set_depth", arguments={"maxDepth": 7})
    named = [call('{"max_depth": 7}', wanted=depth, name="set_depth") for _ in "ab"]
    assert kinds(named) == {("changed", "arguments")}


def test_a_model_that_writes_other_arguments_is_not_accused() -> None:
    """Its tokens are those of the call, its mistakes differ, and its CoT may plan another text."""
    wrong = [call(f'{{"note": "salt or {word}"}}') for word in WORDS]
    assert kinds(wrong) == {("unknown", "")}
    planned = 'The user wants add_note. With note: salt "and" pepper.'
    longer = call('{"note": "salt aumenta \\"and\\" pepper"}', planned)
    assert kinds([longer, longer]) == {("unknown", "")}


@pytest.mark.parametrize(("thought", "changed"), [("žluté lodě 潮🌊ありがとう", True), ("", False)])
def test_characters_that_all_texts_lack_have_tokens(thought: str, changed: bool) -> None:
    """A model that writes none of them has the count of what it writes."""
    asked = [f"žluté 潮🌊 {word}" for word in WORDS]
    lacking = [
        sheet(
            text.encode("ascii", "ignore").decode(),
            wrote=text if changed else None,
            thought=COT + thought,
            wanted=Wanted(text=text),
        )
        for text in asked
    ]
    found = entries([*HEALTHY, *lacking])[len(HEALTHY) :]
    assert {entry.what for entry in found} == {What.ASCII_ONLY if changed else What.UNKNOWN}


@pytest.mark.parametrize(
    ("cot", "trimmed"),
    [
        ("With note:dock nine .", True),
        ("With note 'dock nine '.", True),
        ("I save dock nine as a note.", False),
        ("With note: dock nine.", False),
        ("With note:dock nine . So dock nine.", False),
    ],
)
def test_white_space_at_the_end_is_planned_if_the_cot_has_it(cot: str, trimmed: bool) -> None:
    """Its tokens are those of the call without it."""
    wanted = Wanted(name="add_note", arguments={"note": "dock nine "}, special="nine ")
    others = [call('{"note": "dock nine"}', cot, wanted) for _ in "ab"]
    assert (kinds(others) == {("changed", "arguments")}) == trimmed


def test_a_name_in_another_style_than_in_the_cot_is_changed() -> None:
    wanted = Wanted(name="get-weather")
    other = call("{}", "I call get-weather now.", wanted, "get_weather")
    assert kinds([other]) == {("changed", "name")}
    assert kinds([call("{}", "I call it now.", wanted, "get_weather")]) == {("unknown", "")}
    prefixed = call("{}", "I call get-weather now.", wanted, "functions.get-weather")
    assert kinds([prefixed]) == {("unknown", "")}  # A model may write the prefix itself.


@pytest.mark.parametrize(("more", "lost"), [(0, True), (3, False)])
def test_two_tokens_of_every_cot_are_no_convention(more: int, lost: bool) -> None:
    """If the reasoning tokens have two more than the CoT, with its header or without."""
    asked = []
    for text, word in zip(TEXTS * 2, WORDS * 2, strict=True):
        one = counted(sheet(text, f"{COT} {len(asked)} {word}"), lambda n: n + 2)
        assert one.ledger is not None
        thinking = one.ledger.cot + (2 if lost else more)
        asked.append(replace(one, ledger=replace(one.ledger, thinking=thinking)))
    assert {entry.what for entry in entries(asked)} == {What.COT_TOKENS if lost else What.INTACT}


# --- Whole twins


def test_a_stopped_or_cut_reply_is_the_beginning_of_the_whole_one() -> None:
    whole = sheet("one, two, three, four, five, six", request="count")
    stop = {"request": "count", "stops": ("five",), "end": "stop string"}
    right, tail = (
        sheet(text, wrote=whole.text, **stop)
        for text in ("one, two, three, four, ", "one, two, three, four,  six")
    )
    assert entries([whole, right])[1].kind == "intact"
    for one in (
        whole,
        counted(whole, lambda n: n + 1),
    ):  # A model spells a text with one token more.
        entry = entries([one, tail])[1]
        assert (entry.what, entry.witness) == (What.AFTER_STOP, "whole")
    cut = {"request": "count", "end": "limit"}
    in_cot = [sheet("The reply reached its limit.", COT[:20], **cut) for _ in "ab"]
    assert kinds([whole, *in_cot]) == {("added", "answer")}
    assert kinds([whole, in_cot[0]]) == set()  # May be a rounding error.
    without_cot = [sheet("one, two, three,", "", thought=COT, **cut) for _ in "ab"]
    assert ("added", "answer") not in kinds([whole, *without_cot])


# --- Twins


def twins(change: Callable[[str], str], *, tries: int = 2) -> list[Sheet]:
    made = []
    for text in TEXTS[:4]:
        for streamed in (False, True):
            got = change(text) if streamed else text
            made += [sheet(got, wrote=text, request=text, streamed=streamed)] * tries
    return made


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda text: text[8:], "lost"),
        (lambda text: f"{text} Powered by us.", "added"),
        (lambda text: text.replace(" ", ""), "changed"),
    ],
)
def test_streams_that_differ_from_their_twins_are_changed(
    change: Callable[[str], str], kind: str
) -> None:
    found = entries(twins(change))
    assert {one.kind for one in found[2::4]} == {kind}
    assert {one.kind for one in found[0::4]} == {"intact"}


@pytest.mark.parametrize(
    ("rule", "accused"), [("calls.arguments.escaped", {0, 1, 2}), ("chat.stream.done", {3})]
)
def test_a_reply_whose_arguments_are_accused_is_no_evidence(rule: str, accused: set[int]) -> None:
    """Most are in the notation of Python; an error of events leaves the majority right."""
    replies = [
        replace(call(text), request=request, ledger=None, wanted=None)
        for request in "abc"
        for text in ["{'note': 'salt'}"] * 3 + ['{"note": "salt"}']
    ]
    account, records = run(replies, faulty={at for at in range(12) if at % 4 < 3}, rule=rule)
    changed = {at % 4 for at, record in enumerate(records) if account.of(record).witness}
    assert changed == accused


def test_one_request_with_differing_twins_may_be_a_near_tie() -> None:
    tie = [sheet(TEXTS[0], request="a"), sheet(TEXTS[0][:-6], request="a", streamed=True)]
    assert kinds([*tie, *HEALTHY]) == set()


def test_equal_texts_with_other_counts_are_miscounted_in_one_mode() -> None:
    more = [counted(one, lambda n, one=one: n + one.streamed) for one in twins(lambda text: text)]
    found = entries(more)
    assert {one.kind for one in found[2::4]} == {"miscounted"}
    assert {one.kind for one in found[0::4]} == {"intact"}
    assert "1 too high" in found[2].message


def test_letters_that_a_structured_answer_loses() -> None:
    plain = sheet("Die Bären hören größere Stimmen im Gebüsch.", request="a")
    lossy = sheet(
        '{"satz":"Die Baren horen grossere Stimmen im Gebusch."}', request="a", format="x"
    )
    assert entries([plain, lossy])[1].kind == "changed"
    kept = sheet('{"satz":"Die Bären hören größere Stimmen im Gebüsch."}', request="a", format="x")
    assert entries([plain, kept])[1].kind == "intact"


# --- Counts


@pytest.mark.parametrize(
    ("wrong", "how"),
    [
        (lambda one: 2 * one.reported, "a hidden retry were counted"),
        (lambda one: one.reported + one.cot, "includes the CoT twice"),
        (lambda one: one.reported + one.prompt, "includes the input tokens"),
        (lambda one: one.reported - one.cot, "omits the CoT"),
        (lambda one: -(-one.reported // 16) * 16, "is rounded: to multiples of 16"),
    ],
)
def test_a_formula_names_a_wrong_count(wrong: Callable[[Ledger], int], how: str) -> None:
    longer = [sheet(" ".join(TEXTS[: at + 1]), COT * (at + 1)) for at in range(8)]
    found = entries(counted(one, lambda _, one=one: wrong(one.ledger)) for one in longer)
    judged = [one for one in found if one.kind == "miscounted"]
    assert len(judged) >= 5
    assert how in judged[0].message


def test_counts_alone_do_not_tell_lost_text_from_a_wrong_count() -> None:
    lost = sheet("The boat lies by the mill.", wrote=" ".join(TEXTS))
    entry = entries([*HEALTHY, lost])[-1]
    assert (entry.kind, entry.witness) == ("unknown", "count")
    assert entry.proven  # Many tokens, but not whether text is lost.


def test_a_reply_without_the_cot_that_its_tokens_include() -> None:
    entry = entries([*HEALTHY, sheet(TEXTS[0], "", thought=COT)])[-1]
    assert (entry.kind, entry.place) == ("lost", "CoT")
    assert kinds([*HEALTHY, sheet(TEXTS[0], "")]) == set()


def test_an_ending_that_all_odd_replies_share_is_added() -> None:
    added = [sheet(text, f"{COT}{at} [Checked by Acme.]", thought=f"{COT}{at}")
             for at, text in enumerate(TEXTS[:5])]  # fmt: skip
    found = entries([*HEALTHY[5:], *added])
    assert {(one.kind, one.place) for one in found[-5:]} == {("added", "CoT")}


def test_a_short_text_before_every_answer_is_added() -> None:
    own_words = [text[4:].capitalize() for text in TEXTS]
    greeted = [sheet(f"Sure, my friend: {text}", wrote=text) for text in own_words]
    assert {(one.kind, one.wanted) for one in entries(greeted)} == {("added", t) for t in own_words}
    own = [sheet(f"Sure, my friend: {text}") for text in own_words]  # The model says so.
    assert kinds(own) == set()
    less = [counted(one, lambda n: n - 6) for one in own]  # The server does not count a header.
    assert kinds(less) == set()


def test_one_sentence_for_different_requests_is_named() -> None:
    stock = "Sorry, this request cannot be served right now."
    odd = [replace(sheet(stock, wrote=" ".join(TEXTS)), request=f"q{at}") for at in range(5)]
    found = entries([*HEALTHY, *odd])
    assert {one.kind for one in found[-5:]} == {"changed"}
    own = [replace(sheet(stock), request=f"q{at}") for at in range(5)]  # The model says so.
    assert kinds([*HEALTHY, *own]) == set()


def test_one_answer_without_its_cot_is_no_stock_sentence_where_others_lack_it() -> None:
    """OGX drops the CoT without `reasoning.effort`, and several requests have the same answer."""
    same = "The code word is orchid596."
    thoughts = [f"{COT} {text}" * (at + 1) for at, text in enumerate(TEXTS)]
    alike = [
        replace(sheet(same, cot="", thought=thought), request=f"q{at}")
        for at, thought in enumerate(thoughts[:5])
    ]
    others = [
        sheet(text, cot="", thought=thought) for text, thought in zip(TEXTS, thoughts, strict=True)
    ]
    found = entries([*HEALTHY, *alike, *others])
    assert "changed" not in {one.kind for one in found}
    assert {one.kind for one in entries([*HEALTHY, *alike])[-5:]} == {"changed"}


@pytest.mark.parametrize("streamed", [False, True])
def test_more_odd_counts_than_a_model_spells_are_an_error_in_any_mode(streamed: bool) -> None:
    made = [sheet(f"{text} {at}.", streamed=streamed) for at, text in enumerate(TEXTS * 30)]

    def proven(odd: int) -> set[bool]:
        counts = [
            counted(one, lambda n, at=at: n + 8 + at % 3) for at, one in enumerate(made[:odd])
        ]
        found = entries([*counts, *made[odd:]])[:odd]
        assert {one.what for one in found} == {What.TOO_HIGH}
        return {one.proven for one in found}

    assert proven(2) == {False}
    assert [proven(odd) for odd in (15, 30, 150)] == [{True}] * 3


def test_a_reply_that_is_recorded_again_is_no_further_evidence() -> None:
    made = [sheet(f"{text} {at}.") for at, text in enumerate(TEXTS * 30)]
    odd = [counted(replace(one, request="r"), lambda n: n + 8) for one in made[:1]]
    assert {one.proven for one in entries([*odd * 20, *made], tasks=1)[:20]} == {False}


@pytest.mark.parametrize(
    ("change", "wrote", "requests", "what"),
    [
        (lambda text: text[:-9], None, "a", What.BROKEN_OFF),
        (lambda text: text.replace("e", "\N{REPLACEMENT CHARACTER}", 1), None, "a", What.GARBLED),
        (lambda text: text[:-9], TEXTS[0], "ab", What.PART_LOST),  # one alone may be a near-tie
    ],
)
@pytest.mark.parametrize("counted", [True, False])
def test_one_of_four_equal_requests_is_damaged(
    change: Callable[[str], str], wrote: str | None, requests: str, what: What, counted: bool
) -> None:
    """It alone is accused, whether it has a count or not; without one it may be broken off."""
    own = sheet(change(TEXTS[0]), wrote=wrote)
    own = own if counted else replace(own, ledger=None)
    rows = [
        replace(own if at == 3 else sheet(TEXTS[0]), request=request)
        for request in requests
        for at in range(4)
    ]
    found = entries(rows)
    named = What.BROKEN_OFF if what is What.PART_LOST and not counted else what
    assert [one.what for one in found] == [*[What.INTACT] * 3, named] * len(requests)


def test_arguments_that_are_encoded_twice_are_no_majority() -> None:
    written = '{"note": "salt \\"and\\" pepper"}'
    made = [call(written), *[call(json.dumps(written))] * 3]
    found = entries([replace(one, request="a") for one in made])
    assert [one.what for one in found] == [What.INTACT] + [What.ENCODED_TWICE] * 3


def test_two_against_two_accuse_neither_unless_the_counts_decide() -> None:
    def pairs(wrote: bool) -> list[Sheet]:
        return [
            sheet(text, wrote=TEXTS[at] if wrote else text, request=f"r{at}")
            for at in range(3)
            for text in (TEXTS[at], TEXTS[at][:-9])
        ]

    assert kinds(pairs(wrote=False) * 2) == set()
    found = entries(pairs(wrote=True) * 2)
    assert {one.kind for one in found[1::2]} == {"lost"}
    assert {one.kind for one in found[::2]} == {"intact"}


def test_of_two_texts_the_cot_that_has_its_reasoning_tokens_is_right() -> None:
    """Both fit their count: the format of a call has one token more or less."""

    def pair(name: str, lost: str) -> list[Sheet]:
        written = sheet(TEXTS[0], request=name)
        cut = sheet(TEXTS[0], COT.replace(lost, "", 1), thought=COT, request=name)
        made = [(cut, False), (cut, False), (written, True), (written, True)]
        thinking = tokens(COT)
        return [
            replace(one, streamed=streamed, ledger=replace(one.ledger, thinking=thinking))
            for one, streamed in made
        ]

    found = entries([*pair("a", " a"), *pair("b", " its"), *HEALTHY])
    assert [one.kind for one in found[:8]] == ["lost", "lost", "intact", "intact"] * 2


def test_a_suffix_with_a_word_of_ours_is_added_text() -> None:
    """The words of a message decide nothing."""
    replies = [(f"r{at}", text) for at, text in enumerate(TEXTS)]
    whole = [sheet(text, request=request) for request, text in replies for _ in "12"]
    longer = [
        sheet(f"{text} Checked twice.", wrote=text, request=request) for request, text in replies
    ]
    found = entries([*whole, *longer])
    assert {one.rule for one in found[len(whole) :]} == {"text.added"}
    assert {one.kind for one in found[: len(whole)]} == {"intact"}


def test_an_empty_object_before_the_arguments_is_added_in_every_call() -> None:
    calls = [call('{}{"note": "salt"}', wanted=Wanted(name="add_note")) for _ in "abcd"]
    assert kinds(calls) == {("added", "arguments")}


def test_a_worse_model_spells_answers_oddly_as_well_as_cots() -> None:
    """Its rate of odd answers, by token, is what the CoTs must exceed."""

    def spelled(text: str, number: int) -> Sheet:
        one = sheet(text, f"{COT} Number {number}.", request=f"n{number}")
        more, in_cot = int(number % 6 < 2), int(number % 6 == 0)
        assert one.ledger is not None
        counts = {"reported": one.ledger.reported + more, "thinking": one.ledger.cot + in_cot}
        return replace(one, ledger=replace(one.ledger, **counts))

    found = entries(spelled(text, at) for at, text in enumerate(TEXTS * 6))
    assert {one.what for one in found} == {What.INTACT, What.UNKNOWN}


@pytest.mark.parametrize("share", [2, 4])
def test_a_word_that_many_cots_lack_is_in_their_reasoning_tokens(share: int) -> None:
    def thought(one: Sheet, lacks: bool) -> Sheet:
        assert one.ledger is not None
        counted = replace(
            one.ledger, thinking=one.ledger.cot + lacks, reported=one.ledger.reported + lacks
        )
        return replace(one, ledger=counted)

    made = [sheet(f"{text} {at}.") for at, text in enumerate(TEXTS * 12)]
    found = entries(thought(one, at % share == 0) for at, one in enumerate(made))
    assert {one.kind for one in found[::share]} == {"lost"}
    assert {one.kind for at, one in enumerate(found) if at % share} == {"intact"}
    assert {one.kind for one in entries(thought(one, at == 0) for at, one in enumerate(made))} <= {
        "intact",
        "unknown",
    }


@pytest.mark.parametrize("share", [1, 2, 4])
def test_counts_that_are_all_too_high_by_one_number_are_wrong(share: int) -> None:
    made = [
        counted(one, lambda n, at=at: n + 20 * (at % share == 0))
        for at, one in enumerate(sheet(f"{text} {at}.") for at, text in enumerate(TEXTS * 2))
    ]
    assert {one.what for one in entries(made)[::share]} == {What.OFF}


def test_a_copy_that_only_streams_change_is_the_servers() -> None:
    """At every try, and never in complete replies; once may be a rounding error."""
    separated = "salt\u2028pepper\u2029dock and a longer text"
    lost = separated.replace("\u2028", "").replace("\u2029", "")

    def made(streams: int) -> list[Sheet]:
        streamed = sheet(lost, wrote=separated, wanted=Wanted(text=separated), streamed=True)
        whole = sheet(separated, wanted=Wanted(text=separated))
        return [replace(one, request="r") for one in (whole, whole, *[streamed] * streams)]

    assert kinds([*HEALTHY, *made(2)]) == {("changed", "answer")}
    assert ("changed", "answer") not in kinds([*HEALTHY, *made(1)])
