//! Tables whose columns are separated by tabs, as rkt's always were: `awk '{print $1}'` works on them.

/// A tab's width.
const TAB: usize = 8;

/// Rows of cells.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table that starts with a header, unless it is not wanted.
    pub(crate) fn new(header: &[&str], legend: bool) -> Table {
        let rows =
            if legend { vec![header.iter().map(|cell| (*cell).to_owned()).collect()] } else { Vec::new() };
        Table { rows }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The table as text, which ends in exactly one newline: an empty one is an empty line.
    pub(crate) fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        // The last cell of a row needs no room behind it.
        let width = |column: usize| {
            let cells = self.rows.iter().filter(|row| column + 1 < row.len());
            cells.map(|row| (row[column].chars().count() + 1).div_ceil(TAB) * TAB).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            for (column, cell) in row.iter().enumerate() {
                text.push_str(cell);
                if column + 1 < row.len() {
                    let gap = widths[column].saturating_sub(cell.chars().count());
                    text.extend(std::iter::repeat_n('\t', gap.div_ceil(TAB).max(1)));
                }
            }
            text.push('\n');
        }
        if text.is_empty() { "\n".to_owned() } else { text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_tabs() {
        let mut table = Table::new(&["UUID", "APP", "STATE"], true);
        table.row(vec!["01234567".to_owned(), "web".to_owned(), "running".to_owned()]);
        assert_eq!(table.text(), "UUID\t\tAPP\tSTATE\n01234567\tweb\trunning\n");
        assert_eq!(Table::new(&["UUID"], false).text(), "\n");
    }
}
