"""Files of a user's own questions."""

import json
from string import ascii_uppercase

import pytest
from background import in_background
from mock_provider import MockProvider, write_json
from replies import Reply, whole

import harness
from evals.baselines.published import PUBLISHED_SAMPLING
from evals.datasets import Loaded
from evals.grading.graded_eval import GradedEval
from evals.own import OwnRow, own_name
from evals.own.numbers import DecimalItem, read_number
from evals.registry import EVALS, load_data, make_eval
from evals.restoring import read_questions
from gpt_oss_verify.app import run
from harness.errors import ConfigurationError
from harness.records.runs import DatasetInfo

CHOICES = ["oxygen", "carbon dioxide", "helium", "argon"]
ROWS = [
    {"question": "What is 17 · 24?", "answer": 408},
    {"question": "Which gas do plants take in?", "answer": CHOICES[1], "choices": CHOICES},
    {"question": "And which one do we?", "answer": "A", "choices": CHOICES, "id": "we"},
    {"question": "q", "answer": "D", "choices": CHOICES, "prompt": "Say it: A, B, C or D?"},
]


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "my questions.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    return path


def at(mock):
    return ["eval", "--base-url", mock.base_url, "--model", "gpt-oss-20b", "--api", "chat"]


def test_the_file_names_the_eval():
    specs = {
        "some/my questions.jsonl": "my-questions",
        "hf:owner/name@main": "name",
        "aime25": None,
    }
    assert {spec: own_name(spec) for spec in specs} == specs


def test_integers_and_choices_are_asked_and_marked(mine):
    test = make_eval(load_data(str(mine)), seed=1)
    number, gas, we, verbatim = (question.id for question in test.questions)
    assert (test.name, we) == ("my-questions", "we")
    assert "boxed" in test.prompt(number, 1).messages[0].text
    assert test.mark(number, 1, r"\boxed{408}").marking == "correct"
    assert len({test.prompt(gas, attempt).order for attempt in range(1, 9)}) > 1
    for attempt in range(1, 9):
        right = test.key(gas, attempt)
        assert f"({right}) carbon dioxide" in test.prompt(gas, attempt).messages[0].text
        assert test.mark(gas, attempt, f"Answer: {right}").marking == "correct"
        assert test.mark(gas, attempt, "carbon dioxide").marking == "correct"
    assert test.prompt(verbatim, 3).messages[0].text == ROWS[3]["prompt"]
    assert test.key(verbatim, 3) == "D"
    assert test.mark(verbatim, 3, "Answer: C").marking == "wrong"


