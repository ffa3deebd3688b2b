"""Does it help, on real text? A world of texts that package registries ship, and what comes of it.

Belongs here: the study whose page is docs/evidence.md, from fetching texts to the page; each
module is one stage. Does not belong here: worlds of numbers (`scripts.studies`), and any
computation of the platform, which the study only calls.
"""
