"""The jobs room: entry points that a cluster node runs, and local mode calls in process.

Belongs here: plain functions with a JSON job description in and a JSON result out, which
read and write the warehouse. Does not belong here: the work itself (`lm`, `filters`),
Dagster, Slurm, DuckDB.

    python -m pcorr_assets.jobs score_llm job.json result.json
"""
