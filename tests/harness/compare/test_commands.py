"""`compare` and `history` from the command line."""

import json
import shutil
from pathlib import Path

import pytest
from background import in_background
from compared_runs import TINY, judged_run, never_in
from healthy import correct, provider_of, without_call
from jsonschema import Draft202012Validator
from mock_provider import MockProvider
from quiz import MODEL as QUIZ_MODEL
from quiz import quiz
from replies import MODEL

from gpt_oss_verify.app import run
from reports import schemas

LOG = Path(__file__).with_name("lm_eval") / "good"
LITTLE = {"suite": TINY, "tries": 1}
SHORT = (
    "--suite",
    "tools",
    "-n",
    "1",
    "-k",
    "2",
    "--apis",
    "chat",
    "--no-streaming",
    "--rule",
    "guide",
)


pytestmark = pytest.mark.usefixtures("empty_folder")


@pytest.fixture
def runs(tmp_path):
    """Three runs of two providers; one of them fails in one condition."""
    judged_run(tmp_path / "runs" / "a-1", provider="alpha", day=0, tries=3)
    worse = never_in("chat · non-streaming")
    judged_run(tmp_path / "runs" / "a-2", worse, provider="alpha", day=1, tries=3)
    judged_run(tmp_path / "runs" / "b-1", provider="beta", day=2, tries=3)
    return ["runs/a-1", "runs/a-2", "runs/b-1"]


def printed(capsys):
    return " ".join(capsys.readouterr().out.split())


def test_a_comparison_is_printed_and_written_to_three_files(runs, tmp_path, capsys):
    assert run(["compare", *runs, "--out", "page"]) == 1
    text = printed(capsys)
    assert "a-1 PASS tool calling" in text
    assert "chat · non-streaming pass@1: worse: -100.0 points" in text
    assert "Changes: a-2 compared with a-1" in text
    assert "page/compare.html" in text
    assert text.index("Summary") < text.index("Differences") < text.index("Figures")
    found = json.loads((tmp_path / "page" / "compare.json").read_text())
    Draft202012Validator(schemas.schema("compare")).validate(found)
    assert found["against"] == "a-1"
    markdown = (tmp_path / "page" / "compare.md").read_text()
    assert "**▼ " in markdown
    assert "../runs/a-1" in markdown
    page = (tmp_path / "page" / "compare.html").read_text()
    assert '"cells":' in page
    assert str(tmp_path) not in page + markdown


def test_the_reference_need_not_be_among_the_runs(runs, tmp_path, capsys):
    assert run(["compare", runs[1], "--against", runs[0], "--out", "page"]) == 1
    found = json.loads((tmp_path / "page" / "compare.json").read_text())
    assert found["against"] == "a-1"
    assert len(found["entries"]) == 2
    capsys.readouterr()
    assert run(["compare", runs[0], "--against", runs[0]]) == 2
    assert "Name at least two runs" in capsys.readouterr().err


def test_without_out_a_new_folder_is_created_in_runs(runs, tmp_path, capsys):
    assert run(["compare", *runs[1:], "--against", "runs/b-1"]) == 1
    (folder,) = (tmp_path / "runs").glob("compare-*")
    assert {path.name for path in folder.iterdir()} == {
        "compare.html",
        "compare.json",
        "compare.md",
    }
    shown = printed(capsys)
    verdicts = " alpha: FAIL. because beta (reference): PASS. No check fails."
    assert 0 < shown.index(" alpha is significantly worse in ") < shown.index(verdicts)


def test_json_is_the_only_output_and_writes_no_file(runs, tmp_path, capsys):
    assert run(["compare", *runs, "--json"]) == 1
    assert [entry["label"] for entry in json.loads(capsys.readouterr().out)["entries"]][2] == "beta"
    assert not list((tmp_path / "runs").glob("compare-*"))


