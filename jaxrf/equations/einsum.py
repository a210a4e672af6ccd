"""The axes of a product of two arrays as letters, as einsum writes them."""

from __future__ import annotations

import string
from collections.abc import Sequence

Numbers = tuple[tuple[Sequence[int], Sequence[int]], tuple[Sequence[int], Sequence[int]]]


def letters(numbers: Numbers, left_rank: int, right_rank: int) -> tuple[str, str, str]:
    """The letters of both operands and of the result of a `dot_general` with these dimension numbers.

    >>> letters((((1,), (0,)), ((), ())), 2, 2)
    ('ab', 'bd', 'ad')
    """
    (left_c, right_c), (left_b, right_b) = numbers
    pool = iter(string.ascii_lowercase)
    left = [next(pool) for _ in range(left_rank)]
    right = [next(pool) for _ in range(right_rank)]
    for a, b in (*zip(left_c, right_c), *zip(left_b, right_b)):
        right[b] = left[a]
    batch = [left[a] for a in left_b]
    free = [x for a, x in enumerate(left) if a not in (*left_c, *left_b)]
    free += [x for b, x in enumerate(right) if b not in (*right_c, *right_b)]
    return "".join(left), "".join(right), "".join(batch + free)
