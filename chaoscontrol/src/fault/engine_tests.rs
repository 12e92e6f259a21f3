use super::*;

const SEC: u64 = 1_000_000_000;

fn engine(text: &str) -> FaultEngine {
    FaultEngine::new(text.parse().unwrap(), Timing::default(), 2)
}

fn fired(firings: &[Firing]) -> Vec<String> {
    firings
        .iter()
        .map(|f| format!("{} {} {:?}", f.at_ns / 1_000_000, f.fault, f.cause))
        .collect()
}

#[test]
fn nothing_fires_before_the_last_server_is_ready() {
    let mut e = engine("+1 s kill vm 1");
    assert_eq!(e.fire(100 * SEC), []);
    assert!(!e.setup_complete(0, 5 * SEC));
    assert!(!e.setup_complete(0, 5 * SEC));
    assert!(!e.setup_complete(2, 5 * SEC), "a client does not count");
    assert_eq!(
        (e.missing_setup(), e.phase(5 * SEC)),
        (vec![1], Phase::Setup)
    );
    assert!(e.setup_complete(1, 6 * SEC));
    assert!(e.missing_setup().is_empty());
    assert_eq!(e.next_ns(), Some(7 * SEC));
    assert_eq!(e.fire(7 * SEC - 1), []);
    assert_eq!(fired(&e.fire(7 * SEC)), ["7000 kill vm 1 Schedule"]);
    assert_eq!(
        (e.phase(15 * SEC), e.phase(16 * SEC), e.phase(21 * SEC)),
        (Phase::Faults, Phase::Quiet, Phase::Over)
    );
}

#[test]
fn a_begin_by_force_waits_for_nobody_and_comes_once() {
    let timing = Timing {
        force_setup_ns: Some(3 * SEC),
        ..Timing::default()
    };
    let mut forced = FaultEngine::new("+0 s kill vm 1".parse().unwrap(), timing, 2);
    let mut earlier = forced.clone();
    assert_eq!(forced.next_ns(), Some(3 * SEC));
    assert_eq!(forced.fire(3 * SEC - 1), []);
    assert!(!forced.reach(3 * SEC - 1) && forced.reach(3 * SEC) && !forced.reach(3 * SEC));
    assert_eq!(fired(&forced.fire(4 * SEC)), ["3000 kill vm 1 Schedule"]);
    earlier.setup_complete(0, SEC);
    earlier.setup_complete(1, 2 * SEC);
    assert!(!earlier.reach(9 * SEC));
    assert_eq!(fired(&earlier.fire(9 * SEC)), ["2000 kill vm 1 Schedule"]);
}

#[test]
fn all_that_stands_is_healed_when_faults_end() {
    let mut e = engine(
        "+1 s partition {0} | {1}\n+1 s latency vm 0 of 9 ms\n+2 s skew vm 1 by 5 %\n+2 s wall-clock jump vm 0 by 3 s\n\
         +3 s wall-clock jump vm 0 by 1 s\n+3 s pause vm 0\n+4 s kill vm 1\n+11 s kill vm 0",
    );
    assert!(e.force_setup_complete(0));
    assert_eq!(e.fire(9 * SEC).len(), 7);
    assert_eq!(
        fired(&e.fire(30 * SEC)),
        [
            "10000 heal Recovery",
            "10000 latency vm 0 of 0 ms Recovery",
            "10000 clock skew vm 1 by 0 % Recovery",
            "10000 wall-clock jump vm 0 by -4 s Recovery",
            "10000 resume vm 0 Recovery",
            "10000 restart vm 1 Recovery",
        ]
    );
    assert_eq!(e.next_ns(), None);
}

#[test]
fn what_undoes_a_schedule_is_what_would_be_healed_then() {
    let text = "+1 s kill vm 0\n+1 s latency vm 1 of 9 ms\n+2 s pause vm 2\n+3 s restart vm 0";
    let schedule: FaultSchedule = text.parse().unwrap();
    let undoing = |at_ns| {
        let faults = FaultEngine::undoing(&schedule, at_ns).into_iter();
        let faults = faults.map(|f| (f.at_ns, f.fault.to_string()));
        faults.collect::<Vec<_>>()
    };
    let at = 2_500_000_000;
    let names: Vec<String> = undoing(at).into_iter().map(|(_, name)| name).collect();
    assert_eq!(
        names,
        ["latency vm 1 of 0 ms", "resume vm 2", "restart vm 0"]
    );
    assert!(undoing(at).iter().all(|(at_ns, _)| *at_ns == at));
    assert_eq!(undoing(4_000_000_000).len(), 2, "vm 0 is up again");
    assert!(undoing(1_000_000_000).is_empty());
}

