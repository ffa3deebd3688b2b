"""The LLM room: loading causal language models, scoring their loss on chunks, evaluating them.

Belongs here: everything that needs torch, transformers or lm-eval, and the bookkeeping
that lets their work be interrupted and resumed. Does not belong here: where the texts
come from (`text`), which LLMs and benchmarks there are (`config`), how a run is launched
(`jobs`, `defs`), and what is made of the numbers (`matrix`, `stats`).

Modules import torch, transformers and lm-eval inside functions or are themselves only
imported inside functions, so that definitions load without them.
"""
