"""Cross-checks: rules about several rollouts of a run.

A model writes what the request needs, so replies to many kinds of requests share no words at their
beginnings and ends, and begin like sentences. Text that a server adds to every CoT or answer, such
as a heading, and beginnings that it cuts therefore show across requests. So does a hidden limit of
the server: replies end below the limit of their request. A full context also ends replies early,
but then prompt and reply together always have the same number of tokens.
"""

import re
import traceback
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Literal

from harness.checks.changed_calls import changed_calls
from harness.checks.check import CrossCheck, Difference, cross_check, evidence
from harness.checks.continued import continued
from harness.checks.foreign import foreign
from harness.checks.lost_tokens import lost_reasoning, lost_text
from harness.checks.prompt_texts import counted_texts
from harness.checks.rules import VoidIf, WarnsInRecordings
from harness.records.conditions import APIS, Api, Condition
from harness.records.scores import Finding, Score
from harness.records.traits import Cut, Edges, Sent
from harness.text import shared_beginning

_CONTINUES = re.compile(r"[a-z.,;:!?]")
_SHORTEST = 4  # shared characters; fewer, such as a full stop or line break, may end all texts
_MOST_BEGUN = 0.05  # of cut texts: what follows a lost character may look like a beginning
_FEWEST_TEXTS, _FEWEST_KINDS = 30, 6
"""Different texts, and kinds of requests: the cases or problems of one kind may be alike."""
_RECORDED = "traffic"
"""The task of imported traffic: requests of one client, whose replies may share words."""


@cross_check(
    "text.added",
    "leaks",
    lambda score: score.traits.edges or score.traits.answers,
    severity="warning",
)
def _added(examined: Sequence[Score]) -> Iterator[Difference]:
    """CoT and answers begin and end like sentences, and not all with the same text.

    Otherwise the server adds, loses or reorders text. Users see the change, and later prompts
    contain it. The end is compared with that of another answer with the same words: if only one of
    the two ends with punctuation, the other has its words in another order.
    """
    yield from _permuted(examined)
    groups: dict[tuple[Api, str], list[tuple[Score, Edges]]] = defaultdict(list)
    for score in examined:
        for edge in score.traits.edges:
            groups[score.condition.api, edge.place].append((score, edge))
    for (_, place), group in groups.items():
        different = {edge for _, edge in group}
        recorded = {score.task for score, _ in group} == {_RECORDED}
        kinds = {score.sample if recorded else score.task for score, _ in group}
        if len(different) < _FEWEST_TEXTS or len(kinds) < _FEWEST_KINDS:
            continue
        if _within_sentences(different):
            message = (
                f"Hardly any {place} begins like a sentence: the server may lose the first words."
            )
            for score, edge in group:
                got = repr(edge.begin)
                yield message, evidence(score.record, "$", "the beginning of a sentence", got)
        elif not recorded and (found := _same_edge(different)):
            where, shared = found
            message = f"Every {place} {where} with the same text."
            for score, _ in group:
                yield message, evidence(score.record, "$", "texts that differ", repr(shared))


def _permuted(examined: Sequence[Score]) -> Iterator[Difference]:
    closed = {words for score in examined for words, ends in score.traits.answers if ends}
    for score in examined:
        if any(words in closed and not ends for words, ends in score.traits.answers):
            message = "The answer has the words of another answer in another order."
            yield message, evidence(score.record, "$", "a full stop at the end", "within the text")


def _same_edge(different: Collection[Edges]) -> tuple[str, str] | None:
    """Return the text that all texts begin or end with, if it is more than a full stop."""
    begin = _shared([edge.begin for edge in different])
    end = _shared([edge.end[::-1] for edge in different])[::-1]
    for shared, where in ((begin, "begins"), (end, "ends")):
        blank = where == "begins" and shared.isspace()
        if blank or (shared.strip() and len(shared) >= _SHORTEST):
            return where, shared
    return None


def _within_sentences(different: Collection[Edges]) -> bool:
    """Whether the texts lack their first words; a beginning that all share was added instead."""
    if len(_shared([edge.begin.lstrip() for edge in different])) >= _SHORTEST:
        return False
    capitals = sum(any(map(str.isupper, edge.begin[1:] + edge.end)) for edge in different)
    begun = sum(not _CONTINUES.match(edge.begin.lstrip()) for edge in different)
    return begun <= _MOST_BEGUN * len(different) and capitals > len(different) / 2


def _shared(texts: Collection[str]) -> str:
    """The beginning that all texts share: what the first and the last in sorted order share."""
    first, last = min(texts), max(texts)
    return first[: shared_beginning(first, last)]


