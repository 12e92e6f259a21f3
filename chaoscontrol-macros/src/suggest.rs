//! "Did you mean": the known word that a mistyped one is closest to.

/// The closest of `known`, if it is close enough to be what was meant.
pub fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A fragment of a sentence: `; did you mean ...?`, or nothing.
pub fn hint<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    closest(word, known).map_or_else(String::new, |close| format!("; did you mean `{close}`?"))
}

/// Insertions, deletions, substitutions and swaps of neighbours that lead from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let same = a[i - 1] == b[j - 1];
                let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                let substituted = rows[i - 1][j - 1] + usize::from(!same);
                let shorter = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                let best = substituted.min(shorter);
                if swapped {
                    best.min(rows[i - 2][j - 2] + 1)
                } else {
                    best
                }
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_words_are_suggested_and_others_are_not() {
        let known = ["vms", "rounds", "branches", "must_finish"];
        for (word, expected) in [
            ("round", Some("rounds")),
            ("vm", Some("vms")),
            ("vsm", Some("vms")),
            ("barnches", Some("branches")),
            ("mustfinish", Some("must_finish")),
            ("nodes", None),
            ("", None),
        ] {
            assert_eq!(closest(word, known), expected, "{word}");
        }
    }
}
