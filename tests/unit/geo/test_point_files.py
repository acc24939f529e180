"""Tables of points: the line that an error names is the file's own."""

from pathlib import Path

import pytest

from geo.point_files import BadTable, read_points, read_table, read_values


def test_empty_lines_and_a_line_of_units_do_not_shift_the_line_that_is_named(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("lat,lon,value\n\ndeg,deg,EUR\n1,2,3\n\n91,2,3\n")
    with pytest.raises(BadTable, match="line 6: lat, lon"):
        read_points(read_table(path, ("lat", "lon"), units_row=True))
    path.write_text("lat,lon,value\n\n1,2,3\n\n1,2,-3\n")
    with pytest.raises(BadTable, match="line 5: value"):
        read_values(read_table(path))
    path.write_text("lat,lon,value\n\n1,2\n")
    with pytest.raises(BadTable, match="line 3: 2 cells"):
        read_table(path)
