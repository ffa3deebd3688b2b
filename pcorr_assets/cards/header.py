"""The header of a card that the hub reads, and what its owner wrote into an earlier one.

Belongs here: valid YAML by huggingface_hub, and what is taken over. Does not belong here: the
words of a card.

A card is written again whenever what it speaks of is. What somebody filled in stays: fields of
the header that the platform did not set (language, base_model, ...), the licence, and all that
stands between the two marks of the body. Which fields the platform set stands in the card: those
are made anew, or go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pcorr_assets.errors import PcorrError
from pcorr_assets.warehouse.files import write_text
from pcorr_assets.warehouse.verification import CARD

# The hub knows this licence as one that nobody has stated.
NO_LICENCE = "unknown"
BEGIN = "<!-- yours: what stands from here on is kept when the card is written again -->"
END = "<!-- end of yours -->"
_SET = "<!-- fields of the header that are made anew with the card: {} -->"
_WHICH = re.compile(re.escape(_SET).replace(re.escape("{}"), "(.*)"))
# What cards were given that do not say it.
_EVER_SET = (
    "library_name", "pipeline_tag", "task_categories", "size_categories", "metrics", "model-index",
    "datasets", "source_datasets", "configs",
)  # fmt: skip
_YOURS = re.compile(f"{re.escape(BEGIN)}\n(.*?)\n{re.escape(END)}", re.DOTALL)
_HEADER = re.compile(r"\A---\r?\n(.*?)\r?\n---\r?\n", re.DOTALL)

TO_FILL_IN = """\
To fill in by whoever gives this away, here and in `license` of the header. It stays when the card
is written again.

- licence of this repository:
- rights in the texts that it was made from:
- terms of the LLMs that scored them:
- contact:"""

Kind = Literal["model", "dataset"]


def compose(kind: Kind, fields: Mapping[str, Any], body: str, earlier: Sequence[str] = ()) -> str:
    """A card: header, body, and what was filled in into earlier cards, the first that has it.

    `fields` are arguments of huggingface_hub's ModelCardData or DatasetCardData.

    Raises:
        PcorrError: the header of an earlier card is not YAML.
    """
    from huggingface_hub import DatasetCardData, ModelCardData

    kept: dict[str, Any] = {}
    for text in reversed(earlier):
        kept |= _filled_in(text)
    stated = {"license": NO_LICENCE, **fields}
    data = (ModelCardData if kind == "model" else DatasetCardData)(
        ignore_metadata_errors=False, **stated
    )
    header = data.to_dict()
    # A licence and tags are of both.
    anew = [key for key in header if key not in ("license", "tags")]
    kept_tags = _texts(kept.pop("tags", None))
    header |= {key: value for key, value in kept.items() if key not in anew}
    header["tags"] = [*dict.fromkeys([*fields.get("tags", ()), *kept_tags])]
    yours = next((found for text in earlier if (found := _yours(text)) is not None), TO_FILL_IN)
    which = _SET.format(", ".join(anew))
    last = f"## Licences and contact\n\n{which}\n{BEGIN}\n{yours}\n{END}\n"
    return f"---\n{_yaml(header)}---\n\n{body.strip()}\n\n{last}"


def body_of(text: str) -> str:
    """A README without its header."""
    return _HEADER.sub("", text).strip()


def is_card(text: str) -> bool:
    """Is it a card of this platform, which may be written again?"""
    return _YOURS.search(text) is not None


def read_card(path: Path) -> list[str]:
    """The card that is at `path`, if it is one of this platform."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8", errors="replace")
    return [text] if is_card(text) else []


def write_card(path: Path, text: str) -> bool:
    """Write a card; False, and nothing written, where a file of somebody else's is."""
    if path.is_file() and not read_card(path):
        return False
    write_text(path, text)
    return True


def _filled_in(text: str) -> dict[str, Any]:
    import yaml

    found = _HEADER.match(text)
    try:
        header = yaml.safe_load(found[1]) if found is not None else {}
    except yaml.YAMLError as error:
        where = " ".join(str(error).split())
        raise PcorrError(
            f"The header of the card {CARD} that is there already is not YAML ({where}), so what "
            "was filled in cannot be taken over. Mend it, or remove the file"
        ) from None
    header = header if isinstance(header, dict) else {}
    if header.get("license") == NO_LICENCE:
        del header["license"]
    stated = _WHICH.search(text)
    anew = stated[1].split(", ") if stated is not None else _EVER_SET if is_card(text) else ()
    return {key: value for key, value in header.items() if key not in anew}


def _yours(text: str) -> str | None:
    found = _YOURS.search(text)
    return None if found is None or found[1].strip() == TO_FILL_IN else found[1]


def _texts(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []


def _yaml(header: Mapping[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(
        dict(header), sort_keys=False, allow_unicode=True, default_flow_style=False
    )
