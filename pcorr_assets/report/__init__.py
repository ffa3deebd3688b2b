"""What a person looks at: plots and tables.

Belongs here: turning rows of the warehouse into pictures. Does not belong here:
computing the numbers shown, and where the pictures end up.
"""
