//! What holds for both formats.

use buntime_testkit::archive::{Kind, TarForger, ZipForger, app, gzip};
use proptest::prelude::*;

use super::*;

fn file(name: &str) -> Entry {
    Entry::file(name, "x")
}

#[test]
fn the_format_is_told_by_the_name() {
    use ArchiveKind::{TarGz, Zip};
    for (name, kind) in [
        ("app.tgz", Some(TarGz)),
        ("a.b.TAR.GZ", Some(TarGz)),
        ("app.Zip", Some(Zip)),
        ("app.rar", None),
        ("app.gz", None),
        ("app.tar", None),
        ("app.tgz.exe", None),
        ("tgz", None),
        (".tgz", None),
        ("x/.zip", None),
        ("", None),
    ] {
        assert_eq!(ArchiveKind::of_file_name(name), kind, "{name}");
    }
}

#[test]
fn an_app_unpacks_without_its_top_folder() {
    let held = both(&app("shop", "1.0.0", "export default {}"));
    assert_eq!(
        held.keys().collect::<Vec<_>>(),
        ["index.ts", "package.json"]
    );
    assert_eq!(held["index.ts"], (b"export default {}".to_vec(), 0o644));
}

#[test]
fn z1_traversal_is_refused() {
    for name in [
        "../../x",
        "a/../../x",
        "..",
        "package/..",
        "a/..",
        "../",
        "a/./b",
        "././x",
        ".",
    ] {
        for error in refused(&[file("a.txt"), file(name)]) {
            assert_unsafe(&error, Unsafe::DotSegment);
        }
    }
}

#[test]
fn z2_absolute_drive_and_backslash_paths_are_refused() {
    for (name, problem) in [
        ("/abs/x", Unsafe::Absolute),
        ("//abs/x", Unsafe::Absolute),
        (".//abs/x", Unsafe::Absolute),
        ("C:\\x", Unsafe::Backslash),
        ("a\\..\\..\\x", Unsafe::Backslash),
        ("C:/x", Unsafe::Drive),
        ("c:x", Unsafe::Drive),
        ("a//b", Unsafe::Empty),
        ("", Unsafe::Empty),
    ] {
        for error in refused(&[file("a.txt"), file(name)]) {
            assert_unsafe(&error, problem);
        }
    }
}

#[test]
fn z3_links_are_refused() {
    for target in ["a.txt", "../../etc/passwd", "/etc/passwd", "nowhere", ""] {
        for error in refused(&[file("a.txt"), Entry::symlink("link", target)]) {
            assert_unsafe(&error, Unsafe::Symlink);
        }
    }
    let hard = Entry::special("link", Kind::HardLink(b"/etc/passwd".to_vec()));
    let [tar, _zip] = refused(&[file("a.txt"), hard]);
    assert_unsafe(&tar, Unsafe::HardLink);
}

#[test]
fn z4_a_file_through_a_link_is_refused() {
    for target in ["..", "/tmp", "other"] {
        let entries = [
            file("other/a"),
            Entry::symlink("dir", target),
            Entry::file("dir/canary", "dead"),
        ];
        for error in refused(&entries) {
            assert_unsafe(&error, Unsafe::Symlink);
        }
    }
}

#[test]
fn z6_devices_fifos_and_sockets_are_refused() {
    for (kind, in_tar, in_zip) in [
        (Kind::CharDevice, Unsafe::Device, Unsafe::Device),
        (Kind::BlockDevice, Unsafe::Device, Unsafe::Device),
        (Kind::Fifo, Unsafe::Fifo, Unsafe::Fifo),
        (Kind::Socket, Unsafe::UnknownType, Unsafe::Socket),
    ] {
        let [tar, zip] = refused(&[file("a.txt"), Entry::special("special", kind)]);
        assert_unsafe(&tar, in_tar);
        assert_unsafe(&zip, in_zip);
    }
}

#[test]
fn z7_modes_are_0755_or_0644() {
    let held = both(&[
        file("all").mode(0o6777),
        file("sticky").mode(0o1644),
        file("none").mode(0),
        file("run").mode(0o100),
        file("group").mode(0o610),
        Entry::folder("folder").mode(0o7777),
        Entry::folder("closed").mode(0),
        file("closed/inside"),
        file("implied/inside"),
    ]);
    let modes: Vec<_> = held
        .iter()
        .map(|(name, (_, mode))| (name.as_str(), *mode))
        .collect();
    assert_eq!(
        modes,
        [
            ("all", 0o755),
            ("closed/", 0o755),
            ("closed/inside", 0o644),
            ("folder/", 0o755),
            ("group", 0o755),
            ("implied/", 0o755),
            ("implied/inside", 0o644),
            ("none", 0o644),
            ("run", 0o755),
            ("sticky", 0o644),
        ]
    );
}

