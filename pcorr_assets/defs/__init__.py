"""Dagster, and nothing else: assets by stage, partitions, checks, sensors.

Belongs here: what runs when, on which partition, and what a person sees of it. Does
not belong here: any computation; an asset reads its inputs, calls one function of the
rooms below, writes, and returns metadata.
"""
