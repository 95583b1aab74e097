"""Classes that several data sets share under different names, from a CSV with a column for each data set."""

import csv
from collections.abc import Sequence
from pathlib import Path

from ..messages import abridge
from .labels import fold_name
from .table_cells import number_rows

SHARED_CLASSES = Path(__file__).with_name("shared_classes.csv")  # of iMiGUE, SMG and Micro-Action-52


class ClassMap:
    """Shared classes of several data sets.

    The built-in table was compiled by hand from the class lists. It has a row where two or three sets name the same
    movement. "Rubbing eyes and forehead" of SMG has no row, because other sets have a class for each. Some classes are
    wider than their partners, as their names say: rubbed hands, handled objects and the drawn-in neck of SMG; rubbed
    hands, the collar and touched arms of iMiGUE. "Facial parts other than eyes" of SMG includes the ears and the jaw,
    which other sets have as classes of their own.

    Args:
        path: UTF-8 CSV with the column `name` and one for each data set; by default the built-in table. A cell has the
            name of the class in this data set, and is empty if the data set lacks the class.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not such a table, or a class of a data set, or a shared name, is in two rows.
    """

    def __init__(self, path: str | Path = SHARED_CLASSES) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"There is no class map {path}.")
        try:
            with self.path.open(newline="", encoding="utf-8-sig") as file:
                rows = [(line, [cell.strip() for cell in row]) for line, row in number_rows(file)]
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"The class map {path} is not a UTF-8 CSV: {error}.") from error
        self._columns = self._parse(rows)

    def find_column(self, class_names: Sequence[str], whose: str) -> str:
        """Return the column of the data set that has these classes.

        Args:
            class_names: Names of all classes of a model or data set.
            whose: Name of the model or data set, for the message.

        Raises:
            ValueError: No column has two of these classes, or two columns have equally many.
        """
        keys = {fold_name(name) for name in class_names}
        num_known = {column: len(keys & cells.keys()) for column, cells in self._columns.items()}
        most = max(num_known.values())
        best = [column for column, number in num_known.items() if number == most]
        if most < 2 or len(best) > 1:
            counts = ", ".join(f"{number} are in {column!r}" for column, number in num_known.items())
            raise ValueError(
                f"The class map {self.path} does not tell which of its data sets {whose} is: of its "
                f"{len(class_names)} classes, {counts}. Pass another `class_map`."
            )
        return best[0]

    def list_shared(self, own: str, other: str, class_names: Sequence[str]) -> list[str]:
        """List the classes of one data set that another data set shares, in the order of the table.

        Args:
            own: Column of the first data set.
            other: Column of the second one; the same column for all classes of the table.
            class_names: Classes that the first one has.

        Returns:
            Their names as in `class_names`.
        """
        named = {fold_name(name): name for name in class_names}
        shared = set(self._columns[other].values())
        return [named[key] for key, row in self._columns[own].items() if row in shared and key in named]

    def _parse(self, rows: list[tuple[int, list[str]]]) -> dict[str, dict[str, int]]:
        """Return, for each column, the line of each class by its comparison key."""
        (_, header), *others = rows or [(1, [])]
        if header[:1] != ["name"] or len(header) < 3 or len(set(header)) < len(header) or "" in header:
            raise ValueError(
                f"The first line of the class map {self.path} must be 'name' and two or more data sets, such as "
                f"'name,imigue,smg', but it is {abridge(','.join(header))}."
            )
        columns: dict[str, dict[str, int]] = {column: {} for column in header}
        for line, cells in others:
            if not any(cells):
                continue
            where = f"Line {line} of the class map {self.path}"
            if len(cells) != len(header):
                raise ValueError(f"{where} has {len(cells)} cells, not {len(header)}.")
            if not cells[0] or sum(map(bool, cells[1:])) < 2:
                raise ValueError(f"{where} must have a name and a class of two or more data sets.")
            for column, cell in zip(header, cells, strict=True):
                key = fold_name(cell) if cell else None
                if key in columns[column]:
                    raise ValueError(
                        f"{where} repeats {cell!r} of the column {column!r}, which is in line {columns[column][key]}: "
                        "each class has one row."
                    )
                if key is not None:
                    columns[column][key] = line
        if not columns["name"]:
            raise ValueError(f"The class map {self.path} has no rows.")
        del columns["name"]
        return columns
