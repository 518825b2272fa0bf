//! Tables whose columns line up in any script.

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr;

/// The number of spaces between two columns.
const GAP: usize = 2;

/// Writes rows under their heads. Lines have no trailing spaces.
pub(crate) fn write_table<const N: usize>(
    out: &mut dyn Write,
    heads: [&str; N],
    rows: &[[String; N]],
) -> io::Result<()> {
    let mut widths = heads.map(UnicodeWidthStr::width);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    write_row(out, &widths, heads)?;
    for row in rows {
        write_row(out, &widths, row.each_ref().map(String::as_str))?;
    }
    Ok(())
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
}
