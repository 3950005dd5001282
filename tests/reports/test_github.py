from hypothesis import given
from hypothesis import strategies as st

from reports.github import annotation, outputs, verdict_annotations


@given(st.text(), st.text())
def test_whatever_it_says_an_annotation_is_one_line_and_one_command(title, message):
    line = annotation("error", title, message)
    assert line.replace("\t", "").isprintable()
    head, _, said = line.removeprefix("::error title=").partition("::")
    assert ":" not in head
    assert "," not in head
    assert len(said) < 6_000


def test_what_has_a_meaning_in_commands_is_escaped():
    assert annotation("warning", "a:b,c%", "1\n2 % :,") == (
        "::warning title=a%3Ab%2Cc%25::1%0A2 %25 :,"
    )


@given(st.dictionaries(st.sampled_from(["verdict", "report"]), st.text()))
def test_an_output_is_one_line(values):
    assert len(outputs(values).splitlines()) == len(values)


def test_a_pass_is_not_annotated():
    assert list(verdict_annotations("pass", ["Fine."])) == []
    (only,) = verdict_annotations("inconclusive", ["One.", "Two."])
    assert only == "::warning title=gpt-oss-verify%3A INCONCLUSIVE::One. Two."
