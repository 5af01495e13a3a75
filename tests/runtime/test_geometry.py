import cv2
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
        geometry.xy_to_grid(corners, (480, 854)), [[0.0, 0.0], [255.0, 255.0], [127.5, 127.5]]
    )


def test_queries_keep_their_frame_and_their_order_of_axes() -> None:
    queries = np.array([[30, 479, 0], [0, 0, 853]])  # t, y, x
    np.testing.assert_allclose(
        geometry.queries_to_grid(queries, (480, 854)), [[30, 255, 0], [0, 0, 255]]
    )
    assert queries[0, 1] == 479, "the caller's array was changed"


def test_a_frame_one_pixel_wide_has_finite_coordinates() -> None:
    assert np.isfinite(geometry.xy_to_grid(np.zeros((1, 2)), (1, 1))).all()


SIZES = [((480, 854), (60, 107)), ((37, 1000), (256, 256)), ((120, 200), (16, 16))]


@pytest.mark.parametrize(("hw", "to_hw"), SIZES)
def test_points_come_back_from_a_resized_picture(
    hw: tuple[int, int], to_hw: tuple[int, int], rng: np.random.Generator
) -> None:
    xy = rng.uniform(0, 1, (50, 2)) * (hw[1], hw[0])
    there = geometry.resized_xy(xy, hw, to_hw)
    np.testing.assert_allclose(geometry.resized_xy(there, to_hw, hw), xy, atol=TOLERANCE_PX)


def test_a_resized_picture_keeps_its_edges() -> None:
    edges = np.array([[-0.5, -0.5], [7.5, 3.5], [0.5, 1.5]])
    there = geometry.resized_xy(edges, (4, 8), (2, 2))
    np.testing.assert_allclose(there, [[-0.5, -0.5], [1.5, 1.5], [-0.25, 0.5]])


def test_resized_points_are_where_a_resized_picture_shows_them() -> None:
    """OpenCV's resize agrees: the mean place of what is bright moves as the points do."""
    small = np.zeros((4, 8), np.float32)
    small[1, 5] = 1
    large = cv2.resize(small, (80, 40), interpolation=cv2.INTER_LINEAR)
    rows, columns = np.mgrid[:40, :80]
    centre = [(large * axis).sum() / large.sum() for axis in (columns, rows)]
    there = geometry.resized_xy(np.array([[5.0, 1.0]]), (4, 8), (40, 80))
    np.testing.assert_allclose(there[0], centre, atol=1e-4)


def test_points_keep_their_type_and_their_px_at_the_same_size() -> None:
    xy = np.array([[0.1, 333.3]], np.float32)
    assert geometry.resized_xy(xy, (4, 8), (2, 2)).dtype == np.float32
    same = geometry.resized_xy(xy.astype(np.float64), (480, 854), (480, 854))
    np.testing.assert_array_equal(same.astype(np.float32), xy)


def test_scaled_points_come_back(rng: np.random.Generator) -> None:
    xy = rng.uniform(0, 854, (50, 2))
    back = geometry.scaled_xy(geometry.scaled_xy(xy, 0.3), 1 / 0.3)
    np.testing.assert_allclose(back, xy, atol=TOLERANCE_PX)
    np.testing.assert_allclose(geometry.scaled_xy(np.array([[0.0, 1.5]]), 0.5), [[-0.25, 0.5]])


def test_px_from_the_corner_are_half_a_pixel_more() -> None:
    xy = np.array([[0.0, 7.25]])
    np.testing.assert_array_equal(geometry.to_corner(xy), [[0.5, 7.75]])
    np.testing.assert_array_equal(geometry.from_corner(geometry.to_corner(xy)), xy)


