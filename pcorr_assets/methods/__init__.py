"""Other methods of selecting documents, beside the platform's own filter.

Belongs here: what each method makes of the documents of a pool (a score for each), and what it
takes, so that all of them can fill the same budget through the same code. Does not belong here:
how a budget is filled (`filters.choosing`), the platform's filter (`filters.training`), and
where the material of a method comes from (`steps.compared_selections`).

Without Dagster and without a warehouse a method is a function of `material.Material` and
`material.Documents`: `table.METHODS["dsir"](material, documents)`.
"""
