"""The embedded demo world: readable text, tiny LLMs, benchmark tasks, one seed.

Belongs here: making a world that the platform then treats like any other (its
pages, pool, tasks and LLMs, and the `pcorr.yaml` that names them), and the truth
about it, which only the demo's summary and the tests read. Does not belong here:
anything of the pipeline; no other room knows that a world is a demo.
"""
