//! What `check` makes of branches: operations that no order explains, found, shrunk, told and
//! replayed; a correct copy; and checks and guests that misbehave.

mod case;

use case::Case;

/// The number that stands before `what` in `text`.
fn before(text: &str, what: &str) -> usize {
    let (head, _) = text.split_once(what).expect(what);
    let number = head.rsplit(|c: char| !c.is_ascii_digit()).next();
    number.and_then(|n| n.parse().ok()).expect(what)
}

#[test]
fn a_stale_read_is_found_shrunk_told_and_replayed() {
    let case = Case::new("histories::reads_what_is_stale", "stale");
    let text = case.fails_with(
        &[],
        "check one_value_at_a_time failed: the history is not linearizable as a register",
    );
    println!("{text}");
    let table = text.lines().filter(|line| line.contains(" vm 2 process "));
    let operations = table.filter(|line| line.contains(" -> ")).count();
    assert!(
        (2..=4).contains(&operations),
        "{operations} operations in\n{text}"
    );
    assert!(before(&text, " other operation") > 0, "{text}");
    let faults = text.split("shrunk from").nth(1).expect("it is shrunk");
    assert!(before(faults, " in ") <= 2, "{text}");
    let replay = text.rsplit("CHAOS_REPLAY=").next().unwrap();
    let id = replay.split_whitespace().next().unwrap();
    let (status, again) = case.run(&[("CHAOS_REPLAY", id)]);
    assert_eq!(status, 101, "{again}");
    let told = |text: &str| {
        let from = text.find("\ncheck one_value_at_a_time failed").unwrap();
        let to = text[from..].find("cannot mend that").unwrap();
        text[from..from + to].to_owned()
    };
    assert_eq!(told(&again), told(&text));
}

#[test]
fn a_correct_copy_is_green() {
    let (status, text) = Case::new("histories::reads_where_it_writes", "fresh").run(&[]);
    assert_eq!(status, 0, "{text}");
}

#[test]
fn a_check_sees_events_faults_and_lines_and_says_what_is_wrong() {
    Case::new("histories::is_objected_to", "objects").fails_with(
        &[],
        "check self::objects failed: [(0, \"an event\")] [\"latency vm 0 of 5 ms\"",
    );
}

#[test]
fn a_check_that_panics_fails_the_branch() {
    let text = Case::new("histories::is_judged_by_one_that_panics", "panics")
        .fails_with(&[], "check panics failed: it panicked at ");
    assert!(text.contains(": 1 VMs are not to my taste"), "{text}");
}

#[test]
fn a_return_that_nobody_called_is_no_history() {
    Case::new("histories::returns_what_nobody_called", "stray").fails_with(
        &[],
        "an operation returned that nobody called, or once more",
    );
}
