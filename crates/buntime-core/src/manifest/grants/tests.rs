use proptest::prelude::*;

use super::*;
use crate::Manifest;

fn asks(yaml: &str) -> Manifest {
    Manifest::parse(yaml, "manifest.yaml").unwrap().value
}

fn refused(grants: &str, unit: &str, manifest: &str) -> Vec<String> {
    let grants = Grants::parse(grants, "grants.yaml").unwrap().value;
    let asked = asks(manifest);
    let unit = unit.parse().unwrap();
    let decided = grants.decide(Some(&unit), &asked.permissions, &asked.limits);
    let refused = decided.err().unwrap_or_default();
    refused.iter().map(ToString::to_string).collect()
}

#[test]
fn what_every_unit_may_have_needs_no_grant() {
    for manifest in [
        "",
        "permissions: {net: none}\n",
        "permissions: {net: public}\n",
        "permissions: {net: ['api.example.com:443', '1.1.1.1:53']}\n",
        "limits: {memory: 512mb, cpu: 1, disk: 1gb, output: 1mb, instances: 1..8}\n",
        "limits: {memory: 64mb, cpu: 0.1}\n",
    ] {
        assert_eq!(refused("", "shop", manifest), [""; 0], "{manifest}");
    }
}

#[test]
fn all_that_was_not_granted_is_named() {
    let manifest = "permissions: {read: [/srv/maps], write: [/srv/out], spawn: true, \
        net: ['db.internal:5432', '10.0.0.1:80', 'localhost:8000', '169.254.169.254:80']}\n\
        limits: {memory: 1gb, cpu: 2.5, disk: 2gb, output: 2mb, instances: 9}\n";
    assert_eq!(
        refused("", "shop", manifest),
        [
            "permissions.read: /srv/maps",
            "permissions.write: /srv/out",
            "permissions.spawn: true",
            "permissions.net: db.internal:5432",
            "permissions.net: 10.0.0.1:80",
            "permissions.net: localhost:8000 (never granted)",
            "permissions.net: 169.254.169.254:80 (never granted)",
            "limits.memory: 1gb",
            "limits.disk: 2gb",
            "limits.output: 2mb",
            "limits.cpu: 2.5",
            "limits.instances: 9",
        ]
    );
}

#[test]
fn what_is_granted_to_a_unit_its_scope_and_all_adds_up() {
    let grants = "\
        '@acme/shop': {permissions: {net: ['db.internal:5432'], spawn: true}}\n\
        '@acme/*': {permissions: {read: [/srv]}, limits: {memory: 1gb}}\n\
        '*': {limits: {cpu: 2}}\n";
    let manifest = "permissions: {read: [/srv/maps], spawn: true, net: ['db.internal:5432']}\n\
        limits: {memory: 1gb, cpu: 2}\n";
    assert_eq!(refused(grants, "@acme/shop", manifest), [""; 0]);
    assert_eq!(
        refused(grants, "@acme/other", manifest),
        [
            "permissions.spawn: true",
            "permissions.net: db.internal:5432"
        ]
    );
    assert_eq!(refused(grants, "@acme.evil/shop", manifest).len(), 4);
    assert_eq!(refused(grants, "shop", manifest).len(), 4);
}

#[test]
fn a_granted_folder_holds_what_lies_below_it_and_nothing_beside_it() {
    let grants = "shop: {permissions: {read: [/srv/maps], write: [/srv/out]}}\n";
    let read = |path: &str| {
        refused(
            grants,
            "shop",
            &format!("permissions: {{read: ['{path}']}}\n"),
        )
    };
    for granted in [
        "/srv/maps",
        "/srv/maps/",
        "/srv/maps/eu/a.bin",
        "/srv/out/x",
    ] {
        assert_eq!(read(granted), [""; 0], "{granted}");
    }
    for refused in ["/srv", "/", "/srv/mapsx", "srv/maps", "/srv/./map"] {
        assert_eq!(read(refused).len(), 1, "{refused}");
    }
    let write = refused(grants, "shop", "permissions: {write: [/srv/maps/x]}\n");
    assert_eq!(write, ["permissions.write: /srv/maps/x"]);
}

