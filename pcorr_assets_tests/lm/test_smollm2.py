"""An LLM that was really trained: its BPB on plain English, and the plain formula."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from pcorr_assets.lm.loading import load_model, load_tokenizer, resolve
from pcorr_assets.lm.scoring import Scoring, ScoringSettings
from pcorr_assets_tests.conftest import Require
from pcorr_assets_tests.lm import tiny

ENGLISH = [
    """The library opened in the spring of 1962, in a building that had been a grain store. At
first it had four rooms and about nine thousand books, most of them given by people who lived
nearby. Children came after school to read, because it was warm and quiet, and because nobody
asked them to buy anything. Over the years the collection grew, and so did the number of
visitors. When the roof began to leak, the town council discussed whether to repair it or to
move everything to a new place on the other side of the river. The discussion lasted for almost
three years. In the end the council decided to keep the old building and to add a second floor,
and the readers helped to carry the books down to the cellar while the work was being done.""",
    """If you want to grow tomatoes on a balcony, begin with a large pot that has holes in the
bottom, so that water can drain away. Fill it with good soil and place it where it gets at least
six hours of sun each day. Plant the seedlings deep, because roots will grow from the part of
the stem that is under the ground. Water them in the morning, and try not to wet the leaves. As
the plants become taller, tie them to a stick with soft string. Remove the small shoots that
appear between the stem and the branches, since they take strength away from the fruit. After
about ten weeks the first tomatoes will turn red, and you can pick them as soon as they come off
easily in your hand.""",
    """Rivers carry more than water. They move sand, clay and small stones from the mountains to
the sea, and they leave part of this load behind wherever the current slows down. Over thousands
of years this builds wide plains with deep and fertile soil, which is why so many of the oldest
cities stand beside rivers. The same process can also cause trouble. When a dam is built, the
sediment collects behind it, and the land further down the river no longer receives any. The
coast then begins to retreat, because the waves take away sand that is not replaced. Engineers
have tried several ways to let the sediment pass through dams, but none of them is cheap, and
each has its own effect on the fish and plants that live in the water.""",
]


def test_bpb_of_plain_english(require: Require, tmp_path: Path) -> None:
    folder = os.environ.get("PCORR_SMOLLM2")
    require("smollm2", folder is not None, "PCORR_SMOLLM2 is not set (scripts/fetch_smollm2.py)")
    assert folder is not None
    resolved = resolve(tiny.local_spec("smollm2", Path(folder)))
    model, tokenizer = load_model(resolved, "cpu", "float32"), load_tokenizer(resolved)
    texts = [text.replace("\n", " ") for text in ENGLISH]
    chunks = tiny.chunk_texts(texts)
    scoring = Scoring(resolved, model, tokenizer, chunks, ScoringSettings(512), tmp_path)
    scores = scoring.run()

    plain = np.asarray(tiny.plain_losses(model, tokenizer, texts))
    np.testing.assert_allclose(scores.loss, plain, rtol=0, atol=1e-5)
    counts = np.asarray([len(tokenizer(text)["input_ids"]) for text in texts])
    by_formula = counts / chunks.byte_count * plain / np.log(2)
    np.testing.assert_allclose(scores.bpb, by_formula, rtol=1e-5)
    total = float((scores.bpb * chunks.byte_count).sum() / chunks.byte_count.sum())
    assert 0.9 < total < 1.2
