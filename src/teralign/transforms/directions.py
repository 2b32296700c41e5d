"""Transforms of points of the world, and of positions along the axes of oblique volumes.

A command reads and writes maps T of world points, and works with positions along the volumes' own axes, where all
grids are straight. With the directions D_f and D_m of the fixed and the moving volume (`volumes.orientation`),

    T_axes = D_m⁻¹ ∘ T ∘ D_f  and  T = D_m ∘ T_axes ∘ D_f⁻¹.

A direction of None is the identity: where both are None, a stack is returned as it is.
"""

from __future__ import annotations

from teralign.transforms.affine import Affine
from teralign.transforms.stack import Stack
from teralign.volumes import Direction


def along_axes(stack: Stack, fixed: Direction | None, moving: Direction | None) -> Stack:
    """Return the map between positions along the axes of two volumes that a map of world points makes."""
    if fixed == moving and not stack.transforms:
        return stack  # without the rounding of D⁻¹ ∘ D
    return _around(stack, _inverse(moving), _forward(fixed))


def in_world(stack: Stack, fixed: Direction | None, moving: Direction | None) -> Stack:
    """Return the map of world points that a map between positions along the axes of two volumes makes."""
    return _around(stack, _forward(moving), _inverse(fixed))


def world_affine(direction: Direction | None) -> Affine:
    """Return the map from positions along a volume's own axes to the world."""
    return Affine.identity() if direction is None else Affine.from_parts(direction)


def _around(stack: Stack, after: tuple[Affine, ...], before: tuple[Affine, ...]) -> Stack:
    return Stack((*after, *stack.transforms, *before)).simplified() if after or before else stack


def _forward(direction: Direction | None) -> tuple[Affine, ...]:
    return () if direction is None else (world_affine(direction),)


def _inverse(direction: Direction | None) -> tuple[Affine, ...]:
    return tuple(affine.inverse() for affine in _forward(direction))
