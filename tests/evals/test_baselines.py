"""Published and measured baselines, and the figures that a score is compared with."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from evals.baselines.choice import choose_baseline
from evals.baselines.eval_scores import EvalScores
from evals.baselines.measured import create_baseline, read_baseline, write_baseline
from evals.baselines.published import choose_figures, pooled_mean, published_scores
from harness.errors import ConfigurationError
from harness.records.conditions import known_model
from harness.records.figures import BaselineFigure
from harness.records.runs import DatasetInfo
from harness.records.settings import Sampling
from harness.statistics.noninferiority import run_error

EFFORTS = ("low", "medium", "high")
MODELS = ("gpt-oss-120b", "gpt-oss-20b")
SAMPLING = Sampling(temperature=1.0, top_p=1.0, max_tokens=131_072)
CREATED = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def eval_scores(scores=None, name="aime25", sampling=SAMPLING, **changes):
    own = {"model": "openai/gpt-oss-20b", "effort": "high", "api": "chat", "grader": None}
    info = {key: value for key, value in changes.items() if key not in own}
    scores = scores or {f"q{number}": (1.0, 0.0) for number in range(30)}
    dataset = {"eval": name, "source": "here", "rows": len(scores), "sha256": "abc", **info}
    return EvalScores(
        eval=name,
        **(own | {key: value for key, value in changes.items() if key in own}),
        dataset=DatasetInfo(**dataset),
        sampling=sampling,
        planned=max(map(len, scores.values())),
        scores=scores,
    )


def values(benchmark, model, effort, kind):
    figures = published_scores().figures(benchmark, model, effort)
    return sorted(figure.value for figure in figures if figure.kind == kind)


def test_every_row_has_a_source_and_efforts_that_exist():
    published = published_scores()
    for row in published.rows:
        assert row.source in published.sources
        assert set(row.scores) <= set(EFFORTS)
        assert all(0 < score < 100 for score in row.scores.values())


def test_no_healthy_reproduction_is_below_its_own_range():
    published = published_scores()
    for name, claim in (("aime25", 0.022), ("gpqa", 0.017)):
        for model in MODELS:
            for effort in EFFORTS:
                healthy = values(name, model, effort, "reproduction")
                mean = sum(healthy) / len(healthy)
                assert mean - min(healthy) <= claim < published.benchmarks[name].margin / 100


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("openai/gpt-oss-120b", "gpt-oss-120b"),
        ("gpt-oss:20b", "gpt-oss-20b"),
        ("GPT-OSS-20B-MXFP4", "gpt-oss-20b"),
        ("accounts/x/models/gpt-oss-120b", "gpt-oss-120b"),
        ("gpt-oss", None),
        ("qwen-1120b", None),
        ("20b-or-120b", None),
    ],
)
def test_model_names_are_recognized(name, model):
    assert known_model(name) == model


def test_the_default_is_the_range_and_explains_why_not_the_card():
    reference = choose_baseline(None).reference(eval_scores())
    assert [figure.value for figure in reference.info.figures] == [0.858, 0.858, 0.842, 0.888]
    assert (reference.info.low, reference.info.high) == (0.842, 0.888)
    assert reference.baseline.value == pytest.approx(0.8615)
    assert "reached the 91.7%" in reference.info.explanation
    assert reference.warnings == ()


def test_published_figures_were_read_by_openais_script_and_measured_ones_by_our_rules(saved):
    assert choose_baseline("card").reading == choose_baseline(None).reading == "openai"
    assert choose_baseline(saved(eval_scores())).reading == "ours"


def test_a_figure_without_reproduction_is_compared_with_the_card():
    scores = eval_scores({f"q{n}": (0.5,) for n in range(1000)}, name="healthbench_hard")
    reference = choose_baseline(None).reference(scores)
    assert [figure.value for figure in reference.info.figures] == [0.108]
    assert "Only the model card" in reference.info.explanation


@pytest.mark.parametrize(
    ("source", "value"),
    [("card", 0.917), ("vllm-recipes", 0.858), ("pytorch-ci", 0.85), ("tenstorrent", 0.888)],
)
def test_a_source_can_be_named(source, value):
    reference = choose_baseline(source).reference(eval_scores())
    assert (reference.baseline.value, reference.info.name) == (pytest.approx(value), source)


def test_the_noise_of_a_single_figure_follows_from_its_tries():
    benchmark = published_scores().benchmarks["aime25"]
    stated = BaselineFigure(source="a", where="", kind="reproduction", value=0.9, tries=16)
    silent = stated.model_copy(update={"tries": None})
    assert pooled_mean([stated], benchmark).error == pytest.approx(run_error(0.9, 30, 16))
    assert pooled_mean([silent], benchmark).error == pytest.approx(run_error(0.9, 30, 8))


def test_several_figures_have_less_noise_unless_they_contradict_each_other():
    benchmark = published_scores().benchmarks["aime25"]

    def pooled(*scores):
        figures = [
            BaselineFigure(source="a", where="", kind="reproduction", value=v) for v in scores
        ]
        return pooled_mean(figures, benchmark)

    assert pooled(0.9, 0.9, 0.9).error == pytest.approx(run_error(0.9, 30, 8) / 3**0.5)
    assert pooled(0.8, 0.9, 1.0).error == pytest.approx(0.1 / 3**0.5)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sample": True}, "there is no published baseline for these questions"),
        ({"name": "basic"}, "there is no baseline for basic yet"),
        ({"model": "gpt-oss"}, "does not contain 120b or 20b"),
        ({"effort": "none"}, "at none effort"),
        ({"scores": {"q1": (1.0,)}}, "only 1 of 30 questions"),
    ],
)
def test_scores_without_a_published_baseline(changes, reason):
    assert reason in choose_baseline(None).reference(eval_scores(**changes))


def test_different_sampling_is_a_warning():
    cold = SAMPLING.model_copy(update={"temperature": None})
    scores = eval_scores(sampling=cold, grader="gpt-oss-20b")
    warnings = choose_baseline("card").reference(scores).warnings
    assert [warning.split(",")[0] for warning in warnings] == [
        "Sampled with temperature the provider's default",
        "Graded by gpt-oss-20b",
    ]


def test_a_source_without_the_figure_gives_no_baseline():
    assert choose_figures(published_scores().figures("gpqa", "gpt-oss-20b", "low"), "card")
    assert choose_figures([], "card") is None
    answer = choose_baseline("tenstorrent").reference(eval_scores(effort="low"))
    assert "nothing by tenstorrent" in answer


def test_an_unknown_baseline_is_rejected_with_the_known_names():
    with pytest.raises(ConfigurationError, match="range, card, vllm-recipes"):
        choose_baseline("vllm")


@pytest.fixture
def saved(tmp_path):
    def save(*results):
        path = tmp_path / "baseline.json"
        write_baseline(create_baseline(results, "trusted", "0.1.0", CREATED), path)
        return str(path)

    return save


def test_a_measured_baseline_is_read_as_it_was_written(saved):
    scores = eval_scores()
    read = read_baseline(Path(saved(scores)))
    assert read.results == (scores,)
    assert (read.provider, read.tool_version) == ("trusted", "0.1.0")
    assert read.created_at == "2026-11-20T12:00:00+00:00"


def test_a_measured_baseline_is_paired_by_question(saved):
    baseline = choose_baseline(saved(eval_scores({"a": (1.0, 1.0), "b": (0.0, 0.0)})))
    reference = baseline.reference(eval_scores({"b": (1.0, 0.0)}, model="gpt-oss-20b"))
    assert (reference.run.value, reference.baseline.value) == (0.5, 0.0)
    assert "trusted, measured 2026-11-20" in reference.info.explanation


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sha256": "other"}, "different aime25 data"),
        (
            {"scores": {"a": (1.0,), "c": (1.0,)}},
            "no score of 1 of the 2 sampled questions, such as 'c'",
        ),
        ({"effort": "low"}, "has no scores of aime25, openai/gpt-oss-20b, low effort"),
        ({"model": "gpt-oss-120b"}, "has no scores of aime25, gpt-oss-120b, high effort"),
    ],
)
def test_a_measured_baseline_of_another_eval_or_model_is_not_used(saved, changes, reason):
    baseline = choose_baseline(saved(eval_scores({"a": (1.0, 1.0), "b": (0.0, 0.0)})))
    assert reason in baseline.reference(eval_scores(**{"scores": {"a": (1.0,)}, **changes}))


def test_a_baseline_that_was_sampled_differently_is_a_warning(saved):
    other = Sampling(temperature=0.0, top_p=1.0, max_tokens=1000)
    baseline = choose_baseline(saved(eval_scores()))
    assert len(baseline.reference(eval_scores(sampling=other, api="responses")).warnings) == 3
    assert baseline.reference(eval_scores()).warnings == ()


def test_an_unfinished_run_is_not_a_baseline():
    with pytest.raises(ConfigurationError, match=r"aime25, .* lacks .* attempts \(1\)"):
        create_baseline([eval_scores({"a": (1.0, 1.0), "b": (0.0,)})], "x", "0", CREATED)
    with pytest.raises(ConfigurationError, match="A run without evals is not a baseline"):
        create_baseline([], "x", "0", CREATED)


@pytest.mark.parametrize(
    "content",
    [
        *(b"{}", b"[]", b"3", b"\xff\xfe\x00", b"", b"{"),
        *(b'{"kind": "gpt-oss-verify baseline", "version": %d}' % n for n in (1, 2, 3)),
    ],
)
def test_a_file_that_is_not_a_baseline_is_rejected(tmp_path, content):
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"is not a baseline|it is not UTF-8"):
        choose_baseline(str(path))


def test_unreadable_and_unwritable_baseline_files_are_reported(tmp_path):
    with pytest.raises(ConfigurationError, match="There is no file"):
        choose_baseline(str(tmp_path / "missing.json"))
    with pytest.raises(ConfigurationError, match="cannot be written"):
        write_baseline(create_baseline([eval_scores()], "x", "0", CREATED), tmp_path)