_CONTEXT = 64  # tokens by which servers may deviate when they count what fills their context
_OTHER_PROMPTS = 16  # tokens; a full context cuts replies to closer prompts at nearly one length


@cross_check("finish.early", "finish", lambda score: score.traits.cuts)
def _early(examined: Sequence[Score]) -> Iterator[Difference]:
    """A reply is truncated only at the token limit of its request, or where the context is full.

    A hidden limit of the server cuts long CoT and answers. A provider with such a limit must reject
    requests with a higher one. A complete reply that is reported as truncated makes clients repeat
    the request needlessly.
    """
    groups: dict[Api, list[tuple[Score, Cut]]] = defaultdict(list)
    for score in examined:
        groups[score.condition.api] += [(score, cut) for cut in score.traits.cuts]
    for group in groups.values():
        prompts = [cut.input for _, cut in group]
        longest = max((cut.input + cut.output for _, cut in group), default=0)
        same = len({cut.output for _, cut in group}) == 1
        same = same and max(prompts) - min(prompts) >= _OTHER_PROMPTS
        for score, cut in group:
            if same:
                where = "all truncated replies have this length, whatever their prompt"
            elif longest - cut.input - cut.output > _CONTEXT:
                where = f"its context was not full, because another reply ends at {longest} tokens"
            else:
                continue
            message = f"The reply was truncated below the limit of its request; {where}."
            expected, got = f"up to {cut.limit} tokens", f"{cut.output}, after {cut.input}"
            yield message, evidence(score.record, "$.usage", expected, got, cut.exchange)


@cross_check("request.refused.partly", "errors", lambda score: score.traits.sent)
def _partly_refused(examined: Sequence[Score]) -> Iterator[Difference]:
    """A request that is served is always served, whatever it requests.

    What a provider lacks, it lacks always. If it refuses some of several equal requests, the text
    that the model generated, or one of several replicas, is the reason. A refusal that violates
    `request.refused` is reported there.
    """
    tries: dict[str, list[tuple[Score, Sent]]] = defaultdict(list)
    for score in examined:
        for sent in score.traits.sent:
            tries[sent.request].append((score, sent))
    for group in tries.values():
        served = sum(not sent.refusal for _, sent in group)
        for score, sent in group if served else ():
            known = any(finding.id == "request.refused" for finding in score.findings)
            if sent.refusal and not known:
                times = f"{served} of {len(group)} times"
                message = f"The provider refused a request that it served {times}."
                expected = "a reply, as to the same request before or after"
                yield message, evidence(score.record, "$", expected, sent.refusal, sent.exchange)


_FEW_DIGITS = 7
_FEWEST_VARYING = 2


@cross_check(
    "reply.id.shared",
    "schema",
    lambda score: score.traits.reply_ids,
    relations=(WarnsInRecordings("recorded_twice"),),
)
def _shared_ids(examined: Sequence[Score]) -> Iterator[Difference]:
    """No two requests of a run get replies with the same id.

    Otherwise a reply was delivered to the wrong request, or came from a cache. Logs, support
    tickets and stored responses cannot tell these replies apart.
    """
    yield from _collisions(_by_range(examined, small=False), "reply")


@cross_check("reply.id.range", "schema", lambda score: score.traits.reply_ids, severity="warning")
def _small_range(examined: Sequence[Score]) -> Iterator[Difference]:
    """Reply ids come from a range that is large enough to make them unique.

    Ids of a few random digits, of a counter or of a clock collide by chance. Logs and support
    tickets cannot tell these replies apart.
    """
    yield from _collisions(_by_range(examined, small=True), "reply")


@cross_check("calls.id.shared", "tools", lambda score: score.traits.call_ids, severity="warning")
def _shared_call_ids(examined: Sequence[Score]) -> Iterator[Difference]:
    """No two conversations of a run have tool calls with the same id.

    Logs, caches and agents with several conversations confuse these calls. Ids within a
    conversation still differ, or `calls.id.repeated` reports them.
    """
    for api in APIS:
        group = [score for score in examined if score.condition.api == api]
        yield from _collisions(group, "call")


def _by_range(examined: Sequence[Score], *, small: bool) -> list[Score]:
    """Return the scores of the APIs whose ids come, or do not come, from a small range."""
    groups = [[score for score in examined if score.condition.api == api] for api in APIS]
    return [score for group in groups if _from_small_range(group) == small for score in group]


