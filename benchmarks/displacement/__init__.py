"""This library in place of the SVD of public projects, whose own tests or examples are then run.

Nothing of theirs is here: a script takes an installed copy, or the path of a checkout.
"""
