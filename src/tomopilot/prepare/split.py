"""What is held back for validation: whole sources, or slabs with a gap on both sides."""

from collections.abc import Mapping, Sequence

import numpy as np

SHARE = 0.1  # of the slices, held back


def held_sources(sizes: Mapping[str, int], share: float = SHARE, seed: int = 0) -> set[str]:
    """Sources, in random order, until they hold this share of all slices; one is always left to train on.

    sizes: slices of each source
    """
    names = sorted(sizes)
    if len(names) < 2:
        raise ValueError(
            f"everything is of one source, {names[0]}, so none can be held back: name more sources, images "
            "with --validation, or --split depth"
        )
    held, wanted = set[str](), share * sum(sizes.values())
    for name in np.random.default_rng(seed).permutation(names)[:-1].tolist():
        if sum(sizes[other] for other in held) < wanted:
            held.add(name)
    return held


def held_slab(count: int, gap: int, what: str, share: float = SHARE) -> Sequence[str]:
    """For each of `count` slices in order: `train`, `held` in the middle, or `gap` on both sides of it.

    >>> "".join(part[0] for part in held_slab(12, 2, "a", 0.2))
    'tttgghhggttt'
    """
    held = max(1, round(share * count))
    before = (count - held) // 2 - gap
    after = count - before - held - 2 * gap
    if before < 1 or after < 1:
        raise ValueError(
            f"{what} is {count} deep, too little for {held} in the middle with a gap of {gap} on both sides: "
            "name more sources, images with --validation, or a smaller --gap"
        )
    return ["train"] * before + ["gap"] * gap + ["held"] * held + ["gap"] * gap + ["train"] * after
