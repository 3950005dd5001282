"""A model reads many passages at once; what they have in common is read once.

The passages form a tree: each distinct beginning is a node, a token with everything before it. A
default run has the same prompts and greedy replies over both APIs and in both modes, so that the
tree has a ninth of the tokens. The nodes are read in packs; each attends to the path to its root.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from reference_engine.generation.sampling import CANDIDATES
from reference_engine.model.config import ModelConfig
from reference_engine.model.logits import Logits
from reference_engine.model.transformer import Transformer, sink_attention
from reference_engine.rescoring.reading import (
    CERTAIN,
    CURIOUS,
    MOST_ALTERNATIVES,
    Ask,
    Passage,
    ReadToken,
)

_PACK = 1024  # tokens that pass through the model together
_NODES = 16_384  # nodes whose keys and values are kept: 100 MB of the small model, 0.8 GB of 20b
_SHORTEST = 16  # tokens of a pack
_ROWS = 64  # rows of logits at a time
_MOST_SCORES = 2**26  # numbers in the attention scores of a branch, 256 MiB in float32
_UNBOUNDED = 2**31  # tokens
_NONE: tuple[float, ...] = ()
_ONLY_BEST = 1e-20  # a divisor with which only the best token counts, as at temperature 0
_SURE = 6.0
"""Nats: the surprise of a more probable token is its own logprob, which is an upper bound."""


class TreeReader:
    """Reads passages with a model on any device; see `reading.Reader`.

    What it has read is kept for the next passages, which often begin alike: other spellings of the
    same reply, or the same reply after another prompt.
    """

    def __init__(self, model: Transformer) -> None:
        """Read with this model; its dtypes are those of the numbers."""
        self._model = model
        self._tree = _Tree(model)

    @torch.inference_mode()
    def read(self, passages: Sequence[Passage], ask: Ask) -> Sequence[Sequence[ReadToken]]:
        """See `reading.Reader`."""
        order = sorted(range(len(passages)), key=lambda at: _ids(passages[at]))
        found: list[Sequence[ReadToken]] = [()] * len(passages)
        for group in self._groups(passages, order):
            for number, tokens in zip(group, self._group(passages, group, ask), strict=True):
                found[number] = tokens
        return found

    def _groups(self, passages: Sequence[Passage], order: Sequence[int]) -> Iterator[Sequence[int]]:
        """Yield the passages in groups, and forget what was read before each that has no room."""
        group: list[int] = []
        before: Sequence[int] = ()
        nodes = self._tree.size
        for number in order:
            ids = _ids(passages[number])
            added = len(ids) - max(_shared(before, ids), self._tree.known(ids))
            if nodes + added > _NODES and (group or self._tree.size):
                if group:
                    yield group
                self._tree.clear()
                group, nodes, added = [], 0, len(ids)
            group.append(number)
            before, nodes = ids, nodes + added
        if group:
            yield group

    def _group(
        self, passages: Sequence[Passage], group: Sequence[int], ask: Ask
    ) -> Sequence[Sequence[ReadToken]]:
        paths = self._tree.grow([_ids(passages[number]) for number in group])
        asked: dict[tuple[int, float, float], list[tuple[int, int]]] = {}
        for place, number in enumerate(group):
            passage, path = passages[number], paths[place]
            for token in range(passage.known, len(passage.completion)):
                node = path[len(passage.prompt) + token - 1]
                settings = (node, passage.temperature, passage.top_p)
                asked.setdefault(settings, []).append((place, token))
        found: dict[tuple[int, int], ReadToken] = {}
        rows = list(asked)
        for at in range(0, len(rows), _ROWS):
            part = rows[at : at + _ROWS]
            streams = self._tree.streams([node for node, *_ in part])
            logits = self._model.unembedding.logits(self._model.norm(streams))
            wanted = [
                (row, passages[group[place]].completion[token], (place, token))
                for row, settings in enumerate(part)
                for place, token in asked[settings]
            ]
            found |= _read_rows(logits, [settings[1:] for settings in part], wanted, group, ask)
        return [
            [
                found[place, token]
                for token in range(passages[number].known, len(passages[number].completion))
            ]
            for place, number in enumerate(group)
        ]


class _Branch(NamedTuple):
    """New nodes of a path that follow each other: the first, the one after the last, the path."""

    first: int
    end: int
    path: Sequence[int]


class _Tree:
    """The distinct beginnings of all sequences that were read, as nodes.

    A node has a token, a number larger than its parent's, keys and values in each layer, and the
    residual stream after the last block.
    """

    def __init__(self, model: Transformer) -> None:
        self._model = model
        self._device = model.norm.scale.device
        self.clear()

    def clear(self) -> None:
        """Forget all nodes."""
        self.size = 0
        self._children: dict[tuple[int, int], int] = {}  # by the parent, -1 at the root, and token
        self._streams: Tensor | None = None
        self._context = _TreeContext(self._model.config, self._device)

    def known(self, ids: Sequence[int]) -> int:
        """Return how many tokens of a sequence are on a path from the root."""
        node = -1
        for at, token in enumerate(ids):
            child = self._children.get((node, token))
            if child is None:
                return at
            node = child
        return len(ids)

    def grow(self, sequences: Sequence[Sequence[int]]) -> Sequence[Sequence[int]]:
        """Read sequences, and return the nodes of each."""
        first, tokens = self.size, list[int]()
        paths: list[list[int]] = []
        branches: list[_Branch] = []
        for ids in sequences:
            path: list[int] = []
            start = self.size
            for token in ids:
                place = (path[-1] if path else -1, token)
                node = self._children.setdefault(place, self.size)
                if node == self.size:
                    self.size += 1
                    tokens.append(token)
                path.append(node)
            paths.append(path)
            if self.size > start:
                branches.append(_Branch(start, self.size, path))
        longest = max(map(len, paths), default=1)
        heads = self._model.config.num_attention_heads
        pack = max(_SHORTEST, min(_PACK, _MOST_SCORES // (heads * longest)))
        for start in range(first, self.size, pack):
            end = min(start + pack, self.size)
            self._read(tokens[start - first : end - first], _within(branches, start, end), start)
        return paths

    def streams(self, nodes: Sequence[int]) -> Tensor:
        """Return the residual streams of nodes, (nodes, H)."""
        assert self._streams is not None
        return self._streams[torch.tensor(nodes, device=self._device)]

    def _read(self, tokens: Sequence[int], branches: Sequence[_Branch], start: int) -> None:
        """Pass the tokens of new nodes, from `start` on, through the model."""
        self._context.begin(branches, start, start + len(tokens))
        stream = self._model.stream(torch.tensor([tokens], device=self._device), self._context)[0]
        if self._streams is None:
            self._streams = stream.new_empty(_NODES, stream.shape[1])
        self._streams = _with_room(self._streams, start + len(tokens))
        self._streams[start : start + len(tokens)] = stream


def _within(branches: Sequence[_Branch], start: int, end: int) -> Sequence[_Branch]:
    """Return the parts of branches among the nodes from `start` to `end`."""
    parts = []
    for first, last, path in branches:
        begin, stop = max(first, start), min(last, end)
        if begin < stop:
            parts.append(_Branch(begin, stop, path[: len(path) - (last - stop)]))
    return parts


def _with_room(values: Tensor, rows: int) -> Tensor:
    """Return values with room for so many rows; one long passage may need more than others."""
    if rows <= len(values):
        return values
    return torch.cat((values, values.new_empty(rows - len(values), *values.shape[1:])))


class _TreeContext:
    """What new tokens see: all nodes on the path to their root, within the window of the layer."""

    positions: Tensor  # (1, tokens)

    def __init__(self, config: ModelConfig, device: torch.device) -> None:
        sizes = {"sliding_attention": config.sliding_window}
        self._windows = [sizes.get(kind, _UNBOUNDED) for kind in config.layer_types]
        self._device = device
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}

    def begin(self, branches: Sequence[_Branch], start: int, end: int) -> None:
        """Begin to read these branches, whose nodes are those from `start` to `end`."""
        self._start, self._end = start, end
        self._branches = [
            (torch.tensor(branch.path, device=self._device), branch.end - branch.first)
            for branch in branches
        ]
        positions = [
            at for path, size in self._branches for at in range(len(path) - size, len(path))
        ]
        self.positions = torch.tensor([positions], device=self._device)
        self._visible: dict[tuple[int, int, int], Tensor] = {}

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, sinks: Tensor
    ) -> Tensor:
        """Return the attention of each branch to its path."""
        if layer not in self._kept:
            shape = (_NODES, *key.shape[2:])
            self._kept[layer] = key.new_empty(shape), value.new_empty(shape)
        keys, values = (_with_room(kept, self._end) for kept in self._kept[layer])
        self._kept[layer] = keys, values
        keys[self._start : self._end], values[self._start : self._end] = key[0], value[0]
        window, at, parts = self._windows[layer], 0, []
        for path, size in self._branches:
            seen = path[-(window - 1 + size) :] if window < _UNBOUNDED else path
            own, read = (F.pad(x[seen].transpose(0, 1), (0, 0, 1, 0))[None] for x in (keys, values))
            visible = self._mask(size, len(seen), window)
            parts.append(sink_attention(query[:, at : at + size], own, read, visible, sinks)[0])
            at += size
        return torch.cat(parts)[None]

    def _mask(self, size: int, seen: int, window: int) -> Tensor:
        """Return which keys the last `size` tokens of `seen` see, (1, size, seen)."""
        if (mask := self._visible.get((size, seen, window))) is None:
            keys = torch.arange(seen, device=self._device)
            distance = keys[-size:, None] - keys
            hidden = (distance < 0) | (distance >= window)
            mask = torch.zeros(hidden.shape, device=self._device).masked_fill(hidden, -math.inf)
            mask = self._visible[size, seen, window] = mask[None]
        return mask


def _ids(passage: Passage) -> tuple[int, ...]:
    return (*passage.prompt, *passage.completion)


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many tokens two sequences begin with in common."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    return low


def _read_rows(
    logits: Logits,
    settings: Sequence[tuple[float, float]],
    wanted: Sequence[tuple[int, int, tuple[int, int]]],
    group: Sequence[int],
    ask: Ask,
) -> dict[tuple[int, int], ReadToken]:
    """Return what is known of the wanted tokens: (row, token, place of the passage and token)."""
    divisors = [1.0 if temperature else _ONLY_BEST for temperature, _ in settings]
    largest, sums = logits.chunk_sums(torch.tensor(divisors, device=logits.device))
    tokens, within = logits.chunk(largest.argmax(-1, keepdim=True))
    top = within.max(-1)
    norm = (largest.double() + sums.double().log()).logsumexp(-1)
    sampled = torch.tensor([bool(temperature) for temperature, _ in settings])
    norm = norm.where(sampled.to(norm.device), top.values.double())
    best = tokens.gather(1, top.indices[:, None])[:, 0].tolist()
    best_logprob = (top.values.double() - norm).tolist()
    rows = torch.tensor([row for row, *_ in wanted], device=logits.device)
    ids = torch.tensor([token for _, token, _ in wanted], device=logits.device)
    own = (logits.at(rows, ids).double() - norm[rows]).tolist()

    others: dict[tuple[int, int], list[int]] = {}
    for (row, token, (place, number)), logprob in zip(wanted, own, strict=True):
        if token != best[row] and best_logprob[row] - logprob > CURIOUS:
            others[place, number] = list(ask(group[place], number))
    pairs = [(row, other) for row, _, key in wanted for other in others.get(key, ())]
    asked: Iterator[float] = iter(())
    if pairs:
        at, which = (
            torch.tensor(column, device=logits.device) for column in zip(*pairs, strict=True)
        )
        asked = iter((logits.at(at, which).double() - norm[at]).tolist())

    open_rows = {
        row
        for (row, _, _), logprob in zip(wanted, own, strict=True)
        if settings[row][0] and (math.exp(best_logprob[row]) < CERTAIN or logprob < -_SURE)
    }
    whole = {row: logits.of([row])[0] for row in sorted(open_rows)}
    found = {}
    for (row, token, key), logprob in zip(wanted, own, strict=True):
        temperature, top_p = settings[row]
        surprise, changed, probable = -logprob if temperature else 0.0, logprob, _NONE
        if row in whole:
            surprise, changed, probable = _sampled(whole[row], token, temperature, top_p)
        found[key] = ReadToken(
            logprob=logprob,
            best=best[row],
            gap=0.0 if token == best[row] else best_logprob[row] - logprob,
            surprise=surprise,
            own=changed,
            probable=probable,
            others={other: next(asked) for other in others.get(key, ())},
        )
    return found


def _sampled(
    logits: Tensor, token: int, temperature: float, top_p: float
) -> tuple[float, float, tuple[float, ...]]:
    """Return surprise, logprob and the most probable logprobs of a sampled token (see `ReadToken`).

    Args:
        logits: (vocabulary,), before the temperature.
        token: The token that was sampled.
        temperature: Divisor of the logits, above 0.
        top_p: Share of the probability from which the token was sampled.
    """
    logprobs = (logits / temperature).log_softmax(-1)
    kept = logprobs.topk(CANDIDATES if top_p < 1 else MOST_ALTERNATIVES).values
    if top_p < 1:
        before = kept.exp().cumsum(-1) - kept.exp()
        kept = kept[before < top_p]
        inside = bool(logprobs[token] >= kept[-1])
        shift = kept.logsumexp(-1)
        kept, own = kept - shift, float(logprobs[token] - shift) if inside else -math.inf
        unlikely = kept[kept <= own].exp().sum()
    else:
        own = float(logprobs[token])
        unlikely = logprobs[logprobs <= own].exp().sum()
    surprise = -math.log(max(float(unlikely), 1e-300))
    return surprise, own, tuple(kept[:MOST_ALTERNATIVES].tolist())
