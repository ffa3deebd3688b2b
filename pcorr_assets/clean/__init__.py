"""Texts held against texts: which documents hold what a benchmark asks.

Belongs here: words, n-grams and searching them, in arrays. Does not belong here: what lm-eval's
tasks ask (`lm`), reading documents (`filters`) and which of them are left out (`filters`).
"""
