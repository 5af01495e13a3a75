import numpy as np
import pytest
from samotion import geometry

TOLERANCE_PX = 1e-3  # float32 of coordinates up to 2000


@pytest.mark.parametrize("hw", [(480, 854), (256, 256), (37, 1000), (1, 5)])
def test_points_come_back_from_the_tracker_grid(
    hw: tuple[int, int], rng: np.random.Generator
) -> None:
    xy = rng.uniform(0, 1, (50, 2)) * (hw[1] - 1, hw[0] - 1)
    back = geometry.xy_from_grid(geometry.xy_to_grid(xy, hw), hw)
    np.testing.assert_allclose(back, xy, atol=TOLERANCE_PX)


def test_outermost_pixel_centres_map_to_0_and_255() -> None:
    corners = np.array([[0, 0], [853, 479], [426.5, 239.5]])
    np.testing.assert_allclose(
        geometry.xy_to_grid(corners, (480, 854)), [[0, 0], [255, 255], [127.5, 127.5]]
    )


def test_queries_keep_their_frame_and_their_order_of_axes() -> None:
    queries = np.array([[30, 479, 0], [0, 0, 853]])  # t, y, x
    np.testing.assert_allclose(
        geometry.queries_to_grid(queries, (480, 854)), [[30, 255, 0], [0, 0, 255]]
    )
    assert queries[0, 1] == 479, "the caller's array was changed"


def test_a_frame_one_pixel_wide_has_finite_coordinates() -> None:
    assert np.isfinite(geometry.xy_to_grid(np.zeros((1, 2)), (1, 1))).all()
