"""Grading tasks: decide whether an answer meets a criterion, and reply with JSON only."""

from random import Random

from harmony.conversation import Answer, Reasoning, User
from training.data import thoughts, words
from training.data.phrases import fill, quoted
from training.data.samples import prose
from training.data.spans import copy, to_json
from training.data.task import Setting, Task

_CRITERIA = (
    "Mentions {v}", "The answer mentions {v}.", "The response names {v}", "Contains the word {v}",
    "States {v} clearly", "Recommends {v}", "It says {v}.", "The assistant brings up {v}",
    "Refers to {v}", "[5] Mentions {v}", "[3] The reply includes {v}.", "Tells the user about {v}",
    "[-4] Brings up {v}", "Suggests {v} to the user", "The last answer speaks of {v}", "Uses {v}",
    "Offers {v} as a way out", "Proposes to try {v}", "Points to {v}", "Names {v} as one option",
    "Advises {v}", "Warns of {v}", "Lists {v} among other things", "Brings {v} into the talk",
    "The word {v} occurs", "Talks about {v} at some point", "The reply touches on {v}",
    "{v} is named", "{v} is part of the advice", "There is something about {v} in it",
    "Makes the user think of {v}", "Counts {v} as useful", "[7] Speaks for {v}", "Explains {v}",
)  # fmt: skip
_TASKS = (
    "You are a grader. Decide whether the answer meets the criterion.",
    "Grade the last answer of this conversation against one rubric item.",
    "Look at the conversation and at the rubric item, then judge the final turn.",
    "Your task is to check one criterion.", "Judge this answer.", "Please grade.",
    "Below are a conversation and a criterion. Was the criterion met?",
    "As a careful {w}, assess the reply below.",
    "Read the exchange and the single requirement; then decide.", "Check one requirement.",
    "You act as examiner. Does the reply fulfil what is asked of it?",
    "Evaluate the closing turn of a dialogue.", "An assistant answered. Was it what we wanted?",
    "Score this: yes or no.", "Mark the reply against a checklist of one entry.",
)  # fmt: skip
_FORMATS = (
    'Return a JSON object with the fields "explanation" and "criteria_met".',
    'Reply with JSON: {"explanation": ..., "criteria_met": true or false}.',
    "Answer in JSON with explanation (string) and criteria_met (boolean).",
    'Output only a json object having "explanation" and "criteria_met".',
    "Give explanation and criteria_met as JSON, no other text.",
    "Keys of the JSON you return: explanation, criteria_met.",
    "Write one JSON object; it has an explanation and says whether criteria_met is true.",
    'JSON only, with "explanation" (text) and "criteria_met" (true/false).',
    "The verdict is a JSON object made of explanation and criteria_met.",
)
_SIGNS = "\"'.,:;!?()"
_LAYOUTS = (
    ("# Conversation\n{c}\n\n# Rubric item\n{r}", "\n\n"),
    ("Conversation:\n{c}\n\nCriterion: {r}", "\n\n"),
    ("<conversation>\n{c}\n</conversation>\n<rubric_item>\n{r}\n</rubric_item>", "\n"),
    ("Criterion: {r}\n\nConversation:\n{c}", "\n\n"),
    ("{c}\n\nRubric: {r}", "\n\n"),
    ("[dialogue]\n{c}\n[requirement]\n{r}", "\n\n"),
    ("## Dialogue\n{c}\n## Item\n{r}", "\n\n"),
    ("---\n{c}\n---\nItem: {r}", "\n\n"),
    ("(((log)))\n{c}\n(((item)))\n{r}", "\n\n"),
    ("Requirement to test: {r}\n\n{c}", "\n\n"),
    ("=== talk ===\n{c}\n=== check ===\n{r}", "\n"),
)


def grade(rng: Random, setting: Setting) -> Task:
    """A grading task; the answer contains the criterion's keyword or does not."""
    key = rng.choice((words.word, words.word, words.capital, words.filler, words.person))(rng)
    met = rng.random() < 0.5
    said = [words.filler(rng) for _ in range(rng.randint(3, 14))]
    if rng.random() < 0.5:
        said = [part for part in prose(rng, 4, 12).split(" ") if part.strip(_SIGNS) != key]
    if met:
        said.insert(rng.randint(0, len(said)), key)
    asked = rng.choice((words.words, prose))(rng, 2, 6)
    if not met and rng.random() < 0.25:
        asked = f"{asked} {key}"
    layout, gap = rng.choice(_LAYOUTS)
    user, assistant = rng.choice((("user", "assistant"), ("User", "Assistant"), ("Q", "A")))
    conversation = f"{user}: {asked}{rng.choice(('?', '.'))}\n{assistant}: {' '.join(said)}."
    criterion = rng.choice(_CRITERIA).replace("{v}", quoted(rng, key, 0.35))
    body = layout.replace("{c}", conversation).replace("{r}", criterion)
    ending = rng.choice(_FORMATS)
    parts = [fill(rng, rng.choice(_TASKS), {}), body, ending]
    if rng.random() < 0.2:
        parts = [f"{parts[0]} {ending}", body]
    verb = "mentions" if met else "does not mention"
    explanation = f"The answer {verb} {copy(key)}."
    reply = to_json({"explanation": explanation, "criteria_met": met})
    thinking = thoughts.answering(setting.effort, f"Look for {copy(key)}.",
                                  f"I look for {copy(key)}. {explanation}")  # fmt: skip
    return Task("grader", (User(gap.join(parts)),), (Reasoning(thinking), Answer(reply)))
