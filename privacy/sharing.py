"""How the blocks of one query share its budget: as pure parts of ε, or as parts of one ρ. The plan that errs less.

Parts of ε and δ add up, whatever noise a block has: basic composition, which needs no word about how blocks relate.
Where all blocks have Gaussian noise ρ adds up instead, and is turned into (ε, δ) once for all of them (Bun and Steinke
2016, Lemma 1.7 and Proposition 1.3): each of k equal blocks then has k times the variance that it would have alone, and
not k², because ρ grows with the square of a small ε.

With ε and Laplace noise the sum of the blocks' predicted errors is Σ D³ / (ε s)² and least for s ∝ D, with ρ and
Gaussian noise Σ D² / (2 ρ s), least for s ∝ D too; D is `calibration.difficulty` for either noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from privacy.accounting import zcdp_epsilon, zcdp_rho
from privacy.block_planner import PlannedBlock, Shape, plan_block
from privacy.calibration import WITHIN
from privacy.fragment import MERGED, Mechanism
from privacy.request import Request

Planned = dict[str, PlannedBlock]


def plan_blocks(shapes: Mapping[str, Shape], request: Request) -> Planned:
    """Blocks whose budgets together are that of the request."""
    if len(shapes) == 1:
        return {name: plan_block(shape, MERGED, request) for name, shape in shapes.items()}
    apart = _planned(shapes, request, "laplace", lambda _: None)
    if not request.delta or any(shape.fitted.cut.decides for shape in shapes.values()):
        return apart  # a threshold has a part of δ for itself
    rho = zcdp_rho(request.epsilon, request.delta)
    together = _planned(shapes, request, "gaussian", lambda share: rho * share)
    if _error(together) < _error(apart):
        return _in_parts(together, request)
    return apart


def _planned(
    shapes: Mapping[str, Shape], request: Request, mechanism: Mechanism, rho: Callable[[float], float | None]
) -> Planned:
    """Each block with its share; of ρ where `rho` says how much that is."""
    difficulties = {name: shape.difficulty(mechanism) for name, shape in shapes.items()}
    whole = sum(difficulties.values())
    planned: Planned = {}
    for number, (name, shape) in enumerate(shapes.items(), start=1):
        share = (difficulties[name] / whole if whole else 1 / len(shapes)) * WITHIN
        own = request.model_copy(update={"epsilon": request.epsilon * share, "delta": request.delta * share})
        called = f"{MERGED}{number}" if number > 1 else MERGED
        planned[name] = plan_block(shape, called, own, rho=rho(share))
    return planned


def _error(planned: Planned) -> float:
    return math.fsum(one.error for one in planned.values())


def _in_parts(planned: Planned, request: Request) -> Planned:
    """With what each release costs beside the others: at each node the parts of what all its releases cost together."""
    spent: dict[str, float] = {}
    for one in planned.values():
        for province, fragment in one.block.fragments.items():
            spent[province] = spent.get(province, 0.0) + fragment.charge.rho
    whole = {province: zcdp_epsilon(rho, request.delta) * WITHIN for province, rho in spent.items()}
    found: Planned = {}
    for name, one in planned.items():
        fragments = {
            province: replace(
                fragment,
                epsilon=whole[province] * (fragment.charge.rho / spent[province] if spent[province] else 1.0),
            )
            for province, fragment in one.block.fragments.items()
        }
        per_node = max(fragment.epsilon for fragment in fragments.values())
        found[name] = replace(one, block=replace(one.block, fragments=fragments, epsilon_per_node=per_node))
    return found
