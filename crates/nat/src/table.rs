//! Plain-text tables for stdout.

use unicode_width::UnicodeWidthStr;

/// Columns padded to their widest cell, two spaces apart; numbers (every column but the first) to the right.
pub fn render(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.width()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, &width))| {
                let space = " ".repeat(width.saturating_sub(cell.width()));
                match column {
                    0 => format!("{cell}{space}"),
                    _ => format!("{space}{cell}"),
                }
            })
            .collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let mut text = line(header.to_vec());
    for row in rows {
        text.push_str(&line(row.iter().map(String::as_str).collect()));
    }
    text
}

/// What stands before the word error: nothing, or how it is counted.
pub fn counted(balanced: bool) -> &'static str {
    match balanced {
        true => "balanced ",
        false => "",
    }
}

/// A count in millions with two decimals, such as `12.35M`.
pub fn millions(count: u64) -> String {
    format!("{:.2}M", count as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let text = render(
            &["name", "n"],
            &[
                vec!["a".into(), "12".into()],
                vec!["longer".into(), "3".into()],
            ],
        );
        assert_eq!(text, "name     n\na       12\nlonger   3\n");
        // Two columns of a terminal each.
        let wide = render(&["name", "n"], &[vec!["瓶瓶瓶".into(), "3".into()]]);
        assert_eq!(wide, "name    n\n瓶瓶瓶  3\n");
        assert_eq!(millions(12_345_678), "12.35M");
    }
}
