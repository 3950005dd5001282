"""`--prompts`: the bundled ones, those of OpenAI's scripts, or a file's, and their verdicts."""

import zipfile

import pytest
import yaml
from sample_evals import eval_task
from test_baseline_verdict import judged, recorded

from evals.baselines.published import published_scores
from evals.declaration import scripts
from evals.grading import GRADER, GRADER_SYSTEM
from evals.grading.requests import FinalAnswer, grading_tasks
from evals.prompts import choose_prompts, fill, our_prompts, our_templates, wording
from evals.registry import EVALS, OWN
from harness.errors import ConfigurationError

SCRIPTS = {
    "aime_eval": 'import absent\nAIME_TEMPLATE = """\nA: {question} \\\\boxed{{}}\n"""\n',
    "gpqa_eval": 'QUERY_TEMPLATE_MULTICHOICE = """\nG: {Question} {A} {B} {C} {D}\n""".strip()\n',
    "healthbench_eval": 'GRADER_TEMPLATE = "H: <<conversation>> / <<rubric_item>>"\n',
    "chat_completions_sampler": 'OPENAI_SYSTEM_MESSAGE_API = "Help."\n',
}


def wheel(folder, **changes):
    path = folder / "gpt_oss-0.0.9-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        for name, text in (SCRIPTS | changes).items():
            file.writestr(f"gpt_oss/evals/{name}.py", text)
    return str(path)


def first_prompt(task):
    return task.test.prompt(task.question_ids[0], 1).messages[0].text


def test_the_bundled_prompt_set_has_every_template():
    used = {name for one in (*EVALS.values(), OWN) for name in one.facts.templates}
    assert set(our_prompts().templates) == set(our_templates()) == used | {GRADER, GRADER_SYSTEM}
    assert choose_prompts(None, scripts()) == choose_prompts("ours", scripts()) == our_prompts()


def test_the_templates_of_a_wheel_are_read_without_importing_it(tmp_path):
    prompts = choose_prompts(wheel(tmp_path), scripts())
    assert prompts.source == "gpt-oss 0.0.9"
    assert prompts.templates["aime25"] == "\nA: <<question>> \\boxed{}\n"
    assert prompts.templates["gpqa"] == "G: <<question>> <<A>> <<B>> <<C>> <<D>>"
    assert prompts.sha256 != our_prompts().sha256


def test_evals_use_the_prompt_set_of_the_run_for_questions_and_grading(tmp_path):
    prompts = choose_prompts(wheel(tmp_path), scripts())
    aime = eval_task("aime25", prompts=prompts)
    assert first_prompt(aime) == f"\nA: {aime.test.questions[0].text} \\boxed{{}}\n"
    assert first_prompt(eval_task("gpqa", prompts=prompts)).startswith("G: ")
    bench = eval_task("healthbench", prompts=prompts).test
    question = bench.questions[0].id
    system, user = next(grading_tasks(bench, [FinalAnswer("1", question, "Rest.")])).messages
    assert (system.role, system.text) == ("system", "Help.")
    assert user.text.startswith("H: ")
    assert user.text.endswith(f"assistant: Rest. / {bench.rows[question].items[0].text}")


def test_the_bundled_grader_prompt_is_one_message():
    bench = eval_task("healthbench").test
    task = next(grading_tasks(bench, [FinalAnswer("1", bench.questions[0].id, "Rest.")]))
    assert [message.role for message in task.messages] == ["user"]


def test_a_file_replaces_only_the_templates_it_contains(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"aime25": "Solve: <<question>>"}), encoding="utf-8")
    prompts = choose_prompts(str(path), scripts())
    assert (prompts.source, prompts.templates["aime25"]) == (str(path), "Solve: <<question>>")
    assert wording(prompts, ["gpqa"]) == wording(our_prompts(), ["gpqa"])
    assert wording(prompts, ["aime25"]) != wording(our_prompts(), ["aime25"])


def test_placeholders_inside_a_question_are_not_expanded():
    assert fill("<<question>> <<A>>", question="<<A>> {A}", A="one") == "<<A>> {A} one"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("aime25: solve", "the placeholders of aime25 must be <<question>>"),
        ("aime25: <<question>> <<A>>", "the placeholders of aime25 must be <<question>>"),
        ("aime24: <<question>>", "aime24 is not a template; there are aime25, gpqa"),
        ("gpqa: 7", "gpqa is not a template"),
        ("- a", "has no templates; it may have aime25"),
        ("a: [", "is not YAML"),
    ],
)
def test_an_invalid_prompt_file_is_rejected(tmp_path, content, message):
    path = tmp_path / "mine.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=message):
        choose_prompts(str(path), scripts())


def test_an_unreadable_prompt_file_is_rejected(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        choose_prompts(str(tmp_path / "absent.yaml"), scripts())
    broken = tmp_path / "broken.whl"
    broken.write_bytes(b"no zip")
    with pytest.raises(ConfigurationError, match="cannot be read as a wheel"):
        choose_prompts(str(broken), scripts())
    with pytest.raises(ConfigurationError, match=r"gpt-oss 0\.0\.9 has no template AIME_TEMPLATE"):
        choose_prompts(wheel(tmp_path, aime_eval="OTHER = 1\n"), scripts())


def test_prompts_of_a_package_that_is_not_installed_are_rejected():
    with pytest.raises(ConfigurationError, match="needs the package gpt_oss: install it"):
        choose_prompts("gpt-oss", scripts())


@pytest.mark.parametrize(("name", "score"), [("aime25", 0.8615), ("gpqa", 0.725)])
def test_a_verdict_with_other_prompts_states_its_wider_bounds(name, score):
    published = published_scores().benchmarks[name]
    scores = recorded(name, score)
    same = judged(scores.model_copy(update={"prompts": published.prompts_sha256}))
    other = judged(scores.model_copy(update={"prompts": wording(our_prompts(), [name])}))
    assert same == judged(scores)
    allowance = published.margin / 200
    assert other.comparison.allowance == pytest.approx(allowance)
    for bound, sign in (("low", -1), ("high", 1)):
        was = getattr(same.comparison.difference, bound)
        assert getattr(other.comparison.difference, bound) == pytest.approx(was + sign * allowance)
    (warning,) = other.warnings
    assert warning.startswith("Measured with prompts")


def test_a_drop_that_other_prompts_may_explain_is_not_a_failure():
    scores = recorded("gpqa", 0.725 - 0.07)
    other = scores.model_copy(update={"prompts": wording(our_prompts(), ["gpqa"])})
    assert judged(scores).decision == "fail"
    undecided = judged(other)
    assert undecided.decision == "inconclusive"
    assert undecided.comparison.further_tries is None
    assert "because the prompts differ from the baseline's" in undecided.reason
