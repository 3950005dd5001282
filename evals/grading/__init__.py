"""Grading: a model decides for each item of a rubric whether an answer meets it."""

GRADER = "healthbench_grader"
GRADER_SYSTEM = "healthbench_grader_system"
SCRIPTS: dict[str, tuple[str, str] | None] = {
    GRADER: ("healthbench_eval", "GRADER_TEMPLATE"),
    GRADER_SYSTEM: ("chat_completions_sampler", "OPENAI_SYSTEM_MESSAGE_API"),
}
"""The templates of grading requests, with their places in `gpt_oss.evals`; `GRADER_SYSTEM` is a
system message, which is not sent if it is empty."""
