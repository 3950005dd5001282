"""Checks that compare rollouts: shared ids, and replies to another request."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import written
from healthy import SUITE, correct, json_response, rollout
from replies import MODEL, Reply, chat_whole
from written import sent, with_members

from harness.api.parsed_rollout import parse_rollout
from harness.records.scores import Score
from harness.rules.catalogue import compare_rollouts
from harness.rules.measured import measured_score

LISBON, HTML = (
    next(case for case in SUITE.cases if case.id == name)
    for name in ("weather-lisbon", "markdown-bold")
)

ANSWERED = {"outcome": "answered"}
LENGTH = {"choices.0.finish_reason": "length"}


def scored(says, sample: str, attempt: int, prompt: str, **options: object) -> Score:
    recorded = rollout(says, sample=sample, attempt=attempt)
    body = {"model": MODEL, "messages": [{"role": "user", "content": prompt}], **options}
    return measured_score(parse_rollout(sent(recorded, body)), ANSWERED)


def saying_no(sample: str, attempt: int, prompt: str, **members: str) -> Score:
    """A reply whose body has these members."""
    body = chat_whole(Reply(text="No.")) | members
    return scored([json_response(body)], sample, attempt, prompt)


def found(scores: list[Score]) -> set[tuple[str, str]]:
    return {
        (finding.id, finding.evidence.record)
        for _, findings in compare_rollouts(scores)
        for finding in findings
    }


def tried(swapped: bool) -> list[Score]:
    """Five tries at two cases; one reply to the second may be a reply to the first."""
    return [
        scored(correct(LISBON if swapped and case is HTML and number == 3 else case),
               case.id, number, case.prompt)
        for number in range(1, 6)
        for case in (LISBON, HTML)
    ]  # fmt: skip


def test_an_answer_to_another_request_with_a_thought_of_its_own_is_foreign() -> None:
    """The answer names what the other request does, and no third one gets it."""
    asked = {
        "cat": "Why do cats in warm barns purr all night?",
        "tax": "Which forms does one file for income from rent?",
        "sea": "How deep is the harbour at low water?",
    }
    usual = {
        "cat": "Cats in barns purr to heal their bones.",
        "tax": "Two of them, one each year.",
        "sea": "About nine metres at the quay.",
    }

    def tries(text: str, **more: str) -> list[Score]:
        return [
            scored([Reply(text=text if (name, n) == ("tax", 3) else said, reasoning=name)],
                   name, n, asked[name])
            for name, said in (usual | more).items()
            for n in range(1, 5)
        ]  # fmt: skip

    assert found(tries(usual["cat"])) == {("reply.foreign", "tax/chat/non-streaming/3")}
    assert found(tries(usual["cat"], sea=usual["cat"])) == set()  # a stock answer
    stock = "I could not find that out."
    assert found(tries(stock, cat=stock)) == set()


def test_a_short_reply_is_foreign_if_its_prompt_tokens_are_so_too() -> None:
    asked = {"cat": "Tell me of cats.", "tax": "Which forms does one file for income from rent?"}

    def tries(*counts: int) -> list[Score]:
        made = [("cat", 1, 71), ("cat", 2, 71), *(("tax", n + 1, c) for n, c in enumerate(counts))]
        return [
            replace(one, traits=replace(one.traits, first_input=count))
            for name, number, count in made
            for text in ("They purr." if count in (71, 72) else "Two forms.",)
            for one in [scored([Reply(text=text)], name, number, asked[name])]
        ]

    foreign = ("reply.foreign", "tax/chat/non-streaming/2")
    assert foreign in found(tries(93, 71))
    assert foreign not in found(tries(71, 71))  # The prompts have the same length.
    assert foreign not in found(tries(72, 71))  # A date varies.


def test_a_stock_answer_given_to_a_third_request_is_not_foreign() -> None:
    refusal, usual = (
        "Unfortunately nothing here fits your wish.",
        "None of the functions fits. " * 9,
    )
    asked = {
        "tax": "Which forms does one file for income from rent?",
        "lorem": "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do.",
        "third": "Why would cats in warm barns purr all through each quiet night?",
    }

    def reply(name: str, thought: str) -> Score:
        return scored([Reply(text=refusal, reasoning=thought, mark=name)], name, 1, asked[name])

    pair = [reply("tax", usual), reply("lorem", usual)]
    assert {name for name, _ in found(pair)} == {"reply.foreign"}
    assert found([*pair, reply("third", "No function is needed.")]) == set()


def test_an_answer_suggested_by_its_own_request_is_not_foreign() -> None:
    word = "It is orchid596 (orchid596)."
    asked = {
        "told": f"{word} Say so.",
        "hidden": "Wie lautet denn nun das geheime Kennwort aus dem Text? Ich meine orchid596.",
    }
    others = [scored([Reply(text="Yes.", mark=f"{n}")], f"o{n}", 1, "Is it?") for n in range(9)]
    said = [
        scored([Reply(text=word, wrote=f"{word} {more}", mark=name)], name, 1, asked[name])
        for name, more in (("told", ""), ("hidden", "It was in the text that you sent before."))
    ]
    assert found([*said, *others]) == set()


@pytest.mark.parametrize(
    ("ids", "shared"),
    [
        (["chatcmpl-1a2b3c4d5e6f", "chatcmpl-1a2b3c4d5e6f", "chatcmpl-9f8e7d6c5b4a"], True),
        (["chatcmpl-1", "chatcmpl-1", "chatcmpl-1"], True),
        (["chatcmpl-217", "chatcmpl-904", "chatcmpl-217"], False),
        (["chatcmpl-1763712201", "chatcmpl-1763712201", "chatcmpl-1763712955"], False),
        (["chatcmpl-217", "chatcmpl-904", "chatcmpl-218"], False),
        ([f"chatcmpl-{number % 3}" for number in range(60)], True),
        ([f"chatcmpl-{number // 2}" for number in range(60)], False),
    ],
)
def test_shared_ids_are_reported(ids: list[str], shared: bool) -> None:
    scores = [saying_no("a", number, "Hi", id=each) for number, each in enumerate(ids, start=1)]
    assert {check for check, _ in found(scores)} == ({"reply.id.shared"} if shared else set())


def test_of_two_replies_with_one_id_the_later_one_is_reported() -> None:
    """The earlier one got its own reply, in whichever order they are stored."""
    later, earlier = (
        saying_no(name, 1, name, id="chatcmpl-1a2b3c4d5e6f") for name in ("late", "early")
    )
    times = ((later, 9.0), (earlier, 5.0))
    scores = [
        replace(score, rows=tuple(replace(row, began=at) for row in score.rows))
        for score, at in times
    ]
    every = [finding for _, findings in compare_rollouts(scores) for finding in findings]
    (shown,) = (each.evidence for each in every if each.id == "reply.id.shared")
    assert (shown.record, shown.compared) == (later.record, earlier.record)
    assert shown.comparison == "the requests differ in messages"


@pytest.mark.parametrize(
    ("prompts", "temperatures", "lacking"),
    [
        (["Hi", "Hi", "Hi"], [0, 1, 0.5], " Requests that differ only in temperature"),
        (["Hi", "Hi", "Hi"], [1, 1, 1], ""),
        (["Hi", "Hi", "Bye"], [0, 1, 0.5], ""),
    ],
)
def test_members_that_the_key_of_a_cache_lacks_are_named(
    prompts: list[str], temperatures: list[float], lacking: str
) -> None:
    cached = json_response(chat_whole(Reply(text="No.")) | {"id": "chatcmpl-1a2b3c4d5e6f"})
    other = json_response(chat_whole(Reply(text="No.")) | {"id": "chatcmpl-9f8e7d6c5b4a"})
    scores = [
        scored([cached], "a", number, prompt, temperature=temperature, top_p=1)
        for number, (prompt, temperature) in enumerate(
            zip(prompts, temperatures, strict=True), start=1
        )
    ]
    scores.append(scored([other], "b", 1, "Other"))
    messages = [one.message for _, each in compare_rollouts(scores) for one in each]
    assert len(messages) == 2
    assert all(said.partition(".")[2].startswith(lacking) for said in messages)
    assert any(" share replies" in said for said in messages) == bool(lacking)


@pytest.mark.parametrize(
    ("names", "affected"),
    [
        (["gpt-oss-v2"] * 5, set()),
        (["gpt-oss-v2"] * 4 + ["other"], {"5"}),
        (["gpt-oss-v2"] * 4 + ["hub/GPT-OSS-v2"], set()),
        (["gpt-oss-a", "gpt-oss-b", "gpt-oss-c", "gpt-oss-d"], set()),
        (["a", "b"], set()),
    ],
)
def test_replies_that_name_another_model_are_reported(names: list[str], affected: set[str]) -> None:
    scores = [
        saying_no(f"{number}", 1, f"Is it {number}?", id=f"chatcmpl-{number}", model=name)
        for number, name in enumerate(names, start=1)
    ]
    other = {record[0] for rule, record in found(scores) if rule == "reply.model.differs"}
    assert other == affected


def cut_at(sample: str, prompt: int, output: int, text: str = "One, two,") -> Score:
    """A reply that was truncated at this many tokens; the request allows 4,096."""
    usage = {"usage.prompt_tokens": prompt, "usage.completion_tokens": output}
    body = with_members(chat_whole(Reply(text=text)), LENGTH | usage)
    recorded = rollout([json_response(body)], sample=sample)
    return measured_score(parse_rollout(written.asked(recorded, {"max_tokens": 4096})), ANSWERED)


def purring(name: str, prompt: str) -> Score:
    text = "Cats purr, and nobody knows why; some say that it heals their bones. " * 4
    return scored([Reply(text=text)], name, 1, prompt)


ENDLESS = with_members(chat_whole(Reply(text="pin " * 100)), LENGTH)
SEARCH = Reply(call=("browser.search", '{"source": "news", "query": "x"}'))
TAX = "Which forms does one file for income from rent?"
FOUND: dict[str, tuple[Callable[[], list[Score]], set[tuple[str, str]]]] = {
    "its own replies": (lambda: tried(swapped=False), set()),
    "a reply to the request of another case": (
        lambda: tried(swapped=True),
        {("reply.foreign", f"{HTML.id}/chat/non-streaming/3")},
    ),
    "a call that the model makes at every request": (
        lambda: [
            scored(
                [SEARCH if number == 1 and name != "html" else Reply(text="Yes.")],
                name,
                number,
                text,
            )
            for name, text in {
                "html": "The news as HTML.",
                "cat": "Cats?",
                "dog": "Dogs?",
                "ant": "Ants?",
            }.items()
            for number in range(1, 6)
        ],
        set(),
    ),
    "an invented word of another request": (
        lambda: [
            scored([Reply(text="It is zulu4182.")], "told", 1, "The code word is zulu4182."),
            scored([Reply(text="Use base64 and sha256.")], "base", 1, "How do I encode?"),
            scored(
                [Reply(text="Hello! zulu4182.")], "hello", 1, "Hello! Do not use base64, sha256."
            ),
        ],
        {("reply.foreign", "hello/chat/non-streaming/1")},
    ),
    "equal texts for related requests": (
        lambda: [purring(name, f"Tell me of {name}.") for name in ("cat", "dog")],
        set(),
    ),
    "equal texts for unrelated requests": (
        lambda: [purring("cat", "Tell me of cat."), purring("tax", TAX)],
        {("reply.foreign", f"{name}/chat/non-streaming/1") for name in ("cat", "tax")},
    ),
    "an endless repetition in truncated replies": (
        lambda: [
            scored([json_response(ENDLESS)], name, 1, prompt)
            for name, prompt in (("cat", "Tell me of cats."), ("tax", TAX))
        ],
        {("reply.id.shared", "tax/chat/non-streaming/1")},
    ),
    "few tokens for much text": (
        lambda: [
            cut_at("one", 100, 300, " word" * 4_090),
            cut_at("two", 140, 900, " word" * 4_090),
        ],
        {("reply.id.shared", "two/chat/non-streaming/1")},
    ),
}


@pytest.mark.parametrize("case", FOUND)
def test_which_replies_are_of_another_request(case: str) -> None:
    scores, expected = FOUND[case]
    assert found(scores()) == expected


@pytest.mark.parametrize(
    ("lengths", "early"),
    [
        ([(100, 512), (140, 512)], "01"),
        ([(100, 300), (140, 900)], "0"),  # A context of 1,040 tokens would cut the second.
        ([(100, 300), (140, 300), (140, 900)], "01"),
        ([(100, 1_948), (140, 1_908)], ""),  # A context of 2,048 tokens.
        ([(100, 512), (100, 512)], ""),  # The same prompt: the context may be that small.
        ([(100, 512), (101, 512)], ""),
        ([(100, 512)], ""),
        ([(100, 4_096), (140, 4_090)], ""),
    ],
)
def test_replies_truncated_below_their_limit_are_reported(
    lengths: list[tuple[int, int]], early: str
) -> None:
    scores = [cut_at(str(at), *each) for at, each in enumerate(lengths)]
    found_early = {record for rule, record in found(scores) if rule == "finish.early"}
    assert found_early == {scores[int(at)].record for at in early}


def test_a_server_that_counts_too_few_tokens_does_not_truncate_early() -> None:
    long = " word" * 4_090
    scores = [cut_at("one", 100, 300, long), cut_at("two", 140, 900, long)]
    assert "finish.early" not in {rule for rule, _ in found(scores)}


def test_call_ids_of_other_conversations_are_shared() -> None:
    def shared(*ids: str) -> bool:
        bodies = [chat_whole(Reply(call=("get_weather", "{}"), call_id=each)) for each in ids]
        scores = [
            measured_score(parse_rollout(rollout([json_response(body)], sample=str(at))), ANSWERED)
            for at, body in enumerate(bodies)
        ]
        return "calls.id.shared" in {rule for rule, _ in found(scores)}

    assert shared("get_weather:0", "get_weather:0")
    assert not shared("call_a", "call_b")


def test_identical_requests_to_two_hosts_may_have_other_prompt_tokens() -> None:
    def differs(*hosts: str) -> bool:
        scores = []
        for at, host in enumerate(hosts, start=1):
            one = rollout([Reply(text="Yes.", prompt=50 + at)], attempt=at)
            (exchange,) = one.exchanges
            request = exchange.request.model_copy(update={"url": f"https://{host}/v1/chat"})
            exchanges = (exchange.model_copy(update={"request": request}),)
            moved = one.model_copy(update={"exchanges": exchanges})
            scores.append(measured_score(parse_rollout(moved), ANSWERED))
        return "usage.input.differs" in {rule for rule, _ in found(scores)}

    assert differs("a.example", "a.example")
    assert not differs("a.example", "b.example")


def test_different_prompt_tokens_name_the_reply_with_which_they_are_compared() -> None:
    """Of two replies, either may be the wrong one."""
    two = [rollout([Reply(text="Yes.", prompt=50 + at)], attempt=at) for at in (1, 2)]
    scores = [measured_score(parse_rollout(one), ANSWERED) for one in two]
    every = [finding for _, findings in compare_rollouts(scores) for finding in findings]
    (found,) = (each.evidence for each in every if each.id == "usage.input.differs")
    assert {found.record, found.compared} == {each.id for each in two}
    assert found.comparison == "the requests are equal"


@pytest.mark.parametrize(("broken", "always"), [((), 0), ((0,), 0), ((0, 1), 4), ((0, 2), 4)])
def test_streams_that_break_at_every_try_of_several_requests_are_reported(broken, always):
    def streamed(at: int, number: int) -> Score:
        recorded = rollout([Reply(text="Hello.")], sample=str(at), attempt=number, streaming=True)
        (exchange,) = recorded.exchanges
        cut = at in broken or (number == 1 and at == 3)
        response = exchange.response.model_copy(update={"complete": not cut})
        exchanges = (exchange.model_copy(update={"response": response}),)
        return measured_score(
            parse_rollout(recorded.model_copy(update={"exchanges": exchanges})), ANSWERED
        )

    scores = [streamed(at, number) for at in range(4) for number in (1, 2)]
    assert sum(name == "stream.cut.always" for name, _ in found(scores)) == always


def asked(
    number: int, said: str, prompt: str, began: float, created: float, **options: object
) -> Score:
    """A request of a run, its reply, and when the server says that it made the reply."""
    score = scored([Reply(text=said)], f"asked{number}", 1, prompt, **options)
    row = replace(score.rows[0], began=began, ended=began + 1)
    return replace(score, rows=(row,), traits=replace(score.traits, created=created))


SUM = "It is forty-two, which is the sum of both numbers."


@pytest.mark.parametrize(
    ("prompt", "options", "created", "stored"),
    [
        ("What is 18 plus 25?", {}, 100.0, "with a different conversation"),
        ("What is 17 plus 25?", {}, 100.0, "that is equal"),
        ("What is 17 plus 25?", {"temperature": 0}, 100.0, "that differs in temperature"),
        ("What is 17 plus 25?", {"max_tokens": 99}, 100.0, "that differs in max_tokens"),
        ("What is 18 plus 25?", {}, 110.0, ""),
        ("What is 18 plus 25?", {}, 101.0, ""),
    ],
)
def test_a_reply_that_is_older_than_its_request_is_stored(
    prompt: str, options: dict[str, object], created: float, stored: str
) -> None:
    """A time that no other reply has, or that is the request's own, shows nothing."""
    first = asked(0, SUM, "What is 17 plus 25?", 100.0, 100.0)
    again = asked(1, SUM, prompt, 110.0, created, **options)
    others = [asked(at, f"{SUM} {at}", f"Sum {at}?", 100.0 + at, 100.0 + at) for at in (30, 60)]
    messages = [
        finding.message
        for _, findings in compare_rollouts([first, again, *others])
        for finding in findings
        if finding.id == "reply.stored"
    ]
    assert bool(messages) == bool(stored)
    assert all(stored in message for message in messages)


def test_a_time_that_is_no_clocks_shows_no_stored_reply() -> None:
    """The server's start, and whole seconds in which several replies were made."""
    for scores in (
        [asked(at, f"{SUM} {at}", f"Sum {at}?", 100 + at, 90.0) for at in range(9)],
        [asked(at, SUM, "Sum?", 100 + at * 9, 100.0, temperature=0) for at in range(3)],
        [asked(at, SUM, f"Sum {at}?", 100 + at * 9, 100.0) for at in range(3)],
    ):
        assert "reply.stored" not in {rule for rule, _ in found(scores)}
