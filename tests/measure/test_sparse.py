import torch
from torch.testing import assert_close

from tomopilot.measure.sparse import csr, transposed


def test_a_matrix_is_what_is_not_0_and_its_transpose_is_exact(rng):
    dense = torch.randn(7, 5, generator=rng) * (torch.rand(7, 5, generator=rng) < 0.4)
    columns = torch.arange(5, dtype=torch.int32).flip(0).repeat(7)
    rows = dense.flip(1).flatten()
    parts = ((columns[:15], rows[:15]), (columns[15:], rows[15:]))
    matrix = csr(iter(parts), 5, (7, 5))
    assert_close(matrix.to_dense(), dense, rtol=0, atol=0)
    back = transposed(matrix)
    assert_close(back.to_dense(), dense.T, rtol=0, atol=0)
    assert matrix.values().count_nonzero() == len(matrix.values()) == len(back.values())
    assert back.col_indices().dtype == torch.int32
