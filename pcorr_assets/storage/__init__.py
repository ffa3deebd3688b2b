"""Object stores: listing, reading and writing what a URL names, through fsspec.

Belongs here: `s3://`, `gs://`, `az://`, `hf://` and `https://`, what can go wrong on the way,
and how it is retried. Does not belong here: what is in the files (`text`, `filters`), and the
home of the warehouse, which stays on a file system. Nothing is imported from the libraries of
a store before a URL is opened.
"""
