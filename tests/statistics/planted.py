"""Bugs that audits must catch: a fragment → the one that a node with the bug would take it for."""

from __future__ import annotations

from dataclasses import replace

from privacy.accounting import Charge
from privacy.fragment import Fragment


def half_the_noise(fragment: Fragment) -> Fragment:
    weak = (
        replace(measure, scale=measure.scale / 2, epsilon=2.001 * measure.epsilon, rho=4.001 * measure.rho)
        for measure in fragment.measures
    )
    return replace(fragment, measures=tuple(weak))


def no_split(fragment: Fragment, whole: Charge | None = None) -> Fragment:
    """Every measure spends the whole budget, a pair as one: ε / m forgotten.

    Args:
        whole: the budget, if it is not the fragment's own.
    """
    whole = whole or fragment.charge
    greedy = []
    for measure in fragment.measures:
        parts = 2 if measure.mechanism == "laplace_pair" else 1
        less = parts * measure.epsilon / whole.epsilon if whole.epsilon else (measure.rho / whole.rho) ** 0.5
        epsilon, scale = whole.epsilon / parts, measure.scale * less * 1.0001
        greedy.append(replace(measure, scale=scale, epsilon=epsilon, rho=whole.rho))
    return replace(fragment, measures=tuple(greedy))


def raw_sums(fragment: Fragment) -> Fragment:
    return replace(fragment, bounding=replace(fragment.bounding, form="none"))


def no_limit_of_groups(fragment: Fragment) -> Fragment:
    return replace(fragment, bounding=replace(fragment.bounding, form="clip"))


def averages_not_clipped(fragment: Fragment) -> Fragment:
    loose = (
        replace(measure, weight=None, low=-(2**40), high=2**40) if measure.weight else measure
        for measure in fragment.measures
    )
    return replace(fragment, measures=tuple(loose))
