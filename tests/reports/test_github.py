"""Annotations and outputs of GitHub Actions."""

from hypothesis import given
from hypothesis import strategies as st
from reporting import analysis, failed_rule, failing, finding, passing

from harness.records.diagnosis import Cause, Diagnosis
from reports.ci import MOST_ANNOTATIONS, annotation, annotations, outputs


@given(st.text(), st.text())
def test_an_annotation_is_one_line_and_one_command(title, message):
    line = annotation("error", title, message)
    assert line.replace("\t", "").isprintable()
    head, _, body = line.removeprefix("::error title=").partition("::")
    assert ":" not in head
    assert "," not in head
    assert len(body) < 6_000


def test_characters_with_a_meaning_in_commands_are_escaped():
    assert annotation("warning", "a:b,c%", "1\n2% :,") == (
        "::warning title=a%3Ab%2Cc%25::1%0A2%25 :,"
    )


@given(st.dictionaries(st.sampled_from(["verdict", "report"]), st.text()))
def test_an_output_is_one_line(values):
    assert len(outputs(values).splitlines()) == len(values)


def test_a_pass_is_not_annotated():
    assert annotations(passing()) == []
    assert annotations(analysis(decision=None)) == []
    (only,) = annotations(analysis(decision="inconclusive", reasons=["One.", "Two."]))
    assert only == "::warning title=gpt-oss-verify%3A INCONCLUSIVE::One. Two."


def test_the_verdict_names_the_first_likely_cause():
    causes = (cause("streams", "The server merges streams."), cause("usage", "It miscounts."))
    found = analysis(decision="fail", reasons=["One."])
    verdict, *_ = annotations(
        found.model_copy(update={"diagnosis": Diagnosis(causes=causes, unexplained=())})
    )
    assert verdict.endswith("FAIL::One. Likely cause: The server merges streams.")


def cause(component, description):
    return Cause(
        component=component, description=description, effect="", examples=(), explains=(), remedy=""
    )


def test_failed_checks_follow_the_verdict():
    verdict, check = annotations(failing())
    assert verdict.startswith("::error title=gpt-oss-verify%3A FAIL::")
    assert check.startswith("::error title=usage.sum::1 of 6 attempts: ")
    loud = [failed_rule(f"a.b{number}", "warned", finding("r")) for number in range(20)]
    many = annotations(analysis(checks=loud, decision="fail"))
    assert len(many) == MOST_ANNOTATIONS
    assert many[1].startswith("::warning title=a.b0::")
