//! The search that branches where guests ask for random values: it finds what chance does not,
//! the same with any number of workers, and what it found is told, kept and replayed.

mod case;

use case::Case;

const TEST: &str = "inputs::opens_by_three_numbers";

/// The words of `text` from `from` to the end of its line.
fn line<'a>(text: &'a str, from: &str) -> &'a str {
    let at = text.find(from).unwrap_or_else(|| panic!("{from}: {text}"));
    text[at..].lines().next().unwrap_or_default()
}

#[test]
fn three_right_answers_are_found_told_and_replayed() {
    let case = Case::new(TEST, "found");
    let text = case.fails_with(&[("CHAOS_WORKERS", "2")], "the lock is open");
    println!("{text}");
    // Shrinking may leave out what chance answers as well.
    let told = |(number, answer): &(u64, u64)| {
        let told = format!("\n     vm 0's call {number}, random_choice(20), answers {answer}\n");
        text.contains(&told)
    };
    let answers = [(1, 7), (2, 13), (3, 2)];
    assert!(
        answers.iter().filter(|answer| told(answer)).count() >= 2,
        "{text}"
    );
    let found = line(&text, "found in round ");
    assert!(found.contains("; it takes no fault and "), "{text}");
    let saved = line(&text, "saved ").split_whitespace().nth(1).unwrap();
    let record = std::fs::read_to_string(case.folder.join(saved)).unwrap();
    assert!(
        record.contains("\ninputs = [\n    \"vm 0's call "),
        "{record}"
    );

    let id = line(&text, "CHAOS_REPLAY=").split_whitespace().next();
    let id = id.and_then(|word| word.split_once('=')).unwrap().1;
    let again = case.fails_with(&[("CHAOS_REPLAY", id)], "the lock is open");
    assert_eq!(line(&again, "  state "), line(&text, "  state "));

    let alone = Case::new(TEST, "alone").fails_with(&[], "the lock is open");
    assert_eq!(line(&alone, "found in round "), found);
    assert_eq!(line(&alone, "  state "), line(&text, "  state "));
}

#[test]
fn chance_does_not_find_them_in_as_many_branches() {
    let case = Case::new(TEST, "chance");
    let (status, text) = case.run(&[("CHAOS_MODE", "faults")]);
    assert_eq!(status, 0, "{text}");
}

#[test]
fn a_number_that_grows_leads_to_the_top() {
    let case = Case::new("inputs::climbs_twelve_steps", "climbs");
    let text = case.fails_with(&[], "it is at the top");
    println!("{text}");
}
