"""From files and dataframes in known layouts to the columns of an `Outcomes` table, and back to files.

- `files`, `delimited`, `eval_logs`, `recorded`, `decided`, `frame`: any source becomes a dict of column name to array.
- `layouts`: which layout those columns have. `wide` makes the table; `long` turns long layouts into wide columns, and
  `records` flattens those that nest JSON.
- `written`: a table as a file, in our wide layout.

pyarrow and narwhals are imported where they are used: ``pip install 'headrace[data]'``.
"""

from headrace.outcomes.readers.files import is_pickle
from headrace.outcomes.readers.layouts import LAYOUTS
from headrace.outcomes.readers.source import read_file, read_frame
from headrace.outcomes.readers.table import Reading, Table
from headrace.outcomes.readers.written import SUFFIXES, write_file

__all__ = ["LAYOUTS", "SUFFIXES", "Reading", "Table", "is_pickle", "read_file", "read_frame", "write_file"]