#[test]
fn a_machine_that_starts_anew_has_the_right_wall_time() {
    let mut e = engine(
        "+1 s wall-clock jump vm 0 by 3 s\n+2 s restart vm 0\n+3 s kill vm 1\n+4 s wall-clock jump vm 1",
    );
    e.force_setup_complete(0);
    e.fire(9 * SEC);
    assert_eq!(fired(&e.fire(30 * SEC)), ["10000 restart vm 1 Recovery"]);
}

#[test]
fn a_pause_ends_by_itself_unless_something_else_ended_it() {
    let mut e = engine("+1 s pause vm 0 for 500 ms\n+2 s pause vm 1 for 5 s\n+3 s restart vm 1");
    e.force_setup_complete(0);
    assert_eq!(
        fired(&e.fire(9 * SEC)),
        [
            "1000 pause vm 0 for 500 ms Schedule",
            "1500 resume vm 0 Recovery",
            "2000 pause vm 1 for 5 s Schedule",
            "3000 restart vm 1 Schedule"
        ]
    );
    assert_eq!(e.fire(20 * SEC), []);
}

#[test]
fn stopped_processes_go_on_unless_they_are_gone() {
    let mut e = engine(
        "+1 s stop process redis in vm 0 for 500 ms\n+1 s stop process in vm 0\n\
         +2 s stop process redis in vm 1\n+3 s kill process redis in vm 1\n\
         +4 s stop process a in vm 1\n+4 s stop process b in vm 1\n+5 s kill process in vm 1\n\
         +6 s memory pressure vm 0 of 50 %\n+7 s clock strobe vm 1 by 5 s every 20 ms\n\
         +8 s memory pressure vm 1 of 50 %\n+9 s restart vm 1",
    );
    e.force_setup_complete(0);
    let early = fired(&e.fire(9 * SEC));
    assert_eq!(early[2], "1500 continue process redis in vm 0 Recovery");
    assert_eq!(early.len(), 12);
    assert_eq!(
        fired(&e.fire(20 * SEC)),
        [
            "10000 memory pressure vm 0 of 0 % Recovery",
            "10000 continue process in vm 0 Recovery",
        ]
    );
}

#[test]
fn what_is_gone_is_not_undone_and_the_last_instant_is_none_for_faults() {
    let mut e = engine(
        "+1 s stop process a in vm 1\n+2 s kill process in vm 1\n+3 s kill vm 0\n\
         +4 s memory pressure vm 0 of 50 %\n+10 s kill vm 1",
    );
    e.force_setup_complete(0);
    assert_eq!(e.fire(9 * SEC).len(), 4);
    assert_eq!(fired(&e.fire(20 * SEC)), ["10000 restart vm 0 Recovery"]);
}

#[test]
fn how_time_is_cut_changes_nothing() {
    let text =
        "+1 s pause vm 0 for 1 s\n+1.5 s kill vm 1\n+2 s restart vm 1\n+2 s partition {0} | {1}";
    let mut whole = engine(text);
    whole.force_setup_complete(7);
    let mut cut = whole.clone();
    let pieces: Vec<Firing> = (0..12_000)
        .flat_map(|ms| cut.fire(ms * 1_000_000))
        .collect();
    assert_eq!(whole.fire(11_999 * 1_000_000), pieces);
    assert_eq!(whole, cut);
}

#[test]
fn what_a_body_does_is_healed_too() {
    let mut e = engine("");
    e.force_setup_complete(0);
    let f = e.inject(Fault::ProcessKill { target: 0 }, SEC);
    assert_eq!(f.cause, Cause::Body);
    assert_eq!(fired(&e.fire(10 * SEC)), ["10000 restart vm 0 Recovery"]);
}

#[test]
fn a_fork_goes_on_with_another_schedule() {
    let mut e = engine("+1 s kill vm 0\n+5 s kill vm 1");
    e.force_setup_complete(0);
    e.fire(2 * SEC);
    e.reschedule(
        "+1 s kill vm 0\n+3 s restart vm 0".parse().unwrap(),
        2 * SEC,
    );
    assert_eq!(fired(&e.fire(4 * SEC)), ["3000 restart vm 0 Schedule"]);
    e.reschedule("+4 s kill vm 1".parse().unwrap(), 4 * SEC);
    assert_eq!(fired(&e.fire(4 * SEC)), ["4000 kill vm 1 Schedule"]);
}
