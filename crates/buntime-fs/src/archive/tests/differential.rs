//! Random trees, packed by other programs: they unpack to what they were.

use std::io::ErrorKind;
use std::process::Command;

use fastrand::Rng;

use super::*;

const TREES: u64 = 6;
const SEGMENTS: [&str; 12] = [
    "a",
    "index.ts",
    "src",
    "Üml äut",
    "日本語",
    "é",
    "-dash",
    "node_modules",
    "...",
    "a b  c",
    ".env",
    "with'quote\"s",
];

/// A tree with a file at its top, so that it has more than one of them.
fn plant(seed: u64) -> TempDir {
    let mut random = Rng::with_seed(seed);
    let temp = TempDir::new().unwrap();
    fs::write(temp.path().join("package.json"), "{}").unwrap();
    for _ in 0..30 {
        let mut path = temp.path().to_owned();
        for _ in 0..random.usize(1..5) {
            let segment = random.choice(SEGMENTS).unwrap();
            path.push(match random.u8(..6) {
                0 => format!("{segment}-{}", "long".repeat(18)),
                _ => (*segment).to_owned(),
            });
        }
        // Where a file stands already there is no folder, and the other way round.
        if random.u8(..5) == 0 {
            let _ = fs::create_dir_all(&path);
            continue;
        }
        if fs::create_dir_all(path.parent().unwrap()).is_err() || path.is_dir() {
            continue;
        }
        let length = random.usize(..4) * random.usize(..3000);
        let content: Vec<u8> = std::iter::repeat_with(|| random.u8(..20))
            .take(length)
            .collect();
        fs::write(&path, content).unwrap();
        let mode = *random.choice(&[0o644, 0o600, 0o755, 0o700]).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    temp
}

/// What it should unpack to.
fn expected(tree: &Path) -> Held {
    let mut held = Held::new();
    collect(tree, "", &mut held);
    for (name, (_, mode)) in &mut held {
        let runs = name.ends_with('/') || *mode & 0o111 != 0;
        *mode = if runs { 0o755 } else { 0o644 };
    }
    held
}

/// Packs trees with a program, whose last arguments are the archive and the folder.
fn compare(kind: ArchiveKind, program: &str, arguments: &[&str]) {
    for seed in 0..TREES {
        let tree = plant(seed);
        let out = TempDir::new().unwrap();
        let archive = out.path().join(format!("archive{}", kind.extension()));
        let mut command = Command::new(program);
        command
            .args(arguments)
            .arg(&archive)
            .arg(".")
            .env("LC_ALL", "C.UTF-8")
            .current_dir(tree.path());
        let output = match command.output() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return buntime_testkit::skipped(&format!("there is no {program} here"));
            }
            output => output.unwrap(),
        };
        assert!(output.status.success(), "{output:?}");
        let bytes = fs::read(&archive).unwrap();
        let (held, _) = unpacked(&bytes, kind)
            .unwrap_or_else(|error| panic!("{program} {arguments:?}, seed {seed}: {error}"));
        assert!(
            held == expected(tree.path()),
            "{program} {arguments:?}, seed {seed}"
        );
    }
}

#[test]
fn gnu_tar_and_we_agree() {
    for format in ["gnu", "pax", "oldgnu"] {
        let format = format!("--format={format}");
        compare(ArchiveKind::TarGz, "tar", &["-cz", &format, "-f"]);
    }
}

#[test]
fn info_zip_and_we_agree() {
    compare(ArchiveKind::Zip, "zip", &["-qr"]);
    compare(ArchiveKind::Zip, "zip", &["-qr0"]);
    // Streamed: with descriptors, and 64-bit sizes.
    compare(
        ArchiveKind::Zip,
        "sh",
        &["-c", "zip -qr - \"$1\" | cat > \"$0\""],
    );
}

#[test]
fn python_and_we_agree() {
    let script = "import os, shutil, sys, zipfile\n\
        with zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED) as z:\n\
        \x20for at, folders, files in os.walk(sys.argv[2]):\n\
        \x20 for name in folders + files:\n\
        \x20  path = os.path.join(at, name)\n\
        \x20  z.write(path, os.path.relpath(path, sys.argv[2]))\n";
    compare(ArchiveKind::Zip, "python3", &["-c", script]);
}

#[test]
fn the_forger_and_we_agree() {
    for seed in 0..TREES {
        let tree = plant(seed);
        let expected = expected(tree.path());
        let entries: Vec<_> = expected
            .iter()
            .map(|(name, (content, mode))| match name.strip_suffix('/') {
                Some(name) => Entry::folder(name),
                None => Entry::file(name, content).mode(*mode),
            })
            .collect();
        assert!(both(&entries) == expected, "seed {seed}");
    }
}