def test_csv_and_the_columns_of_gpqa(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("question,answer,choices\nGas?,helium,oxygen|helium|argon|neon\nSum?,7,\n")
    gpqa = tmp_path / "four.csv"
    gpqa.write_text(
        "Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2,Incorrect Answer 3\n"
        "Gas?,helium,oxygen,argon,neon\n"
    )
    first, second = make_eval(load_data(str(table)), seed=0).questions
    assert make_eval(load_data(str(table)), seed=0).key(second.id, 1) == "7"
    assert (first.text, second.text) == ("Gas?", "Sum?")
    (row,) = load_data(str(gpqa)).rows
    assert (row.item().answer, len(row.choices)) == ("helium", 4)


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        ({"question": "q"}, "line 2: column 'answer' is empty; give an answer, a pattern or a"),
        ({"answer": 1}, "line 2: without column 'question'; its columns are 'answer'"),
        ({"question": "q", "answer": "A", "choices": ["x"]}, "2 to 26 different choices, not 1"),
        ({"question": "q", "answer": "x", "choices": ["x", "x"]}, "different choices, not 1"),
        ({"question": "q", "answer": "C", "choices": ["x", "y"]}, "neither a choice nor its"),
        ({"question": "q", "answer": "a", "tolerance": 1}, "'a' is not a number, so it has no tol"),
        ({"question": "q", "answer": 1, "tolerance": "x"}, "the tolerance 'x' is neither a number"),
        ({"question": "q", "answer": 1, "tolerance": "1e400"}, "is neither a number"),
        ({"question": "q", "pattern": "("}, "the pattern '(' is not a regular expression: missing"),
        ({"question": "q", "rubric": ["[-1] a"]}, "no criterion of the rubric has positive points"),
        ({"question": "q", "rubric": "a", "pattern": "b"}, "a row with a rubric has no choices"),
        ({"question": "q", "answer": "z", "choices": list("wxyv")}, "neither a choice nor its"),
    ],
)
def test_a_wrong_row_is_named_with_its_line_and_column(row, wanted, tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text(f"{json.dumps(ROWS[0])}\n{json.dumps(row)}\n")
    with pytest.raises(ConfigurationError) as refused:
        load_data(str(path))
    assert wanted in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_with_the_name_of_an_eval_and_a_missing_file_are_refused(tmp_path, capsys):
    for spec, wanted in (("aime25.csv", "rename the file"), ("none.jsonl", "none.jsonl")):
        assert run(["eval", "-p", "reference", "--eval", str(tmp_path / spec), "--dry-run"]) == 2
        assert wanted in capsys.readouterr().err


@pytest.mark.parametrize(
    ("evals", "both"),
    [
        ("a/q.jsonl,b/q.jsonl", "a/q.jsonl and b/q.jsonl both have the name q,"),
        ("a/q.jsonl,q.csv", "a/q.jsonl and q.csv both have the name q,"),
        ("a/q.jsonl,b/Q.jsonl", "a/q.jsonl and b/Q.jsonl both have the name q,"),
        ("basic,basic", "basic and basic both have the name basic,"),
        ("a b.csv,a-b.csv", "a b.csv and a-b.csv both have the name a-b,"),
    ],
)
def test_two_evals_of_one_name_are_refused_in_the_plan(evals, both, mock, tmp_path, capsys):
    assert run([*at(mock), "--eval", evals, "--out", str(tmp_path / "runs")]) == 2
    said = capsys.readouterr().err
    assert both in said
    assert said.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_run_whose_judging_fails_can_be_judged_again(mine, mock, tmp_path, monkeypatch, capsys):
    asked = [*at(mock), "--eval", str(mine), "--out", str(tmp_path / "runs"), "-k", "1"]

    def bug(*_: object) -> None:
        raise KeyError("a bug")

    with monkeypatch.context() as broken:
        broken.setattr("evals.tally.Tally.add", bug)
        assert run(asked) == 70
    (folder,) = (tmp_path / "runs").iterdir()
    assert f"judge them again with: gpt-oss-verify recheck {folder}" in capsys.readouterr().err
    assert run(["recheck", str(folder)]) == 0


def test_the_dry_run_states_the_token_limit_of_each_eval(mine, mock, capsys):
    asked = [*at(mock), "--dry-run", "--eval", f"{mine},basic"]
    assert run(asked) == 0
    said = "most tokens of a reply: 32,768 (my-questions), 131,072 (basic); --max-tokens changes it"
    assert said in capsys.readouterr().out
    assert run([*asked, "--max-tokens", "200", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["limits"] == {"my-questions": 200, "basic": 200}


def test_a_published_eval_has_the_published_limit():
    for one in EVALS.values():
        assert one.facts.max_tokens == PUBLISHED_SAMPLING.max_tokens


def test_with_shuffled_choices_the_expected_and_the_given_answer_are_texts(mine, tmp_path):
    reply = Reply(text="Answer: A")

    async def handle(request, writer):
        write_json(writer, whole(reply, chat=request.is_chat))

    mine.write_text(json.dumps({"question": "Gas?", "answer": "argon", "choices": CHOICES}))
    with in_background(MockProvider(always=handle)) as provider:
        asked = [*at(provider), "--eval", str(mine), "--out", str(tmp_path / "runs"), "-k", "8"]
        assert run(asked) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    scores = [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]
    wrong = [score for score in scores if score["outcome"] == "wrong"]
    assert len(wrong) > 3
    for score in wrong:
        first = CHOICES[score["order"][0]]
        right = ascii_uppercase[score["order"].index(CHOICES.index("argon"))]
        assert (score["expected"], score["got"]) == (
            f"option {right}: argon",
            f"option A: {first}",
        )


def test_ten_questions_run_resume_and_become_a_baseline(mine, mock, tmp_path, capsys):
    rows = [{"question": f"What is {n} + 1?", "answer": n + 1} for n in range(10)]
    mine.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    asked = [*at(mock), "--eval", str(mine), "--out", str(tmp_path / "runs")]
    assert run([*asked, "-k", "2"]) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    info = json.loads((folder / "run.json").read_text())
    assert [task["name"] for task in info["tasks"]] == ["my-questions"]
    assert run(["recheck", str(folder)]) == 0
    assert run(["export", str(folder), "--format", "csv", "--out", str(tmp_path / "csv")]) == 0
    base = tmp_path / "base.json"
    assert run(["export", str(folder), "--format", "baseline", "--out", str(base)]) == 0
    capsys.readouterr()
    assert run([*asked, "-k", "2", "--baseline", str(base)]) == 4
    assert "my-questions" in capsys.readouterr().out


def test_the_rows_of_a_run_are_read_back(mine, tmp_path):
    data = load_data(str(mine))
    path = tmp_path / "questions-my-questions.jsonl"
    path.write_text("".join(f"{row.model_dump_json(by_alias=True)}\n" for row in data.rows))
    assert read_questions(tmp_path, data.info).rows == data.rows


def test_a_dry_run_does_not_need_the_key_of_the_grader(mock, monkeypatch, capsys):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert (
        run([*at(mock), "--dry-run", "--eval", "basic,healthbench"]) == 2
    )  # the data are on the hub
    assert "OPENAI_API_KEY" not in capsys.readouterr().err


def marks(row, *texts, number=1):
    test = make_eval(own(row), seed=3)
    name = test.questions[0].id
    return [test.mark(name, number, text).marking for text in texts]


def own(*rows):
    found = tuple(OwnRow.model_validate({"question": "q", **row}) for row in rows)
    return Loaded(found, DatasetInfo(eval="mine", source="here", rows=len(found), sha256="0"))


@pytest.mark.parametrize("count", [2, 3, 5, 9, 26])
def test_2_to_26_choices_are_asked_and_marked(count):
    texts = [f"the thing {chr(ord('a') + n) * 4}" for n in range(count)]
    test = make_eval(own({"answer": "B", "choices": texts}), seed=1)
    (question,) = test.questions
    for number in range(1, 5):
        put = test.prompt(question.id, number)
        right = test.key(question.id, number)
        assert f"({right}) {texts[1]}" in put.messages[0].text
        assert f"or {ascii_uppercase[count - 1]}." in put.messages[0].text
        other = ascii_uppercase[(ascii_uppercase.index(right) + 1) % count]
        for text, marking in (
            (f"Answer: {right}", "correct"),
            (f"The answer is ({right}).", "correct"),
            (rf"\boxed{{{right}}}", "correct"),
            (f"So it is {texts[1]}.\n\n**{right}) {texts[1]}**", "correct"),
            (f"Answer: {other}", "wrong"),
            (f"Answer: {right} or {other}", "unread"),
        ):
            assert test.mark(question.id, number, text).marking == marking, text


NINE = {"answer": "I", "choices": [f"number {n}" for n in range(9)], "prompt": "Say a letter."}


@pytest.mark.parametrize(
    ("row", "marked"),
    [
        (NINE, {"unread": ["I am not sure.", "I think so."], "correct": ["Answer: I"]}),
        (
            {"answer": "3.14"},
            {
                "correct": [r"\boxed{3.1416}", "The answer is about 3.14."],
                "wrong": [r"\boxed{3.15}"],
            },
        ),
        (
            {"answer": 1000, "tolerance": "1%"},
            {
                "correct": [
                    r"\boxed{1,009}",
                    r"\boxed{1.0 \times 10^{3}}",
                    r"\boxed{\frac{2000}{2}}",
                    "Answer: 995 kg",
                ],
                "wrong": [r"\boxed{1011}"],
                "unread": ["I cannot say."],
            },
        ),
        (
            {"answer": "-2", "tolerance": 0.5},
            {"correct": [r"\boxed{-2.4}"], "wrong": [r"\boxed{2}"]},
        ),
        (
            {"answer": "The Nile"},
            {
                "correct": ["Answer: nile.", "It flows north.\n\n**Answer:** the  NILE", "Nile"],
                "wrong": ["Answer: Amazon"],
                "unread": [
                    "Answer: Nile\nAnswer: Amazon",
                    "There are many rivers.\nSome are long.",
                    "The river meant here is the Nile.",
                ],
            },
        ),
        (
            {"pattern": r"(mount )?everest"},
            {"correct": ["Answer: Mount Everest"], "wrong": ["Answer: K2"]},
        ),
        # A number with an unknown unit and a time of day are short texts.
        ({"answer": "7 dwarfs"}, {"correct": ["Answer: 7 dwarfs"], "wrong": ["Answer: 7"]}),
        ({"answer": "5 pm"}, {"correct": ["Answer: 5 PM"], "wrong": ["Answer: 5 am"]}),
        ({"answer": "154 pm"}, {"correct": ["Answer: 0.154 nm"]}),
    ],
)
def test_pronouns_numbers_and_short_texts_are_marked(row, marked):
    found = {marking: marks(row, *texts) for marking, texts in marked.items()}
    assert found == {marking: [marking] * len(texts) for marking, texts in marked.items()}


@pytest.mark.parametrize("text", ["1/0", "3 or 4", "2x", "", "m+n", "1 * 10^999", "1e400"])
def test_texts_that_are_no_single_number(text):
    assert read_number(text) is None


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("Answer: 5 thousand", 5000),
        ("Answer: 1.5 million people", 1.5e6),
        (r"\boxed{2.5}\text{ million}", 2.5e6),
        (r"$-\boxed{2.5}$", -2.5),
        ("Answer: 5 half-lives", 5),
        ("\\boxed{2.5}\n\nLet me check: 5/2 = 2.5. ✓", 2.5),
        ("Answer: 10 080", 10_080),
        ("Answer: 3.5 x 10^2", 350),
        ("Answer: $10^{-4}$ eV", 1e-4),
        ("Answer: 5/4 km", 1.25),
        ("Answer: 5 pi", None),
        ("Answer: 5 halves", None),
        (r"$\boxed{2.5}\times 10^3$", None),
        (r"$2\cdot\boxed{2.5}$", None),
        ("\\boxed{2.5}\n\nWait, it is 3.5, ok.", None),
    ],
)
def test_what_stands_beside_a_number_belongs_to_it(text, number):
    read = DecimalItem(text="How much?", answer="1").read(text, None)
    assert (read and float(read)) == number


def test_a_text_without_an_answer_is_shown_as_what_was_got(mine, mock, tmp_path):
    """In the report too, with the question in place of the hash that is its name."""
    text = "x" * 300 + " the letter is Z"

    async def handle(request, writer):
        write_json(writer, whole(Reply(text=text), chat=request.is_chat))

    mock.always = handle
    out = ["--out", str(tmp_path / "runs")]
    assert run([*at(mock), "--eval", str(mine), "-k", "1", *out]) == 0
    (report,) = tmp_path.glob("runs/*/report.md")
    written = report.read_text()
    assert "nothing arrived" not in written
    assert written.count(f"- got `…{text[-200:]}`") == 4
    assert "**0 of 1 passed**: `And which one do we?`" not in written  # it has the id `we`
    assert "**0 of 1 passed**: `Which gas do plants take in?`" in written


def test_free_texts_are_graded_by_a_rubric():
    rows = [{"question": "Why is the sky blue?", "rubric": ["[2] Names scattering.", "Is short."]}]
    test = make_eval(own(*rows), seed=0)
    assert isinstance(test, GradedEval)
    (row,) = test.rows.values()
    assert [(item.criterion, item.points) for item in row.items] == [
        ("Names scattering.", 2.0),
        ("Is short.", 1.0),
    ]
    with pytest.raises(ConfigurationError, match="question 2 has no rubric, but others do"):
        make_eval(own(*rows, {"answer": 1}), seed=0)


def test_a_csv_file_has_all_kinds_of_questions(tmp_path):
    table = tmp_path / "all.csv"
    table.write_text(
        "question,answer,choices,tolerance,pattern\nGas?,helium,oxygen|helium,,\nPi?,3.14,,0.01,\n"
        "River?,Nile,,,\nPeak?,,,,everest\nSum?,7,,,\n"
    )
    test = make_eval(load_data(str(table)), seed=0)
    kinds = [type(item).__name__ for item in test.items.values()]
    assert kinds == ["ChoiceItem", "DecimalItem", "TextItem", "TextItem", "IntegerItem"]


def test_the_data_of_earlier_versions_have_the_same_hash():
    row = OwnRow.model_validate({"question": "q", "answer": 1})
    assert sorted(row.content()) == ["answer", "choices", "id", "prompt", "question"]


def test_own_questions_without_a_baseline_are_scored_and_a_gate_has_their_margin(
    mine, mock, tmp_path, capsys
):
    gate = tmp_path / "gate.yaml"
    gate.write_text(f"margins: {{{mine.name!r}: 12, aime25: 3}}\n")
    asked = [*at(mock), "--eval", str(mine), "--out", str(tmp_path / "runs")]
    assert run([*asked, "--gate", str(gate)]) == 0
    assert "SCORED" in capsys.readouterr().out
    (folder,) = (tmp_path / "runs").iterdir()
    settings = json.loads((folder / "run.json").read_text())["settings"]
    assert settings["margins"] == {"my-questions": 12, "aime25": 3}
    scores = [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]
    failed = {one["sample"]: one for one in scores if one["outcome"] != "correct"}
    assert failed
    assert all(one["expected"] for one in failed.values())
    assert harness.load(folder).scores["expected"].notna().sum() == len(failed)
    gate.write_text("margins: {aime26: 3}\n")
    assert run([*asked, "--gate", str(gate)]) == 2
    assert "no eval 'aime26'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "right", "wrong"),
    [
        (
            {"answer": "3.5 km"},
            [
                "You will cover about **3 500 m**.",
                "This makes 3.5 km.",
                r"\boxed{3.5} km",
                "Answer: 3.5",
                "**3.49 km**",
                r"\boxed{3.5} in total.",
                "\\boxed{3,500\\text{ m}}\n\nLet me check: 7 · 500 = 3500. ✓",
            ],
            [
                "Answer: 1e400 m",
                r"$\boxed{3.5\ \text{m}}$",
                r"\boxed{3.5} m",
                "**35 km**",
                "I do not know.",
            ],
        ),
        (
            {"answer": "36 W", "tolerance": "5%"},
            ["**Result:** P = 0.036 kW", r"\boxed{37\ \mathrm{W}}", "Answer: 36 J/s"],
            [r"$\boxed{36\ \mathrm{J}}$", "Answer: 40 W"],
        ),
        (
            {"answer": "77 °F"},
            ["77 degrees", r"$\boxed{77\,^\circ\mathrm{F}}$"],
            ["25 °C", "**45 °F**", "Answer: -77 °F"],
        ),
        (
            {"answer": "40 euros"},
            ["You pay **€40**.", "Answer: 40 EUR", "€40.00"],
            ["You pay **$40**.", r"You pay \$40.", "**40 dollars**"],
        ),
        (
            {"answer": "3/4"},
            [r"\boxed{0.75}", "75 %", r"\boxed{\dfrac{6}{8}}"],
            ["0.75 %", "4/3", "The odds are 3 : 4."],
        ),
        (
            {"answer": "$1,250"},
            ["Answer: $1,250.00", r"\boxed{\$1{,}250}", "It costs **1250 dollars**."],
            ["Answer: $1,520", "**€1,250**", "Answer: $125"],
        ),
        (
            {"answer": "9.8 m/s^2"},
            [r"\boxed{9.8\ \mathrm{m\,s^{-2}}}", r"\boxed{9.8\ \frac{\text{m}}{\text{s}^2}}"],
            [r"\boxed{9.8\ \frac{\text{m}}{\text{s}}}", r"\boxed{9.8\ \mathrm{m\,s^{2}}}"],
        ),
        ({"answer": "18 years"}, ["Answer: 18 years old"], ["Answer: 18 months old"]),
        ({"answer": "0.05"}, ["Answer: .05"], ["Answer: 5", "Answer: .5"]),
        ({"answer": "5"}, ["Answer: 5."], ["Answer: .05", "Answer: .5"]),
        ({"answer": "1/3"}, ["Answer: 1/3 ≈ 0.333"], ["Answer: 1/4 ≈ 0.333"]),
        (
            {"answer": "2*sqrt(3)"},
            [r"\boxed{2\sqrt{3}}", r"Answer: $2\cdot\sqrt3$", "Answer: 2√3"],
            [r"\boxed{3\sqrt{2}}", r"\boxed{\sqrt{23}}"],
        ),
        (
            {"answer": "x^2+1"},
            [r"\boxed{x^2 + 1}", r"The polynomial is $\boxed{p(x)=x^{2}+1}$."],
            [r"\boxed{x^2-1}", r"\boxed{x^{21}}", r"\boxed{a=1, p=x^2+1}"],
        ),
        (
            {"answer": "1/(2x)"},
            [r"\boxed{\frac{1}{2x}}", "Answer: 1/(2x)"],
            [r"\boxed{\frac{1}{2}x}", "Answer: 2x"],
        ),
        (
            {"answer": "pi/4"},
            [r"\boxed{\frac{\pi}{4}}", "Answer: π/4"],
            [r"\boxed{\frac{4}{\pi}}", r"\boxed{\pi}"],
        ),
        ({"answer": "a+b"}, [r"\boxed{a + b}"], [r"\boxed{a - b}", r"\boxed{b}"]),
        ({"answer": "red"}, ["It's red."], ["It's not red.", "It's infrared."]),
        ({"answer": "2x"}, [r"\boxed{f'(x)=2x}", r"Answer: 2 \cdot x"], [r"\boxed{2^x}"]),
        (
            {"answer": "n(n+1)/2"},
            [r"\boxed{\frac{n(n+1)}{2}}"],
            [r"\boxed{\frac{n(n-1)}{2}}", r"\boxed{n+\frac{1}{2}}"],
        ),
        ({"answer": "(a+b)/2"}, [r"\boxed{\frac{a+b}{2}}"], [r"\boxed{a+\frac{b}{2}}"]),
        (
            {"answer": "8.31 J/(mol K)"},
            [r"\boxed{8.31\ \text{J/(mol·K)}}", "Answer: 8.31 J mol⁻¹ K⁻¹"],
            ["Answer: 8.31 J/mol", "Answer: 8.31 J K/mol"],
        ),
        ({"answer": "e^(2x)"}, [r"\boxed{e^{2x}}"], [r"\boxed{e^2x}"]),
        ({"answer": "(3, 4)"}, [r"\boxed{(3,4)}"], [r"\boxed{(4,3)}", r"\boxed{(34)}"]),
        ({"answer": "12 3rd Street"}, ["Answer: 12  3rd street"], ["Answer: 123rd Street"]),
        ({"answer": "12.5%"}, ["Answer: 1/8", "Answer: 0.125", "Answer: 12.5"], ["Answer: 1.25%"]),
        ({"answer": 36}, ["36."], ["It is definitely not 36. It is **20.25**."]),
        (
            {"answer": "Saturn"},
            [
                "Saturn, with more than 140 known moons; Jupiter comes second.",
                "The answer is Saturn.",
                "I believe the answer is: Saturn",
                "Saturn (the ringed one).",
                r"$\ce{Saturn}$ – as of 2023",
                "Saturn, which has no solid surface.",
            ],
            [
                "Jupiter (95), just ahead of Saturn.",
                "Jupiter or Saturn; the counts keep changing.",
                "Saturn? No, that is Jupiter.",
                "**Saturn** is often named, but Jupiter has more.",
                "Saturn, Jupiter and Uranus.",
                "Most people think of **Saturn**, but the answer is Jupiter.",
                "Saturn. Wait, Jupiter.",
                "Saturn, which is wrong.",
                "Saturn – I think, though it may be Jupiter.",
                "It's **Jupiter**, not Saturn.",
                "The answer is not Saturn.",
                "Saturn, if one leaves Jupiter aside.",
            ],
        ),
    ],
)
def test_what_a_careful_reader_credits(row, right, wrong):
    assert marks(row, *right) == ["correct"] * len(right)
    assert "correct" not in marks(row, *wrong)
