"""Replies as questions to a model: would it have written this after that prompt?

- `questions`: the replies of a run, each with its request, or why it cannot be read
- `history`: requests that name an earlier response, with the conversation that it stands for
- `log`: `rescored.jsonl`, in which the answers are kept

Who answers them is not known here (see `reference_engine.rescoring`); `harness.rules.reference`
judges the answers.
"""
