"""Pairs of answers to one question, and how far a model prefers the chosen one. See `probe`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from value_retention.train.arguments import TrainError
from value_retention.train.rows import read_lines

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

LEVEL = 0.95
"""Confidence level of the intervals."""
COLUMNS = ("chosen", "rejected", "chosen_alone", "rejected_alone")
"""Of `scores`: mean log-likelihood per token of each answer, after the question and after an empty one."""


@dataclass(frozen=True)
class Pair:
    """Two answers to one question: the one that earned its grade, and one that did not."""

    id: str
    cluster: str
    """Unit of resampling: a question and its renderings."""
    language: str
    messages: list[dict[str, str]]
    """The conversation before the answers."""
    chosen: str
    rejected: str


class Pairs(NamedTuple):
    """A file of pairs."""

    rows: list[Pair]
    file: str
    sha256: str
    sources: tuple[str, ...]
    """Runs whose answers these are. What their own models prefer follows from what they said."""


def pair_hash(messages: Sequence[Mapping[str, str]], chosen: str, rejected: str) -> str:
    """SHA-256 over the texts of a pair, as the file holds it."""
    text = json.dumps(
        [list(messages), chosen, rejected], sort_keys=True, ensure_ascii=False, separators=(",", ":")
    )
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def read_pairs(path: str | Path) -> Pairs:
    """Read a file of `value-retention probe`.

    Raises:
        TrainError: The file cannot be read, has no pairs, or a pair was changed.
    """
    source = read_lines(Path(path).expanduser())
    rows, sources = [], []
    for number, row in enumerate(source.rows, 1):
        try:
            pair = Pair(**{name: row[name] for name in Pair.__annotations__})
            same = pair_hash(pair.messages, pair.chosen, pair.rejected) == row["hash"]
            sources += [row["chosen_from"]["run"], row["rejected_from"]["run"]]
        except (KeyError, TypeError) as error:
            raise TrainError(
                "not a pair", where=f"{path}, pair {number}", found=f"{type(error).__name__}: {error}",
                expected="a file of `value-retention probe`",
            ) from error  # fmt: skip
        if not same:
            raise TrainError("the pair was changed", where=f"{path}, pair {number}", found=f"hash {row['hash']}",
                             expected="the texts as `value-retention probe` wrote them")  # fmt: skip
        rows.append(pair)
    if not rows:
        raise TrainError("no pairs", where=path)
    return Pairs(rows, str(path), source.revision.removeprefix("sha256:"), tuple(dict.fromkeys(sources)))


# -- log-likelihoods -------------------------------------------------------------------------------------------


def scores(
    model: Any, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Pair], batch_size: int = 8, name: str = ""
) -> NDArray[np.float64]:
    """Mean log-likelihood per token of each answer, in nats.

    Args:
        model: A causal language model.
        tokenizer: With a chat template.
        pairs: The pairs.
        batch_size: Answers per forward pass.
        name: Shown with the progress. Empty: none is shown.

    Returns:
        Shape (pairs, `COLUMNS`). NaN for a pair that is longer than the model's context.
    """
    encoded = [
        encode(tokenizer, messages, answer)
        for pair in pairs
        for messages in (pair.messages, [{"role": "user", "content": ""}])
        for answer in (pair.chosen, pair.rejected)
    ]
    longest = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    fits = [n for n, (ids, start) in enumerate(encoded) if start < len(ids) <= (longest or len(ids))]
    values = np.full(len(encoded), np.nan)
    fits.sort(key=lambda n: -len(encoded[n][0]))
    values[fits] = _mean_log_likelihoods(model, [encoded[n] for n in fits], batch_size, name)
    return values.reshape(len(pairs), len(COLUMNS))


def encode(
    tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]], answer: str
) -> tuple[list[int], int]:
    """Tokens of a conversation with its answer, and the place of the first that counts.

    As in lm-evaluation-harness: white space at the end of the prompt, such as the blank line after a header, counts
    with the answer, and a tokenizer adds its special tokens unless the template has begun with one.
    """
    prompt = str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
    begin = tokenizer.bos_token or tokenizer.eos_token
    special = not (begin and prompt.startswith(str(begin)))
    before = tokenizer.encode(prompt.rstrip(), **({} if special else {"add_special_tokens": False}))
    whole = tokenizer.encode(prompt + answer, **({} if special else {"add_special_tokens": False}))
    return [*before, *whole[len(before) :]], len(before)


def _mean_log_likelihoods(
    model: Any, rows: Sequence[tuple[list[int], int]], batch_size: int, name: str
) -> list[float]:
    """Mean log-likelihood per token of each row from its start on. The longest rows come first."""
    import torch
    from tqdm import tqdm

    found: list[float] = []
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), tqdm(total=len(rows), desc=name, unit="answer", disable=not name) as bar:
            for first in range(0, len(rows), batch_size):
                batch = rows[first : first + batch_size]
                width = len(batch[0][0])
                # Padding on the right: no token sees it.
                ids = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in batch], device=model.device)
                mask = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids, _ in batch])
                kept = width - min(start for _, start in batch) + 1
                logits = model(
                    input_ids=ids, attention_mask=mask.to(ids.device), logits_to_keep=kept, use_cache=False
                ).logits
                for row, (own, start) in enumerate(batch):
                    shift = width - kept
                    part = logits[row, start - 1 - shift : len(own) - 1 - shift].float().log_softmax(-1)
                    told = part.gather(-1, ids[row, start : len(own), None])
                    found.append(float(told.mean()))
                bar.update(len(batch))
    finally:
        model.train(training)
    return found


# -- figures ---------------------------------------------------------------------------------------------------


def margins(values: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Chosen less rejected, in nats per token: plain, and as pointwise mutual information with the question.

    Args:
        values: Of `scores`.
    """
    chosen, rejected, chosen_alone, rejected_alone = values.T
    plain = chosen - rejected
    return {"": plain, "pmi_": plain - (chosen_alone - rejected_alone)}