def test_ten_columns_fit_the_terminal(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    judged_run(tmp_path / "runs" / "p0", provider="provider-0", **LITTLE)
    for number in range(1, 10):
        folder = tmp_path / "runs" / f"p{number}"
        shutil.copytree(tmp_path / "runs" / "p0", folder)
        text = (folder / "run.json").read_text().replace("provider-0", f"provider-{number}")
        (folder / "run.json").write_text(text)
    assert run(["compare", *(f"runs/p{number}" for number in range(10))]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert all(any(f"provider-{number}" in line for line in lines) for number in range(10))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare"], "Name at least two runs"),
        (["compare", "runs/a-1"], "Name at least two runs"),
        (["compare", "runs/a-1", "runs/a-1"], "runs/a-1 is given twice"),
        (["compare", "runs/a-1", "nowhere"], "There is no nowhere; name a run folder"),
        (["compare", "runs/a-1", "runs"], "runs is not a run folder"),
        (["compare", "runs/a-1", "rnage"], "There is no rnage; did you mean 'range'?"),
        (["compare", "card", "range"], "Only published baselines are given"),
        (["compare", "runs/a-1", "runs/b-1", "-k", "3"], "add --provider"),
        (["compare", "-p", "nobody", "-p", "reference"], "There is no provider 'nobody'"),
        (
            ["compare", "-p", "reference", "-p", "reference", "-k", "0"],
            "Must be greater than or equal to 1",
        ),
        (["history", "nowhere"], "There is no folder nowhere"),
        (["history", "-p", "nobody"], "There is no run of nobody in runs"),
        (["export", "nowhere", "--format", "csv"], "There is no folder nowhere."),
        (["export", "runs/a-1", "--format", "csv", "--out", "a.csv"], "a.csv names a file"),
        *(
            ([command, str(LOG)], f"export {LOG} --format base")
            for command in ("recheck", "retest")
        ),
    ],
)
def test_a_usage_error_is_one_sentence(arguments, message, tmp_path, capsys):
    judged_run(tmp_path / "runs" / "a-1", **LITTLE)
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message.lower() in err.lower()
    assert err.count("\n") == 1


def providers(tmp_path, **addresses):
    entries = "".join(
        f"  {name}: {{base_url: '{address}', model: {MODEL}, apis: [chat]}}\n"
        for name, address in addresses.items()
    )
    (tmp_path / "providers.yaml").write_text(f"providers:\n{entries}")


def test_providers_are_run_one_after_another_and_compared(tmp_path, capsys):
    refusing = provider_of(without_call)
    with (
        in_background(MockProvider(always=provider_of(correct), models=[MODEL])) as good,
        in_background(MockProvider(always=refusing, models=[MODEL])) as bad,
    ):
        providers(tmp_path, good=good.base_url, bad=bad.base_url)
        assert run(["compare", "-p", "good", "-p", "bad", *SHORT, "--json"]) == 1
    (row,) = (row for row in json.loads(capsys.readouterr().out)["rows"] if row["name"] == "pass@1")
    assert [cell["value"] for cell in row["cells"]] == [1.0, 0.0]
    assert sorted(path.name.partition("-")[0] for path in (tmp_path / "runs").iterdir()) == [
        "bad",
        "good",
    ]


def test_an_unreachable_provider_is_left_out_with_exit_code_3(runs, tmp_path, capsys):
    with in_background(MockProvider(always=provider_of(correct), models=[MODEL])) as good:
        providers(tmp_path, good=good.base_url, gone="http://127.0.0.1:9/v1")
        assert run(["compare", runs[0], "-p", "gone", "-p", "good", *SHORT]) == 3
    out, err = capsys.readouterr()
    assert "gone is" in err
    assert "good" in out


def test_a_second_run_reports_what_changed(tmp_path, capsys):
    with in_background(MockProvider(always=provider_of(correct), models=[MODEL])) as mock:
        at = ["--base-url", mock.base_url, "--model", MODEL, *SHORT]
        assert run(at) == 0
        (first,) = (tmp_path / "runs").iterdir()
        info = json.loads((first / "run.json").read_text())
        earlier = info | {"started_at": "2026-01-01T00:00:00+00:00"}
        (first / "run.json").write_text(json.dumps(earlier))
        capsys.readouterr()
        assert run(at) == 0
    sentence = f"Since {first.name} (2026-01-01 00:00): No change beyond chance."
    assert sentence in printed(capsys)
    (second,) = (path for path in (tmp_path / "runs").iterdir() if path != first)
    assert sentence in (second / "report.html").read_text()
    assert "## Since the previous run" in (second / "report.md").read_text()


