"""Questions are loaded from a hub, its cache, or local files, and are identified by their hash."""

import builtins
import csv
import hashlib
import io
import json

import datasets
import huggingface_hub.constants
import pytest
from fake_hub import fake_hub
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sample_evals import load_eval

from evals.aime25 import AimeRow
from evals.datasets import (
    load_rows,
    parse_csv,
    parse_jsonl,
    read_file,
    rows_sha256,
    select,
)
from evals.gpqa import GpqaRow
from evals.healthbench import HealthBenchRow
from evals.registry import EVALS, NAMES
from harness.errors import ConfigurationError

UNHURRIED = settings(suppress_health_check=[HealthCheck.too_slow])

AIME, GPQA, HEALTHBENCH = (EVALS[name].facts.dataset for name in ("aime25", "gpqa", "healthbench"))
COLUMNS = ("Question", "Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2",
           "Incorrect Answer 3")  # fmt: skip
HEADER = ",".join(COLUMNS) + "\n"


def aime_lines(start, count):
    rows = [{"question": f"What is {n}?", "answer": str(n)} for n in range(start, start + count)]
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def gpqa_table(rows, columns=COLUMNS):
    out = io.StringIO()
    csv.writer(out).writerows([columns, *rows])
    return out.getvalue()


GPQA_ROWS = [(f"Which\none is {n}?", f"{n}", "None", "NA", f'a "b", {n}') for n in range(198)]
HEALTHBENCH_ROW = {
    "prompt_id": "p",
    "prompt": [{"role": "user", "content": "I cough."}],
    "rubrics": [{"criterion": "Asks for how long.", "points": 5, "tags": ["axis:context"]}],
    "example_tags": ["theme:context_seeking"],
    "ideal_completions_data": None,
}
PUBLISHED = {
    "opencompass/AIME2025/aime2025-I.jsonl": aime_lines(0, 15),
    "opencompass/AIME2025/aime2025-II.jsonl": aime_lines(15, 15).replace('"29"', r'"29^\\circ"'),
    "Idavidrein/gpqa/gpqa_diamond.csv": gpqa_table(GPQA_ROWS),
    "openai/healthbench/2025-05-07-06-14-12_oss_eval.jsonl": "".join(
        f"{json.dumps(HEALTHBENCH_ROW | {'prompt_id': str(n)})}\n" for n in range(20)
    ),
}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with fake_hub(PUBLISHED, (), tmp_path / "cache", monkeypatch) as requests:
        yield requests


def test_published_data_are_loaded_complete_and_in_order_at_the_pinned_revision(hub):
    loaded = load_rows(AIME, "hub", AimeRow)
    assert [row.answer for row in loaded.rows] == list(range(30))
    assert (loaded.info.revision, loaded.info.source) == (AIME.revision, "opencompass/AIME2025")
    assert not loaded.info.sample
    assert all(AIME.revision in request for request in hub if "resolve" in request)


def test_cached_data_need_no_network(hub, monkeypatch):
    once = load_rows(AIME, "hub", AimeRow)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert load_rows(AIME, "hub", AimeRow) == once


def test_choices_such_as_none_and_na_are_not_read_as_missing_values(hub):
    loaded = load_rows(GPQA, "hub", GpqaRow)
    assert loaded.rows[7].choices == ("7", "None", "NA", 'a "b", 7')
    assert loaded.rows[7].question == "Which\none is 7?"
    assert loaded.info.gated


def test_healthbench_conversations_keep_their_rubrics(hub):
    loaded = load_rows(HEALTHBENCH.model_copy(update={"rows": 20}), "hub", HealthBenchRow)
    assert loaded.info.rows == 20
    assert loaded.rows[19] == HealthBenchRow.model_validate(HEALTHBENCH_ROW | {"prompt_id": "19"})


def test_the_same_data_are_recognized_in_any_file_format(hub, tmp_path):
    published = load_rows(GPQA, "hub", GpqaRow)
    ids = [(f"rec{number}", *row) for number, row in enumerate(reversed(GPQA_ROWS))]
    copy = tmp_path / "copy.csv"
    copy.write_text(gpqa_table(ids, ("Record ID", *COLUMNS)).replace("\r\n", "\n"))
    assert load_rows(GPQA, copy, GpqaRow).info.sha256 == published.info.sha256
    copy.write_text(gpqa_table([*GPQA_ROWS[1:], ("x", "1", "2", "3", "4")]))
    assert load_rows(GPQA, copy, GpqaRow).info.sha256 != published.info.sha256


def test_the_error_for_gated_data_says_what_to_do(tmp_path, monkeypatch):
    hub = fake_hub(PUBLISHED, ("Idavidrein/gpqa",), tmp_path, monkeypatch)
    with hub, pytest.raises(ConfigurationError) as refused:
        load_rows(GPQA, "hub", GpqaRow)
    message = str(refused.value)
    assert "https://huggingface.co/datasets/Idavidrein/gpqa" in message
    assert "HF_TOKEN" in message
    assert "--data" in message


