//! Installs and builds, which run Bun on what a stranger sent.

use std::fs;
use std::path::Path;

use buntime_testkit::npm::locked;
use buntime_testkit::{NpmRegistry, TestServer, fake_bun};

use crate::levels::{Level, place};

/// The levels at which the tools must work and be kept back.
fn levels() -> Vec<Level> {
    let with = |lacks| Level {
        lacks,
        ..Level::default()
    };
    vec![
        with(&[]),
        with(&["userns"]),
        with(&["landlock"]),
        Level {
            plain_user: true,
            ..Level::default()
        },
        Level {
            plain_user: true,
            ..with(&["userns"])
        },
        Level {
            masked_proc: true,
            ..Level::default()
        },
    ]
}

/// An app that is installed and bundled, with settings and code of its own that would run
/// while that is done, if they were listened to.
fn hostile(registry: &NpmRegistry, canary: &Path) -> Vec<(&'static str, String)> {
    let (package, lock) = locked(&[("plain", "1.0.0", "")]);
    // A program, whose mode Bun sets.
    let lock = lock.replace(
        "{}, \"\"]",
        "{ \"bin\": { \"plain\": \"index.js\" } }, \"\"]",
    );
    let attack = format!(
        "require(\"fs\").writeFileSync({:?}, \"\"); export const text = () => \"made by a macro\"; export default {{}};",
        canary
    );
    let manifest = "ttl: 0\nbundle: true\nautoInstall: true\n".to_owned();
    let source = "import plain from \"plain\";\n\
         import { text } from \"./macro.ts\" with { type: \"macro\" };\n\
         export default { fetch: () => new Response(`${plain} ${typeof text}`) };\n";
    vec![
        ("manifest.yaml", manifest),
        ("index.ts", source.to_owned()),
        ("macro.ts", attack.clone()),
        ("preload.ts", attack),
        ("package.json", package),
        ("bun.lock", lock),
        (
            ".npmrc",
            format!("registry={}evil/\nscripts=true\n", registry.url()),
        ),
        (
            "bunfig.toml",
            "preload = [\"./preload.ts\"]\n[serve.static]\nplugins = [\"./preload.ts\"]\n\
             [install.security]\nscanner = \"./preload.ts\"\n"
                .to_owned(),
        ),
    ]
}

#[test]
fn t39_hostile_settings_and_macros_do_nothing_and_the_app_is_installed_and_bundled() {
    for level in levels() {
        let registry = NpmRegistry::start();
        let files = [("index.js", "module.exports = \"installed\";")];
        let bin = "\"bin\": {\"plain\": \"index.js\"}";
        registry.publish("plain", "1.0.0", bin, &files);
        let bin = place();
        let Some(program) = level.program(bin.path()) else {
            continue;
        };
        let builder = TestServer::builder(program).env("RUNTIME_NPM_REGISTRY", &registry.url());
        let canary = builder.dir().join("state/data/canary");
        let files = hostile(&registry, &canary);
        let manifest = &files[0].1;
        let files: Vec<(&str, &str)> = files[1..]
            .iter()
            .map(|(name, text)| (*name, text.as_str()))
            .collect();
        let builder = builder.app("shop@1.0.0", manifest, &files);
        let server = level.hand_over(builder).start();
        // From source the macro is not run either: it is a module like others.
        server.wait_until("the app is bundled", || {
            let _ = server.get("/shop/");
            server
                .log()
                .iter()
                .any(|line| line.message() == "Starts from a bundle")
        });
        let response = server.get("/shop/");
        assert_eq!(response.status, 200, "{level:?}: {response:?}");
        assert!(response.text().starts_with("installed"), "{level:?}");
        assert!(!canary.exists(), "{level:?}");
    }
}