#[test]
fn z8_a_bomb_is_refused_and_never_on_disk() {
    let limits = ArchiveLimits {
        bytes: 100 * 1024 * 1024,
        ratio: u64::MAX,
        ..ArchiveLimits::default()
    };
    for format in Format::ALL {
        let bomb = forge(format, &[file("a"), Entry::zeros("zeros", 250 << 20)]);
        assert!(bomb.len() < 2 << 20);
        let place = Place::new();
        let error = place.fill(&bomb, kind_of(format), &limits).unwrap_err();
        assert!(
            matches!(error, ArchiveError::TooLarge(Excess::Bytes(_))),
            "{error}"
        );
        assert!(place.bytes() <= limits.bytes, "{}", place.bytes());

        // Many files, each below the limit.
        let parts: Vec<_> = (0..10)
            .map(|part| Entry::zeros(format!("part{part}"), 25 << 20))
            .collect();
        let place = Place::new();
        let bomb = forge(format, &parts);
        let error = place.fill(&bomb, kind_of(format), &limits).unwrap_err();
        assert!(matches!(error, ArchiveError::TooLarge(Excess::Bytes(_))));
        assert!(place.bytes() <= limits.bytes, "{}", place.bytes());
    }
}

#[test]
fn z8_a_ratio_over_the_limit_is_refused() {
    for format in Format::ALL {
        let bomb = forge(format, &[file("a"), Entry::zeros("zeros", 50 << 20)]);
        let place = Place::new();
        let limits = ArchiveLimits::default();
        let error = place.fill(&bomb, kind_of(format), &limits).unwrap_err();
        assert!(
            matches!(error, ArchiveError::TooLarge(Excess::Ratio)),
            "{error}"
        );
        assert!(place.bytes() <= limits.ratio * bomb.len() as u64);
    }
    // A small file of spaces is none.
    both(&[Entry::zeros("zeros", 1024 * 1024)]);
}

#[test]
fn z9_200_000_empty_entries_are_refused_at_once() {
    let names: Vec<_> = (0..200_000).map(|name| format!("d/{name}")).collect();
    let files: Vec<_> = names.iter().map(|name| Entry::file(name, "")).collect();
    let folders: Vec<_> = names.iter().map(Entry::folder).collect();
    let same: Vec<_> = names.iter().map(|_| Entry::folder("d")).collect();
    let mut headers = TarForger::new();
    for _ in 0..200_000 {
        headers.global_pax(&[("comment", b"x")]);
    }
    let mut bombs = vec![("headers", ArchiveKind::TarGz, headers.finish())];
    for (what, entries) in [("files", &files), ("folders", &folders), ("same", &same)] {
        bombs.push((what, ArchiveKind::TarGz, forge(Format::TarGz, entries)));
    }
    // The end record has 16 bits for the count, so it is a wide one.
    for entries in [&files, &folders] {
        let mut zip = ZipForger::new();
        zip.zip64 = true;
        entries.iter().take(60_000).for_each(|entry| {
            zip.add(entry);
        });
        bombs.push(("zip", ArchiveKind::Zip, zip.finish()));
    }
    let limits = ArchiveLimits::default();
    for (what, kind, bomb) in bombs {
        let mut steps = 0;
        let mut count = |_| {
            steps += 1;
            ControlFlow::Continue(())
        };
        let error = read(&*bomb, kind, &limits, &mut count, &mut Nowhere).unwrap_err();
        assert!(
            matches!(error, ArchiveError::TooLarge(_)),
            "{what}: {error}"
        );
        // A zip tells how many there are, a tape does not. A folder that is named again
        // is no work.
        let most = match (what, kind) {
            ("same", _) => 200_000,
            (_, ArchiveKind::TarGz) => limits.files + 1,
            (_, ArchiveKind::Zip) => 0,
        };
        assert!(steps <= most, "{what}: {steps}");
    }
    let bomb = forge(Format::TarGz, &files);
    let place = Place::new();
    let few = ArchiveLimits {
        files: 500,
        ..limits
    };
    place.unpack(&bomb, ArchiveKind::TarGz, &few).unwrap_err();
    assert_eq!(place.held().len(), 0);
    place.fill(&bomb, ArchiveKind::TarGz, &few).unwrap_err();
    assert_eq!(place.held().len(), 500 + 1);
}

