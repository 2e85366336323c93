use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::SystemTime;

use buntime_core::access::Principal;
use tempfile::TempDir;

use super::*;
use crate::catalog::{CatalogEvents, Deployment, Problem};

struct Silent;

impl CatalogEvents<()> for Silent {
    fn deploy(&self, _: &Unit) {}
    fn retire(&self, _: &Arc<Deployment<()>>, _: Option<&Arc<Deployment<()>>>) {}
    fn problem(&self, _: &Problem) {}
}

/// Worker roots with units at these paths.
fn catalog(roots: &[&str], units: &[&str]) -> (TempDir, Catalog<()>) {
    let temp = TempDir::new().unwrap();
    for unit in units {
        let dir = temp.path().join(unit);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("manifest.yaml"), "ttl: 60\ntimeout: 5\n").unwrap();
        fs::write(dir.join("index.ts"), "export default {}").unwrap();
    }
    let roots: Vec<PathBuf> = roots.iter().map(|root| temp.path().join(root)).collect();
    let catalog = Catalog::open(&roots, Silent);
    (temp, catalog)
}

fn permit(name: &str) -> Permit {
    let root = Arc::new(Principal::root(SystemTime::UNIX_EPOCH));
    let name = PackageName::try_from(name).unwrap();
    let grant = root.grant(Permission::WorkersRemove).unwrap();
    grant.over(name.scope()).unwrap()
}

fn take_out(
    catalog: &Catalog<()>,
    name: &str,
    version: Option<&str>,
) -> Result<Vec<String>, RemovalError> {
    let name = PackageName::try_from(name).unwrap();
    let version = version.map(|version| Version::try_from(version).unwrap());
    let removed = remove(catalog, &permit(name.as_str()), &name, version.as_ref())?;
    Ok(removed.iter().map(ToString::to_string).collect())
}

fn installed(catalog: &Catalog<()>) -> Vec<String> {
    let snapshot = catalog.snapshot();
    let mut ids: Vec<_> = snapshot
        .workers()
        .flat_map(|worker| worker.enabled())
        .map(|deployment| deployment.unit().id.to_string())
        .collect();
    ids.sort();
    ids
}

#[test]
fn a_version_goes_and_its_neighbours_stay() {
    let (temp, catalog) = catalog(
        &["apps"],
        &["apps/app/1.0.0", "apps/app/2.0.0", "apps/@a/app@1.0.0"],
    );
    assert_eq!(take_out(&catalog, "app", Some("2.0.0")).unwrap(), ["2.0.0"]);
    assert_eq!(installed(&catalog), ["@a/app@1.0.0", "app@1.0.0"]);
    assert!(!temp.path().join("apps/app/2.0.0").exists());
    // The last one takes the empty folders around it along.
    assert_eq!(take_out(&catalog, "@a/app", None).unwrap(), ["1.0.0"]);
    assert!(!temp.path().join("apps/@a").exists());
    assert_eq!(installed(&catalog), ["app@1.0.0"]);
    let staged = fs::read_dir(temp.path().join("apps/.buntime-staging"));
    assert_eq!(staged.unwrap().count(), 0);
}

#[test]
fn a_worker_goes_with_all_its_folders_in_every_layout_and_root() {
    let (temp, catalog) = catalog(
        &["apps", "more"],
        &[
            "apps/app",
            "apps/app/1.0.0",
            "apps/app@2.0.0",
            "more/app/1.0.0",
            "apps/other",
        ],
    );
    fs::write(temp.path().join("canary"), "").unwrap();
    symlink("../../canary", temp.path().join("apps/app/link")).unwrap();
    let removed = take_out(&catalog, "app", None).unwrap();
    assert_eq!(removed, ["latest", "2.0.0", "1.0.0"]);
    assert_eq!(installed(&catalog), ["other@latest"]);
    assert!(temp.path().join("canary").exists());
    assert!(!temp.path().join("more/app").exists());
}

#[test]
fn built_in_workers_stay_also_beside_an_uploaded_one() {
    let units = &["apps/app/2.0.0", ".core/app/1.0.0"];
    let (temp, catalog) = catalog(&["apps", ".core"], units);
    for version in [None, Some("1.0.0")] {
        let refused = take_out(&catalog, "app", version).unwrap_err();
        assert!(matches!(refused, RemovalError::BuiltIn), "{refused:?}");
    }
    assert!(units.iter().all(|unit| temp.path().join(unit).exists()));
    assert!(take_out(&catalog, "app", Some("2.0.0")).is_ok());
    assert_eq!(installed(&catalog), ["app@1.0.0"]);
}

#[test]
fn a_folder_that_holds_other_versions_stays() {
    let (temp, catalog) = catalog(&["apps"], &["apps/app", "apps/app/1.0.0"]);
    let refused = take_out(&catalog, "app", Some("latest")).unwrap_err();
    assert!(matches!(refused, RemovalError::HoldsOthers), "{refused:?}");
    assert!(temp.path().join("apps/app/1.0.0/index.ts").exists());
    assert!(take_out(&catalog, "app", Some("1.0.0")).is_ok());
    assert!(take_out(&catalog, "app", Some("latest")).is_ok());
}

#[test]
fn what_is_not_there_is_not_found() {
    let (_temp, catalog) = catalog(&["apps"], &["apps/app/1.0.0"]);
    for (name, version) in [("none", None), ("app", Some("2.0.0")), ("@a/app", None)] {
        let refused = take_out(&catalog, name, version).unwrap_err();
        assert!(matches!(refused, RemovalError::NotFound), "{refused:?}");
    }
}

#[test]
fn a_permit_for_another_namespace_removes_nothing() {
    let (_temp, catalog) = catalog(&["apps"], &["apps/@b/app/1.0.0"]);
    let name = PackageName::try_from("@b/app").unwrap();
    for other in ["@a/app", "app"] {
        let refused = remove(&catalog, &permit(other), &name, None).unwrap_err();
        assert!(
            matches!(refused, RemovalError::Denied(Denied::Namespace)),
            "{refused:?}"
        );
    }
    assert_eq!(installed(&catalog), ["@b/app@1.0.0"]);
}

#[test]
fn all_or_nothing_is_removed() {
    let (temp, catalog) = catalog(&["apps", "more"], &["apps/app/1.0.0", "more/app/2.0.0"]);
    // Nothing can be put away in the second root.
    fs::write(temp.path().join("more/.buntime-staging"), "").unwrap();
    let refused = take_out(&catalog, "app", None).unwrap_err();
    assert!(matches!(refused, RemovalError::Write(_)), "{refused:?}");
    assert_eq!(installed(&catalog), ["app@1.0.0", "app@2.0.0"]);
    assert!(temp.path().join("apps/app/1.0.0/index.ts").exists());
}
