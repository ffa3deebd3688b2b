"""The tables of the warehouse, a module for each stage that makes them.

Belongs here: names, types, units and limits of columns. Does not belong here: reading,
writing or computing anything.
"""