def test_the_error_without_network_and_cache_says_what_to_do(hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigurationError) as refused:
        load_rows(AIME, "hub", AimeRow)
    message = str(refused.value)
    assert "cannot be reached" in message
    assert "aime2025-I.jsonl and aime2025-II.jsonl" in message
    assert "with --data" in message
    assert hub == []


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("aime2025-II.jsonl", aime_lines(15, 14), r"has 29 rows .* not 30"),
        ("aime2025-I.jsonl", '{"question": "q", \n', r"aime2025-I\.jsonl .*cannot be read"),
    ],
)
def test_published_files_that_are_short_or_damaged_are_rejected(
    file, text, reason, tmp_path, monkeypatch
):
    damaged = PUBLISHED | {f"opencompass/AIME2025/{file}": text}
    hub = fake_hub(damaged, (), tmp_path, monkeypatch)
    with hub, pytest.raises(ConfigurationError, match=reason):
        load_rows(AIME, "hub", AimeRow)


def test_the_error_without_the_library_names_the_extra_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "datasets":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigurationError, match=r"pip install .*\[evals\]"):
        load_rows(AIME, "hub", AimeRow)


@pytest.fixture
def named(tmp_path, monkeypatch):
    """Replace the datasets of the hub with ones built from files; yield the calls so far."""
    calls = []

    def load_dataset(name, revision=None):
        calls.append((name, revision))
        if name == "nobody/nothing":
            raise datasets.exceptions.DatasetNotFoundError(f"Dataset {name!r} doesn't exist")
        for split, start in (("train", 100), ("test", 3)):
            (tmp_path / f"{split}.jsonl").write_text(aime_lines(start, 4))
        files = {split: str(tmp_path / f"{split}.jsonl") for split in ("train", "test")}
        return real("json", data_files=files, cache_dir=str(tmp_path / "cache"))

    real = datasets.load_dataset
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return calls


def test_any_hub_dataset_with_the_same_columns_is_loaded(named):
    loaded = load_rows(AIME, "hf:me/mine", AimeRow)
    assert [row.answer for row in loaded.rows] == [3, 4, 5, 6]
    assert (loaded.info.source, loaded.info.revision) == ("hf:me/mine", None)
    assert loaded.info.sample
    assert load_rows(AIME, "hf:me/mine@v2", AimeRow).info.revision == "v2"
    assert named == [("me/mine", None), ("me/mine", "v2")]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("hf:me/mine", "me/mine test row 4: without column 'Correct Answer' and"),
        ("hf:nobody/nothing", r"nobody/nothing could not be loaded \(Dataset"),
    ],
)
def test_a_hub_dataset_that_is_missing_or_has_other_columns_is_an_error(named, source, reason):
    with pytest.raises(ConfigurationError, match=reason):
        load_rows(GPQA, source, GpqaRow)


def test_a_folder_contains_the_files_under_their_published_names(tmp_path):
    for name in AIME.files:
        (tmp_path / name).write_text(PUBLISHED[f"opencompass/AIME2025/{name}"])
    loaded = load_rows(AIME, tmp_path, AimeRow)
    assert [row.answer for row in loaded.rows] == list(range(30))
    assert loaded.info.revision is None
    (tmp_path / AIME.files[1]).unlink()
    with pytest.raises(ConfigurationError, match=r"There is no file .*aime2025-II\.jsonl"):
        load_rows(AIME, tmp_path, AimeRow)


def test_a_local_copy_of_a_known_file_is_recorded_with_its_revision(tmp_path):
    file = tmp_path / "mine.jsonl"
    file.write_text(aime_lines(0, 30))
    aime = AIME.model_copy(update={"known": (hashlib.sha256(file.read_bytes()).hexdigest(),)})
    loaded = load_rows(aime, file, AimeRow)
    assert (loaded.info.revision, loaded.info.identity) == (AIME.revision, "published")
    file.write_text(aime_lines(1, 30))
    loaded = load_rows(aime, file, AimeRow)
    assert (loaded.info.revision, loaded.info.identity) == (None, "own")


