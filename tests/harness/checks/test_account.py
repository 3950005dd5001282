"""The account: who wrote a reply, decided by structure, copies, twins and counts, in this order."""

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

import pytest
from healthy import rollout, stream_response
from replies import Reply, chat_blocks, chat_chunks

from harmony.render import text_tokens
from harness.api.ledger import call_header
from harness.api.parsed_rollout import parse_rollout
from harness.records.conditions import Condition
from harness.records.replies import Ledger, Row, Wanted
from harness.records.scores import Evidence, Finding, Score
from harness.rules.account import Account, account_of
from harness.rules.account.entry import Entry, What
from harness.rules.evidence.rows import rows as rows_of

COT = "The user wants a sentence, so I write one about the harbour and its boats."
WORDS = ("quay", "mill", "ferry", "light", "buoy", "dock", "tide", "mast", "sail", "rope")
TEXTS = [
    f"The {one} is near the {other}, and the wind turns west at {other}{one}."
    for one, other in zip(WORDS, WORDS[1:] + WORDS[:1], strict=True)
]
MARKUP = 10  # tokens of the headers of CoT and answer, and of the end


def tokens(text: str) -> int:
    return len(text_tokens(text))


def reply(
    text: str,
    cot: str = COT,
    *,
    wrote: str | None = None,
    thought: str | None = None,
    **more: object,
) -> Row:
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
    found = Row(answered=True, request=text[:12], greedy=True, end="model", ledger=own)
    return replace(found, reasoning=cot, text=text, **more)


def with_ledger(one: Row, **counts: object) -> Row:
    return replace(one, ledger=replace(one.ledger, **counts))


def counted(one: Row, by: Callable[[int], int]) -> Row:
    """The same reply with another count."""
    return with_ledger(one, reported=by(one.ledger.reported))


WRONG = Evidence(record="r", exchange=0, expected="JSON", got="{'note': 'salt'}")


def run(
    rows: Iterable[Row], tasks: int = 5, faulty: Collection[int] = (), rule: str = ""
) -> tuple[Account, list[str]]:
    """The account of a run with these replies, each to a sample of its own kind."""
    scores = []
    for at, one in enumerate(rows):
        mode = "streaming" if one.streamed else "non-streaming"
        condition = Condition(model="m", api="chat", mode=mode)
        record, sample = f"r{at}", one.request or f"s{at}"
        score = Score(record, f"probes{at % tasks}", sample, condition, 1, "answered")
        error = Finding(id=rule, severity="error", message="It is wrong.", evidence=WRONG)
        findings = (error,) if at in faulty else ()
        row = replace(one, record=record, sample=(score.task, sample))
        scores.append(replace(score, rows=(row,), findings=findings))
    return account_of(scores), [score.record for score in scores]


def entries(rows: Iterable[Row], tasks: int = 5) -> list[Entry]:
    account, records = run(rows, tasks)
    return [account.of(record) for record in records]


HEALTHY = [reply(text) for text in TEXTS]
CALLED = Wanted(name="add_note", arguments={"note": 'salt "and" pepper'}, special='"and"')


def kinds(rows: Iterable[Row]) -> set[tuple[str, str]]:
    return {(one.kind, one.place) for one in entries(rows) if one.witness or one.kind != "intact"}


@pytest.mark.parametrize(
    ("others", "by_count", "obedient"),
    [(0, False, True), (2, False, True), (9, False, False), (9, True, True)],
)
def test_counts_show_whether_the_model_writes_what_requests_determine(
    others: int, by_count: bool, obedient: bool
) -> None:
    """`by_count` is a server that replaces texts: the counts are those of what was wanted."""
    wanted = [reply(text, wanted=Wanted(text=text)) for text in TEXTS]
    for at in range(others):
        text, other = TEXTS[at], f"No boat is here, {WORDS[at]}."
        wrote = text if by_count else None
        wanted[at] = reply(other, wrote=wrote, wanted=Wanted(text=text))
    account, _ = run(wanted)
    assert account.is_obedient == obedient


# --- Structure


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (TEXTS[0] + TEXTS[0], What.TWICE),
        (TEXTS[0][:30] + TEXTS[0], What.RESTARTED),
        (COT + TEXTS[0], What.COT_IN_BOTH),
    ],
)
def test_text_that_is_there_again_has_the_tokens_of_the_text_alone(text: str, what: What) -> None:
    (entry,) = [one for one in entries([*HEALTHY[1:], reply(text, wrote=TEXTS[0])]) if one.witness]
    assert (entry.place, entry.what, entry.wanted) == ("answer", what, TEXTS[0])
    own = entries([*HEALTHY[1:], reply(text)])[-1]  # The model wrote it: the tokens are its own.
    assert (own.kind, own.witness) == ("intact", "")


def test_a_loop_of_the_model_is_no_text_that_begins_again() -> None:
    """One of its beginnings fits any count; another rule may say that the count is wrong."""
    loop = "and then it counts the berths again, "
    entry = entries([*HEALTHY[1:], reply(loop * 9, wrote=loop * 5)])[-1]
    assert entry.what not in (What.TWICE, What.RESTARTED)


GLUED = "Theuserwantsasentence,soIwriteoneabouttheharbouranditsboats."


