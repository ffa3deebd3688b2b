"""`pcorr run`: everything that is missing or stale, made without a UI.

Belongs here: the order of what is to be made (`schedule`), the processes that make it
(`workers`, `worker`), what is said meanwhile (`overview`) and at the end (`outcome`), and the
loop over all of it (`runner`). Does not belong here: choosing what is due (`defs.plans`), and
the command line (`defs.command`).

Each partition is a run of the same Dagster instance as those of the UI, with its log, its slots
and its locks, so a UI, a daemon and automation may be at work at the same time.
"""