def test_eval_runs_and_a_baseline_are_compared_by_question(tmp_path, capsys):
    folders = []
    for chance in (0.95, 0.2):
        with in_background(MockProvider(always=quiz(chance), models=[QUIZ_MODEL])) as mock:
            at = ["eval", "--base-url", mock.base_url, "--model", QUIZ_MODEL, "--eval", "aime25"]
            run([*at, "--samples", "--api", "chat", "-k", "3", "--out", "evals"])
        folders += [
            str(path) for path in (tmp_path / "evals").iterdir() if str(path) not in folders
        ]
    assert run(["export", folders[0], "--format", "baseline", "--out", "good.json"]) == 0
    capsys.readouterr()
    assert run(["compare", "good.json", folders[1], "card", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    (row,) = (row for row in found["rows"] if row["section"] == "Scores")
    assert row["differences"][1]["seen"] == "worse"
    assert row["cells"][2] is None
    assert run(["compare", folders[0], "good.json", "card", "--json"]) == 0
    capsys.readouterr()
    assert run(["compare", folders[1], "card", "--json"]) == 4  # nothing could be compared
    found = json.loads(capsys.readouterr().out)
    assert found["against"] == found["entries"][1]["label"]  # a baseline is what runs are held to
    assert "sample questions" in found["entries"][0]["notes"][0]
    assert run(["compare", *folders, "--out", "page"]) == 1
    assert "aime25, gpt-oss-mock" in printed(capsys)
    assert run(["history", "evals"]) == 0
    assert printed(capsys).count(": 1 run ") == 2


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_history_truncates_no_figures(columns, runs, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run(["history", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert run(["history"]) == 0
    text = capsys.readouterr().out
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= columns
    words = text.split()
    for point in (point for line in found["lines"] for point in line["points"]):
        assert {f"{point['tokens']:,}", point["tool_version"]} <= set(words)


def nights(capsys, *more):
    code = run(["history", "--provider", "mine", "--fail-on-change", *more])
    return code, capsys.readouterr().err


def test_a_night_is_compared_with_the_one_before_of_exactly_that_provider(tmp_path, capsys):
    judged_run(tmp_path / "runs" / "mine-1", provider="mine", day=1)
    judged_run(tmp_path / "runs" / "mine-2", provider="mine", day=2)
    assert nights(capsys)[0] == 0
    # Neither another provider whose name begins alike nor an unfinished run takes part.
    judged_run(
        tmp_path / "runs" / "mine-b-1", never_in("chat · streaming"), provider="mine-b", day=3
    )
    judged_run(
        tmp_path / "runs" / "mine-3",
        never_in("chat · streaming"),
        provider="mine",
        day=4,
        finished=False,
    )
    code, said = nights(capsys)
    assert (code, said) == (0, "mine PASS: nothing got worse; runs/mine-2/report.html\n")

    judged_run(tmp_path / "runs" / "mine-4", never_in("chat · streaming"), provider="mine", day=5)
    code, said = nights(capsys)
    assert code == 1
    assert said.startswith("mine FAIL: tool calls ")
    assert " → 0/" in said
    assert said.endswith("; runs/mine-4/report.html\n")
    assert len(said) <= 200


@pytest.mark.parametrize("before", [True, False])
def test_a_night_without_an_answer_is_a_failure(before, tmp_path, capsys):
    if before:
        judged_run(tmp_path / "runs" / "mine-1", provider="mine", day=1)
    (tmp_path / "providers.yaml").write_text(
        "providers: {mine: {base_url: 'http://127.0.0.1:9/v1', model: m, apis: [chat]}}"
    )
    assert run(["--provider", "mine", "-n", "1"]) == 3
    run(["history"])
    out = " ".join(capsys.readouterr().out.split())
    assert f"mine: {int(before)} run{'s' * (not before)}, 1 failed start" in out
    assert "could not connect" in out
    code, said = nights(capsys, "--since", "1d")
    assert code == 3
    assert said.startswith("mine UNREACHABLE: no finished run")
    assert said.endswith("the provider did not answer\n")
    judged_run(tmp_path / "runs" / "mine-2", provider="mine", day=40_000)  # it answers again
    assert nights(capsys)[0] == 0


def test_a_night_without_a_run_is_noticed(tmp_path, capsys):
    judged_run(tmp_path / "runs" / "mine-1", provider="mine", day=1)
    assert nights(capsys) == (0, "mine-1 has no comparable run before it.\n")
    code, said = nights(capsys, "--since", "1d")  # the run began on 2026-11-02
    assert (code, "too old: mine-1" in said) == (4, True)
    assert nights(capsys, "--since", "20000d")[0] == 0


@pytest.mark.parametrize(
    "options", [["--since", "1d"], ["--fail-on-change"], ["-p", "mine", "--fail-on-change",
                "--since", "soon"]],
)  # fmt: skip
def test_wrong_options_of_a_night_are_refused(options, tmp_path, capsys):
    judged_run(tmp_path / "runs" / "mine-1", provider="mine", day=1)
    assert run(["history", *options]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_history_tells_runs_of_one_minute_apart_and_names_an_unfinished_one(tmp_path, capsys):
    for number, day in enumerate((0, 1e-4, 1)):
        judged_run(tmp_path / "runs" / f"a-{number}", day=day, finished=day < 1)
    (tmp_path / "runs" / "a-2" / "analysis.json").unlink()
    assert run(["history"]) == 0
    text = printed(capsys)
    rows = [word for word in text.split() if word.count(":") == 2]
    assert len({*rows}) == 2
    assert "runs/a-2 is not finished" in text


def test_history_is_a_table_and_json(runs, capsys):
    assert run(["history"]) == 0
    text = printed(capsys)
    assert "alpha: 2 runs" in text
    assert "beta: 1 run" in text
    assert "pass^3 █▁" in text
    assert run(["history", "-p", "alpha", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    Draft202012Validator(schemas.schema("history")).validate(found)
    assert [line["provider"] for line in found["lines"]] == ["alpha"]
