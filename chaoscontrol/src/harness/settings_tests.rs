use super::attribute_keys::{self, Kind};
use super::*;
use crate::fault::{Class, FaultKind, Preset};
use crate::harness::disk;

#[test]
fn the_attribute_takes_the_same_ranges() {
    for key in &KEYS {
        let range = attribute_keys::find(key.name).map(|other| match other.kind {
            Kind::Number(least, most, _) => (Form::Number, least, most),
            Kind::Time(least, most) => (Form::Time, least, most),
            Kind::Memory(least, most) => (Form::Size, least, most),
            Kind::Epoch(least, most) => (Form::Number, least, most),
            Kind::Bool => (Form::Switch, 0, 1),
            Kind::Word(_, words) => (Form::Word(words), 0, words.len() as u64 - 1),
            other => panic!("{}: {other:?}", key.name),
        });
        let form = match key.form {
            Form::Seed => Form::Number,
            form => form,
        };
        match key.name {
            name if HOSTS.contains(&name) => assert_eq!(range, None),
            name => assert_eq!(range, Some((form, key.least, key.most)), "{name}"),
        }
    }
    let named = [attribute_keys::NETWORK_FAULTS, attribute_keys::VM_FAULTS].concat();
    let kinds: Vec<_> = FaultKind::all().map(FaultKind::name).collect();
    assert_eq!(named, kinds);
    let networks = FaultKind::all().filter(|kind| kind.info().class == Class::Network);
    assert_eq!(attribute_keys::NETWORK_FAULTS.len(), networks.count());
    assert_eq!(attribute_keys::CLASSES, Class::ALL.map(Class::name));
    let presets: Vec<_> = Preset::all().map(Preset::name).collect();
    assert_eq!(attribute_keys::PRESETS, presets);
    let disk = attribute_keys::find(DISK).map(|other| other.kind);
    assert_eq!(disk, Some(Kind::Disk(disk::LEAST, disk::MOST)));
    let fields = attribute_keys::KEYS.iter().filter(|other| {
        matches!(
            other.kind,
            Kind::Number(..)
                | Kind::Time(..)
                | Kind::Memory(..)
                | Kind::Epoch(..)
                | Kind::Bool
                | Kind::Word(..)
        )
    });
    assert_eq!(
        fields.count(),
        KEYS.len() - HOSTS.len(),
        "a key of the attribute has no setting"
    );
}

/// Keys that concern the host alone, and so are no part of a test.
const HOSTS: [&str; 3] = ["workers", "pin", "shard"];

fn resolve(
    attributes: &Attributes,
    environment: &[(&str, &str)],
) -> Result<Settings, SettingsError> {
    let look = |name: &str| {
        environment
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| (*v).to_owned())
    };
    let sources = Sources {
        environment: &look,
        package: Path::new("/nowhere"),
    };
    Settings::resolve("crate/target/test", attributes, &sources)
}

#[test]
fn the_environment_goes_before_the_attribute_before_the_default() {
    let given = Attributes {
        rounds: Some(7),
        ..Attributes::NONE
    };
    assert_eq!(resolve(&Attributes::NONE, &[]).unwrap().rounds, 100);
    assert_eq!(resolve(&given, &[]).unwrap().rounds, 7);
    assert_eq!(resolve(&given, &[("CHAOS_ROUNDS", "9")]).unwrap().rounds, 9);
}

#[test]
fn a_disk_is_a_setting_like_others() {
    let given = Attributes {
        disk: Some(Disk::Image("disk.img")),
        ..Attributes::NONE
    };
    let disk = |given: &Attributes, environment: &[_]| resolve(given, environment).unwrap().disk;
    assert_eq!(disk(&Attributes::NONE, &[]), None);
    assert_eq!(disk(&given, &[]), Some(Disk::Image("disk.img".to_owned())));
    let environment = [("CHAOS_DISK", "16M")];
    assert_eq!(disk(&given, &environment), Some(Disk::Empty(16 * MIB)));
    assert_eq!(disk(&given, &[("CHAOS_DISK", "none")]), None);
    let error = resolve(&given, &[("CHAOS_DISK", "1T")]).unwrap_err();
    let error = error.to_string();
    assert!(
        error.starts_with("CHAOS_DISK is `1T`, and must be a size"),
        "{error}"
    );
}

