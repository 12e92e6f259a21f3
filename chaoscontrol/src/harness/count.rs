//! Numbers of things in words, so that no report tells of "1 rounds".

/// `1 round`, `2 rounds`, `2 branches`; `one` is the word for one of them.
pub fn count(n: u64, one: &str) -> String {
    let ending = match n {
        1 => "",
        _ if one.ends_with("ch") => "es",
        _ => "s",
    };
    format!("{n} {one}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many() {
        assert_eq!(count(1, "branch"), "1 branch");
        assert_eq!(count(0, "branch"), "0 branches");
        assert_eq!(count(7, "round"), "7 rounds");
    }
}