#[test]
fn mistakes_in_the_file_are_told_together() {
    let errors = Grants::parse(
        "shop: yes\n'@acme': {limits: {memory: 1gb}}\n'a b': {}\nok: {limits: {memory: much, cpus: 2}}\n",
        "grants.yaml",
    )
    .unwrap_err();
    let text = errors.to_string();
    for part in [
        "grants.yaml:1:7: shop: `yes` is not accepted",
        "grants.yaml:2:1: @acme: is no unit",
        "grants.yaml:3:1: a b: is no unit",
        "grants.yaml:4:23: ok.limits.memory: `much`",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(
        errors.warnings[0]
            .to_string()
            .contains("did you mean `cpu`")
    );
    assert!(Grants::parse("", "g").unwrap().value == Grants::default());
}

#[test]
fn a_grant_that_would_do_nothing_is_refused() {
    for (yaml, part) in [
        (
            "shop: {permissions: {net: none}}\n",
            "1:27: shop.permissions.net: `none`",
        ),
        (
            "shop: {permissions: {net: public}}\n",
            "1:27: shop.permissions.net: `public`",
        ),
        (
            "shop: {permissions: {net: ['localhost:80']}}\n",
            "shop.permissions.net[0]: `localhost:80`",
        ),
        (
            "shop: {permissions: {net: ['169.254.169.254:80']}}\n",
            "nobody is granted",
        ),
        (
            "shop: {permissions: {read: [maps]}}\n",
            "shop.permissions.read[0]: `maps`",
        ),
        (
            "shop: {permissions: {write: [/srv/../etc]}}\n",
            "shop.permissions.write[0]",
        ),
        ("shop: {}\nshop: {}\n", ":2:1:"),
    ] {
        let text = Grants::parse(yaml, "g").unwrap_err().to_string();
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn a_unit_has_what_is_free_and_what_it_asks_for_and_was_granted() {
    let of = |grants: &str, manifest: &str| {
        let grants = Grants::parse(grants, "g").unwrap().value;
        let asked = asks(manifest);
        let unit = "shop".parse().unwrap();
        grants.decide(Some(&unit), &asked.permissions, &asked.limits)
    };
    let all = "shop: {permissions: {net: ['10.0.0.1:80', 'db.internal:1'], spawn: true}, limits: {memory: 4gb}}\n";
    // What is granted and not asked for is not had.
    assert_eq!(of(all, ""), Ok(Granted::default()));
    let manifest = "permissions: {net: ['10.0.0.1:80', 'example.com:443']}\n\
        limits: {memory: 2gb, cpu: 0.5, instances: 1..3}\n";
    let granted = of(all, manifest).unwrap();
    let private: Vec<_> = granted.private.iter().map(ToString::to_string).collect();
    assert_eq!(private, ["10.0.0.1:80"]);
    assert!(!granted.spawn);
    let expected = Caps {
        memory: ByteSize::from_bytes(2 << 30),
        cpu: 0.5,
        instances: 3,
        ..Caps::FREE
    };
    assert_eq!(granted.limits, expected);
}

#[test]
fn who_asks_is_told_by_what_it_is_granted() {
    let grants = "'*':\n  limits: {cpu: 2}\n'@acme/*':\n  permissions: {spawn: true}\n";
    let grants = Grants::parse(grants, "g").unwrap().value;
    let asked =
        asks("permissions: {spawn: true, net: ['10.0.0.1:80']}\nlimits: {cpu: 2, memory: 1mb}\n");
    let unit = "@acme/shop".parse().unwrap();
    let judged = grants.judge(Some(&unit), &asked.permissions, &asked.limits);
    let verdicts: Vec<_> = judged.into_iter().map(|(_, verdict)| verdict).collect();
    let granted = |to: &str, line| Verdict::Granted {
        to: to.to_owned(),
        line,
    };
    assert_eq!(
        verdicts,
        [
            granted("@acme/*", 3),
            Verdict::Refused,
            Verdict::Free,
            granted("*", 1)
        ]
    );
    assert!(grants.line_of(&unit).is_none());
    // A folder without a name has what is granted to all.
    let nameless = grants.judge(None, &asked.permissions, &asked.limits);
    assert_eq!(nameless[0].1, Verdict::Refused);
    assert_eq!(nameless[3].1, granted("*", 1));
}

proptest! {
    /// The line that is suggested grants all that can be.
    #[test]
    fn the_line_grants_what_was_refused(
        path in "/[ -~é]{1,20}",
        spawn: bool,
        memory in 1_u64..4,
        instances in 1_u32..20,
        host in prop::option::of(prop::sample::select(vec!["10.0.0.1:80", "[fd12::1]:5432", "db.lan:1", "localhost:1"])),
    ) {
        prop_assume!(sections::is_plain_path(&path));
        let mut asked = Manifest::default();
        asked.permissions.read.push(path);
        asked.permissions.spawn = spawn;
        if let Some(host) = host {
            let yaml = format!("permissions: {{net: ['{host}']}}\n");
            asked.permissions.net = asks(&yaml).permissions.net;
        }
        asked.limits.memory = Some(ByteSize::from_bytes(memory << 30));
        asked.limits.instances = super::super::Instances::new(1, instances).unwrap();
        let unit: PackageName = "@acme/shop".parse().unwrap();
        let refused = Grants::default()
            .decide(Some(&unit), &asked.permissions, &asked.limits)
            .unwrap_err();
        let line = NotGranted::line(&unit, &refused).unwrap();
        let grants = Grants::parse(&line, "g").unwrap().value;
        let left = grants.decide(Some(&unit), &asked.permissions, &asked.limits);
        let left = left.err().unwrap_or_default();
        prop_assert!(left.iter().all(|one| one.never), "{line}: {left:?}");
        prop_assert_eq!(grants.line_of(&unit), Some(1));
    }

    /// Grants only ever take refusals away.
    #[test]
    fn granting_more_refuses_no_more(memory in 1_u64..4, granted in 1_u64..4, spawn: bool, may: bool) {
        let manifest = format!("permissions: {{spawn: {spawn}}}\nlimits: {{memory: {memory}gb}}\n");
        let grants = format!("shop: {{permissions: {{spawn: {may}}}, limits: {{memory: {granted}gb}}}}\n");
        let before = refused("", "shop", &manifest);
        let after = refused(&grants, "shop", &manifest);
        prop_assert!(after.iter().all(|one| before.contains(one)));
        prop_assert_eq!(after.is_empty(), (!spawn || may) && memory <= granted);
    }

    #[test]
    fn reading_never_panics(text in "[ -~\n]{0,200}") {
        let _ = Grants::parse(&text, "grants.yaml");
    }
}

#[test]
fn a_path_is_reached_from_what_the_operator_wrote_and_from_what_nobody_else_may_write() {
    let grants = "shop: {permissions: {read: [/srv/maps, /srv/maps/big], write: [/srv/out]}}\n\
        other: {permissions: {write: [/srv/out/deep, /var/all]}}\n\
        third: {permissions: {read: [/var/all/mine]}}\n";
    let grants = Grants::parse(grants, "grants.yaml").unwrap().value;
    let root = |unit: &str, write: bool, path: &str| {
        let mut asked = Permissions::default();
        let list = if write {
            &mut asked.write
        } else {
            &mut asked.read
        };
        list.push(path.to_owned());
        let unit: PackageName = unit.parse().unwrap();
        let granted = grants.decide(Some(&unit), &asked, &Limits::default());
        let granted = granted.unwrap();
        let covered = granted.read.iter().chain(&granted.write).next().unwrap();
        assert_eq!(covered.path, Path::new(path));
        covered.root.to_str().unwrap().to_owned()
    };
    assert_eq!(root("shop", false, "/srv/maps"), "/srv/maps");
    assert_eq!(root("shop", false, "/srv/maps/big/a"), "/srv/maps/big");
    assert_eq!(root("shop", false, "/srv/out/a"), "/srv/out");
    assert_eq!(root("shop", true, "/srv/out/a/b"), "/srv/out");
    // What another app may write may be a link of its making.
    assert_eq!(root("other", true, "/srv/out/deep"), "/srv/out");
    assert_eq!(root("third", false, "/var/all/mine/a"), "/var/all");
}