@pytest.mark.parametrize(("hw", "grid_hw"), [((480, 854), (60, 107)), ((64, 96), (64, 96))])
def test_the_centre_of_a_cell_lies_in_it(hw: tuple[int, int], grid_hw: tuple[int, int]) -> None:
    cells = np.stack(np.meshgrid(*(np.arange(n) for n in grid_hw[::-1])), -1).reshape(-1, 2)
    centres = geometry.cell_centres(cells, hw, grid_hw)
    cell_wh = np.divide(hw, grid_hw)[::-1]
    np.testing.assert_array_equal(np.floor(geometry.to_corner(centres) / cell_wh), cells)


def test_the_centre_of_a_cell_lies_between_its_pixels() -> None:
    centre = geometry.cell_centres(np.array([[1, 1]]), (8, 16), (4, 4))
    assert centre.tolist() == [[5.5, 2.5]]


def test_unit_positions_of_the_motion_net_come_back(rng: np.random.Generator) -> None:
    hw = (480, 854)
    xy = rng.uniform(0, 1, (50, 2)) * (hw[1], hw[0])
    unit = geometry.motion_unit_xy(xy, hw)
    assert unit.dtype == np.float32
    np.testing.assert_allclose((unit + 1) / 2 * (hw[1], hw[0]), xy, atol=TOLERANCE_PX)
    known = geometry.motion_unit_xy(np.array([[0, 480], [427, -5], [900, 240]]), hw)
    assert known.tolist() == [[-1, 1], [0, -1], [1, 0]]


def test_the_misplaced_index_is_clamped_as_a_whole() -> None:
    # (3, 3) of 4 x 6 is (0, 0.5) in [-1,1], taken for row 2, column 0; then row 0, column -3
    xy = np.array([[3, 3], [1.5, 2], [0, 0], [6, 4]])
    assert geometry.misplaced_index(xy, (4, 6), (4, 6)).tolist() == [12, 0, 0, 23]
    # right edges: row 2, column 6 is the next row's first; row -2, column 6 is index -6
    edges = np.array([[6, 3], [6, 1]])
    assert geometry.misplaced_index(edges, (4, 6), (4, 6)).tolist() == [18, 0]


def test_cells_of_dino_begin_at_whole_px() -> None:
    hw, grid_hw = (140, 196), (10, 14)
    first = np.stack(np.meshgrid(np.arange(14), np.arange(10)), -1).reshape(-1, 2)
    np.testing.assert_array_equal(geometry.dino_cells(first * 14.0, hw, grid_hw), first)
    xy = np.array([[13.9, 14.0], [-3, 1000]])
    assert geometry.dino_cells(xy, hw, grid_hw).tolist() == [[0, 1], [0, 9]]


def test_clicks_come_back_from_the_square_of_sam2(rng: np.random.Generator) -> None:
    hw = (480, 854)
    xy = rng.uniform(0, 1, (50, 2)) * (hw[1], hw[0])
    back = geometry.sam2_xy(xy, hw, 1024) / 1024 * (hw[1], hw[0])
    np.testing.assert_allclose(back, xy, atol=TOLERANCE_PX)
    assert geometry.sam2_xy(np.array([[427, 120]]), hw, 1024).tolist() == [[512, 256]]


def test_pixels_are_cut_as_published_and_rounded_elsewhere() -> None:
    xy = np.array([[0.9, 2.6], [-0.9, 9.0], [3.2, 1.4]])
    assert geometry.pixel_under(xy, (4, 6)).tolist() == [[0, 2], [0, 3], [3, 1]]
    assert geometry.nearest_pixel(xy, (4, 6)).tolist() == [[1, 3], [0, 3], [3, 1]]
    whole = np.array([[5, 3], [0, 0]])
    for convert in (geometry.pixel_under, geometry.nearest_pixel):
        np.testing.assert_array_equal(convert(whole.astype(float), (4, 6)), whole)


def test_a_picture_reaches_half_a_pixel_beyond_its_outermost_centres() -> None:
    xy = np.array([[-0.5, 0], [-0.51, 0], [5.49, 3.49], [5.5, 0], [0, 3.5]])
    assert geometry.inside(xy, (4, 6)).tolist() == [True, False, True, False, False]