#[test]
fn folders_that_nobody_names_count() {
    let limits = ArchiveLimits {
        files: 10,
        ..ArchiveLimits::default()
    };
    for format in Format::ALL {
        let deep = forge(format, &[file("1/2/3/4/5/6/7/8/9/10/11/x")]);
        let error = check(&*deep, kind_of(format), &limits).unwrap_err();
        assert!(matches!(error, ArchiveError::TooLarge(Excess::Folders(10))));
    }
}

#[test]
fn z13_what_is_no_archive_is_refused() {
    let [tar, zip] = Format::ALL.map(|format| forge(format, &[file("a")]));
    for bytes in [
        &b""[..],
        b"garbage",
        &[0; 4096],
        &[0x1f, 0x8b],
        &[0x1f, 0x8b, 8],
        b"PK",
        b"PK\x03\x04",
        b"Rar!\x1a\x07\x01\0",
        &gzip(b""),
        &gzip(b"garbage"),
        &gzip(&[b'x'; 4096]),
        &gzip(&[0; 1024]),
        &ZipForger::new().finish(),
    ] {
        assert_invalid(unpacked(bytes, ArchiveKind::TarGz), "");
        assert_invalid(unpacked(bytes, ArchiveKind::Zip), "");
    }
    assert_invalid(unpacked(&zip, ArchiveKind::TarGz), "not a gzip file");
    assert_invalid(unpacked(&tar, ArchiveKind::Zip), "not a zip file");
}

#[test]
fn an_archive_of_folders_alone_is_refused() {
    for error in refused(&[Entry::folder("a"), Entry::folder("a/b")]) {
        assert_eq!(error.to_string(), "not a valid archive: it holds no file");
    }
}

#[test]
fn z15_names_that_no_app_has_are_refused() {
    let long = "n".repeat(300);
    let deep = "d/".repeat(100) + "x";
    let path = "p".repeat(200) + "/";
    let path = path.repeat(30) + "x";
    for (name, problem) in [
        (long.as_bytes(), Unsafe::TooLong),
        (deep.as_bytes(), Unsafe::TooDeep),
        (path.as_bytes(), Unsafe::TooLong),
        (b"a\0b", Unsafe::Control),
        (b"a\nb", Unsafe::Control),
        (b"a\x1b[2Jb", Unsafe::Control),
        (b"a\x7f", Unsafe::Control),
        ("a\u{85}".as_bytes(), Unsafe::Control),
        (b"a\xff\xfeb", Unsafe::NotUtf8),
        (b"a\xed\xa0\x80", Unsafe::NotUtf8),
        (b"\xc0\xae\xc0\xae/x", Unsafe::NotUtf8),
    ] {
        for error in refused(&[file("a.txt"), Entry::file(name, "x")]) {
            assert_unsafe(&error, problem);
            let text = error.to_string();
            assert!(!text.chars().any(char::is_control), "{text:?}");
            assert!(text.len() < 700, "{text}");
        }
    }
    let fits = "n".repeat(255);
    assert!(both(&[file(&fits), file("b")]).contains_key(&fits));
}

#[test]
fn names_of_the_server_are_refused() {
    for name in [".buntime-install-1", "a/.BUNTIME/x", ".buntime-top"] {
        for error in refused(&[file("a.txt"), file(name)]) {
            assert!(
                matches!(error, ArchiveError::ReservedName { .. }),
                "{error}"
            );
        }
    }
    both(&[
        file(".bun"),
        file("buntime.yaml"),
        file("CON"),
        file("ab:c"),
    ]);
}

#[test]
fn z19_a_link_of_npm_is_refused_by_name() {
    let entries = [
        Entry::file("package/package.json", "{}"),
        Entry::symlink("package/node_modules/.bin/x", "../x/cli.js"),
    ];
    for error in refused(&entries) {
        assert_eq!(
            error.to_string(),
            "entry \"package/node_modules/.bin/x\" is a symbolic link; only regular files and folders are taken"
        );
    }
}