def test_a_path_may_be_a_string_and_a_part_of_the_data_is_a_sample(tmp_path):
    file = tmp_path / "part.jsonl"
    file.write_text(aime_lines(0, 29))
    assert load_rows(AIME, str(file), AimeRow) == load_rows(AIME, file, AimeRow)
    assert load_rows(AIME, file, AimeRow).info.sample


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            '\n{"question": "q", "answer": "7"}\nnot json\nnot json\n',
            r"line 3, \S+ line 4: not JSON",
        ),
        ('{"question": "q", "answer": NaN}\n', r"line 1: not JSON"),
        ('{"question": "q", "answer": "7"}\n[1]\n', r"line 2: not a JSON object"),
        ('{"answer": "7"}\n', r"line 1: without column 'question'; its columns are 'answer'"),
        ('{"question": " ", "answer": "7"}\n', r"line 1: column 'question'"),
        ('{"question": "q", "answer": "x"}\n', r"line 1: column 'answer'"),
        ('{"question": "q", "answer": "7.5"}\n', r"line 1: column 'answer'"),
        (
            '{"question": "q", "answer": 1000}\n' * 3,
            r"line 1, \S+ line 2, \S+ line 3: column 'answer'",
        ),
        ("", "has no rows"),
        (f'{HEADER}"q\nq",1,2,3,4\nq,1,2,3\n', r"line 4: 4 fields, but there are 5 columns"),
        (f'{HEADER}"q\nq",1,2,3,4\nq,1,,3,4\n', r"line 4: column 'Incorrect Answer 1'"),
        (f'{HEADER}q,1,2,3,4\nq,1,2,3,"4\n', r"line 3 is not CSV"),
        (
            "Question,Correct Answer\nq,1\n",
            r"without column 'Incorrect Answer 1'.*; its columns are '",
        ),
    ],
)
def test_a_bad_line_or_row_is_reported_with_its_first_line(tmp_path, text, reason):
    data, row, name = (AIME, AimeRow, "mine.jsonl")
    if text.startswith("Question,"):
        data, row, name = (GPQA, GpqaRow, "mine.csv")
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigurationError, match=rf"{name}.*{reason}"):
        load_rows(data, tmp_path / name, row)


def test_unreadable_files_are_reported_by_name(tmp_path):
    with pytest.raises(ConfigurationError, match="There is no file"):
        read_file(tmp_path / "none.jsonl")
    (tmp_path / "x.parquet").touch()
    with pytest.raises(ConfigurationError, match=r"neither a \.jsonl nor a \.csv"):
        read_file(tmp_path / "x.parquet")
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_file(tmp_path / "x.csv")


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@UNHURRIED
@given(st.lists(st.lists(TEXT, min_size=2, max_size=2), min_size=1, max_size=5))
def test_a_table_is_read_back_as_it_was_written(rows):
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows([["one", "two"], *rows])
    read = [row.values for row in parse_csv(out.getvalue(), "x.csv")]
    assert read == [{"one": one, "two": two} for one, two in rows]


@UNHURRIED
@given(st.lists(st.dictionaries(TEXT, TEXT), max_size=5))
def test_lines_are_read_back_as_they_were_written(rows):
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    assert [row.values for row in parse_jsonl(text, "x.jsonl")] == rows
    text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    assert [row.values for row in parse_jsonl(text, "x.jsonl")] == rows


@UNHURRIED
@given(st.lists(st.dictionaries(TEXT, TEXT), max_size=5), st.randoms())
def test_the_hash_does_not_depend_on_the_order_of_rows(rows, rng):
    assert rows_sha256(rng.sample(rows, len(rows))) == rows_sha256(rows)
    assert rows_sha256([*rows, {"one": "more"}]) != rows_sha256(rows)


@UNHURRIED
@given(st.integers(1, 40), st.integers(1, 40), st.integers())
def test_a_larger_selection_includes_the_smaller_one_in_data_order(one, other, seed):
    few, many = sorted((one, other))
    items = tuple(range(40))
    assert set(select(items, few, seed)) <= set(select(items, many, seed))
    assert list(select(items, many, seed)) == sorted(select(items, many, seed))
    assert len(select(items, many, seed)) == many
    assert select(items, None, seed) == items


@pytest.mark.parametrize("examples", [-1, 0, 41])
def test_requesting_more_examples_than_exist_is_an_error(examples):
    with pytest.raises(ConfigurationError, match="between 1 and 40"):
        select(range(40), examples, 0)


def test_every_source_has_a_sample_and_is_an_eval():
    assert {one.name for one in EVALS.values() if one.facts.dataset} < set(NAMES)
    for name in NAMES:
        test = load_eval(name)
        assert test.info.eval == test.name == name
        assert test.info.sample
        assert not test.info.gated
        assert len({question.id for question in test.questions}) == test.info.rows
    with pytest.raises(ConfigurationError, match=r"no eval 'aime'; did you mean 'aime25'"):
        load_eval("aime")


@pytest.mark.parametrize(("separator", "called"), [(";", "semicolons"), ("\t", "tabs")])
def test_a_csv_file_with_other_separators_is_refused_with_their_name(
    separator: str, called: str
) -> None:
    text = f"question{separator}answer\nWhat is 2 + 2?{separator}4\n"
    with pytest.raises(ConfigurationError, match=f"x.csv line 1 separates .* with {called}"):
        list(parse_csv(text, "x.csv"))
    one = list(parse_csv('"question"\n"a;b"\n', "x.csv"))
    assert [row.values for row in one] == [{"question": "a;b"}]