#[test]
fn a_lockfile_leads_to_no_address_of_this_machine_or_its_metadata() {
    let enforced = levels().into_iter().map(|level| (level, "auto"));
    // Bun asks the proxy where nothing makes it, too.
    for (level, sandbox) in enforced.chain([(Level::default(), "off")]) {
        let (registry, inside) = (NpmRegistry::start(), NpmRegistry::start());
        inside.publish("plain", "1.0.0", "", &[]);
        let bin = place();
        let Some(program) = level.program(bin.path()) else {
            continue;
        };
        let mut builder = TestServer::builder(program)
            .env("RUNTIME_SANDBOX", sandbox)
            .env("RUNTIME_NPM_REGISTRY", &registry.url());
        let port = inside.url().rsplit(':').next().unwrap().to_owned();
        let addresses = [
            format!("{}plain/-/plain-1.0.0.tgz", inside.url()),
            format!("http://localhost:{port}plain/-/plain-1.0.0.tgz"),
            format!("http://[::ffff:127.0.0.1]:{port}plain/-/plain-1.0.0.tgz"),
            "http://169.254.169.254/latest/meta-data/iam.tgz".to_owned(),
            "https://[fd00:ec2::254]/latest/meta-data/iam.tgz".to_owned(),
        ];
        for (number, address) in addresses.iter().enumerate() {
            let (package, lock) = locked(&[("plain", "1.0.0", address)]);
            let files = [
                ("index.ts", ""),
                ("package.json", package.as_str()),
                ("bun.lock", &lock),
            ];
            let id = format!("app{number}@1.0.0");
            builder = builder.app(&id, "ttl: 0\nautoInstall: true\n", &files);
        }
        let server = level.hand_over(builder).start();
        for number in 0..addresses.len() {
            let answer = server.get(&format!("/app{number}/"));
            assert_eq!(answer.status, 502, "{level:?}: {answer:?}");
            let app = format!("app{number}@1.0.0");
            let line = server.wait_for_log(|line| {
                line.message() == "Connection refused" && line.text("app") == app
            });
            let reason = "this machine's own and metadata addresses are never granted";
            assert_eq!(line.text("reason"), reason, "{level:?}: {line:?}");
        }
        assert_eq!(inside.requests(), [], "{level:?}");
    }
}

#[test]
fn code_that_ran_in_an_install_or_a_build_would_find_nothing() {
    for level in levels() {
        let bin = place();
        let spy = bin.path().join("spy-bun");
        fs::copy(fake_bun(), &spy).unwrap();
        let Some(program) = level.program(bin.path()) else {
            continue;
        };
        let registry = NpmRegistry::start();
        let inside = NpmRegistry::start();
        let named = format!("{}latest/meta-data/iam.tgz", inside.url());
        let (package, lock) = locked(&[("plain", "1.0.0", &named)]);
        let files = [
            ("index.ts", ""),
            ("package.json", package.as_str()),
            ("bun.lock", &lock),
        ];
        let builder = TestServer::builder(program)
            .env("RUNTIME_BUN", spy.to_str().unwrap())
            .env("RUNTIME_NPM_REGISTRY", &registry.url())
            .app("installs@1.0.0", "ttl: 0\nautoInstall: true\n", &files)
            .app(
                "builds@1.0.0",
                "ttl: 0\nbundle: true\n",
                &[("index.ts", "")],
            );
        let server = level.hand_over(builder).start();
        assert_eq!(server.get("/installs/").status, 502);
        let _ = server.get("/builds/");
        // The server's own text is built so, too.
        server.wait_for_log(|line| line.message().starts_with("Wrapper has no bytecode"));
        server.wait_until("the app is built", || {
            !said(&server, "changing the app").is_empty()
        });
        let none_is = |attempt: &str, outcome: &str| {
            let came = said(&server, attempt);
            assert!(!came.is_empty(), "{attempt} at {level:?}");
            let is_none = came.iter().all(|came| !came.contains(outcome));
            assert!(is_none, "{attempt} at {level:?}: {came:?}");
        };
        for attempt in [
            "keys of the server",
            "file of the system",
            "file outside",
            "other processes",
            "spawn",
            "TCP",
            "changing the app",
        ] {
            none_is(attempt, "done");
        }
        none_is("environment", "ROOT_KEY");
        none_is("TCP to a named host", "done");
        let came = said(&server, "proxy to a named host");
        let is_refused = came.iter().all(|came| came == "HTTP/1.1 403");
        assert!(!came.is_empty() && is_refused, "{level:?}: {came:?}");
        none_is("proxy to the server", "HTTP");
        assert_eq!(inside.requests(), [], "{level:?}");
        assert_eq!(said(&server, "reading the app")[0], "done", "{level:?}");
    }
}

/// What the spy has told of an attempt.
fn said(server: &TestServer, attempt: &str) -> Vec<String> {
    let start = format!("spy: {attempt}: ");
    let mut said = Vec::new();
    for line in server.log() {
        let text = line
            .value()
            .to_string()
            .replace("\\n", "\n")
            .replace('"', "\n");
        for line in text.lines() {
            let came = line
                .find(&start)
                .and_then(|at| line.get(at + start.len()..));
            said.extend(came.map(str::to_owned));
        }
    }
    said
}
