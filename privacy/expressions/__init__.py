"""Typed, total reading of SQL expressions: `Reader.read` gives an expression's facts and its form that cannot fail."""

from privacy.expressions.facts import Facts, Reading
from privacy.expressions.reader import Reader

__all__ = ["Facts", "Reader", "Reading"]
