"""Section `plan`: what the cost of scoring is told from before anything is there.

Belongs here: sizes of LLMs and samples that nothing else states, and the device that is
reckoned with. Does not belong here: the reckoning (`lm.cost`).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pcorr_assets.config.fields import NameKey, Positive, Text, number
from pcorr_assets.config.section import Section

Share = Annotated[
    float, number("a number above 0 and at most 1, such as 0.3", lambda value: 0 < value <= 1)
]


class Plan(Section):
    """`parameters` by LLM key and `tokens` by sample count only where nothing better is known.

    `device` is a name of `lm.cost.DEVICES`, and `utilisation` the share of its peak that is
    reckoned with; both count only until an LLM was scored.
    """

    parameters: dict[str, Positive] = Field(default_factory=dict)
    tokens: dict[NameKey, Positive] = Field(default_factory=dict)
    device: Text | None = None
    utilisation: Share = 0.3
