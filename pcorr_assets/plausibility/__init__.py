"""Does what was computed make sense? Tables that fit the registry may still be nonsense.

Belongs here: one function for each question, on arrays and small tables, with its threshold
and why it is where it is; the answer is a `Finding` that says what is off, of which LLM,
benchmark or unit, and what to do. Does not belong here: making any value, and Dagster
(`defs.plausibility_checks` shows the findings as asset checks).
"""

from pcorr_assets.plausibility.finding import Finding

__all__ = ["Finding"]
