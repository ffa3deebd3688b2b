"""One function for each table of the correlation and selection stages.

Belongs here: reading a step's inputs from the warehouse, calling the computation
(`matrix`, `stats`, `text`) and laying the result out as rows of a table. Does not belong
here: the computation itself, and Dagster.
"""