@pytest.mark.parametrize(
    ("cot", "requests", "changed"),
    [
        (GLUED, 3, True),
        (GLUED, 2, False),  # a model may write so in all tries of a few requests
        (GLUED[:39], 3, False),
        ("VGhlIHVzZXIgd2FudHMgYSBzZW50ZW5jZSwgc28gSSB3cml0ZSBvbmUgYWJvdXQ=", 3, False),
        ("\N{CJK UNIFIED IDEOGRAPH-6E2F}\N{CJK UNIFIED IDEOGRAPH-53E3}" * 30, 3, False),
        ("get_tide.get_tide.get_tide.get_tide.get_tide.", 3, False),
        (COT, 3, False),
    ],
)
def test_a_cot_whose_words_all_lack_spaces_was_stripped(
    cot: str, requests: int, changed: bool
) -> None:
    found = entries([*HEALTHY, *[reply(text, cot) for text in TEXTS[:requests]]])[len(HEALTHY) :]
    assert {one.what for one in found} == ({What.SPACES} if changed else {What.INTACT})


@pytest.mark.parametrize(
    ("text", "spelled", "what"),
    [
        ("Berth ### is free.", "Berth 418 is free.", What.MASKED),
        ("Salt &amp; pepper.", "Salt & pepper.", What.HTML),
        ("salt and pepper.", "Salt and Pepper.", What.LOWER),
        # What a server may do to its list of tokens is no change of the text.
        ("Salt & pepper.", "Salt &amp; pepper.", None),
        ("Salt and pepper.", "\u0120Salt\u0120and\u0120pepper.", None),
        ("Berth 418 is free.", "Berth 418 is", None),
        ("Berth *** and *** are free, too.", "Berth 418 and 419 are free, too.", What.MASKED),
        ("Use *** as a rule, and then a berth.", "Use as a rule, and a berth.", None),
        ("Berth ### is free.", "Berth 41\N{REPLACEMENT CHARACTER} is free.", None),
    ],
)
def test_tokens_with_logprobs_show_what_the_model_wrote(
    text: str, spelled: str, what: What | None
) -> None:
    entry = entries([*HEALTHY, reply(text, spelled=spelled)])[-1]
    assert (entry.what if entry.witness == "tokens" else None) is what


@pytest.mark.parametrize("between", ["", "\n\n"])
def test_every_answer_twice_shows_not_what_a_server_counts(between: str) -> None:
    asked = [f"{text} The word is orchid{at}." for at, text in enumerate(TEXTS)]
    twice = [
        reply(text + between + text, wrote=text, wanted=Wanted(text=f"orchid{at}"))
        for at, text in enumerate(asked)
    ]
    assert {one.what for one in entries(twice)} == {What.TWICE}


def test_a_cot_under_two_names_is_not_there_twice() -> None:
    both, doubled = list(chat_chunks(Reply(reasoning=COT))), []
    for chunk in both:
        delta = chunk["choices"][0]["delta"] if chunk["choices"] else {}
        doubled += [chunk] * (1 + ("reasoning" in delta))
        delta |= {"reasoning_content": delta["reasoning"]} if "reasoning" in delta else {}
    for chunks, places in ((both, ()), (doubled, ("CoT",))):
        seen = rollout([stream_response(chat_blocks(chunks))], streaming=True)
        (found,) = rows_of(parse_rollout(seen), valid=True, counted=False)
        assert found.twice == places


# --- Copies


def copy(text: str, *, wrote: str | None = None, said: str | None = None) -> Row:
    return reply(text, wrote=wrote, wanted=Wanted(text=said or wrote or text))


def test_a_changed_copy_is_the_servers_if_the_tokens_are_those_of_the_text() -> None:
    same = [copy(text) for text in TEXTS[3:]]
    lost = [copy(text[:20], wrote=text) for text in TEXTS[:3]]
    first, *_ = [one for one in entries([*same, *lost]) if one.witness]
    assert (first.kind, first.place, first.wanted) == ("lost", "answer", TEXTS[0])
    assert first.message.startswith("The server lost")
    assert kinds([*same, *lost[:1]]) == {("unknown", "")}  # One may be by chance.
    own = [copy(text[:20], said=text) for text in TEXTS[:3]]  # The model copied them badly.
    assert kinds([*same, *own]) == {("unknown", "")}


@pytest.mark.parametrize("spelled", [" and", "‑and", "“and”", "…and"])
def test_typography_is_no_difference_of_a_copy_or_a_twin(spelled: str) -> None:
    plain = spelled.translate({0x202F: " ", 0x2011: "-", 0x201C: '"', 0x201D: '"', 0x2026: "..."})
    copies = [copy(f"{text} {spelled}", said=f"{text} {plain}") for text in TEXTS]
    assert kinds(copies) == {("intact", "")} or kinds(copies) == set()
    assert kinds(twins(lambda text: f"{text} {spelled}" if spelled else text)) is not None


def call(
    arguments: str,
    cot: str = COT,
    wanted: Wanted = CALLED,
    name: str = "add_note",
    wrote: str | None = None,
) -> Row:
    """A reply with a call; it has a count if it is known what the model wrote."""
    one = replace(reply("", cot), request=arguments, calls=((name, arguments),), wanted=wanted)
    if wrote is None or one.ledger is None:
        return replace(one, ledger=None)
    header = 4 + call_header(name)  # the CoT's, without `<|start|>assistant`
    returned = tokens(cot) + header + tokens(arguments)
    made = tokens(cot) + header + tokens(wrote)
    parts = {"calls": tokens(arguments), "markup": header, "answer": 0}
    return replace(one, ledger=replace(one.ledger, reported=made, returned=returned, **parts))


