"""The filter in other hands: datatrove's fastText filter keeps what the selection keeps."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pcorr_assets.filters.model import FASTTEXT_EPSILON
from pcorr_assets.filters.normalise import normalise
from pcorr_assets.filters.training import build_filter, load_filter

SAMPLE, TARGET = "texts", "sailing_quiz"


def pages(world: Any) -> list[str]:
    chunks = world.warehouse.read("chunks", SAMPLE).to_pylist()
    texts: dict[str, str] = {}
    for chunk in chunks:
        texts[chunk["page_id"]] = texts.get(chunk["page_id"], "") + chunk["text"]
    return list(texts.values())


def test_datatrove_keeps_the_same_documents(
    make_world: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the snippet as the page has it, in the environment of this project."""
    from datatrove.data import Document
    from datatrove.pipeline.filters import FastTextClassifierFilter

    page = (Path(__file__).parents[2] / "docs/selection.md").read_text()
    (snippet,) = re.findall(r"```python\n(.*?FastTextClassifierFilter.*?)```", page, re.DOTALL)
    # What the snippet sets is put back after the test.
    before = FastTextClassifierFilter._requires_dependencies
    monkeypatch.setattr(FastTextClassifierFilter, "_requires_dependencies", before)
    world = make_world()
    built = build_filter(world.warehouse, SAMPLE, TARGET, world.selection)
    model = load_filter(world.warehouse, SAMPLE, TARGET)
    texts = pages(world)
    scores = model.score(normalise(text).encode() for text in texts)
    threshold = float(sorted(scores)[-30]) - 1e-6
    names: dict[str, Any] = {
        "model_path": str(built.path),
        "threshold": threshold + FASTTEXT_EPSILON,
    }
    exec(snippet, names)
    theirs = names["keep"]
    # A no-break space is the one thing datatrove leaves to fastText, which does not split there.
    kept = [
        theirs.filter(Document(text=text.replace("\u00a0", " "), id=str(number)))
        for number, text in enumerate(texts)
    ]
    assert kept == (scores >= threshold).tolist()
    assert sum(kept) == 30


def test_stock_fasttext_loads_it_the_way_datatrove_does(make_world: Callable[..., Any]) -> None:
    from fasttext.FastText import _FastText

    world = make_world()
    built = build_filter(world.warehouse, SAMPLE, TARGET, world.selection)
    stock: Any = _FastText(str(built.path))
    assert sorted(stock.labels) == ["__label__exclude", "__label__include"]
    labels, scores = stock.predict("mast keel jib rudder", k=-1)
    ours = load_filter(world.warehouse, SAMPLE, TARGET).score([b"mast keel jib rudder"])[0]
    found = float(scores[list(labels).index("__label__include")])
    assert found - FASTTEXT_EPSILON == pytest.approx(ours, abs=2e-6)
