"""Token codes: the content of the rows, and their reproducibility."""

import hashlib

import pytest
import torch

from harmony.vocabulary import harmony_encoding, token_bytes
from reference_engine.small import codes

SEED = 20


@pytest.fixture(scope="module")
def tables() -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(codes.code_table(SEED, codes.WIDTH, of_inputs=inputs) for inputs in (True, False))


def only(text: str) -> int:
    (token,) = harmony_encoding().encode(text)
    return token


def place(table: torch.Tensor, token: int, start: int, length: int) -> list[float]:
    return table[token, start : start + length].tolist()


def test_codes_are_the_same_on_every_machine() -> None:
    digest = hashlib.sha256(codes.piece_codes(SEED).astype("int8").tobytes()).hexdigest()
    assert digest == "fa46ea16943cffbf12cfeecd71b0a36d1b5ba3470a07a773df0a886f99530981"


def test_a_spaced_token_differs_from_its_bare_token_only_in_the_flags(
    tables: tuple[torch.Tensor, torch.Tensor],
) -> None:
    table = tables[0]
    spaced, bare = only(" Paris"), only("Paris")
    assert torch.equal(table[spaced, : codes.FLAGS_AT], table[bare, : codes.FLAGS_AT])
    assert not torch.equal(table[spaced], table[bare])


@pytest.mark.parametrize("word", [" Lisbon", " Antarctica", " Trinidad", " Vampire", " человек"])
def test_a_word_without_a_bare_token_has_the_codes_of_its_pieces(
    tables: tuple[torch.Tensor, torch.Tensor], word: str
) -> None:
    token = only(word)
    pieces = harmony_encoding().encode(word.strip())
    embedding, unembedding = tables
    first, last = pieces[0], pieces[-1]
    for table in tables:
        assert place(table, token, codes.FIRST_AT, codes.CODE) == place(
            table, first, codes.FIRST_AT, codes.CODE
        )
        assert place(table, token, codes.LAST_AT, codes.CODE) == place(
            table, last, codes.FIRST_AT, codes.CODE
        )
    middle = place(embedding, token, codes.MIDDLE_AT, codes.MIDDLE)
    if len(pieces) == 3:
        assert middle == place(embedding, pieces[1], codes.FIRST_AT, codes.MIDDLE)
    else:
        assert not any(middle)
    assert not unembedding[token, codes.MIDDLE_AT : codes.FLAGS_AT].any()


def test_the_encoder_merges_as_the_vocabulary_says() -> None:
    words = [word[1:] for word in token_bytes()[3000:200_000:97] if word.startswith(b" ")]
    assert len(words) > 500
    for word in words:
        assert codes.split_pieces(word) == codes.merged_pieces(word)


def test_rows_are_far_apart(tables: tuple[torch.Tensor, torch.Tensor]) -> None:
    rows = torch.nn.functional.normalize(tables[1][:4000].float())
    alike = rows @ rows.T - torch.eye(len(rows))
    bare = ~codes.bare_pieces()[1][:4000, 0]
    assert alike[bare][:, bare].max() < 0.75


def test_expansion_inserts_the_stored_rows() -> None:
    rows = torch.randn(2, codes.WIDTH).to(torch.bfloat16)
    stored = {
        "token_codes.ids": torch.tensor([5, 200_002], dtype=torch.int32),
        "token_codes.embed_tokens": rows,
        "token_codes.lm_head": -rows,
    }
    config = {"hidden_size": codes.WIDTH, "token_codes": {"seed": SEED}}
    embedding = codes.expand(config, stored, "embed_tokens")
    assert embedding.shape == (codes.VOCAB_SIZE, codes.WIDTH)
    assert torch.equal(embedding[200_002], rows[1])
    assert torch.equal(codes.expand(config, stored, "lm_head")[5], -rows[0])


def test_a_small_hidden_size_is_rejected() -> None:
    with pytest.raises(ValueError, match="at least 192, not 128"):
        codes.code_table(SEED, 128, of_inputs=True)
