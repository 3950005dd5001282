"""A model reads many passages at once; what they have in common is read once.

The passages form a tree: each distinct beginning is a node, a token with everything before it. A
default run has the same prompts and greedy replies over both APIs and in both modes, so that the
tree has a third of the tokens. The nodes are read in packs; a token attends to the path to its root.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from reference_engine.generation.sampling import CANDIDATES
from reference_engine.model.config import ModelConfig
from reference_engine.model.logits import AllLogits, Logits
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
_ROWS = 64  # rows of logits at a time
_MOST_SCORES = 2**26  # numbers in the attention scores of a branch, 256 MiB in float32
_UNBOUNDED = 2**31  # tokens
_SURE = (
    6.0  # nats: more probable tokens have their own logprob as surprise, which is an upper bound
)


@dataclass(frozen=True)
class _Branch:
    """Tokens of one pack that follow each other, and the nodes from the root to the last of them."""

    path: Tensor  # (nodes,), the branch at its end
    size: int


class TreeReader:
    """Reads passages with a model on any device; see `reading.Reader`."""

    def __init__(self, model: Transformer) -> None:
        """Read with this model; its dtypes are those of the numbers."""
        self._model = model
        self._device = model.norm.scale.device

    @torch.inference_mode()
    def read(self, passages: Sequence[Passage], ask: Ask) -> Sequence[Sequence[ReadToken]]:
        """See `reading.Reader`."""
        order = sorted(range(len(passages)), key=lambda at: _ids(passages[at]))
        found: list[Sequence[ReadToken]] = [()] * len(passages)
        for group in _groups(passages, order):
            for number, tokens in zip(group, self._group(passages, group, ask), strict=True):
                found[number] = tokens
        return found

    def _group(
        self, passages: Sequence[Passage], group: Sequence[int], ask: Ask
    ) -> Sequence[Sequence[ReadToken]]:
        tree = _Tree([_ids(passages[number]) for number in group])
        streams = self._streams(tree)
        asked: dict[tuple[int, float, float], list[tuple[int, int]]] = {}
        for place, number in enumerate(group):
            passage = passages[number]
            path = tree.paths[place]
            for token in range(passage.known, len(passage.completion)):
                node = path[len(passage.prompt) + token - 1]
                settings = (node, passage.temperature, passage.top_p)
                asked.setdefault(settings, []).append((place, token))
        found: dict[tuple[int, int], ReadToken] = {}
        rows = list(asked)
        for at in range(0, len(rows), _ROWS):
            part = rows[at : at + _ROWS]
            logits = self._logits(streams[[tree.kept[node] for node, *_ in part]])
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

    def _streams(self, tree: "_Tree") -> Tensor:
        """Return the residual streams of the nodes that predict a token, (kept nodes, H)."""
        context = _TreeContext(self._model.config, len(tree.tokens), self._device)
        kept: list[Tensor] = []
        for start, stop in tree.packs(self._model.config.num_attention_heads):
            ids = torch.tensor([tree.tokens[start:stop]], device=self._device)
            context.begin(tree, start, stop)
            stream = self._model.stream(ids, context)[0]
            inner = [node - start for node in range(start, stop) if node in tree.kept]
            kept.append(stream[inner])
        return torch.cat(kept)

    def _logits(self, streams: Tensor) -> Logits:
        return self._model.unembedding.logits(self._model.norm(streams))


class _Tree:
    """The distinct beginnings of sequences as nodes, numbered so that each follows its parent.

    Attributes:
        tokens: The token of each node.
        paths: The nodes of each sequence.
        kept: The number of each node that has a child, among these.
    """

    def __init__(self, sequences: Sequence[Sequence[int]]) -> None:
        """Build the tree of sequences in their order as lists."""
        self.tokens: list[int] = []
        self.paths: list[list[int]] = []
        self._branches: list[tuple[int, int, list[int]]] = []  # first and last node, and the path
        before: Sequence[int] = ()
        path: list[int] = []
        for ids in sequences:
            shared = _shared(before, ids)
            first = len(self.tokens)
            self.tokens += ids[shared:]
            path = [*path[:shared], *range(first, len(self.tokens))]
            self.paths.append(path)
            if len(self.tokens) > first:
                self._branches.append((first, len(self.tokens), path))
            before = ids
        inner = sorted({node for path in self.paths for node in path[:-1]})
        self.kept = {node: place for place, node in enumerate(inner)}

    def packs(self, heads: int) -> Sequence[tuple[int, int]]:
        """Return the first and last nodes of packs; no branch of one has too many scores."""
        longest = max(map(len, self.paths), default=1)
        size = max(16, min(_PACK, _MOST_SCORES // (heads * longest)))
        return [(at, min(at + size, len(self.tokens))) for at in range(0, len(self.tokens), size)]

    def branches(self, start: int, stop: int) -> Sequence[tuple[int, int, list[int]]]:
        """Return the parts of branches within a pack: first and last node, and the path to it."""
        parts = []
        for first, last, path in self._branches:
            begin, end = max(first, start), min(last, stop)
            if begin < end:
                parts.append((begin, end, path[: len(path) - (last - end)]))
        return parts


class _TreeContext:
    """What the tokens of a pack see: all nodes on the path to their root, within the window."""

    positions: Tensor  # (1, tokens of the pack)

    def __init__(self, config: ModelConfig, nodes: int, device: torch.device) -> None:
        sizes = {"sliding_attention": config.sliding_window}
        self._windows = [sizes.get(kind, _UNBOUNDED) for kind in config.layer_types]
        self._device = device
        self._nodes = nodes
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}

    def begin(self, tree: _Tree, start: int, stop: int) -> None:
        """Begin the pack of these nodes."""
        self._start, self._stop = start, stop
        parts = tree.branches(start, stop)
        self._branches = [
            (torch.tensor(path, device=self._device), end - begin) for begin, end, path in parts
        ]
        positions = [
            len(path) - (end - begin) + n for begin, end, path in parts for n in range(end - begin)
        ]
        self.positions = torch.tensor([positions], device=self._device)
        self._visible: dict[tuple[int, int, int], Tensor] = {}

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, sinks: Tensor
    ) -> Tensor:
        """Return the attention of each branch to its path."""
        if layer not in self._kept:
            shape = (self._nodes, *key.shape[2:])
            self._kept[layer] = key.new_empty(shape), value.new_empty(shape)
        keys, values = self._kept[layer]
        keys[self._start : self._stop], values[self._start : self._stop] = key[0], value[0]
        window, at, parts = self._windows[layer], 0, []
        for path, size in self._branches:
            seen = path[-(window - 1 + size) :] if window < _UNBOUNDED else path
            rows = (F.pad(x[seen].transpose(0, 1), (0, 0, 1, 0))[None] for x in (keys, values))
            visible = self._mask(size, len(seen), window)
            parts.append(sink_attention(query[:, at : at + size], *rows, visible, sinks)[0])
            at += size
        return torch.cat(parts)[None]

    def _mask(self, size: int, seen: int, window: int) -> Tensor:
        """Return which keys the last `size` tokens of `seen` see, (1, size, seen)."""
        if (mask := self._visible.get((size, seen, window))) is None:
            keys = torch.arange(seen, device=self._device)
            distance = keys[-size:, None] - keys
            hidden = (distance < 0) | (distance >= window)
            mask = torch.zeros(hidden.shape, device=self._device).masked_fill(hidden, -math.inf)[
                None
            ]
            self._visible[size, seen, window] = mask
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


def _groups(passages: Sequence[Passage], order: Sequence[int]) -> Sequence[Sequence[int]]:
    """Divide passages in their order into groups with so many nodes that the memory is bounded."""
    groups: list[list[int]] = []
    before: Sequence[int] = ()
    nodes = 0
    for number in order:
        ids = _ids(passages[number])
        added = len(ids) - _shared(before, ids)
        if not groups or nodes + added > _NODES:
            groups.append([])
            added, nodes = len(ids), 0
        groups[-1].append(number)
        before, nodes = ids, nodes + added
    return groups


def _read_rows(
    logits: Logits,
    settings: Sequence[tuple[float, float]],
    wanted: Sequence[tuple[int, int, tuple[int, int]]],
    group: Sequence[int],
    ask: Ask,
) -> dict[tuple[int, int], ReadToken]:
    """Return what is known of the wanted tokens: (row, token, place of the passage and token)."""
    ones = torch.ones(len(settings), device=logits.device)
    largest, sums = logits.chunk_sums(ones)
    norm = (largest.double() + sums.double().log()).logsumexp(-1)
    tokens, within = logits.chunk(largest.argmax(-1, keepdim=True))
    top = within.max(-1)
    best = tokens.gather(1, top.indices[:, None])[:, 0].tolist()
    best_logprob = (top.values.double() - norm).tolist()
    rows = torch.tensor([row for row, *_ in wanted], device=logits.device)
    ids = torch.tensor([token for _, token, _ in wanted], device=logits.device)
    own = (logits.at(rows, ids).double() - norm[rows]).tolist()

    others: dict[int, list[int]] = {}
    for (row, token, (place, number)), logprob in zip(wanted, own, strict=True):
        if token != best[row] and best_logprob[row] - logprob > CURIOUS:
            others[place, number] = list(ask(group[place], number))
    pairs = [(row, other) for row, _, key in wanted for other in others.get(key, ())]
    asked = iter(())
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
        surprise, changed, probable = -logprob, logprob, ()
        if not temperature:
            surprise = 0.0
        elif row in whole:
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
