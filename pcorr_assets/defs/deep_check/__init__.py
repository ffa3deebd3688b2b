"""Whether all that pcorr.yaml names is there and can be used, before a run finds out.

Belongs here: asking each source, LLM, task, tokenizer and the cluster whether it is there,
with the readers that a run uses. Does not belong here: the readers themselves (`text`,
`lm`, `matrix`, `filters`), mistakes within the file (`config`), and computing anything.
"""

from __future__ import annotations

from pcorr_assets.defs.deep_check.checks import deep_check
from pcorr_assets.defs.deep_check.findings import Finding, Findings

__all__ = ["Finding", "Findings", "deep_check"]
