"""The topics of the demo world: data, nothing else.

Belongs here: vocabulary, facts and phrasing, a module a topic, and `TOPICS`, all of
them by name. Does not belong here: code that makes sentences of them (`prose`).
"""

from __future__ import annotations

from pcorr_assets.demo.topics import (
    astronomy,
    baking,
    beekeeping,
    chess,
    gardening,
    music,
    railways,
    sailing,
)
from pcorr_assets.demo.topics.shape import Relation, Topic

TOPICS: dict[str, Topic] = {
    module.TOPIC.name: module.TOPIC
    for module in (astronomy, baking, beekeeping, chess, gardening, music, railways, sailing)
}

__all__ = ["TOPICS", "Relation", "Topic"]
