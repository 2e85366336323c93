//! T17 at a real worker: whatever comes below an app's base is what the app sees,
//! byte by byte, or the request is refused before it gets there.

use super::{KEPT, server};

const PATHS: usize = 2_000;
const ECHO: &str = "export default { fetch: (req) => new Response(req.url) };\n";
/// What stands between slashes. Nothing that Bun writes in another way into a URL,
/// such as `<`.
const SEGMENTS: [&str; 37] = [
    "a", "b.txt", "A", "api", "%61pi", "health", "..", ".", "%2e%2e", ".%2e", "%2E", "...",
    "..%2f", "%2f", "a%2fb", "%5c", "%5C..", "\\", "%00", "%0d", "%0A", "%", "%zz", "%2", "%252e",
    "%c3%a9", "%C3%A9", "%ff", "%20", "+", ";x=1", "a;b", "@acme", "echo@1", "'", "~", "",
];
const BASES: [&str; 4] = ["/echo", "/echo@1", "/%65cho", "/echo@%5E1.0.0"];

/// The same numbers on every run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % count
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// Whether two readers could take this path differently, told in the plainest way.
fn is_ambiguous(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let plain = lower.replace("%2e", ".");
    let dots = plain
        .split('/')
        .any(|segment| matches!(segment, "." | ".."));
    let forbidden = ["%00", "%0d", "%0a", "\\"]
        .iter()
        .any(|bad| lower.contains(bad));
    let broken = lower.split('%').skip(1).any(|rest| {
        let digits = rest.get(..2);
        !digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
    });
    dots || forbidden || broken
}

#[test]
fn a_worker_sees_the_path_that_the_gate_saw() {
    let server = server().module("echo@1.2.3", KEPT, ECHO).start();
    let mut numbers = Numbers(0x5EED_0017);
    let mut client = server.connect();
    let (mut passed, mut collapsed, mut refused) = (0, 0, 0);
    for _ in 0..PATHS {
        let base = numbers.pick(&BASES);
        let mut below = String::new();
        for _ in 0..=numbers.below(4) {
            below.push('/');
            below.push_str(numbers.pick(&SEGMENTS));
        }
        let query = numbers.pick(&["", "", "?", "?a=%2f..//b"]);
        let target = format!("{base}{below}{query}");
        if is_ambiguous(&below) {
            // The connection is closed behind it.
            let response = server.get(&target);
            assert_eq!(
                (response.status, response.error_code().as_str()),
                (400, "BAD_PATH"),
                "{target}"
            );
            refused += 1;
        } else if below.contains("//") {
            let response = client.get(&target);
            assert_eq!(response.status, 308, "{target}");
            let location = response.header("location").unwrap();
            assert!(
                location.starts_with(base) && !location.split('?').next().unwrap().contains("//")
            );
            collapsed += 1;
        } else {
            let response = client.get(&target);
            assert_eq!(response.status, 200, "{target}: {response:?}");
            // A URL has no empty query; `new URL` drops the mark, `req.url` may keep it.
            let seen = response.text();
            let seen = seen.strip_prefix("http://test.example").unwrap();
            assert_eq!(
                seen.trim_end_matches('?'),
                format!("{below}{query}").trim_end_matches('?'),
                "{target}"
            );
            passed += 1;
        }
    }
    assert!(
        passed > 400 && collapsed > 20 && refused > 400,
        "{passed} {collapsed} {refused}"
    );
}
