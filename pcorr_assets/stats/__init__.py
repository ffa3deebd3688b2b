"""The statistics: estimates, projections, and whether an estimate is to be trusted.

Belongs here: functions of arrays, in numpy. Does not belong here: files, tables,
settings, units' names and Dagster; whoever calls hands over arrays and plain values.

- `checks`: what is refused as input, and in which words
- `ranks`: average ranks, of a vector and of all columns of a matrix
- `estimation`: one number for each text, from BPB and benchmark errors
- `choice`: which of the estimators selects best on held-out LLMs
- `projection`: an estimate made into sampling weights under caps
- `groups`: which LLMs are independent of each other, and resamples of them
- `rank_prediction`, `stability`, `verdict`: what held-out LLMs say about the estimate
- `low_cells`: texts that an LLM knows too well, and the estimate without them
- `reliability`: how much of the errors other items would show again
- `selection_frequency`: how often resampled LLMs select the same texts
"""
