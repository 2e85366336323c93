//! Bad archives and bad forms, which are answered alike wherever they are sent.

use std::net::SocketAddr;

use buntime_testkit::Response;
use buntime_testkit::archive::{
    Entry, Format, Kind, TarEntry, TarForger, ZipEntry, ZipForger, forge, gzip,
};

use super::support::{KEY, call, failed, form, send_form_to};

/// A route that takes archives.
pub(super) struct Uploads<'a> {
    pub(super) route: &'static str,
    pub(super) address: SocketAddr,
    /// What it would take, in the place of what is there.
    pub(super) good: Vec<Entry>,
    /// Asserts that a refused upload has left nothing and changed nothing.
    pub(super) nothing_happened: &'a dyn Fn(),
}

impl Uploads<'_> {
    fn form(&self, body: &[u8]) -> Response {
        send_form_to(self.route, KEY, self.address, body)
    }

    fn archive(&self, file_name: &str, archive: &[u8]) -> Response {
        self.form(&form(&[("file", Some(file_name), archive)]))
    }

    fn entries(&self, format: Format, entries: &[Entry]) -> Response {
        self.archive(format.file_name(), &forge(format, entries))
    }
}

/// Rows Z1 to Z6, Z15 and Z19.
pub(super) fn unsafe_entries(to: &Uploads<'_>) {
    let long = "x".repeat(300);
    for format in Format::ALL {
        for bad in [
            Entry::file("../../x", "x"),
            Entry::file("/abs/x", "x"),
            Entry::file("C:\\x", "x"),
            Entry::file("a\\..\\..\\x", "x"),
            Entry::symlink("link", "index.html"),
            Entry::symlink("link", "/etc/passwd"),
            Entry::special("pipe", Kind::Fifo),
            Entry::special("device", Kind::CharDevice),
            Entry::special("disk", Kind::BlockDevice),
            Entry::special("socket", Kind::Socket),
            Entry::file(&long, "x"),
            Entry::file("a/".repeat(100) + "x", "x"),
            Entry::file("a\nb", "x"),
            Entry::file(b"\xff\xfe", "x"),
        ] {
            let mut entries = to.good.clone();
            entries.push(bad.clone());
            let response = to.entries(format, &entries);
            assert_eq!(response.error_code(), "ARCHIVE_UNSAFE_ENTRY", "{bad:?}");
            assert_eq!(response.status, 400);
            (to.nothing_happened)();
        }
        // Through a link, the file would lie elsewhere.
        let mut through = to.good.clone();
        through.push(Entry::symlink("dir", "/tmp"));
        through.push(Entry::file("dir/x", "x"));
        failed(&to.entries(format, &through), 400, "ARCHIVE_UNSAFE_ENTRY");
        let mut twice = to.good.clone();
        twice.push(Entry::file(to.good[0].name.to_ascii_uppercase(), "x"));
        let response = to.entries(format, &twice);
        failed(&response, 400, "ARCHIVE_DUPLICATE_ENTRY");
        let mut npm = to.good.clone();
        npm.push(Entry::symlink("node_modules/.bin/tool", "../tool/cli.js"));
        let response = to.entries(format, &npm);
        failed(&response, 400, "ARCHIVE_UNSAFE_ENTRY");
        assert!(response.text().contains("node_modules/.bin/tool"));
        let mut own = to.good.clone();
        own.push(Entry::file(".buntime-staging/x", "x"));
        failed(&to.entries(format, &own), 400, "RESERVED_NAME");
        (to.nothing_happened)();
    }
}

/// Rows Z8 and Z9.
pub(super) fn too_large(to: &Uploads<'_>) {
    let mut bomb = to.good.clone();
    bomb.push(Entry::zeros("zeros", 250 * 1024 * 1024));
    let mut many = to.good.clone();
    many.extend((0..21_000).map(|number| Entry::file(format!("many/{number}"), "")));
    for entries in [bomb, many] {
        let response = to.entries(Format::TarGz, &entries);
        failed(&response, 413, "ARCHIVE_TOO_LARGE");
        (to.nothing_happened)();
    }
}

/// Row Z9, in full.
pub(super) fn empty_entries(to: &Uploads<'_>) {
    let mut many = to.good.clone();
    many.extend((0..200_000).map(|number| Entry::file(format!("{number}"), "")));
    let mut zip = ZipForger::new();
    // As many as its end record can count.
    for entry in &many[..60_000] {
        zip.add(entry);
    }
    let tgz = forge(Format::TarGz, &many);
    for (name, archive) in [("a.tgz", tgz), ("a.zip", zip.finish())] {
        failed(&to.archive(name, &archive), 413, "ARCHIVE_TOO_LARGE");
        (to.nothing_happened)();
    }
}