def test_all_values_of_a_type_or_names_of_a_style_are_changed_by_servers() -> None:
    """The counts are those of the wanted values, or the CoT has the wanted names."""
    note = '{"note": "salt"}'
    intact = [call(note, wanted=Wanted(name="add_note"), wrote=note)] * 4
    retyped, own, named, kept, floats = (list[Row]() for _ in range(5))
    for value in (7, 8, 9):
        levels = Wanted(name="set_level", arguments={"levels": [1, 2, value]})
        text, got = f'{{"levels": [1, 2, {value}]}}', f'{{"levels": "[1, 2, {value}]"}}'
        retyped.append(call(got, wanted=levels, name="set_level", wrote=text))
        own.append(call(got, wanted=levels, name="set_level", wrote=got))
        depth = Wanted(name="set_depth", arguments={"maxDepth": value})
        planned, snake = f"With maxDepth: {value}.", f'{{"max_depth": {value}}}'
        named.append(call(snake, planned, depth, "set_depth"))
        kept.append(call(f'{{"maxDepth": {value}}}', wanted=depth, name="set_depth"))
        halves = f'{{"levels": [1.0, 2.0, {value}.0]}}'
        floats.append(call(halves, wanted=levels, name="set_level", wrote=text))
    for changed in (retyped, named, floats):
        assert kinds([*intact, *changed]) == {("changed", "arguments")}
        again = [replace(changed[0], request=f"r{at}") for at in range(3)]
        assert kinds([*intact, *again]) == {("unknown", "")}  # one value, in whichever request
    for mixed in ([*named, kept[0]], own):
        assert kinds([*intact, *mixed]) == {("unknown", "")}


@pytest.mark.parametrize(
    ("mask", "cot", "changed"),
    [
        ("<LOCATION>", "With location: {town}.", True),
        ("[PHONE_NUMBER]", "I look it up.", True),
        ("<LOCATION>", "I write <LOCATION>, as this is private.", False),
        ("<TOWN>", "I look it up.", False),
    ],
)
def test_the_placeholder_of_a_filter_is_no_value_that_a_model_writes(
    mask: str, cot: str, changed: bool
) -> None:
    """Also if other values are intact, and without counts."""

    def asked(town: str, got: str) -> Row:
        wanted = Wanted(name="get_weather", arguments={"location": town})
        return call(json.dumps({"location": got}), cot.format(town=town), wanted, "get_weather")

    towns = ("Lisbon", "Denver", "Osaka", "Rome")
    masked = [asked(town, mask) for town in towns[:3]]
    kept = asked(towns[3], towns[3])
    assert (kinds([*HEALTHY, *masked, kept]) == {("changed", "arguments")}) is changed
    assert kinds([*HEALTHY, *masked[:2], kept]) == {("unknown", "")}
    assert kinds([*HEALTHY, *[asked(town, f"{town}, Portugal") for town in towns]]) == set()


@pytest.mark.parametrize(("spelled", "changed"), [("...", True), ("…", False)])
def test_a_copy_that_a_model_respells_is_no_text_that_arrived_unchanged(
    spelled: str, changed: bool
) -> None:
    """An ellipsis that arrives is one that NFKC would have replaced; one in ASCII shows nothing."""

    def noted(note: str, got: str) -> Row:
        wanted = Wanted(name="add_note", arguments={"note": note})
        return call(json.dumps({"note": got}), f"With note: {note}.", wanted)

    replaced = [noted(f"½ {word} of salt", f"1⁄2 {word} of salt") for word in WORDS[:3]]
    peer = noted("dock, nine …", f"dock, nine {spelled}")
    assert (("changed", "arguments") in kinds([*HEALTHY, *replaced, peer])) is changed


