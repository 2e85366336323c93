//! Apps that start from a bundle, and those that must not.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use buntime_core::{BundleMode, Manifest};
use buntime_pool::{App, AppSpec, PoolConfig};
use tempfile::TempDir;

use crate::persistent::futures;
use crate::support::{Event, Failed, Rig, soon};

/// Tells whether it runs from a bundle: frames of a module differ by a word. The
/// name of the property is hidden, for an app that uses it is not bundled.
const WHERE: &str = r#"
const trace = String(new Error("here")[["st", "ack"].join("")]).split("\n")[1];
const from = trace.includes("<anonymous> (") ? "bundle" : "source";
"#;

/// What `WHERE` finds, and the value of a module.
const TWO_MODULES: &str = r#"
import { value } from "./lib/value.ts";
export default { fetch: () => new Response(`${from} ${value()}`) };
"#;

fn of_mode(mode: BundleMode) -> Manifest {
    let mut manifest = Manifest::default();
    manifest.timeout = Duration::from_secs(20);
    manifest.bundle = mode;
    manifest
}

/// An app of these files, of which the first is its entry, in a folder of its own.
fn place(rig: &Rig, dir: &Path, files: &[(&str, &str)], manifest: Manifest) -> AppSpec {
    for (name, text) in files {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let name = dir.file_name().unwrap().to_str().unwrap();
    AppSpec {
        dir: dir.to_owned(),
        entrypoint: dir.join(files.first().unwrap().0),
        ..rig.spec(name, "", manifest)
    }
}

fn two_modules(rig: &Rig, dir: &Path, value: &str) -> AppSpec {
    let value = format!("export const value = () => \"{value}\";");
    let entry = format!("{TWO_MODULES}{WHERE}");
    let files = [("index.ts", entry.as_str()), ("lib/value.ts", &value)];
    place(rig, dir, &files, of_mode(BundleMode::Auto))
}

async fn bundled(rig: &Rig, app: &Arc<App>) {
    let id = &app.spec().id;
    rig.events
        .wait(&format!("a bundle of {id}"), |event| match event {
            Event::Bundled(app) if app == id => Some(()),
            Event::NotBundled(app, _, reason) if app == id => panic!("{app}: {reason}"),
            _ => None,
        })
        .await;
}

async fn not_bundled(rig: &Rig, app: &Arc<App>) -> (bool, String) {
    let id = &app.spec().id;
    rig.events
        .wait(&format!("no bundle of {id}"), |event| match event {
            Event::NotBundled(app, demanded, reason) if app == id => {
                Some((*demanded, reason.clone()))
            }
            Event::Bundled(app) if app == id => panic!("{app} was bundled"),
            _ => None,
        })
        .await
}

/// Asks until the answer is this one.
async fn until(rig: &Rig, app: &Arc<App>, answer: &str) {
    soon(answer, async {
        while rig.text(app, "/").await != answer {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap_or_else(|_| panic!("run `make deps`: no {from:?}")) {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[tokio::test]
async fn a_bundle_of_hono_answers_like_its_source() {
    let entry = format!(
        r#"
import {{ Hono }} from "hono";
{WHERE}
const app = new Hono();
app.use(async (c, next) => {{ await next(); c.header("x-middleware", "yes"); }});
app.get("/", (c) => c.text("ok"));
app.get("/hello/:name", (c) => c.json({{ hello: c.req.param("name"), q: c.req.query("q") }}));
app.get("/from", (c) => c.text(from));
app.get("/throws", () => {{ throw new Error("it throws"); }});
export default app;
"#
    );
    let rig = Rig::real();
    let folder = TempDir::new().unwrap();
    let modules =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/apps/ephemeral-hono/node_modules");
    let app = |name: &str, mode| {
        let dir = folder.path().join(name);
        copy(&modules, &dir.join("node_modules"));
        let files = [("index.ts", entry.as_str())];
        rig.pool.app(place(&rig, &dir, &files, of_mode(mode)))
    };
    let source = app("source", BundleMode::Never);
    let bundle = app("bundle", BundleMode::Auto);
    assert_eq!(rig.text(&bundle, "/from").await, "source");
    bundled(&rig, &bundle).await;
    assert_eq!(rig.text(&bundle, "/from").await, "bundle");
    assert_eq!(rig.text(&source, "/from").await, "source");
    for path in [
        "/",
        "/hello/you?q=1",
        "/hello/%C3%A4",
        "/nothing",
        "/throws",
    ] {
        let (one, other) = tokio::join!(rig.get(&source, path), rig.get(&bundle, path));
        let (one, other) = (one.unwrap(), other.unwrap());
        let view = |answer: &crate::support::Answer| {
            let headers: Vec<_> = answer
                .head
                .headers
                .iter()
                .map(|field| (field.name.to_vec(), field.value.to_vec()))
                .filter(|(name, _)| !name.eq_ignore_ascii_case(b"date"))
                .collect();
            (answer.head.status, headers, answer.text())
        };
        assert_eq!(view(&one), view(&other), "{path}");
    }
    rig.finish().await;
}

#[tokio::test]
async fn auto_runs_the_source_of_what_could_tell_a_difference() {
    let rig = Rig::real();
    let folder = TempDir::new().unwrap();
    let fetch = "export default { fetch: () => new Response(from) };";
    let cases = [
        ("meta", "globalThis.x = import.meta.dir;"),
        ("dirname", "globalThis.x = __dirname;"),
        ("filename", "globalThis.x = () => __filename;"),
        ("require", "globalThis.x = (name: string) => require(name);"),
        (
            "resolve",
            "globalThis.x = () => require.resolve(\"./b.ts\");",
        ),
        ("import", "globalThis.x = () => import(\"./b.ts\");"),
        ("computed", "globalThis.x = (name: string) => import(name);"),
        ("stack", "globalThis.x = (e: Error) => e.stack;"),
        (
            "capture",
            "globalThis.x = (e: Error) => Error.captureStackTrace(e);",
        ),
        (
            "ffi",
            "import { dlopen } from \"bun:ffi\"; globalThis.x = () => dlopen(\"x\", {});",
        ),
        ("worker", "globalThis.x = () => new Worker(\"./b.ts\");"),
        ("main", "globalThis.x = () => Bun.main;"),
        ("eval", "globalThis.x = (code: string) => eval(code);"),
        (
            "function",
            "globalThis.x = (code: string) => new Function(code);",
        ),
        (
            "names",
            "import { Store as B } from \"./b.ts\"; class Store {} globalThis.x = [B, Store];",
        ),
        (
            "namespace",
            "import * as b from \"./b.ts\"; globalThis.x = () => b;",
        ),
        ("await", "globalThis.x = await Promise.resolve(1);"),
        ("commonjs", "import c from \"./c.cjs\"; globalThis.x = c;"),
        ("absent", "try { require(\"absent\"); } catch {}"),
        (
            "macro",
            "import { m } from \"./b.ts\" with { type: \"macro\" }; globalThis.x = () => m();",
        ),
        (
            "page",
            "import page from \"./page.html\"; globalThis.x = () => page;",
        ),
        ("exported", "globalThis.x = typeof module;"),
    ];
    for (name, code) in cases {
        let code = format!("{code}\n{WHERE}{fetch}");
        let files = [
            ("index.ts", code.as_str()),
            ("b.ts", "export class Store {} export const m = () => 1;"),
            ("c.cjs", "module.exports = { a: 1 };"),
            ("page.html", "<p>page</p>"),
        ];
        let spec = place(
            &rig,
            &folder.path().join(name),
            &files,
            of_mode(BundleMode::Auto),
        );
        let app = rig.pool.app(spec);
        assert_eq!(rig.text(&app, "/").await, "source", "{name}");
        let (demanded, reason) = not_bundled(&rig, &app).await;
        assert!(!demanded && !reason.is_empty(), "{name}");
        assert_eq!(rig.text(&app, "/").await, "source", "{name}");
    }
    rig.finish().await;
}

#[tokio::test]
async fn the_manifest_decides_who_is_bundled() {
    let rig = Rig::real();
    let folder = TempDir::new().unwrap();
    let app = |name: &str, code: &str, change: &dyn Fn(&mut Manifest)| {
        let mut manifest = of_mode(BundleMode::Auto);
        change(&mut manifest);
        let code = format!("{code}\n{WHERE}export default {{ fetch: () => new Response(from) }};");
        let files = [
            ("index.ts", code.as_str()),
            ("c.cjs", "sloppy = 1; module.exports = sloppy;"),
        ];
        rig.pool
            .app(place(&rig, &folder.path().join(name), &files, manifest))
    };
    let never = app("never", "", &|manifest| manifest.bundle = BundleMode::Never);
    let persistent = app("persistent", "", &|manifest| {
        manifest.ttl = Duration::from_secs(60)
    });
    let place_of = "globalThis.x = import.meta.dir;";
    let always = app("always", place_of, &|manifest| {
        manifest.bundle = BundleMode::Always
    });
    // Its CommonJS module would not load if it were made strict.
    let commonjs = app(
        "commonjs",
        "import c from \"./c.cjs\"; globalThis.x = c;",
        &|manifest| {
            manifest.bundle = BundleMode::Always;
        },
    );
    let broken = app("broken", "globalThis.x = await 1;", &|manifest| {
        manifest.bundle = BundleMode::Always;
    });
    for app in [&never, &persistent, &always, &commonjs, &broken] {
        assert_eq!(rig.text(app, "/").await, "source");
    }
    for app in [&always, &commonjs] {
        bundled(&rig, app).await;
        assert_eq!(rig.text(app, "/").await, "bundle");
    }
    let (demanded, reason) = not_bundled(&rig, &broken).await;
    assert!(demanded && reason.contains("await"), "{reason}");
    for app in [&never, &persistent, &broken] {
        assert_eq!(rig.text(app, "/").await, "source");
    }
    rig.finish().await;
}

#[tokio::test]
async fn a_stack_from_a_bundle_names_the_sources() {
    let rig = Rig::real();
    let folder = TempDir::new().unwrap();
    let dir = folder.path().join("traced");
    let entry = "import { fail } from \"./lib/fail.ts\";\n\n\nexport default {\n  fetch: () => new Response(fail()),\n};\n";
    let fail = "type Unused = string;\n\nexport function fail(): never {\n  throw new Error(\"on purpose\");\n}\n";
    let files = [("index.ts", entry), ("lib/fail.ts", fail)];
    let app = rig
        .pool
        .app(place(&rig, &dir, &files, of_mode(BundleMode::Auto)));
    let failure = async |count: usize| {
        rig.get(&app, "/").await.unwrap_err();
        rig.events
            .wait("an error of the app", |_| {
                let all = rig.events.all();
                let mut errors = all.iter().filter_map(|event| match event {
                    Event::AppError(_, _, detail) => Some(detail.clone()),
                    _ => None,
                });
                errors.nth(count)
            })
            .await
    };
    let from_source = failure(0).await;
    bundled(&rig, &app).await;
    let from_bundle = failure(1).await;
    let dir = dir.canonicalize().unwrap();
    for place in ["lib/fail.ts:4:", "index.ts:5:"] {
        let place = dir.join(place).display().to_string();
        assert!(from_source.contains(&place), "{from_source}");
        assert!(from_bundle.contains(&place), "{from_bundle}");
    }
    rig.finish().await;
}

#[tokio::test]
async fn an_edit_is_never_answered_from_the_old_bundle() {
    let rig = Rig::real();
    let folder = TempDir::new().unwrap();
    let dir = folder.path().join("edited");
    let spec = two_modules(&rig, &dir, "one");
    let app = rig.pool.app(spec.clone());
    until(&rig, &app, "bundle one").await;
    // Another deployment, as after a change that the catalog noticed.
    let app = rig.pool.app(two_modules(&rig, &dir, "two"));
    assert_eq!(rig.text(&app, "/").await, "source two");
    until(&rig, &app, "bundle two").await;
    // A change that nobody tells of is found out soon.
    two_modules(&rig, &dir, "six");
    soon("the edit", async {
        while rig.text(&app, "/").await == "bundle two" {}
    })
    .await;
    assert_eq!(rig.text(&app, "/").await, "source six");
    until(&rig, &app, "bundle six").await;
    // Back to what it was: the old bundle is still there.
    let count = entries(&rig.file("bundles")).len();
    let app = rig.pool.app(two_modules(&rig, &dir, "one"));
    assert_eq!(rig.text(&app, "/").await, "source one");
    until(&rig, &app, "bundle one").await;
    assert_eq!(entries(&rig.file("bundles")).len(), count);
    rig.finish().await;
}

#[tokio::test]
async fn a_broken_source_fails_by_its_own_error() {
    let rig = Rig::real();
    let folder = TempDir::new().unwrap();
    let dir = folder.path().join("broken");
    let files = [("index.ts", "export default { fetch() { return (; } };")];
    let app = rig
        .pool
        .app(place(&rig, &dir, &files, of_mode(BundleMode::Auto)));
    let Err(Failed::Exchange(error)) = rig.get(&app, "/").await else {
        panic!("it started");
    };
    assert!(error.to_string().contains("index.ts:1"), "{error}");
    let (demanded, _) = not_bundled(&rig, &app).await;
    assert!(!demanded);
    rig.finish().await;
}

#[tokio::test]
async fn a_bundle_that_does_not_start_gives_way_to_the_source() {
    let rig = Rig::real();
    let folder = TempDir::new().unwrap();
    let app = rig
        .pool
        .app(two_modules(&rig, &folder.path().join("damaged"), "one"));
    until(&rig, &app, "bundle one").await;
    for entry in entries(&rig.file("bundles")) {
        fs::write(entry.join("index.js"), "this is no code").unwrap();
    }
    for _ in 0..3 {
        assert_eq!(rig.text(&app, "/").await, "source one");
    }
    rig.finish().await;
}

#[tokio::test]
async fn many_first_requests_make_one_bundle() {
    let rig = Rig::with(buntime_testkit::real_bun(), |config| {
        config.ephemeral_concurrency = 5;
    });
    let folder = TempDir::new().unwrap();
    let app = rig
        .pool
        .app(two_modules(&rig, &folder.path().join("wanted"), "one"));
    for answer in futures((0..20).map(|_| rig.text(&app, "/"))).await {
        assert!(answer.ends_with("one"), "{answer}");
    }
    bundled(&rig, &app).await;
    until(&rig, &app, "bundle one").await;
    let is_bundle = |event: &&Event| matches!(event, Event::Bundled(_));
    assert_eq!(rig.events.all().iter().filter(is_bundle).count(), 1);
    assert_eq!(entries(&rig.file("bundles")).len(), 1);
    rig.finish().await;
}

#[tokio::test]
async fn bundles_outlive_the_pool_unless_they_are_damaged() {
    let folder = TempDir::new().unwrap();
    let bundles = folder.path().join("bundles");
    let run = async || {
        let bundle_dir = bundles.clone();
        let rig = Rig::with(buntime_testkit::real_bun(), |config: &mut PoolConfig| {
            config.bundle_dir = bundle_dir;
        });
        let app = rig
            .pool
            .app(two_modules(&rig, &folder.path().join("kept"), "one"));
        until(&rig, &app, "bundle one").await;
        rig.finish().await;
        let [entry] = entries(&bundles).try_into().unwrap();
        let made: PathBuf = entry.join("index.js");
        (fs::metadata(&made).unwrap().modified().unwrap(), made)
    };
    let (first, _) = run().await;
    let (second, made) = run().await;
    assert_eq!(first, second, "it was made again");
    for name in ["index.js", "index.js.jsc", "index.js.map", "record.json"] {
        fs::write(made.with_file_name(name), "damaged").unwrap();
        let (again, _) = run().await;
        assert_ne!(again, second, "{name}");
    }
    fs::create_dir(bundles.join("new-left-by-a-crash")).unwrap();
    run().await;
}

#[tokio::test]
async fn a_build_that_takes_too_much_memory_is_refused_and_the_source_runs() {
    use std::fmt::Write as _;

    let mut large = String::new();
    for number in 0..200_000 {
        writeln!(
            large,
            "export const v{number} = [{number}, (a: number) => a + {number}];"
        )
        .unwrap();
    }
    // The source loads it never, and a bundle has all of it.
    let entry = r#"
export default {
  async fetch(request: Request) {
    const { pathname } = new URL(request.url);
    return new Response(pathname === "/" ? "source" : Object.keys(await import("./large.ts")).join());
  },
};
"#;
    let rig = Rig::real();
    let folder = TempDir::new().unwrap();
    let files = [("index.ts", entry), ("large.ts", &large)];
    let dir = folder.path().join("large");
    let spec = place(&rig, &dir, &files, of_mode(BundleMode::Always));
    let app = rig.pool.app(spec);
    assert_eq!(rig.text(&app, "/").await, "source");
    let (demanded, reason) = not_bundled(&rig, &app).await;
    assert!(demanded);
    assert_eq!(reason, "Bun took more than 512 MB of memory");
    assert_eq!(rig.text(&app, "/").await, "source");
    rig.finish().await;
}