#[test]
fn z20_one_top_folder_is_taken_off_whatever_its_name() {
    for top in ["package", "my app", "é", ".hidden"] {
        let held = both(&[
            Entry::folder(top),
            file(&format!("{top}/a")),
            file(&format!("{top}/b/c")),
        ]);
        assert_eq!(held.keys().collect::<Vec<_>>(), ["a", "b/", "b/c"]);
    }
    // Only one, even if the next is alone as well, or of the same name.
    let held = both(&[file("package/package/a")]);
    assert_eq!(held.keys().collect::<Vec<_>>(), ["package/", "package/a"]);
    let held = both(&[file("x/x")]);
    assert_eq!(held.keys().collect::<Vec<_>>(), ["x"]);
    // As `tar` packs `.`.
    let held = both(&[Entry::folder("./"), file("./a"), file("./b/c")]);
    assert_eq!(held.keys().collect::<Vec<_>>(), ["a", "b/", "b/c"]);
    let held = both(&[file("./package/a"), file("package/b")]);
    assert_eq!(held.keys().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn z20_files_at_the_root_stay_there() {
    let held = both(&[file("package.json"), file("dist/a")]);
    assert_eq!(
        held.keys().collect::<Vec<_>>(),
        ["dist/", "dist/a", "package.json"]
    );
    let held = both(&[file("a/x"), file("b/x")]);
    assert_eq!(held.keys().collect::<Vec<_>>(), ["a/", "a/x", "b/", "b/x"]);
    assert_eq!(both(&[file("alone")]).keys().collect::<Vec<_>>(), ["alone"]);
    for error in refused(&[file("package/package/..")]) {
        assert_unsafe(&error, Unsafe::DotSegment);
    }
}

#[test]
fn entries_for_one_place_are_refused() {
    let folder = Entry::folder;
    for (first, second, clash) in [
        (file("a/x"), file("a/x"), Clash::Twice),
        (file("x"), file("./x"), Clash::Twice),
        (file("README.md"), file("readme.md"), Clash::Lookalike),
        (file("Lib/a"), file("lib/b"), Clash::Lookalike),
        (folder("Lib"), folder("lib"), Clash::Lookalike),
        (file("É"), file("é"), Clash::Lookalike),
        (file("\u{e9}"), file("e\u{301}"), Clash::Lookalike),
        (file("\u{e9}"), file("E\u{301}"), Clash::Lookalike),
        (file("straße"), file("STRASSE"), Clash::Lookalike),
        (file("\u{212a}"), file("k"), Clash::Lookalike),
        (file("Σας"), file("σας"), Clash::Lookalike),
        (file("a"), file("a/b"), Clash::FileAndFolder),
        (file("a/b"), file("a"), Clash::FileAndFolder),
        (folder("a"), file("a"), Clash::FileAndFolder),
        (file("a"), folder("a"), Clash::FileAndFolder),
    ] {
        for error in refused(&[first.clone(), second.clone()]) {
            let ArchiveError::DuplicateEntry { clash: found, .. } = error else {
                panic!("{first:?} {second:?}: {error}");
            };
            assert_eq!(found, clash, "{first:?} {second:?}");
        }
    }
    // A folder may be named again.
    both(&[file("a/x"), folder("a"), folder("a/")]);
    both(&[file("a/e"), file("b/E"), file("a/é")]);
}

#[test]
fn z17_what_is_cut_is_refused() {
    let noise: Vec<u8> = (0..40_000_u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let entries = [
        Entry::file("package/package.json", "{}"),
        Entry::file("package/noise", &noise),
        Entry::file("package/last", "x"),
    ];
    for format in Format::ALL {
        let whole = forge(format, &entries);
        let cuts = (0..whole.len())
            .step_by(1000)
            .chain(whole.len() - 50..whole.len());
        for cut in cuts {
            let result = unpacked(&whole[..cut], kind_of(format));
            assert_invalid(result, "");
        }
        // And what has something behind it.
        for more in [&b"x"[..], b"\0", &[0x1f, 0x8b], b"PK\x05\x06"] {
            assert_invalid(unpacked(&[&whole, more].concat(), kind_of(format)), "");
        }
    }
}

#[test]
fn no_changed_bit_brings_other_content() {
    let entries = app("shop", "1.0.0", "export default {}");
    let contents = |held: Held| -> Vec<_> { held.into_values().map(|held| held.0).collect() };
    let limits = ArchiveLimits::default();
    for format in Format::ALL {
        let whole = forge(format, &entries);
        let expected = contents(unpacked(&whole, kind_of(format)).unwrap().0);
        let mut passed = 0;
        for at in 0..whole.len() * 8 {
            let mut changed = whole.clone();
            changed[at / 8] ^= 1 << (at % 8);
            // Times and comments may change; contents have checksums.
            if check(&*changed, kind_of(format), &limits).is_ok() {
                passed += 1;
                let (held, _) = unpacked(&changed, kind_of(format)).unwrap();
                assert_eq!(contents(held), expected, "{format:?} bit {at}");
            }
        }
        assert!(passed < whole.len() * 3, "{format:?}: {passed}");
    }
}

#[test]
fn progress_is_told_and_may_end_it() {
    for format in Format::ALL {
        let archive = forge(format, &[file("a"), Entry::zeros("b", 500_000), file("c")]);
        let place = Place::new();
        let mut told = Vec::new();
        let limits = ArchiveLimits::default();
        let mut tell = |progress: Progress| {
            told.push(progress);
            ControlFlow::Continue(())
        };
        unpack(&*archive, kind_of(format), &place.tree, &limits, &mut tell).unwrap();
        assert!(told.is_sorted_by_key(|progress| (progress.files, progress.bytes)));
        assert!(told.len() > 8);
        let last = told.last().unwrap();
        assert_eq!((last.files, last.bytes), (3, 500_002));

        let place = Place::new();
        let mut stop = |progress: Progress| match progress.bytes {
            ..100_000 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        };
        let result = unpack(&*archive, kind_of(format), &place.tree, &limits, &mut stop);
        assert!(matches!(result, Err(ArchiveError::Stopped)));
        assert!(place.bytes() < 200_000);
    }
}

#[test]
fn what_is_in_the_folder_already_is_not_touched() {
    let place = Place::new();
    fs::write(place.path().join("a"), "old").unwrap();
    std::os::unix::fs::symlink("../canary", place.path().join("b")).unwrap();
    std::os::unix::fs::symlink("..", place.path().join("dir")).unwrap();
    for name in ["a", "b", "dir/canary", "dir/new"] {
        for format in Format::ALL {
            let archive = forge(format, &[Entry::file(name, "new"), Entry::file("z", "")]);
            let limits = ArchiveLimits::default();
            let result = place.unpack(&archive, kind_of(format), &limits);
            assert!(
                matches!(result, Err(ArchiveError::Io(_))),
                "{name}: {result:?}"
            );
        }
    }
    assert_eq!(fs::read(place.path().join("a")).unwrap(), b"old");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Trees of ordinary names come out as they went in, whatever their shape.
    #[test]
    fn ordinary_trees_come_out_as_they_went_in(
        files in proptest::collection::btree_map(
            "[a-c]{1,2}(/[d-f]{1,2}){0,3}/[g-i]{1,3}(é|日本)?\\.txt",
            (proptest::collection::vec(any::<u8>(), 0..2000), any::<bool>()),
            1..12,
        ),
    ) {
        // A second top, so that none is taken off.
        let mut entries = vec![Entry::file("top.txt", "")];
        for (name, (content, run)) in &files {
            let mode = if *run { 0o755 } else { 0o644 };
            entries.push(Entry::file(name, content).mode(mode));
        }
        let held = both(&entries);
        for (name, (content, run)) in &files {
            let mode = if *run { 0o755 } else { 0o644 };
            prop_assert_eq!(&held[name], &(content.clone(), mode));
        }
    }

    /// Any names at all: refused, or written beneath the folder under that very name.
    #[test]
    fn any_name_is_refused_or_taken_as_it_is(
        names in proptest::collection::vec("[.a/\\\\é\u{301}:~]{0,9}|\\PC{0,12}|.{0,12}", 1..5),
    ) {
        let entries: Vec<_> = names.iter().map(file_of).collect();
        for format in Format::ALL {
            if let Ok((held, unpacked)) = unpacked(&forge(format, &entries), kind_of(format)) {
                for name in &names {
                    let name = name.strip_prefix("./").unwrap_or(name);
                    let top = unpacked.top_folder.as_ref().map(|top| format!("{top}/"));
                    let name = top.map_or(name, |top| name.strip_prefix(&*top).unwrap());
                    if !name.ends_with('/') && !name.is_empty() {
                        prop_assert!(held.contains_key(name), "{name:?} in {held:?}");
                    }
                }
            }
        }
    }
}

fn file_of(name: &String) -> Entry {
    Entry::file(name, "")
}
