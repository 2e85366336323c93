use super::*;

const PACKAGE: &str = r#"{
  "name": "shop", "scripts": {"postinstall": "touch x"}, "module": "index.ts",
  "dependencies": {"hono": "^4"}, "devDependencies": {"@acme/tool": "1"}
}"#;

fn lock(packages: &str) -> String {
    format!(
        r#"{{
  "lockfileVersion": 1,
  "workspaces": {{
    "": {{ "name": "shop", "dependencies": {{ "hono": "^4", }}, "devDependencies": {{ "@acme/tool": "1", }}, }},
  }},
  "packages": {{ {packages} }}
}}"#
    )
}

fn plan(packages: &str) -> Result<InstallPlan, InstallPlanError> {
    InstallPlan::new(Some(PACKAGE), Some(&lock(packages))).map(Option::unwrap)
}

#[test]
fn packages_of_registries_are_planned_and_their_hosts_known() {
    let plan = plan(
        r#""hono": ["hono@4.6.1", "", {}, "sha512-a,}=="],
           "@acme/tool": ["@acme/tool@1.0.0", "https://u:p@Npm.Acme.dev:8443/tool.tgz", {}, ""],
           "tar": ["tar@http://files.test/tar.tgz", {}],
           "gh": ["gh@github:a/b#0123", {}, "a-b-0123"],"#,
    )
    .unwrap();
    assert_eq!(plan.packages, 4);
    let hosts: Vec<_> = plan.hosts.iter().map(String::as_str).collect();
    assert_eq!(hosts, ["api.github.com", "files.test", "npm.acme.dev:8443"]);
    let lock: Value = serde_json::from_str(&plan.lockfile).unwrap();
    assert_eq!(lock["packages"]["hono"][3], "sha512-a,}==");
    let package: Value = serde_json::from_str(&plan.package_json).unwrap();
    assert_eq!(package["dependencies"]["hono"], "^4");
    assert!(package.get("scripts").is_none() && package.get("module").is_none());
}

#[test]
fn an_app_without_dependencies_needs_no_lockfile() {
    for package in [
        None,
        Some("{}"),
        Some(r#"{"dependencies": {}, "workspaces": []}"#),
    ] {
        assert_eq!(InstallPlan::new(package, None), Ok(None), "{package:?}");
    }
    let missing = InstallPlan::new(Some(PACKAGE), None);
    assert_eq!(missing, Err(InstallPlanError::Missing));
}

#[test]
fn what_lies_elsewhere_is_refused() {
    for source in [
        "file:../other",
        "link:../../state",
        "workspace:packages/a",
        "./x.tgz",
        "/etc/x.tgz",
        "root:",
        "",
    ] {
        let refused = plan(&format!(r#""a": ["a@{source}", {{}}]"#));
        assert!(
            matches!(refused, Err(InstallPlanError::Local(_))),
            "{source}: {refused:?}"
        );
    }
    let address = plan(r#""hono": ["hono@4.6.1", "file:///etc/x.tgz", {}, ""]"#);
    assert!(matches!(address, Err(InstallPlanError::Local(_))));
    for source in ["git+https://x.test/a.git#1", "git+ssh://-oProxy", "git://x"] {
        let refused = plan(&format!(r#""a": ["a@{source}", {{}}]"#));
        assert!(
            matches!(refused, Err(InstallPlanError::Git(_))),
            "{source}: {refused:?}"
        );
    }
    for extra in [
        r#""workspaces": ["packages/*"]"#,
        r#""patchedDependencies": {"hono@4.6.1": "p.patch"}"#,
    ] {
        let package = format!(r#"{{"dependencies": {{"hono": "1"}}, {extra}}}"#);
        let refused = InstallPlan::new(Some(&package), Some(&lock("")));
        assert!(
            matches!(refused, Err(InstallPlanError::Local(_))),
            "{refused:?}"
        );
    }
}

#[test]
fn a_lockfile_of_another_package_json_is_told_by_name() {
    let package =
        r#"{"dependencies": {"hono": "^4", "zod": "4"}, "devDependencies": {"@acme/tool": "1"}}"#;
    let told = InstallPlan::new(Some(package), Some(&lock("")));
    assert_eq!(told, Err(InstallPlanError::OutOfStep("zod".to_owned())));
}

#[test]
fn a_later_duplicate_counts_for_us_and_for_bun() {
    let plan = plan(r#""a": ["a@file:../other", {}], "a": ["a@1.0.0", "", {}, ""]"#).unwrap();
    assert!(!plan.lockfile.contains("other"));
}

#[test]
fn garbage_is_an_error() {
    let deep = format!("{{\"packages\": {}", "[".repeat(100_000));
    for text in [
        "",
        "{{{",
        "[]",
        "{}",
        "{\"packages\": {}}",
        "{\"workspaces\": {}, \"packages\": {}}",
        &deep,
    ] {
        let told = InstallPlan::new(Some(PACKAGE), Some(text));
        assert!(
            matches!(told, Err(InstallPlanError::Malformed(_))),
            "{told:?}"
        );
    }
    for packages in [
        r#""a": []"#,
        r#""a": [1]"#,
        r#""a": "a""#,
        r#""a": ["a"]"#,
        r#""a": ["a@1.0.0"]"#,
    ] {
        let told = plan(packages);
        assert!(
            matches!(told, Err(InstallPlanError::Malformed(_))),
            "{packages}: {told:?}"
        );
    }
    for package in ["", "[]", "{\"dependencies\": []}"] {
        let told = InstallPlan::new(Some(package), None);
        assert!(
            matches!(told, Err(InstallPlanError::PackageJson(_))),
            "{told:?}"
        );
    }
}

proptest::proptest! {
    #[test]
    fn commas_are_all_that_is_left_out(text in "[a\",\\[\\]{}\\\\ \n]{0,40}") {
        let kept = without_trailing_commas(&text);
        let count = |text: &str| text.chars().filter(|&char| char != ',').count();
        proptest::prop_assert_eq!(count(&text), count(&kept));
    }

    #[test]
    fn json_stays_what_it_is(names in proptest::collection::vec("[ -~]{0,8}", 0..6)) {
        let value = Value::from(names);
        let kept = without_trailing_commas(&value.to_string());
        proptest::prop_assert_eq!(serde_json::from_str::<Value>(&kept).unwrap(), value);
    }

    #[test]
    fn nothing_panics(package in ".{0,60}", lock in ".{0,60}") {
        let _ = InstallPlan::new(Some(&package), Some(&lock));
    }
}
