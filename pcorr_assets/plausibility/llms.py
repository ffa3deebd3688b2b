"""One LLM on one sample, and on its benchmarks: can these numbers be right?

Belongs here: questions that need no other LLM. Does not belong here: an LLM compared with
others (`matrices`), and undefined losses one by one (`matrix.mask`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from pcorr_assets.plausibility.finding import Finding

# English text has 3 to 5 bytes a token. A token of less than a byte can only be a special
# one, and tokens of more than 20 bytes on average are seen in no language.
MIN_BYTES_PER_TOKEN = 0.9
MAX_BYTES_PER_TOKEN = 20.0
# What the tokenizer does not know costs the LLM almost nothing, whatever the text says.
MAX_UNK_SHARE = 0.01
# Guessing every byte with equal chances costs 8 bits.
UNIFORM_BPB = 8.0
# The best LLMs need 0.5 bits for a byte of text; below this they were given the answer.
MEMORISED_BPB = 0.05

# Metrics that count right answers among given choices, or how likely these are.
CHOICE_METRICS = frozenset(
    {"acc", "acc_norm", "acc_bytes", "acc_mutual_info", "choice_probability"}
)
# Errors of a uniform guess at bytes, in the units of these metrics.
UNIFORM_ERRORS = {"bits_per_byte": UNIFORM_BPB, "byte_perplexity": 256.0}
# One-sided 95 %: below this many standard errors an error may be that of guessing.
CHANCE_STDERRS = 1.645


def tokens_fit_text(
    llm: str, token_count: np.ndarray, byte_count: np.ndarray, unk_count: np.ndarray
) -> Finding:
    """Are there as many tokens as text of so many bytes can have, and does the LLM know them?

    All (D,), one for each chunk: tokens, UTF-8 bytes, unknown tokens. The sums are judged,
    since a short chunk may have any ratio.
    """
    tokens, size, unknown = (int(values.sum()) for values in (token_count, byte_count, unk_count))
    if not tokens or not size:
        return Finding(
            (f"{llm} has {tokens} tokens for {size} bytes: there is nothing to score.",), wrong=True
        )
    ratio, share = size / tokens, unknown / tokens
    problems = []
    if not MIN_BYTES_PER_TOKEN <= ratio <= MAX_BYTES_PER_TOKEN:
        problems.append(
            f"{llm} has {ratio:.3g} bytes a token; text has {MIN_BYTES_PER_TOKEN:g} to "
            f"{MAX_BYTES_PER_TOKEN:g}. Its tokenizer is probably not the one it was trained with: "
            "compare the tokenizer files of the repository with the model card."
        )
    if share > MAX_UNK_SHARE:
        problems.append(
            f"{share:.1%} of the tokens of {llm} are unknown to its tokenizer (at most "
            f"{MAX_UNK_SHARE:.0%} are expected), so its BPB is too low to be compared: leave the "
            "LLM out, or choose texts in its languages."
        )
    numbers = {"bytes per token": ratio, "share of unknown tokens": share, "tokens": tokens}
    return Finding(tuple(problems), numbers)


def losses_make_sense(
    llm: str,
    loss: np.ndarray,
    token_count: np.ndarray,
    byte_count: np.ndarray,
    max_nan_fraction: float,
) -> Finding:
    """Is the BPB over all chunks one that an LLM can have, and is the loss defined?

    `loss` (D,) is nats a token, NaN where undefined; `token_count` and `byte_count` (D,). The
    BPB judged is sum(token_count * loss) / sum(byte_count) / ln 2 over the defined ones.
    """
    defined = ~np.isnan(loss)
    # As the mask divides: 1 - 0.95 would be above 0.05.
    nan_share = int(np.count_nonzero(~defined)) / loss.size if loss.size else 1.0
    problems, wrong = [], False
    if nan_share > max_nan_fraction:
        problems.append(
            f"{nan_share:.1%} of the losses of {llm} are undefined, more than "
            f"selection.max_nan_fraction = {max_nan_fraction:g} allows, so it will not be in the "
            "matrix. Look for chunks longer than its context (`overlong`), or a dtype that "
            "overflows."
        )
    numbers: dict[str, int | float | str] = {"share of undefined losses": nan_share}
    size = float(byte_count[defined].sum())
    if size:
        nats = float((token_count[defined] * loss[defined]).sum())
        bpb = nats / size / math.log(2)
        numbers["BPB"] = bpb
        wrong = not MEMORISED_BPB <= bpb <= UNIFORM_BPB
        if bpb > UNIFORM_BPB:
            problems.append(
                f"{llm} has {bpb:.3g} bits-per-byte, worse than guessing every byte "
                f"({UNIFORM_BPB:g}): its weights, its dtype or its tokenizer are broken. Load it "
                "by hand and look at a few losses."
            )
        elif bpb < MEMORISED_BPB:
            problems.append(
                f"{llm} has {bpb:.3g} bits-per-byte, less than any LLM needs for text it has not "
                "seen: it saw what it predicts, or it knows these texts by heart."
            )
    return Finding(tuple(problems), numbers, wrong=wrong)


def better_than_chance(errors: pa.Table, chance: Mapping[str, float]) -> Finding:
    """Does an LLM do better on its benchmarks than by guessing?

    Args:
        errors: the LLM's own rows of `benchmark_errors`.
        chance: for benchmarks of given choices the share of items that a guess gets right.

    An error counts as better if it is below that of guessing by more than
    `CHANCE_STDERRS` standard errors. Where chance is not known, only a score of exactly 0
    is noticed.
    """
    problems, unknown = [], []
    numbers: dict[str, int | float | str] = {}
    for row in errors.to_pylist():
        guessing = _error_of_guessing(row, chance)
        if guessing is None:
            unknown.append(row["benchmark"])
            if row["higher_is_better"] and row["score"] == 0:
                problems.append(f"{row['llm']} has a score of 0 on {row['benchmark']}: {_NOTHING}")
            continue
        numbers[row["benchmark"]] = f"error {row['error']:.4g}, guessing {guessing:.4g}"
        problems += _against_chance(row, guessing)
    note = f"Chance is not known for {', '.join(unknown)}." if unknown else ""
    return Finding(tuple(problems), numbers, note)


_NOTHING = (
    "it got nothing right, or its answers are not understood. Look at its answers (lm_eval "
    "--log_samples) before you use this benchmark."
)


def _error_of_guessing(row: Mapping, chance: Mapping[str, float]) -> float | None:
    metric = str(row["metric"]).partition(",")[0]
    if metric in UNIFORM_ERRORS and not row["higher_is_better"]:
        return UNIFORM_ERRORS[metric]
    share = chance.get(row["benchmark"])
    if metric not in CHOICE_METRICS or share is None or not row["higher_is_better"]:
        return None
    # The best score of the metric follows from what is kept: error = 1 - score / best.
    best = row["score"] / (1 - row["error"]) if row["error"] < 1 else 1.0
    return 1 - share / best


def _against_chance(row: Mapping, guessing: float) -> list[str]:
    margin = CHANCE_STDERRS * (row["stderr"] or 0.0)
    what = f"{row['llm']} has an error of {row['error']:.4g} on {row['benchmark']}"
    if row["error"] > guessing + margin:
        return [
            f"{what}, worse than guessing ({guessing:.4g}): look for labels, a metric or a "
            "direction that are the wrong way round (`lower_is_better`)."
        ]
    if row["error"] >= guessing - margin:
        return [
            f"{what}, no better than guessing ({guessing:.4g}, standard error "
            f"{row['stderr'] or 0:.2g}): its error says nothing of what it can do. Evaluate more "
            "items (`limit`), or use a benchmark that LLMs of this size can do."
        ]
    return []
