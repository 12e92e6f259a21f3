use std::env;

use super::*;

fn own() -> PathBuf {
    env::current_exe().unwrap()
}

fn folder(name: &str) -> PathBuf {
    let folder = env::temp_dir().join(format!("chaoscontrol-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn packed(contents: &Contents) -> Result<Initramfs, InitramfsError> {
    Initramfs::pack(&own(), contents)
}

fn with_programs(programs: &[&Path]) -> Result<Vec<String>, String> {
    let contents = Contents {
        programs: programs.iter().map(|path| path.to_path_buf()).collect(),
        ..Contents::default()
    };
    let names = |packed: Initramfs| packed.programs.into_iter().map(|p| p.guest_path).collect();
    packed(&contents).map(names).map_err(|e| e.to_string())
}

#[test]
fn two_packs_are_equal_byte_for_byte() {
    let first = packed(&Contents::default()).unwrap();
    let second = packed(&Contents::default()).unwrap();
    assert_eq!(first.bytes, second.bytes);
    let names: Vec<&str> = first
        .programs
        .iter()
        .map(|p| p.guest_path.as_str())
        .collect();
    assert_eq!(names[0], "/init");
    assert!(names.iter().any(|n| n.ends_with("/libc.so.6")), "{names:?}");
    assert_eq!(
        names.iter().filter(|n| n.contains("ld-linux")).count(),
        1,
        "{names:?}"
    );
}

#[test]
fn programs_share_libraries_and_keep_their_paths_if_they_are_the_systems() {
    let folder = folder("programs");
    let copy = folder.join("copy");
    fs::copy(own(), &copy).unwrap();
    let names = with_programs(&[Path::new("/bin/sh"), &copy]).unwrap();
    assert!(names.iter().any(|name| name == "/bin/sh"), "{names:?}");
    assert_eq!(names.last().unwrap(), "/usr/local/bin/copy");
    let libraries = names.iter().filter(|name| name.ends_with("/libc.so.6"));
    assert_eq!(libraries.count(), 1, "{names:?}");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_guest_has_a_list_of_programs() {
    let contents = Contents {
        programs: vec!["/bin/sh".into()],
        ..Contents::default()
    };
    let bytes = packed(&contents).unwrap().bytes;
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("\n/bin/sh\n") || text.contains("\0/bin/sh\n"));
}

#[test]
fn what_is_no_program_is_refused_by_name() {
    let folder = folder("refused");
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let mut arm = fs::read(own()).unwrap();
    arm[18] = 183;
    for (path, wanted) in [
        (write("script", b"#!/bin/sh\n"), "a script for /bin/sh"),
        (write("text", b"hello"), "not a usable ELF file"),
        (write("arm", &arm), "built for 64-bit Arm"),
        (folder.join("absent"), "cannot be packed for the guest"),
    ] {
        let error = with_programs(&[&path]).unwrap_err();
        let path = path.display().to_string();
        assert!(error.contains(wanted) && error.contains(&path), "{error}");
    }
    fs::remove_dir_all(folder).unwrap();
}

/// This executable as a program that asks for another library than libc.
fn with_library(library: &[u8; 9]) -> Vec<u8> {
    let mut bytes = fs::read(own()).unwrap();
    let at = bytes.windows(10).position(|w| w == b"libc.so.6\0").unwrap();
    bytes[at..at + 9].copy_from_slice(library);
    bytes
}

#[test]
fn a_missing_library_is_named_with_who_needs_it() {
    let folder = folder("missing");
    let program = folder.join("program");
    fs::write(&program, with_library(b"libq.so.9")).unwrap();
    let error = with_programs(&[&program]).unwrap_err();
    assert!(
        error.contains("libq.so.9") && error.contains(program.to_str().unwrap()),
        "{error}"
    );
    // Beside the program is where it is found last.
    fs::copy(own(), folder.join("libq.so.9")).unwrap();
    let names = with_programs(&[&program]).unwrap();
    assert!(names.iter().any(|n| n.ends_with("/libq.so.9")), "{names:?}");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn two_programs_of_one_name_are_refused() {
    let folder = folder("names");
    let sh = folder.join("sh");
    fs::copy(own(), &sh).unwrap();
    let error = with_programs(&[Path::new("/bin/sh"), &sh]).unwrap_err();
    assert!(error.contains("two programs are called sh"), "{error}");
    let contents = Contents {
        files: vec![(sh.clone(), "/a/sh".into()), (own(), "/a/sh".into())],
        ..Contents::default()
    };
    let error = packed(&contents).unwrap_err().to_string();
    assert!(error.contains("would both be /a/sh"), "{error}");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn files_and_folders_are_packed_in_name_order() {
    let folder = folder("pack");
    fs::create_dir_all(folder.join("b")).unwrap();
    fs::write(folder.join("b/two"), "2").unwrap();
    fs::write(folder.join("a"), "1").unwrap();
    let contents = Contents {
        files: vec![(folder.clone(), "/tests/data".into())],
        ..Contents::default()
    };
    let packed = packed(&contents).unwrap();
    assert!(packed.others.is_empty(), "{:?}", packed.others);
    let text = String::from_utf8_lossy(&packed.bytes);
    let a = text.find("tests/data/a\0").unwrap();
    let b = text.find("tests/data/b/two\0").unwrap();
    assert!(a < b);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_program_among_the_files_is_remembered() {
    let contents = Contents {
        files: vec![(own(), "/bin/child".to_owned())],
        ..Contents::default()
    };
    let packed = packed(&contents).unwrap();
    let names: Vec<String> = packed.executables().into_iter().map(|p| p.guest).collect();
    assert_eq!(
        (names[0].as_str(), names.last().unwrap().as_str()),
        ("/init", "/bin/child")
    );
    assert_eq!(names.len(), packed.programs.len() + 1);
}

#[test]
fn code_of_packed_programs_is_not_the_tests_own() {
    let contents = Contents {
        programs: vec!["/bin/sh".into()],
        ..Contents::default()
    };
    let packed = packed(&contents).unwrap();
    let shell = packed
        .programs
        .iter()
        .position(|p| p.guest_path == "/bin/sh")
        .unwrap();
    let map = packed.code_map();
    let pages: Vec<_> = map.values().filter(|o| o.file == shell as u32).collect();
    assert!(!pages.is_empty() && pages.iter().all(|origin| origin.region == 1));
    assert!(map.values().any(|o| o.file == 0 && o.region == 0));
}
