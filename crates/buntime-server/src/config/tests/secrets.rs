//! The root key, and the folder that secrets lie in.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::*;

#[test]
fn secrets_are_not_shown() {
    let place = Place::new();
    let config = place
        .with("RUNTIME_ROOT_KEY", "hunter2hunter2hunter2")
        .unwrap();
    assert_eq!(
        config.state.root_key.as_ref().unwrap().expose(),
        "hunter2hunter2hunter2"
    );
    assert!(!format!("{config:?}").contains("hunter2"));
    let mut flags = Flags::new();
    flags.set("RUNTIME_ROOT_KEY", "hunter2");
    assert!(!format!("{flags:?}").contains("hunter2"));
    let vars = [
        ("RUNTIME_WORKER_DIRS", "apps"),
        ("RUNTIME_ROOT_KEY", "hunter2"),
    ];
    let warnings = place.load(&vars, &[]).unwrap().warnings;
    assert!(
        warnings[0].message.contains("guessed") && !warnings[0].to_string().contains("hunter2")
    );
}

#[test]
fn a_key_that_can_be_guessed_does_not_open_what_is_deployed() {
    let place = Place::new();
    for mode in ["staging", "production"] {
        let vars = |key| {
            [
                ("RUNTIME_WORKER_DIRS", "apps"),
                ("NODE_ENV", mode),
                ("RUNTIME_ROOT_KEY", key),
            ]
        };
        let errors = place.load(&vars("fifteen letters"), &[]).unwrap_err();
        assert!(errors.to_string().contains("RUNTIME_ROOT_KEY"), "{errors}");
        let errors = place.load(&vars("fifteen-letters"), &[]).unwrap_err();
        assert!(errors.to_string().contains("guessed"), "{errors}");
        assert!(!errors.to_string().contains("fifteen"), "{errors}");
        assert!(place.load(&vars("sixteen--letters"), &[]).is_ok());
    }
}

#[test]
fn the_state_dir_is_made_private() {
    let place = Place::new();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let state = place.with("RUNTIME_STATE_DIR", "deep/state").unwrap().state;
    assert_eq!(state.prepare(), Ok(None));
    assert_eq!(mode(&state.dir), 0o700);
    assert_eq!(state.prepare(), Ok(None), "a second start finds it");

    fs::set_permissions(&state.dir, fs::Permissions::from_mode(0o755)).unwrap();
    let warning = state.prepare().unwrap().unwrap();
    assert!(warning.message.contains("0755"), "{warning}");
    assert_eq!(mode(&state.dir), 0o755, "a mode that we did not set stays");

    fs::remove_dir(&state.dir).unwrap();
    fs::write(&state.dir, "").unwrap();
    assert!(
        state
            .prepare()
            .unwrap_err()
            .to_string()
            .contains("RUNTIME_STATE_DIR")
    );
}