def _collisions(examined: Sequence[Score], what: Literal["reply", "call"]) -> Iterator[Difference]:
    first: dict[str, str] = {}
    path = "$.id" if what == "reply" else "$"
    for score in examined:
        for found in sorted(score.traits.reply_ids if what == "reply" else score.traits.call_ids):
            other = first.setdefault(found, score.record)
            if other != score.record:
                message = f"The {what} has the same id as a {what} in {other}."
                yield message, evidence(score.record, path, "a unique id", found)


def _from_small_range(examined: Sequence[Score]) -> bool:
    """Whether ids differ only in a few digits at the end, as those of a counter or a clock do."""
    ids = {reply_id for score in examined for reply_id in score.traits.reply_ids}
    if len(ids) < 2:
        return False
    start = shared_beginning(min(ids), max(ids))
    ends = [reply_id[start:] for reply_id in ids]
    return all(len(end) <= _FEW_DIGITS and (end or "0").isdigit() for end in ends)


@cross_check("reply.model.differs", "schema", lambda score: score.traits.models, severity="warning")
def _other_models(examined: Sequence[Score]) -> Iterator[Difference]:
    """Under one condition, all replies name the same model.

    Any name is fine, with or without a path, if it stays the same. A second name in some replies
    means that another model, or another version, wrote them.
    """
    groups: dict[Condition, list[Score]] = defaultdict(list)
    for score in examined:
        groups[score.condition].append(score)
    for group in groups.values():
        times = Counter(name for score in group for name in score.traits.models)
        usual = max(times, key=lambda name: times[name])
        for score in group:
            if (others := score.traits.models - {usual}) and 2 * times[usual] > len(group):
                message = (
                    "The reply names a different model from most replies under this condition."
                )
                got = ", ".join(sorted(others))
                yield message, evidence(score.record, "$.model", usual, got)


@cross_check(
    "usage.input.differs",
    "usage",
    lambda score: score.traits.first_input is not None,
    severity="warning",
)
def _input_tokens(examined: Sequence[Score]) -> Iterator[Difference]:
    """Identical requests to one host report the same number of prompt tokens, streaming or not.

    A difference means that the prompt is rendered in two ways, or by backends that disagree. Some
    gateways route requests to different backends deliberately. If attempts under one condition
    differ, no prompt can be judged by its tokens.
    """
    groups: dict[tuple[str, str, Api, str], list[Score]] = defaultdict(list)
    for score in examined:
        groups[score.task, score.sample, score.condition.api, score.traits.host].append(score)
    for group in groups.values():
        usual = Counter(score.traits.first_input for score in group).most_common(1)[0][0]
        for score in group:
            if score.traits.first_input != usual:
                message = (
                    "The number of prompt tokens differs from other attempts at the same request."
                )
                got = str(score.traits.first_input)
                yield message, evidence(score.record, "$.usage", str(usual), got)


def _counts_vary(examined: Iterable[Score]) -> bool:
    """Whether identical requests under one condition report different prompt tokens, repeatedly."""
    counts: dict[tuple[str, str, str], set[int]] = defaultdict(set)
    for score in examined:
        if score.traits.first_input:
            counts[score.task, score.sample, score.condition.name].add(score.traits.first_input)
    return sum(len(found) > 1 for found in counts.values()) >= _FEWEST_VARYING


PROMPT_TOKENS_VARY = VoidIf(
    "usage.input.differs",
    "$.usage",
    "prompt_tokens_vary",
    when=_counts_vary,
)


CROSS_CHECKS: Sequence[CrossCheck] = (
    _partly_refused,
    _shared_ids,
    _small_range,
    _shared_call_ids,
    _other_models,
    foreign,
    _input_tokens,
    counted_texts,
    changed_calls,
    _early,
    _added,
    continued,
    lost_text,
    lost_reasoning,
)


def compare_rollouts(
    examined: Sequence[Score], broken: dict[str, str] | None = None
) -> Iterator[tuple[frozenset[str], list[Finding]]]:
    """For each rollout, the ids of the applicable cross-checks, and their findings.

    `broken` is as for `harness.checks.examine`.
    """
    found = []
    for check in CROSS_CHECKS:
        try:
            applies = list(map(check.applies, examined))
            found.append((check.id, applies, check.findings(examined)))
        except Exception:
            if broken is None:
                raise
            broken[check.id] = traceback.format_exc()
    for at, score in enumerate(examined):
        applicable = frozenset(check_id for check_id, applies, _ in found if applies[at])
        every = (findings.get(score.record) for _, _, findings in found)
        yield applicable, [finding for finding in every if finding is not None]