/// Row Z10.
pub(super) fn lies(to: &Uploads<'_>) {
    let honest = ZipEntry::file("lie", "some content that is longer than that");
    let zip = |entries: &[ZipEntry]| {
        let mut zip = ZipForger::new();
        for entry in &to.good {
            zip.add(entry);
        }
        for entry in entries {
            zip.entry(entry);
        }
        zip.finish()
    };
    let shorter = ZipEntry {
        size: honest.size - 1,
        ..honest.clone()
    };
    let longer = ZipEntry {
        size: honest.size + 1,
        ..honest.clone()
    };
    let two_sizes = ZipEntry {
        local_size: Some(1),
        ..honest.clone()
    };
    let same_content = ZipEntry {
        name: b"copy".to_vec(),
        local_name: Some(b"lie".to_vec()),
        offset: Some(0),
        only_in_directory: true,
        ..honest.clone()
    };
    let gap = ZipEntry {
        gap: b"gap".to_vec(),
        ..honest.clone()
    };
    for entries in [
        vec![shorter],
        vec![longer],
        vec![two_sizes],
        vec![honest.clone(), same_content],
        vec![gap],
    ] {
        let response = to.archive("a.zip", &zip(&entries));
        failed(&response, 400, "INVALID_ARCHIVE");
        (to.nothing_happened)();
    }
    let mut tar = TarForger::new();
    for entry in &to.good {
        tar.add(entry);
    }
    let mut lie = TarEntry::file("lie", "x");
    lie.size = Some(1 << 20);
    tar.entry(&lie);
    let tar = gzip(&tar.finish());
    failed(&to.archive("a.tgz", &tar), 400, "INVALID_ARCHIVE");
    (to.nothing_happened)();
}

/// Row Z13.
pub(super) fn no_archives(to: &Uploads<'_>) {
    let zip = forge(Format::Zip, &to.good);
    let tgz = forge(Format::TarGz, &to.good);
    for (name, bytes) in [
        ("a.tgz", &b"garbage that is no archive"[..]),
        ("a.tgz", b""),
        ("a.zip", b""),
        ("a.zip", b"PK\x03\x04"),
        ("a.tgz", &zip),
        ("a.zip", &tgz),
    ] {
        failed(&to.archive(name, bytes), 400, "INVALID_ARCHIVE");
        (to.nothing_happened)();
    }
}

/// Row Z14.
pub(super) fn no_uploads(to: &Uploads<'_>) {
    let archive = forge(Format::TarGz, &to.good);
    failed(&to.archive("a.rar", &archive), 400, "INVALID_FILE_TYPE");
    for parts in [
        form(&[]),
        form(&[("message", None, b"hello")]),
        form(&[("other", Some("a.tgz"), &archive)]),
        form(&[("file", None, b"no file name")]),
    ] {
        failed(&to.form(&parts), 400, "NO_FILE_PROVIDED");
    }
    let json = call(to.address, "POST", to.route, "{}");
    failed(&json, 400, "INVALID_MULTIPART_FORM");
    let mut cut = form(&[("file", Some("a.tgz"), &archive)]);
    cut.truncate(cut.len() - 20);
    failed(&to.form(&cut), 400, "INVALID_MULTIPART_FORM");
    let two = form(&[
        ("file", Some("a.tgz"), &archive),
        ("file", Some("a.tgz"), &archive),
    ]);
    failed(&to.form(&two), 400, "INVALID_MULTIPART_FORM");
    let long = form(&[
        ("file", Some("a.tgz"), &archive),
        ("message", None, &[b'x'; 1001]),
    ]);
    failed(&to.form(&long), 400, "INVALID_MULTIPART_FORM");
    (to.nothing_happened)();
}

/// Row Z17.
pub(super) fn broken_off(to: &Uploads<'_>) {
    let mut entries = to.good.clone();
    let mut bytes = noise(8_000);
    bytes.extend_from_slice(b"end");
    entries.push(Entry::file("noise", bytes));
    for format in Format::ALL {
        let whole = forge(format, &entries);
        assert!(whole.len() > 8_000);
        for length in (1..whole.len()).step_by(1_000) {
            let response = to.archive(format.file_name(), &whole[..length]);
            failed(&response, 400, "INVALID_ARCHIVE");
        }
    }
    (to.nothing_happened)();
}

/// Bytes that no compression makes smaller.
pub(super) fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}
