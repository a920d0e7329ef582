//! Charts of block characters: columns in steps of an eighth, and bars.

/// A column's or bar's last cell in eighths.
const UP: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const ALONG: [char; 9] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];
/// A bucket is drawn at most so wide.
const WIDEST: usize = 8;

/// Buckets put together, so that they fit into `room` columns: how many make one, and the sums.
pub(super) fn fitted(counts: &[u64], room: usize) -> (usize, Vec<u64>) {
    let together = counts.len().div_ceil(room.max(1)).max(1);
    (together, counts.chunks(together).map(|c| c.iter().sum()).collect())
}

/// The lines of a chart, top first, at most `room` columns wide. Whatever is not 0 shows.
pub(in crate::report) fn columns(counts: &[u64], room: usize, rows: usize) -> Vec<String> {
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let wide = (room / counts.len().max(1)).clamp(1, WIDEST);
    let row = |from_below: usize| {
        let cell = |n: &u64| {
            let high = eighths(*n, most, rows);
            let c = UP.get(high.saturating_sub(from_below * 8).min(8)).copied().unwrap_or(' ');
            std::iter::repeat_n(c, wide)
        };
        counts.iter().flat_map(cell).collect::<String>()
    };
    (0..rows).rev().map(row).collect()
}

/// A bar of at most `room` columns for the share of `n` in `of`.
pub(super) fn bar(n: u64, of: u64, room: usize) -> String {
    let long = eighths(n, of.max(1), room);
    let mut out: String = std::iter::repeat_n('█', long / 8).collect();
    if !long.is_multiple_of(8) {
        out.extend(ALONG.get(long % 8));
    }
    out
}

/// `n` of `most` in eighths of `cells`, rounded up.
fn eighths(n: u64, most: u64, cells: usize) -> usize {
    let steps = u128::from(n.min(most)) * 8 * cells as u128;
    usize::try_from(steps.div_ceil(u128::from(most))).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_zero_shows_and_the_most_fills() {
        assert_eq!(columns(&[0, 1, 50, 100], 4, 2), ["   █", " ▁██"]);
        assert_eq!(columns(&[0, 0], 4, 1), ["    "]);
        assert_eq!(columns(&[1], 80, 1), ["████████"]);
        assert_eq!(columns(&[], 80, 1), [""]);
        assert_eq!(
            (bar(1, 1_000, 10), bar(500, 1_000, 10), bar(0, 0, 10)),
            ("▏".into(), "█████".into(), String::new())
        );
    }

    #[test]
    fn buckets_are_put_together_to_fit() {
        assert_eq!(fitted(&[1; 512], 64), (8, vec![8; 64]));
        assert_eq!(fitted(&[1, 2, 3], 2), (2, vec![3, 3]));
        assert_eq!(fitted(&[], 0), (1, vec![]));
    }
}
