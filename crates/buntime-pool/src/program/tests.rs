use std::os::unix::fs::PermissionsExt as _;

use super::*;

const NEVER: &dyn Fn() -> bool = &|| false;

/// A program that is more than one piece long, and where its copy is to be.
struct Rig {
    _dir: tempfile::TempDir,
    given: PathBuf,
    place: PathBuf,
}

impl Rig {
    /// `None` where the test's files lie on a file system that a copy is of no use on.
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        if let Err(reason) = is_of_use(dir.path()) {
            buntime_testkit::skipped(&reason.to_string());
            return None;
        }
        let given = dir.path().join("given");
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(2 * PIECE + 7).collect();
        fs::write(&given, bytes).unwrap();
        Some(Self {
            given,
            place: dir.path().join("run/bun"),
            _dir: dir,
        })
    }

    fn lay_out(&self) -> PathBuf {
        let copy = lay_out(&self.given, &self.place, NEVER).unwrap();
        assert_eq!(copy.of, identity(&fs::metadata(&self.given).unwrap()));
        copy.path
    }

    fn names(&self) -> Vec<std::ffi::OsString> {
        let entries = fs::read_dir(&self.place).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    }
}

#[test]
fn a_copy_is_the_same_program_and_nobody_writes_it() {
    let Some(rig) = Rig::new() else { return };
    let copy = rig.lay_out();
    assert_eq!(fs::read(&copy).unwrap(), fs::read(&rig.given).unwrap());
    let found = fs::metadata(&copy).unwrap();
    assert_eq!(found.permissions().mode() & 0o7777, 0o500);
    assert_ne!(found.ino(), fs::metadata(&rig.given).unwrap().ino());
    let folder = fs::metadata(&rig.place).unwrap();
    assert_eq!(folder.permissions().mode() & 0o7777, 0o700);
}

#[test]
fn the_copy_of_an_earlier_run_is_used_again() {
    let Some(rig) = Rig::new() else { return };
    let copy = rig.lay_out();
    let inode = fs::metadata(&copy).unwrap().ino();
    assert_eq!(rig.lay_out(), copy);
    assert_eq!(fs::metadata(&copy).unwrap().ino(), inode);
}

#[test]
fn another_program_takes_the_place_of_the_old_one() {
    let Some(rig) = Rig::new() else { return };
    rig.lay_out();
    fs::write(&rig.given, "another").unwrap();
    assert_eq!(fs::read(rig.lay_out()).unwrap(), b"another");
    assert_eq!(rig.names(), [NAME]);
}

#[test]
fn what_is_not_the_same_is_made_anew() {
    let Some(rig) = Rig::new() else { return };
    let copy = rig.lay_out();
    let whole = fs::read(&copy).unwrap();
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    for wrong in [&changed[..], &whole[..PIECE], b""] {
        fs::remove_file(&copy).unwrap();
        fs::write(&copy, wrong).unwrap();
        fs::write(copy.with_file_name(PART), "part").unwrap();
        assert_eq!(fs::read(rig.lay_out()).unwrap(), whole);
        assert_eq!(rig.names(), [NAME]);
    }
}

#[test]
fn a_server_that_stops_leaves_no_half_copy() {
    let Some(rig) = Rig::new() else { return };
    // It stops while the second piece is read.
    let reads = std::cell::Cell::new(0);
    let soon = || {
        reads.set(reads.get() + 1);
        reads.get() > 1
    };
    let error = lay_out(&rig.given, &rig.place, &soon).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Interrupted);
    assert!(rig.names().is_empty());
    rig.lay_out();
    let error = lay_out(&rig.given, &rig.place, &|| true).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Interrupted);
    assert_eq!(rig.names(), [NAME]);
}

#[test]
fn no_copy_is_made_where_it_is_of_no_use_or_does_not_fit() {
    let Some(rig) = Rig::new() else { return };
    let too_large = fits(rig.given.parent().unwrap(), u64::MAX / 2).unwrap_err();
    assert_eq!(too_large.to_string(), "too little is free in the state dir");
    let elsewhere = is_of_use(Path::new("/proc")).unwrap_err();
    assert_eq!(elsewhere.kind(), io::ErrorKind::Unsupported);
}

#[test]
fn a_copy_that_is_taken_away_leaves_the_operators_program() {
    let Some(rig) = Rig::new() else { return };
    let program = Program::new(rig.given.clone());
    assert_eq!(program.path(), rig.given);
    let of = program.identity().unwrap();
    let copy = lay_out(&rig.given, &rig.place, NEVER).unwrap();
    let path = program.copy.get_or_init(|| copy).path.clone();
    assert_eq!(program.path(), path);
    // What was made by the copy goes on to be found, whatever the operator's file is now.
    fs::write(&rig.given, "another").unwrap();
    assert_eq!(program.identity().unwrap(), of);
    fs::remove_file(path).unwrap();
    assert_eq!(program.path(), rig.given);
    assert_ne!(program.identity().unwrap(), of);
}
