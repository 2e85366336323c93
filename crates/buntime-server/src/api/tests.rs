use std::collections::HashSet;

use buntime_http::{Method, Target};
use proptest::prelude::*;

use super::route::Route;
use super::*;

mod model;

fn find(method: Method, path: &str) -> Result<Found, Failure> {
    let target = Target::parse(path.as_bytes()).map_err(|_| Failure::BAD_PATH)?;
    let segments = route::segments(target.path(), "/api".len())?;
    route::find(routes::all(), method, &segments)
}

fn all() -> impl Iterator<Item = &'static Route> {
    routes::all().iter().copied().flatten()
}

#[test]
fn every_route_has_one_place_and_says_what_it_does() {
    let mut seen = HashSet::new();
    for route in all() {
        assert!(
            seen.insert((route.method.as_str(), route.pattern)),
            "{route:?}"
        );
        assert!(
            route.pattern.starts_with('/') && !route.pattern.ends_with('/'),
            "{route:?}"
        );
        assert!(route.summary.ends_with('.'), "{route:?}");
        // GET and HEAD change nothing (contract section 7); what changes is audited.
        assert_eq!(route.changes(), route.method != Method::Get, "{route:?}");
        let params: Vec<_> = route
            .pattern
            .split('/')
            .filter(|part| part.starts_with(':'))
            .collect();
        if let Access::Unit(..) = route.access {
            assert!(
                params.starts_with(&[":scope", ":name"]) || params.first() == Some(&":plugin"),
                "{route:?} names no unit"
            );
        }
    }
}

/// A route that only looks may be called by who may only look, and by nobody who may not.
#[test]
fn reading_routes_need_reading_permissions() {
    for route in all() {
        let Some(permission) = route.access.permission() else {
            continue;
        };
        if !route.changes() {
            assert!(permission.only_reads(), "{route:?} needs {permission}");
        }
    }
}

#[test]
fn every_route_is_found_by_its_own_path() {
    for route in all() {
        let path = route.pattern.replace(":scope", "@a").replace(':', "x");
        match find(route.method, &format!("/api{path}")) {
            Ok(Found::Route(found, _)) => assert_eq!(found.pattern, route.pattern),
            other => panic!("{route:?}: {other:?}"),
        }
        if route.method == Method::Get {
            let head = find(Method::Head, &format!("/api{path}"));
            assert!(matches!(head, Ok(Found::Route(..))), "{route:?}");
        }
    }
}

#[test]
fn paths_that_could_be_read_in_two_ways_are_refused() {
    for path in [
        "/api/workers/@a%2fx",
        "/api/workers/@a/%2e%2e/x",
        "/api//workers",
        "/api/workers//",
        "/api/workers/a%5cb",
        "/api/workers/%00",
        "/api/workers/%E0%A4%A/x",
        "/api/workers/%ff/x",
    ] {
        let found = find(Method::Get, path);
        assert_eq!(found.err(), Some(Failure::BAD_PATH), "{path}");
    }
}

proptest! {
    /// Whatever is asked for, each parameter is one segment, and is what was sent.
    #[test]
    fn no_parameter_holds_a_separator(path in "/api(/[a-z@_.%0-9A-F]{0,8}){0,6}") {
        for method in [Method::Get, Method::Post, Method::Delete] {
            if let Ok(Found::Route(_, params)) = find(method, &path) {
                for (name, value) in params.iter() {
                    prop_assert!(!value.is_empty() && !value.contains(['\\', '\0']));
                    prop_assert!(name == "plugin" || !value.contains('/'));
                    prop_assert!(!matches!(value, "." | ".."));
                }
            }
        }
    }
}