def figures(pairs: Sequence[Pair], values: NDArray[np.float64]) -> dict[str, Any]:
    """Share of pairs whose chosen answer is preferred, and the mean margin, with intervals over clusters.

    Args:
        pairs: The pairs.
        values: Of `scores`. Pairs with NaN are left out and counted.
    """
    used = np.isfinite(values).all(axis=1)
    clusters = np.array([pair.cluster for pair in pairs])[used]
    result: dict[str, Any] = {
        "pairs": int(used.sum()),
        "too_long": int((~used).sum()),
        "clusters": len(set(clusters)),
    }
    for prefix, margin in margins(values[used]).items():
        result |= interval(f"{prefix}share", (margin > 0).astype(float), clusters, share=True)
        result |= interval(f"{prefix}margin", margin, clusters)
    return result


def interval(
    name: str, values: NDArray[np.float64], clusters: NDArray[Any], share: bool = False
) -> dict[str, float | None]:
    """Mean of values with the ends of its interval: ``name``, ``name_low``, ``name_high``. None: unknown.

    The standard error is that of a ratio of sums over clusters, with Student's t for as many clusters, less one. A
    share gets Wilson's interval for the number of independent pairs with that error.
    """
    from scipy.stats import t

    if not len(values):
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"))
    _, place = np.unique(clusters, return_inverse=True)
    count, mean = int(place.max()) + 1, float(values.mean())
    low = high = None
    if count > 1:
        sums = np.bincount(place, values - mean) / len(values)
        error = float(np.sqrt((sums**2).sum() * count / (count - 1)))
        quantile = float(t.ppf((1 + LEVEL) / 2, count - 1))
        if share:
            size = mean * (1 - mean) / error**2 if error > 1e-12 else count
            centre = (mean + quantile**2 / (2 * size)) / (1 + quantile**2 / size)
            half = quantile * np.sqrt(mean * (1 - mean) / size + quantile**2 / (4 * size**2))
            half = float(half / (1 + quantile**2 / size))
            low, high = max(centre - half, 0.0), min(centre + half, 1.0)
        else:
            low, high = mean - quantile * error, mean + quantile * error
    return {name: mean, f"{name}_low": low, f"{name}_high": high}


def difference(
    pairs: Sequence[Pair], first: NDArray[np.float64], second: NDArray[np.float64]
) -> dict[str, float | None]:
    """Mean margin of the second checkpoint less that of the first on the same pairs, with intervals."""
    used = np.isfinite(first).all(axis=1) & np.isfinite(second).all(axis=1)
    clusters = np.array([pair.cluster for pair in pairs])[used]
    before, after = margins(first[used]), margins(second[used])
    result: dict[str, float | None] = {}
    for prefix in before:
        result |= interval(f"{prefix}margin", after[prefix] - before[prefix], clusters)
    return result
