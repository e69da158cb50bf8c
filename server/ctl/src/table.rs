//! Columns of text.

/// Rows under headings, each column as wide as its widest cell.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new(headings: &[&str]) -> Self {
        let headings = headings.iter().map(|heading| heading.to_uppercase());
        Self {
            rows: vec![headings.collect()],
        }
    }

    /// Adds a row, one cell a heading. Empty cells are shown as `-`.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        let shown = |cell: String| match cell.is_empty() {
            true => "-".to_owned(),
            false => cell,
        };
        self.rows.push(cells.map(shown).to_vec());
    }

    /// The text, or `none` where there are no rows.
    pub fn render(&self, none: &str) -> String {
        if self.rows.len() == 1 {
            return format!("{none}\n");
        }
        let columns = self.rows[0].len();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let cells = row.iter().zip(&widths);
            let padded: Vec<String> = cells
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            text.push_str(padded.join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_empty_cells_show() {
        let mut table = Table::new(&["card", "person"]);
        table.row(["c1".to_owned(), "ålice".to_owned()]);
        table.row([String::new(), "bob".to_owned()]);
        assert_eq!(
            table.render("none"),
            "CARD  PERSON\nc1    ålice\n-     bob\n"
        );
        assert_eq!(Table::new(&["a"]).render("nobody"), "nobody\n");
    }
}
