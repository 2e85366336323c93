//! Targets put together at random.

/// What stands between slashes: names of everything there is in every spelling, and
/// what attacks are made of.
const SEGMENTS: &[&[u8]] = &[
    b"echo",
    b"echo",
    b"echo@1",
    b"echo@^1.0.0",
    b"echo@2.0.0",
    b"echo@3",
    b"echo@",
    b"echo@..",
    b"echo%401",
    b"%65cho",
    b"ECHO",
    b"echo;x",
    b"@acme",
    b"@acme",
    b"%40acme",
    b"@ACME",
    b"tool",
    b"tool",
    b"tool@1",
    b"site",
    b"site@latest",
    b"home",
    b"api",
    b"api",
    b"%61pi",
    b"ap%69",
    b"API",
    b"api;x",
    b"apis",
    b"api%2fkeys",
    b"health",
    b"he%61lth",
    b"HEALTH",
    b"ready",
    b"live",
    b".well-known",
    b"%2ewell-known",
    b"buntime",
    b"favicon.ico",
    b"_",
    b"%5f",
    b"admin",
    b"deep",
    b"d%65ep",
    b"adm",
    b"cpanel",
    b"keys",
    b"x",
    b"a.txt",
    b"a%2etxt",
    b"A.txt",
    b"sub",
    b"s%75b",
    b"index.html",
    b".env",
    b"%2eenv",
    b"manifest.yaml",
    b"..",
    b".",
    b"%2e%2e",
    b".%2E",
    b"%2e",
    b"...",
    b"..%2f",
    b"%2f",
    b"%2F..",
    b"a%2fb",
    b"%5c",
    b"a%5cb",
    b"\\",
    b"%00",
    b"%0d%0a",
    b"%0A",
    b"%",
    b"%z",
    b"%zz",
    b"%2",
    b"%u0041",
    b"%%32",
    b"%252e%252e",
    b"%c3%a9",
    b"%ff",
    b"%c0%ae",
    b"\xC3\xA9",
    b"\xFF",
    b"#",
    b" ",
    b"\t",
    b"\0",
    b"\x7F",
    b"*",
    b"'",
    b"<b>",
    b"{}",
    b"%20",
    b"",
    b"",
];

const QUERIES: &[&[u8]] = &[
    b"?",
    b"?a=b",
    b"?//x",
    b"?/../api",
    b"?%00",
    b"?a?b",
    b"?#",
    b"? ",
    b"?\xFF",
];

/// A target: mostly a path of a few segments, now and then with a byte changed.
pub(super) fn target(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut target = Vec::new();
    let count = random.usize(1..=5);
    for index in 0..count {
        // A target may begin with anything.
        if index > 0 || random.u8(..50) > 0 {
            target.push(b'/');
        }
        // Half of all are of names alone, so that something is found behind them.
        let known = if count < 4 { 57 } else { SEGMENTS.len() };
        target.extend_from_slice(SEGMENTS[random.usize(..known)]);
    }
    if random.u8(..3) == 0 {
        target.push(b'/');
    }
    if random.u8(..8) == 0 {
        change(random, &mut target);
    }
    if random.u8(..6) == 0 {
        target.extend_from_slice(QUERIES[random.usize(..QUERIES.len())]);
    }
    target
}

fn change(random: &mut fastrand::Rng, target: &mut Vec<u8>) {
    const BYTES: &[u8] = b"/%.@\\2fe5cE;a0_-\x00\xFF?";
    let at = random.usize(..=target.len());
    let byte = BYTES[random.usize(..BYTES.len())];
    match random.u8(..3) {
        0 => target.insert(at, byte),
        1 if at < target.len() => {
            target.remove(at);
        }
        _ if at < target.len() => target[at] = byte,
        _ => target.push(byte),
    }
}
