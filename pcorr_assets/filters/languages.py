"""Which languages a filter keeps: shares of tokens by language.

Belongs here: identifying the language of pages with a fastText model of the user's.
Does not belong here: any influence on what is selected.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.normalise import LABEL_PREFIX

LANGUAGE_BYTES = 4096


def identify_languages(lines: Iterable[bytes], model_path: Path) -> list[str]:
    """The language of each normalised line, from its first 4 KiB; "none" for an empty one.

    Raises:
        PcorrError: the file is missing or is not a fastText classifier.
    """
    import fasttext

    if not model_path.is_file():
        raise PcorrError(
            f"selection.language_model: {model_path} is not there; lid.176.ftz of fastText is "
            "one, or remove the key"
        )
    try:
        model = fasttext.load_model(str(model_path))
        model.predict("a")
    except ValueError as error:
        raise PcorrError(
            f"selection.language_model: {model_path} is not a fastText classifier ({error})"
        ) from error
    languages = []
    for line in lines:
        text = line[:LANGUAGE_BYTES].decode(errors="ignore")
        labels, _ = model.predict(text) if text else ((), None)
        languages.append(labels[0].removeprefix(LABEL_PREFIX) if labels else "none")
    return languages


def language_mix(
    languages: list[str], token_counts: np.ndarray, selections: Mapping[str, np.ndarray]
) -> dict[str, dict[str, float]]:
    """Shares of tokens by language, largest first, for each named choice of pages (N,) bool."""
    names = np.array(languages)
    mix: dict[str, dict[str, float]] = {}
    for selection, taken in selections.items():
        total = int(token_counts[taken].sum())
        shares = {
            str(name): int(token_counts[taken & (names == name)].sum()) / total
            for name in np.unique(names[taken])
            if total
        }
        mix[selection] = dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))
    return mix
