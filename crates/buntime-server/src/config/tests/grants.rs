//! `RUNTIME_GRANTS`.

use super::*;

#[test]
fn all_that_is_wrong_with_grants_is_told_with_its_place() {
    let place = Place::new();
    fs::write(
        place.path().join("g.yaml"),
        "shop: {limits: {memory: much}}\n'a b': {}\nok: {permissions: {net: none}}\n",
    )
    .unwrap();
    let told = place.with("RUNTIME_GRANTS", "g.yaml").unwrap_err();
    for part in [
        "g.yaml:1:25: shop.limits.memory: `much`",
        "g.yaml:2:1: a b: is no unit",
        "g.yaml:3:25: ok.permissions.net: `none`",
    ] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    assert!(
        told.lines()
            .all(|line| line.starts_with("RUNTIME_GRANTS: ")),
        "{told}"
    );
    assert_eq!(told.lines().count(), 3);
}

#[test]
fn nobody_is_granted_what_is_the_servers_or_another_units() {
    let place = Place::new();
    let path = place.path();
    std::os::unix::fs::symlink("apps", path.join("link")).unwrap();
    let grants = |paths: &[&str]| {
        let list: Vec<_> = paths.iter().map(|path| format!("{path:?}")).collect();
        let text = format!("'*':\n  permissions: {{read: [{}]}}\n", list.join(", "));
        fs::write(path.join("g.yaml"), text).unwrap();
        let vars = [
            ("RUNTIME_WORKER_DIRS", "apps"),
            ("RUNTIME_PLUGIN_DIRS", "plugs"),
            ("RUNTIME_STATE_DIR", "state"),
            ("RUNTIME_GRANTS", "g.yaml"),
        ];
        let loaded = place.load(&vars, &[]);
        loaded
            .map(|loaded| loaded.config.grants)
            .map_err(|errors| errors.to_string())
    };
    let at = |name: &str| path.join(name).to_str().unwrap().to_owned();
    for name in [
        "apps",
        "apps/shop",
        "link",
        "link/shop",
        "state",
        "state/run",
        "plugs",
        "g.yaml",
        "apps/./x",
    ] {
        let told = grants(&[&at(name)]).unwrap_err();
        assert!(
            told.contains("g.yaml:1: ") && told.contains("nobody is granted"),
            "{name}: {told}"
        );
    }
    for whole in [
        at(""),
        "/".to_owned(),
        "/proc".to_owned(),
        "/proc/1/environ".to_owned(),
        // By sockets there the machine's services are asked.
        "/run".to_owned(),
        "/run/docker.sock".to_owned(),
        "/run/user/1000".to_owned(),
        "/run/secretsx".to_owned(),
    ] {
        assert!(grants(&[&whole]).is_err(), "{whole}");
    }
    assert!(grants(&["/run/secrets/shop", "/run/credentials/buntime.service"]).is_ok());
    assert!(grants(&[&at("extra"), &at("appsx"), "/srv/maps"]).is_ok());
    let both = grants(&[&at("apps"), "/proc"]).unwrap_err();
    assert_eq!(both.lines().count(), 2);
}