#[test]
fn words_and_switches_are_settings_like_others() {
    let given = Attributes {
        engine: Some(EngineChoice::Kvm),
        must_finish: Some(true),
        mode: Some(Mode::Hybrid),
        ..Attributes::NONE
    };
    let default = resolve(&Attributes::NONE, &[]).unwrap();
    assert_eq!((default.engine, default.pin), (EngineChoice::Soft, false));
    assert_eq!(default.mode, Mode::Faults);
    let attribute = resolve(&given, &[]).unwrap();
    assert_eq!(
        (attribute.engine, attribute.mode),
        (EngineChoice::Kvm, Mode::Hybrid)
    );
    let environment = [
        ("CHAOS_ENGINE", "auto"),
        ("CHAOS_MODE", "inputs"),
        ("CHAOS_PIN", "1"),
        ("CHAOS_MUST_FINISH", "false"),
    ];
    let settings = resolve(&given, &environment).unwrap();
    assert_eq!(
        (settings.engine, settings.pin, settings.must_finish),
        (EngineChoice::Auto, true, false)
    );
    assert_eq!(settings.mode, Mode::Inputs);
    let error = resolve(&given, &[("CHAOS_ENGINE", "xen")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "CHAOS_ENGINE is `xen`, and must be `soft`, `kvm` or `auto`"
    );
}

#[test]
fn the_manifest_goes_before_the_default() {
    let folder = std::env::temp_dir().join(format!("chaoscontrol-settings-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |text: &str| {
        std::fs::write(
            folder.join("Cargo.toml"),
            format!("[package]\n[package.metadata.chaos]\n{text}"),
        )
    };
    let resolve = |attributes: &Attributes| {
        let sources = Sources {
            environment: &|_| None,
            package: &folder,
        };
        Settings::resolve("t", attributes, &sources)
    };
    write("rounds = 5\nquiet = \"250ms\"\nmust_finish = true").unwrap();
    let settings = resolve(&Attributes::NONE).unwrap();
    assert_eq!(
        (settings.rounds, settings.quiet_ns, settings.must_finish),
        (5, 250_000_000, true)
    );
    assert_eq!(
        resolve(&Attributes {
            rounds: Some(7),
            ..Attributes::NONE
        })
        .unwrap()
        .rounds,
        7
    );
    write("round = 5").unwrap();
    assert!(
        resolve(&Attributes::NONE)
            .unwrap_err()
            .to_string()
            .contains("no key `round`")
    );
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_bad_value_names_the_variable_and_the_value() {
    let error = resolve(&Attributes::NONE, &[("CHAOS_ROUNDS", "abc")])
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "CHAOS_ROUNDS is `abc`, and must be a number of at least 1"
    );
    let error = resolve(&Attributes::NONE, &[("CHAOS_VMS", "17")])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("CHAOS_VMS") && error.contains("17"),
        "{error}"
    );
    let error = resolve(
        &Attributes {
            clients: Some(3),
            ..Attributes::NONE
        },
        &[],
    )
    .unwrap_err()
    .to_string();
    assert!(error.contains("no server"), "{error}");
}

#[test]
fn times_sizes_and_seeds_are_read() {
    assert_eq!(parse(Form::Time, "250ms"), Some(250_000_000));
    assert_eq!(parse(Form::Time, "2"), Some(2 * SECOND));
    assert_eq!(parse(Form::Size, "64M"), Some(64 * MIB));
    assert_eq!(parse(Form::Seed, "0xff"), Some(255));
    assert_eq!(parse(Form::Time, "99999999999999999999s"), None);
    assert_eq!(parse(Form::Number, "-1"), None);
    let words = Form::Word(&EngineChoice::WORDS);
    assert_eq!((parse(words, "auto"), parse(words, "KVM")), (Some(2), None));
    let switch = ["0", "1", "false", "true"].map(|text| parse(Form::Switch, text));
    assert_eq!(switch, [Some(0), Some(1), Some(0), Some(1)]);
    assert_eq!(parse(Form::Switch, "2"), None);
}

#[test]
fn the_default_seed_is_the_paths() {
    let one = resolve(&Attributes::NONE, &[]).unwrap().seed;
    assert_eq!(one, resolve(&Attributes::NONE, &[]).unwrap().seed);
    assert_eq!(one, xxh3_64(b"crate/target/test"));
}