@pytest.mark.parametrize(("thought", "changed"), [("žluté lodě 潮🌊ありがとう", True), ("", False)])
def test_characters_that_all_texts_lack_have_tokens(thought: str, changed: bool) -> None:
    """A model that writes none of them has the count of what it writes."""
    asked = [f"žluté 潮🌊 {word}" for word in WORDS]
    lacking = [
        reply(
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
    others = []
    for dock in ("nine", "four", "five"):
        wanted = Wanted(name="add_note", arguments={"note": f"dock {dock} "}, special=f"{dock} ")
        others.append(call(f'{{"note": "dock {dock}"}}', cot.replace("nine", dock), wanted))
    assert (kinds(others) == {("changed", "arguments")}) == trimmed


def test_a_slip_in_every_try_has_the_count_of_what_the_model_wrote() -> None:
    """Its CoT plans the copy, and both spellings have equally many tokens."""
    asked = ["reef\\tiller", "luff\\thwart", "hull\\teak"]
    slips = []
    for text in asked:
        wanted = Wanted(name="add_note", arguments={"note": text})
        slip = json.dumps({"note": text.encode().decode("unicode_escape")})
        slips.append(call(slip, f"With note: {text}.", wanted, wrote=slip))
    assert kinds([*HEALTHY, *slips]) == {("unknown", "")}
    uncounted = [replace(slip, ledger=None) for slip in slips]
    assert kinds([*HEALTHY, *uncounted]) == {("changed", "arguments")}


@pytest.mark.parametrize(("value", "arrived"), [("true", "1"), ("false", "0")])
def test_a_type_that_the_tool_does_not_declare_needs_no_count(value: str, arrived: str) -> None:
    """`true` and `1` are one token each in compact JSON."""

    def called(word: str, got: str) -> Row:
        wanted = Wanted(name="set_light", arguments={"lamp": word, "on": json.loads(value)})
        text = f'{{"lamp":"{word}","on":{got}}}'
        return call(text, f"The {word} is to be set.", wanted, "set_light", wrote=text)

    note = '{"note": "salt"}'
    intact = [call(note, wanted=Wanted(name="add_note"), wrote=note)] * 4
    intact += HEALTHY
    changed = [called(word, arrived) for word in WORDS[:3]]
    assert kinds([*intact, *changed]) == {("changed", "arguments")}
    assert kinds([*intact, *changed[:2]]) == {("unknown", "")}
    assert kinds([*intact, *changed, called(WORDS[3], value)]) == {("unknown", "")}


def test_the_sum_of_all_chunks_is_known_from_one_call() -> None:
    """JSON may be spelled in other ways, whose sums are as few numbers."""
    text = '{"note": "salt"}'
    one = counted(
        call(text, wanted=Wanted(name="add_note"), wrote=text), lambda n: n * (n + 1) // 2
    )
    spelled = with_ledger(one, exact=False, spellings=6)
    assert entries([*HEALTHY, spelled])[-1].what is What.SUMMED
    lost = with_ledger(spelled, reported=one.ledger.reported + 9)
    assert entries([*HEALTHY, lost])[-1].what is What.TOO_HIGH


def test_the_chunks_of_streams_are_no_tokens() -> None:
    made = list[Row]()
    for text in TEXTS[:3]:
        chunks = tokens(COT) + tokens(text)  # one token in each
        one = replace(reply(text, streamed=True, chunks=chunks), request=f"stream {text}")
        made.append(with_ledger(one, reported=chunks))
    assert {one.what for one in entries([*HEALTHY, *made])[-3:]} == {What.CHUNKS}
    other = [replace(one, chunks=one.chunks + 1) for one in made]
    assert What.CHUNKS not in {one.what for one in entries([*HEALTHY, *other])}


@pytest.mark.parametrize(
    ("arrived", "changed"),
    [
        ("9007199254740996.0", True),
        ("9.007199254740996e15", True),
        ("9007199254740996", False),  # one wrong digit
        ("9007199254740995.0", False),
        ("9.007199254740995e15", False),
    ],
)
def test_a_64_bit_float_for_a_larger_integer_is_the_servers(arrived: str, changed: bool) -> None:
    wanted = Wanted(name="set_serial", arguments={"serial": 9007199254740995})
    one = call(f'{{"serial": {arrived}}}', wanted=wanted, name="set_serial")
    own = {("changed", "arguments")} if changed else {("unknown", "")}
    assert kinds([*HEALTHY, one]) == own


@pytest.mark.parametrize("title", ["Planning\n", "Thoughts on the request\n\n"])
def test_a_title_before_every_cot_is_no_convention(title: str) -> None:
    """The reasoning tokens are those of the CoT without it."""
    titled = []
    for text, word in zip(TEXTS, WORDS, strict=True):
        cot = f"{word} is a word that I look up, and I say where it stands."
        one = reply(text, title + cot, thought=cot, request=text)
        titled.append(with_ledger(one, thinking=tokens(cot)))
    assert {entry.what for entry in entries(titled)} == {What.EDGE}
    own = [with_ledger(one, thinking=one.ledger.cot) for one in titled]
    assert not any(entry.witness for entry in entries(own))


def test_replies_without_a_cot_that_have_its_tokens_are_not_miscounted() -> None:
    made = [reply(f"{text} {at}.", "") for at, text in enumerate(TEXTS * 4)]
    lost = [counted(one, lambda n: n + 20) for one in made[::2]]
    assert What.OFF not in {one.what for one in entries([*lost, *made[1::2]])}


def test_a_beginning_that_more_replies_have_with_their_own_count_is_the_models() -> None:
    """A small model spells most of its answers with two tokens more, and a few with none more."""
    usual = [
        counted(reply(f"Result: {text} {at}."), lambda n: n + 2)
        for at, text in enumerate(TEXTS * 3)
    ]
    few = [reply(f"Result: {text}.") for text in TEXTS[:3]]
    assert {one.what for one in entries([*usual, *few])}.isdisjoint({What.EDGE})


@pytest.mark.parametrize(("more", "lost"), [(0, True), (3, False)])
def test_two_tokens_of_every_cot_are_no_convention(more: int, lost: bool) -> None:
    """If the reasoning tokens have two more than the CoT, with its header or without."""
    asked = []
    for text, word in zip(TEXTS * 2, WORDS * 2, strict=True):
        one = counted(reply(text, f"{COT} {len(asked)} {word}"), lambda n: n + 2)
        thinking = one.ledger.cot + (2 if lost else more)
        asked.append(with_ledger(one, thinking=thinking))
    assert {entry.what for entry in entries(asked)} == {What.COT_TOKENS if lost else What.INTACT}


@pytest.mark.parametrize(
    ("lower", "odd", "proven"),
    [
        (10, 3, True),
        (10, 2, False),
        (-14, 3, False),  # headers of a model explain a few counts that are too high
    ],
)
def test_a_few_counts_that_are_too_low_are_the_servers(lower: int, odd: int, proven: bool) -> None:
    made = [reply(f"{text} {at}.") for at, text in enumerate(TEXTS * 30)]
    found = entries([*[counted(one, lambda n: n - lower) for one in made[:odd]], *made[odd:]])
    assert {one.what for one in found[:odd]} == {What.TOO_LOW if lower > 0 else What.TOO_HIGH}
    assert {one.proven for one in found[:odd]} == {proven}
    assert {one.kind for one in found[odd:]} == {"intact"}


def test_counts_that_spellings_explain_are_not_too_low() -> None:
    made = [reply(f"{text} {at}.") for at, text in enumerate(TEXTS * 30)]
    found = entries([*(counted(one, lambda n: n - 3) for one in made[:6]), *made[6:]])
    assert not any(one.rule for one in found)


@pytest.mark.parametrize(("miscounted", "what"), [(False, What.NO_HEADER), (True, What.UNKNOWN)])
def test_a_wrong_count_accuses_no_truncated_answer(miscounted: bool, what: What) -> None:
    """The streams of other requests have too few tokens for texts that are known to be intact."""
    made = [reply(f"{text} {at}.", streamed=True) for at, text in enumerate(TEXTS * 3)]
    others = [
        counted(one, lambda n, one=one: n - 10 * (one.streamed and miscounted))
        for one in twins(lambda text: text)
    ]
    cut = [
        counted(replace(one, end="limit", request=f"cut {at}"), lambda n: n - 9)
        for at, one in enumerate(made[:4])
    ]
    cut = [with_ledger(one, end="limit") for one in cut if one.ledger]
    assert {one.what for one in entries([*cut, *made[4:], *others])[: len(cut)]} == {what}


# --- Whole twins


@pytest.mark.parametrize("more", [0, 1])  # A model spells a text with one token more.
def test_a_stopped_or_cut_reply_is_the_beginning_of_the_whole_one(more: int) -> None:
    """One request may have different texts by chance."""
    text = "one, two, three, four, five, six"

    def asked(end: str, got: str, cot: str = COT, requests: str = "ab") -> list[Entry]:
        stops = ("five",) if end == "stop string" else ()
        ended = reply(got, cot, wrote=text, thought=COT, stops=stops, end=end)
        whole = counted(reply(text), lambda n: n + more)
        return entries(replace(e, request=r) for r in requests for e in (whole, ended))[1::2]

    assert {e.kind for e in asked("stop string", "one, two, three, four, ")} == {"intact"}
    tail = "one, two, three, four,  six"
    assert {e.what for e in asked("stop string", tail)} == {What.AFTER_STOP}
    assert {e.witness for e in asked("stop string", tail, requests="a")} == {""}
    notice = "The reply reached its limit."
    assert {e.what for e in asked("limit", notice, COT[:20])} == {What.COT_UNFINISHED}
    assert {e.witness for e in asked("limit", notice, COT[:20], "a")} == {""}
    assert What.COT_UNFINISHED not in {e.what for e in asked("limit", "one, two, three,", "")}


# --- Twins


def twins(change: Callable[[str], str], *, tries: int = 2) -> list[Row]:
    return [
        reply(got, wrote=text, request=text, streamed=streamed)
        for text in TEXTS[:6]
        for streamed, got in ((False, text), (True, change(text)))
        for _ in range(tries)
    ]


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


def test_equal_texts_with_other_counts_are_miscounted_in_one_mode() -> None:
    more = [counted(one, lambda n, one=one: n + one.streamed) for one in twins(lambda text: text)]
    found = entries(more)
    assert {one.kind for one in found[2::4]} == {"miscounted"}
    assert {one.kind for one in found[0::4]} == {"intact"}
    assert "1 too high" in found[2].message


# --- Counts


@pytest.mark.parametrize(
    ("wrong", "how"),
    [
        (lambda one: 2 * one.reported, "a hidden retry were counted"),
        (lambda one: one.reported + one.cot, "includes the CoT twice"),
        (lambda one: one.reported + one.prompt, "includes the input tokens"),
        (lambda one: one.reported - one.cot, "omits the CoT"),
        (lambda one: -(-one.reported // 16) * 16, "is rounded to multiples of 16"),
    ],
)
def test_a_formula_names_a_wrong_count(wrong: Callable[[Ledger], int], how: str) -> None:
    longer = [reply(" ".join(TEXTS[: at + 1]), COT * (at + 1)) for at in range(8)]
    found = entries(counted(one, lambda _, one=one: wrong(one.ledger)) for one in longer)
    judged = [one for one in found if one.kind == "miscounted"]
    assert len(judged) >= 5
    assert how in judged[0].message


@pytest.mark.parametrize("busy", [4, 30])
def test_a_busy_page_with_plausible_counts_is_named(busy: int) -> None:
    """Other tries get their own answers, or hardly any do. A refusal has a CoT of its own."""
    page = "The service is busy. Please try again later."
    tries = [
        reply(f"{text} {at}", request=f"q{at}") for _ in "abc" for at, text in enumerate(TEXTS)
    ]

    def replaced(cot: str) -> list[Entry]:
        pages = [replace(reply(page, cot), request=one.request) for one in tries[:busy]]
        return entries([*pages, *tries[busy:]], tasks=len(TEXTS))

    found = replaced("")
    assert [e.what for e in found if e.witness] == [What.STOCK] * busy
    assert found[0].message == f"Unrelated requests got one answer, in {busy} replies: {page!r}."
    assert not any(e.witness for e in replaced(COT))


REFUSALS = (
    "I\u2019m sorry, but I can\u2019t help with that.",
    "I cannot assist with this.",
    "Désolé, je ne peux pas vous aider.",
    "抱歉，我无法回答。",
)


def test_refusals_in_several_wordings_are_one_answer() -> None:
    """A filter wrote them; the model writes each with a CoT and its own tokens."""
    tries = [
        reply(f"{text} {at}", request=f"q{at}") for _ in "abc" for at, text in enumerate(TEXTS)
    ]

    def replaced(wrote: Sequence[str], **changes: object) -> list[Entry]:
        refusals = [
            replace(reply(said, wrote=text), request=one.request, greedy=False, **changes)
            for said, text, one in zip(REFUSALS, wrote, tries, strict=False)
        ]
        return entries([*refusals, *tries[4:]], tasks=len(TEXTS))

    for changes in ({}, {"reasoning": ""}, {"reasoning": "", "ledger": None}):
        assert [e.what for e in replaced(TEXTS, **changes) if e.witness] == [What.DECLINED] * 4
    assert not any(e.witness for e in replaced(REFUSALS))
    assert not any(e.witness for e in replaced(REFUSALS, ledger=None))


def test_the_end_of_the_cot_at_the_beginning_of_the_answer_is_named() -> None:
    """The reasoning tokens are those of the whole CoT, in every reply."""

    def moved(text: str, early: bool) -> Row:
        cot = f"We name {text[4:8]} and the pier, so the word is short."
        tail = "short." if early else ""
        split = (cot.removesuffix(tail), tail + text) if early else (cot + text[:9], text[9:])
        one = reply(split[1], split[0], wrote=text, thought=cot, request=text)
        return with_ledger(one, thinking=tokens(cot))

    assert {e.what for e in entries(moved(t, True) for t in TEXTS)} == {What.COT_IN_ANSWER}
    found = entries(moved(t, False) for t in TEXTS)
    assert {e.what for e in found} == {What.ANSWER_IN_COT}
    assert found[0].message.endswith(f"end of the CoT: {TEXTS[0][:9]!r}.")


def test_a_border_that_a_spelling_explains_is_the_models_in_all_tries_of_two_requests() -> None:
    """The CoT ends with a word of the copy, whose address has a point as a sentence's end has."""

    def drafted(address: str, seen: int) -> Row:
        cot = f"They want it word for word. So I answer: {address}"
        one = reply(f"{address} \N{ANCHOR}", cot, request=address)
        return with_ledger(one, thinking=tokens(cot) - seen)

    def tries(addresses: Iterable[str]) -> list[Row]:
        each = [drafted(address, tokens(address.partition(".")[2])) for address in addresses]
        return [replace(one, streamed=streamed) for one in each for streamed in (False, True)]

    assert kinds([*HEALTHY, *tries(["keel@lock.pier", "bow@weir.ferry"])]) == set()
    more = ["keel@lock.pier", "bow@weir.ferry", "jib@mole.buoy", "oar@slip.dock"]
    assert kinds([*HEALTHY, *tries(more)]) == {("changed", "CoT")}


def test_one_answer_without_its_cot_is_no_stock_sentence_where_others_lack_it() -> None:
    """OGX drops the CoT without `reasoning.effort`, and several requests have the same answer."""
    same = "The code word is orchid596."
    thoughts = [f"{COT} {text}" * (at + 1) for at, text in enumerate(TEXTS)]
    alike = [
        replace(reply(same, cot="", thought=thought), request=f"q{at}")
        for at, thought in enumerate(thoughts[:5])
    ]
    others = [
        reply(text, cot="", thought=thought) for text, thought in zip(TEXTS, thoughts, strict=True)
    ]
    assert "changed" not in {one.kind for one in entries([*HEALTHY, *alike, *others])}
    assert {one.kind for one in entries([*HEALTHY, *alike])[-5:]} == {"changed"}


@pytest.mark.parametrize("streamed", [False, True])
def test_more_odd_counts_than_a_model_spells_are_an_error_in_any_mode(streamed: bool) -> None:
    made = [reply(f"{text} {at}.", streamed=streamed) for at, text in enumerate(TEXTS * 30)]

    def proven(odd: int) -> set[bool]:
        counts = [
            counted(one, lambda n, at=at: n + 14 + at % 2) for at, one in enumerate(made[:odd])
        ]
        found = entries([*counts, *made[odd:]])[:odd]
        assert {one.what for one in found} == {What.TOO_HIGH}
        return {one.proven for one in found}

    assert [proven(odd) for odd in (2, 9, 30, 150)] == [{False}, {False}, {True}, {True}]


def test_a_reply_that_is_recorded_again_is_no_further_evidence() -> None:
    made = [reply(f"{text} {at}.") for at, text in enumerate(TEXTS * 30)]
    odd = [counted(replace(one, request="r"), lambda n: n + 14) for one in made[:1]]
    assert {one.proven for one in entries([*odd * 20, *made], tasks=1)[:20]} == {False}


@pytest.mark.parametrize(
    ("change", "wrote", "requests", "what"),
    [
        (lambda text: text[:-5], None, "abc", What.BROKEN_OFF),
        (lambda text: text[:-5], None, "a", None),  # one may be a near-tie
        (lambda text: text.replace("e", "\N{REPLACEMENT CHARACTER}", 1), None, "a", What.GARBLED),
        (lambda text: text[:-10], TEXTS[0], "ab", What.BROKEN_OFF),
        (lambda text: text[:-10], None, "ab", None),
        (lambda text: text.replace("is near", "near is"), None, "abc", None),  # near-ties
        (lambda text: text.replace("is near", "lies at"), None, "abc", None),
    ],
)
def test_one_of_four_equal_requests_is_damaged(
    change: Callable[[str], str], wrote: str | None, requests: str, what: What | None
) -> None:
    """It alone is accused."""
    rows = [
        replace(reply(change(TEXTS[0]), wrote=wrote) if at == 3 else reply(TEXTS[0]), request=name)
        for name in requests
        for at in range(4)
    ]
    found = entries([*HEALTHY, *rows])[len(HEALTHY) :]
    assert [one.what for one in found if one.witness] == [what] * (len(requests) if what else 0)


@pytest.mark.parametrize("encode", [json.dumps, "{{}}{}".format])
def test_arguments_that_the_model_encoded_twice_have_their_own_count(
    encode: Callable[[str], str],
) -> None:
    written = [f'{{"note": "salt and {word}"}}' for word in WORDS[:4]]
    wanted = Wanted(name="add_note")
    own = [call(encode(text), wanted=wanted, wrote=encode(text)) for text in written]
    plain = [call(text, wanted=wanted, wrote=text) for text in written]
    assert kinds([*HEALTHY, *plain, *own]) == set()
    servers = [call(encode(text), wanted=wanted, wrote=text) for text in written]
    assert {place for _, place in kinds([*HEALTHY, *plain, *servers])} == {"arguments"}


def test_two_against_two_accuse_neither_unless_the_counts_decide() -> None:
    def pairs(wrote: bool) -> list[Row]:
        return [
            reply(text, wrote=TEXTS[at] if wrote else text, request=f"r{at}")
            for at in range(3)
            for text in (TEXTS[at], TEXTS[at][:-9])
        ]

    assert kinds(pairs(wrote=False) * 2) == set()
    found = entries(pairs(wrote=True) * 2)
    assert {one.kind for one in found[1::2]} == {"lost"}
    assert {one.kind for one in found[::2]} == {"intact"}


def test_of_two_texts_the_cot_that_has_its_reasoning_tokens_is_right() -> None:
    """Both fit their count: the format of a call has one token more or less."""

    def pair(name: str, lost: str) -> list[Row]:
        written = reply(TEXTS[0], request=name)
        cut = reply(TEXTS[0], COT.replace(lost, "", 1), thought=COT, request=name)
        made = [(cut, False), (cut, False), (written, True), (written, True)]
        thinking = tokens(COT)
        return [
            replace(one, streamed=streamed, ledger=replace(one.ledger, thinking=thinking))
            for one, streamed in made
        ]

    words = ("The ", "user ", "wants ", " a", " so", " its")
    found = entries([*(row for word in words for row in pair(word, word)), *HEALTHY])
    assert [one.kind for one in found[:24]] == ["lost", "lost", "intact", "intact"] * 6


def test_a_suffix_with_a_word_of_ours_is_added_text() -> None:
    """The words of a message decide nothing."""
    replies = [(f"r{at}", text) for at, text in enumerate(TEXTS)]
    whole = [reply(text, request=request) for request, text in replies for _ in "12"]
    longer = [
        reply(f"{text} Checked twice.", wrote=text, request=request) for request, text in replies
    ]
    found = entries([*whole, *longer])
    assert {one.rule for one in found[len(whole) :]} == {"text.added"}
    assert {one.kind for one in found[: len(whole)]} == {"intact"}


def test_a_worse_model_spells_answers_oddly_as_well_as_cots() -> None:
    """Its rate of odd answers, by token, is what the CoTs must exceed."""

    def spelled(text: str, number: int) -> Row:
        one = reply(text, f"{COT} Number {number}.", request=f"n{number}")
        more, in_cot = int(number % 6 < 2), int(number % 6 == 0)
        own = one.ledger
        return with_ledger(one, reported=own.reported + more, thinking=own.cot + in_cot)

    found = entries(spelled(text, at) for at, text in enumerate(TEXTS * 6))
    assert {one.what for one in found} == {What.INTACT, What.UNKNOWN}


@pytest.mark.parametrize("share", [2, 4])
def test_a_word_that_many_cots_lack_is_in_their_reasoning_tokens(share: int) -> None:
    def thought(one: Row, lacks: bool) -> Row:
        own = one.ledger
        return with_ledger(one, thinking=own.cot + lacks, reported=own.reported + lacks)

    made = [reply(f"{text} {at}.") for at, text in enumerate(TEXTS * 12)]
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
        for at, one in enumerate(reply(f"{text} {at}.") for at, text in enumerate(TEXTS * 2))
    ]
    assert {one.what for one in entries(made)[::share]} == {What.OFF}


# --- Rows


ENCODED = '{"note": "salt \\"and\\" pepper"}'
STOCK = "Sorry, this request cannot be served right now."
OWN_WORDS = [text[4:].capitalize() for text in TEXTS]
JSON = '{"harbour": "Brest", "boats": 12}'
FENCE = f"```json\n{JSON}\n```"
FENCED = reply(FENCE, wrote=JSON, format="x")
GERMAN, LOSSY, KEPT = (
    reply(text, request="a", format=named)
    for text, named in (
        ("Die Bären hören größere Stimmen im Gebüsch.", ""),
        ('{"satz":"Die Baren horen grossere Stimmen im Gebusch."}', "x"),
        ('{"satz":"Die Bären hören größere Stimmen im Gebüsch."}', "x"),
    )
)


TWICE = reply(TEXTS[0] * 2, wrote=TEXTS[0])


def changed_in_streams(requests: int) -> list[Row]:
    """At every try of several requests, and never in complete replies."""
    whole = [
        reply(f"{text} {at}", request=f"r{at}", wanted=Wanted(text=f"{text} {at}"))
        for at, text in enumerate(TEXTS[:requests])
    ]
    streamed = [
        replace(one, text=f"{text.upper()} {at}", streamed=True)
        for at, (one, text) in enumerate(zip(whole, TEXTS, strict=False))
    ]
    return [one for pair in zip(whole, streamed, strict=True) for one in pair for _ in "12"]


ROWS: dict[str, tuple[Iterable[Row], set[tuple[str, str]]]] = {
    "healthy replies": (HEALTHY, set()),
    "no replies": ([], set()),
    **{
        f"{less} less of the format": (
            [with_ledger(one, reported=one.ledger.reported - less) for one in HEALTHY],
            set(),
        )
        for less in (10, 9, 6, 1, -3)
    },
    "one changed copy without many tokens": (
        [*HEALTHY, copy(TEXTS[0], wrote=" ".join(TEXTS))],
        {("lost", "answer")},
    ),
    **{
        f"called as {name}": (
            [
                replace(
                    call("{}", "I call get-weather now.", Wanted(name="get-weather"), name),
                    request=request,
                )
                for request in "abcd"
            ],
            {("unknown", "")},
        )
        for name in ("get_weather", "functions.get-weather")
    },
    "one request with differing twins may be a near-tie": (
        [
            reply(TEXTS[0], request="a"),
            reply(TEXTS[0][:-6], request="a", streamed=True),
            *HEALTHY,
        ],
        set(),
    ),
    "an empty object before the arguments of every call": (
        [call('{}{"note": "salt"}', wanted=Wanted(name="add_note"))] * 4,
        {("added", "arguments")},
    ),
    # The model's tokens are those of the call, its mistakes differ, its CoT may plan other text.
    "mistakes of a model": (
        [call(f'{{"note": "salt or {word}"}}') for word in WORDS],
        {("unknown", "")},
    ),
    "arguments that are longer than planned": (
        [
            call(
                '{"note": "salt aumenta \\"and\\" pepper"}',
                'The user wants add_note. With note: salt "and" pepper.',
            )
        ]
        * 2,
        {("unknown", "")},
    ),
    "a text that the model says before each answer": (
        [reply(f"Sure, my friend: {text}") for text in OWN_WORDS],
        set(),
    ),
    "the same, by a server that does not count a header": (
        [counted(reply(f"Sure, my friend: {text}"), lambda n: n - 6) for text in OWN_WORDS],
        set(),
    ),
    "one sentence that the model says": (
        [*HEALTHY, *(replace(reply(STOCK), request=f"q{at}") for at in range(5))],
        set(),
    ),
    "the whole answer without a CoT": ([*HEALTHY, reply(TEXTS[0], "")], set()),
    "a copy that only streams change": (
        [*HEALTHY, *changed_in_streams(6)],
        {("changed", "answer")},
    ),
}


@pytest.mark.parametrize("case", ROWS)
def test_what_is_reported_of_a_run(case: str) -> None:
    rows, expected = ROWS[case]
    assert kinds(rows) == expected


LAST: dict[str, tuple[list[Row], list[dict[str, object]]]] = {
    "arguments that are encoded twice are no majority": (
        [replace(call(text), request="a") for text in (ENCODED, *[json.dumps(ENCODED)] * 3)],
        [{"what": What.INTACT}, *[{"what": What.ENCODED_TWICE}] * 3],
    ),
    "a short text before every answer": (
        [reply(f"Sure, my friend: {text}", wrote=text) for text in OWN_WORDS],
        [{"kind": "added", "wanted": text} for text in OWN_WORDS],
    ),
    "one sentence for different requests": (
        [
            *HEALTHY,
            *(replace(reply(STOCK, wrote=" ".join(TEXTS)), request=f"q{at}") for at in range(5)),
        ],
        [{"kind": "changed"}] * 5,
    ),
    "a code fence around two structured answers": (
        [*HEALTHY, *(replace(FENCED, request=name) for name in "ab")],
        [{"what": What.FENCED}],
    ),
    "a code fence around one: its count may be odd by chance": (
        [*HEALTHY, FENCED],
        [{"witness": ""}],
    ),
    "a code fence that the model wrote": (
        [*HEALTHY, reply(FENCE, format="x")],
        [{"kind": "intact"}],
    ),
    "many tokens, but not whether text is lost": (
        [*HEALTHY, reply("The boat lies by the mill.", wrote=" ".join(TEXTS))],
        [{"kind": "unknown", "witness": "count", "proven": True}],
    ),
    "a reply without the CoT that its tokens include": (
        [*HEALTHY, reply(TEXTS[0], "", thought=COT * 2)],
        [{"kind": "lost", "place": "CoT"}],
    ),
    "fewer tokens without a CoT: a malformed header": (
        [*HEALTHY, reply(TEXTS[0], "", thought=COT)],
        [{"kind": "unknown", "proven": False}],
    ),
    "an ending that all odd replies share": (
        [
            *HEALTHY[5:],
            *(
                reply(text, f"{COT}{at} [Checked by Acme.]", thought=f"{COT}{at}")
                for at, text in enumerate(TEXTS[:5])
            ),
        ],
        [{"kind": "added", "place": "CoT"}] * 5,
    ),
    "each piece of a stream twice": (
        [reply(TEXTS[0], COT, thought=COT[:30], twice=("CoT",), streamed=True)],
        [{"kind": "added", "place": "CoT"}],
    ),
    "letters that each structured answer lacks": (
        [GERMAN, LOSSY, LOSSY],
        [{"kind": "changed"}] * 2,
    ),
    "letters that some structured answers lack": (
        [GERMAN, KEPT, LOSSY, LOSSY],
        [{"kind": "intact"}] * 3,
    ),
    "a text in two items": (  # with the header and the end token of the second message
        [
            *HEALTHY[1:],
            with_ledger(TWICE, returned=TWICE.ledger.returned + 7),
        ],
        [{"what": What.TWICE}],
    ),
}


@pytest.mark.parametrize("case", LAST)
def test_what_is_reported_of_the_last_replies(case: str) -> None:
    rows, expected = LAST[case]
    last = entries(rows)[-len(expected) :]
    assert [
        {name: getattr(entry, name) for name in wanted}
        for entry, wanted in zip(last, expected, strict=True)
    ] == expected


def test_few_cases_accuse_nobody() -> None:
    assert entries([GERMAN, LOSSY])[1].kind != "changed"  # a model may slip once
    assert ("changed", "answer") not in kinds([*HEALTHY, *changed_in_streams(1)])
