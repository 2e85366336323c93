//! Installs and builds, which run Bun on what a stranger sent.

use std::fs;
use std::path::Path;

use buntime_testkit::npm::locked;
use buntime_testkit::{NpmRegistry, TestServer, fake_bun};

use crate::levels::{Level, place, skip};

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
        let program = match level.program(bin.path()) {
            Ok(program) => program,
            Err(why) => {
                skip(&why);
                continue;
            }
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
fn code_that_ran_in_an_install_or_a_build_would_find_nothing() {
    for level in levels() {
        let bin = place();
        let spy = bin.path().join("spy-bun");
        fs::copy(fake_bun(), &spy).unwrap();
        let program = match level.program(bin.path()) {
            Ok(program) => program,
            Err(why) => {
                skip(&why);
                continue;
            }
        };
        let registry = NpmRegistry::start();
        let (package, lock) = locked(&[("plain", "1.0.0", "")]);
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
        // Without Landlock only a namespace keeps from the ports of this machine, and an
        // install has none.
        if !level.lacks.contains(&"landlock") {
            none_is("TCP", "refused");
        } else {
            let came = said(&server, "TCP");
            assert!(
                came.iter().any(|came| came.contains("unreachable")),
                "{came:?}"
            );
        }
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
