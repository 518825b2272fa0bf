//! Tables whose columns line up in any script, and fit the screen.

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr;

use super::look::{Look, fitted};

/// The number of spaces between two columns.
const GAP: usize = 2;

/// The fewest screen columns that a shrinking column keeps.
const LEAST: usize = 8;

/// The head of a column, which may shrink if the screen is too narrow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    head: &'static str,
    shrinks: bool,
}

impl Column {
    /// Returns a column whose cells are always whole.
    pub(crate) const fn whole(head: &'static str) -> Self {
        Self { head, shrinks: false }
    }

    /// Returns a column whose cells may be cut at their end.
    pub(crate) const fn shrinking(head: &'static str) -> Self {
        Self { head, shrinks: true }
    }
}

/// Writes rows under their heads. Lines have no trailing spaces.
pub(crate) fn write_table<const N: usize>(
    out: &mut dyn Write,
    heads: [&str; N],
    rows: &[[String; N]],
) -> io::Result<()> {
    let widths = natural_widths(heads, rows);
    write_row(out, &widths, heads)?;
    for row in rows {
        write_row(out, &widths, row.each_ref().map(String::as_str))?;
    }
    Ok(())
}

/// Writes a table that fits the screen. The widest of the shrinking columns shrinks first.
pub(crate) fn write_fitted<const N: usize>(
    out: &mut dyn Write,
    columns: [Column; N],
    rows: &[[String; N]],
) -> io::Result<()> {
    let look = Look::current();
    let heads = columns.map(|column| column.head);
    let mut widths = natural_widths(heads, rows);
    if !look.full {
        shrink(&mut widths, &columns, look.width);
    }
    let cut = |cells: [&str; N]| {
        let mut cells = cells.into_iter();
        widths.map(|width| fitted(cells.next().unwrap_or_default(), width))
    };
    for cells in std::iter::once(heads).chain(rows.iter().map(|row| row.each_ref().map(|s| &**s))) {
        write_row(out, &widths, cut(cells).each_ref().map(String::as_str))?;
    }
    Ok(())
}

/// Returns the width of a table with whole cells.
pub(crate) fn natural_width<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> usize {
    total(&natural_widths(heads, rows))
}

fn natural_widths<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> [usize; N] {
    let mut widths = heads.map(UnicodeWidthStr::width);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    widths
}

fn total(widths: &[usize]) -> usize {
    let gaps = widths.len().saturating_sub(1).saturating_mul(GAP);
    widths.iter().sum::<usize>().saturating_add(gaps)
}

/// Takes screen columns from the widest shrinking column until the table fits.
fn shrink<const N: usize>(widths: &mut [usize; N], columns: &[Column; N], screen: usize) {
    while total(widths) > screen {
        let shrinking = widths.iter_mut().zip(columns).filter(|(_, column)| column.shrinks);
        match shrinking.map(|(width, _)| width).filter(|width| **width > LEAST).max() {
            Some(widest) => *widest = widest.saturating_sub(1),
            None => return,
        }
    }
}

fn write_row<const N: usize>(
    out: &mut dyn Write,
    widths: &[usize; N],
    cells: [&str; N],
) -> io::Result<()> {
    let mut line = String::new();
    for (width, cell) in widths.iter().zip(cells) {
        line.push_str(cell);
        let padding = width.saturating_sub(cell.width()).saturating_add(GAP);
        line.extend(std::iter::repeat_n(' ', padding));
    }
    writeln!(out, "{}", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_in_any_script() {
        let mut out = Vec::new();
        let rows = [["李雷".to_owned(), "here".to_owned()], ["yzw".to_owned(), "away".to_owned()]];
        write_table(&mut out, ["name", "is"], &rows).expect("written");
        assert_eq!(String::from_utf8(out).expect("text"), "name  is\n李雷  here\nyzw   away\n");
    }

    #[test]
    fn a_table_fits_the_screen_and_its_ids_stay_whole() {
        let long = "名".repeat(32);
        let rows = [[long.clone(), "12D3KooWabcd".to_owned(), "/ip4/1.2.3.4/tcp/1".repeat(4)]];
        let columns =
            [Column::shrinking("name"), Column::whole("id"), Column::shrinking("address")];
        let show = |look: Look| {
            let mut out = Vec::new();
            look.with(|| write_fitted(&mut out, columns, &rows)).expect("written");
            String::from_utf8(out).expect("text")
        };
        let look = Look { width: 80, full: false, breaks_sentences: false };
        let shown = show(look);
        assert!(shown.lines().all(|line| line.width() <= 80), "{shown}");
        assert!(shown.contains("12D3KooWabcd") && shown.contains('…'), "{shown}");
        let full = show(Look { full: true, ..look });
        assert!(full.contains(&long) && !full.contains('…'), "{full}");
    }
}
