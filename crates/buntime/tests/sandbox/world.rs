//! A server with the apps of the folder `apps`, which attack it, and what they are after.

use std::fs;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;

use buntime_testkit::TestServer;
use buntime_testkit::log::LogLine;

use crate::levels::{Level, give, place};

/// What all attackers import.
const LIBRARY: &str = include_str!("apps/lib/attacker.ts");
const TELLER: &str =
    "export default { fetch: () => new Response(new URL(process.env.RUNTIME_API_URL).port) };\n";
const CANARY: &str = "canary-canary-canary-canary";

/// An app that attacks.
struct Attacker {
    name: String,
    code: String,
}

/// One for each file of `apps`, by name.
fn attackers() -> Vec<Attacker> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sandbox/apps");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut paths: Vec<_> = paths.map(|entry| entry.path()).collect();
    paths.retain(|path| path.is_file());
    paths.sort();
    let attackers = paths.iter().map(|path| Attacker {
        name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
        code: fs::read_to_string(path).unwrap(),
    });
    attackers.collect()
}

/// What came of an attack.
pub(crate) struct Outcome {
    pub(crate) app: String,
    pub(crate) attack: String,
    /// What the app says: `done …` or `refused …`.
    pub(crate) said: String,
}

impl Outcome {
    pub(crate) fn is_done(&self) -> bool {
        !self.said.starts_with("refused ")
    }

    /// What the documentation says of it: what was gained differs from machine to machine.
    pub(crate) fn short(&self) -> &str {
        self.said.strip_prefix("refused ").unwrap_or("done")
    }
}

/// What stands around the attackers.
pub(crate) struct World {
    server: TestServer,
    attackers: Vec<Attacker>,
    outside: tempfile::TempDir,
    abstract_name: String,
    _bin: tempfile::TempDir,
    _listening: [UnixListener; 2],
}

impl World {
    pub(crate) fn new(level: Level, mode: &str) -> Option<Self> {
        let bin = place();
        let program = level.program(bin.path())?;
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), CANARY).unwrap();
        let abstract_name = format!("buntime-{}", outside.path().display()).replace('/', "-");
        let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        let listening = [
            UnixListener::bind(outside.path().join("listening")).unwrap(),
            UnixListener::bind_addr(&address).unwrap(),
        ];
        let builder = TestServer::builder(program).neighbour();
        let state = builder.dir().join("state");
        let apps = builder.dir().join("apps");
        let manifest = format!(
            "ttl: 1h\nenv:\n  STATE: {}\n  OTHER: {}\n  OUTSIDE: {}\n",
            state.display(),
            apps.join("other@1.0.0").display(),
            outside.path().display()
        );
        let attackers = attackers();
        let builder = attackers.iter().fold(builder, |builder, attacker| {
            let files = [
                ("index.ts", attacker.code.as_str()),
                ("lib/attacker.ts", LIBRARY),
            ];
            builder.app(&format!("{}@1.0.0", attacker.name), &manifest, &files)
        });
        let builder = builder
            .module("teller@1.0.0", "ttl: 1h\n", TELLER)
            .module("other@1.0.0", "ttl: 1h\n", &format!("// {CANARY}\n"))
            .env("RUNTIME_SANDBOX", mode)
            // As by default: attackers run the copy, which lies beside what they are after.
            .env("RUNTIME_BUN_COPY", "auto");
        let server = level.hand_over(builder).start();
        server.wait_for_log(|line| {
            let told = line.message();
            told.starts_with("Workers run a copy") || told.starts_with("Workers run Bun itself")
        });
        let data = state.join("data/other");
        fs::create_dir_all(&data).unwrap();
        fs::write(data.join("secret"), CANARY).unwrap();
        give(outside.path(), level.uid());
        give(&state.join("data"), level.uid());
        Some(Self {
            server,
            attackers,
            outside,
            abstract_name,
            _bin: bin,
            _listening: listening,
        })
    }

    /// What the server said of the sandbox.
    pub(crate) fn told(&self) -> LogLine {
        let is_it = |line: &LogLine| line.value()["context"] == "sandbox";
        self.server.wait_for_log(is_it)
    }

    /// The names of an app's attacks.
    fn attacks_of(&self, attacker: &Attacker) -> Vec<String> {
        let response = self.server.get(&format!("/{}/", attacker.name));
        assert_eq!(response.status, 200, "{}: {response:?}", attacker.name);
        serde_json::from_slice(&response.body).unwrap()
    }

    /// What came of one attack.
    fn attack(&self, attacker: &Attacker, name: &str) -> Outcome {
        let app = &attacker.name;
        let path = format!(
            "/{app}/{}?server={}&abstract={}&port={}&other={}",
            name.replace(' ', "%20"),
            self.server.pid(),
            self.abstract_name,
            self.server.addr().port(),
            self.server.get("/teller/").text(),
        );
        let response = self.server.get(&path);
        // And nobody else notices.
        assert_eq!(self.server.get("/neighbour/").status, 200, "after {name}");
        // Where the attack on its own code succeeds there is nothing left to attack with.
        let code = self.server.dir().join(format!("apps/{app}@1.0.0/index.ts"));
        if fs::read(&code).unwrap() != attacker.code.as_bytes() {
            fs::write(&code, &attacker.code).unwrap();
        }
        assert_eq!(response.status, 200, "{name}: {response:?}");
        Outcome {
            app: app.clone(),
            attack: name.to_owned(),
            said: response.text(),
        }
    }

    /// What comes of one attack of this app.
    pub(crate) fn attack_by(&self, app: &str, name: &str) -> Outcome {
        let mut attackers = self.attackers.iter();
        let attacker = attackers.find(|attacker| attacker.name == app);
        self.attack(attacker.unwrap(), name)
    }

    /// What came of each attack, app after app.
    pub(crate) fn run(&self) -> Vec<Outcome> {
        assert!(self.attackers.len() >= 25, "{}", self.attackers.len());
        let neighbour = self.server.probe();
        let mut outcomes = Vec::new();
        for attacker in &self.attackers {
            let attacks = self.attacks_of(attacker);
            assert!(!attacks.is_empty(), "{}", attacker.name);
            outcomes.extend(attacks.iter().map(|name| self.attack(attacker, name)));
        }
        neighbour.finish();
        // An app tells what it did, and may be wrong.
        let told = |outcome: &Outcome| outcome.attack == "write outside" && outcome.is_done();
        let told = outcomes.iter().any(told);
        assert_eq!(self.outside.path().join("new").exists(), told);
        outcomes
    }
}
