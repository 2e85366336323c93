//! What only zip archives can say.

use buntime_testkit::archive::{ZipEntry, ZipForger};

use super::*;

fn read(build: impl FnOnce(&mut ZipForger)) -> Result<(Held, Unpacked), ArchiveError> {
    let mut zip = ZipForger::new();
    build(&mut zip);
    unpacked(&zip.finish(), ArchiveKind::Zip)
}

fn file(name: &str) -> ZipEntry {
    ZipEntry::file(name, "some content, some content")
}

/// An archive with this entry between two honest ones.
fn between(entry: &ZipEntry) -> Result<(Held, Unpacked), ArchiveError> {
    read(|zip| {
        zip.entry(&file("first")).entry(entry).entry(&file("last"));
    })
}

#[test]
fn ordinary_variants_are_understood() {
    let stored = ZipEntry::stored("stored", "as it is");
    let streamed = ZipEntry {
        flags: 8,
        ..file("streamed")
    };
    let effort = ZipEntry {
        flags: 0b10,
        local_flags: Some(0b100),
        ..file("effort")
    };
    // A time stamp of Info-ZIP, and the name once more.
    let extra = b"\x55\x54\x05\0\x03\0\0\0\0up\x0a\0\x01\0\0\0\0extra".to_vec();
    let extra = ZipEntry {
        extra: extra.clone(),
        local_extra: extra,
        ..file("extra")
    };
    let aligned = ZipEntry {
        local_extra: vec![0; 3],
        ..file("aligned")
    };
    let from_elsewhere = ZipEntry {
        mode: 0,
        ..file("windows.txt")
    };
    let (held, _) = read(|zip| {
        for entry in [
            &stored,
            &streamed,
            &effort,
            &extra,
            &aligned,
            &from_elsewhere,
        ] {
            zip.entry(entry);
        }
        zip.comment = b"a comment".to_vec();
    })
    .unwrap();
    assert_eq!(held.len(), 6);
    assert_eq!(held["stored"].0, b"as it is");
    assert_eq!(held["streamed"].0, b"some content, some content");
}

#[test]
fn wide_numbers_are_understood() {
    // Size and packed size stand in the zip64 field, in both places.
    let honest = file("wide");
    let mut zip64 = vec![1, 0, 16, 0];
    zip64.extend_from_slice(&u64::from(honest.size).to_le_bytes());
    zip64.extend_from_slice(&u64::from(honest.packed_size).to_le_bytes());
    let wide = ZipEntry {
        size: u32::MAX,
        packed_size: u32::MAX,
        extra: zip64.clone(),
        local_extra: zip64,
        ..honest
    };
    let (held, _) = read(|zip| {
        zip.entry(&wide).entry(&file("other"));
        zip.zip64 = true;
    })
    .unwrap();
    assert_eq!(held["wide"].0, b"some content, some content");
    let missing = ZipEntry {
        size: u32::MAX,
        ..file("missing")
    };
    assert_invalid(between(&missing), "zip64 number is missing");
}

#[test]
fn z10_sizes_that_lie_are_refused() {
    let honest = file("lie");
    let stored = ZipEntry::stored("lie", "some content");
    for (entry, text) in [
        (
            ZipEntry {
                size: honest.size - 1,
                ..honest.clone()
            },
            "larger than it says",
        ),
        (
            ZipEntry {
                size: honest.size + 1,
                ..honest.clone()
            },
            "smaller than it says",
        ),
        (
            ZipEntry {
                size: 0,
                ..honest.clone()
            },
            "larger than it says",
        ),
        (
            ZipEntry {
                size: stored.size - 1,
                ..stored.clone()
            },
            "larger than it says",
        ),
        (
            ZipEntry {
                size: stored.size + 1,
                ..stored.clone()
            },
            "smaller than it says",
        ),
        (
            ZipEntry {
                local_size: Some(1),
                ..honest.clone()
            },
            "other sizes in its header",
        ),
        (
            ZipEntry {
                crc: honest.crc ^ 1,
                ..honest.clone()
            },
            "wrong checksum",
        ),
        (
            ZipEntry {
                packed_size: honest.packed_size - 1,
                ..honest.clone()
            },
            "overlaps another, or leaves a gap",
        ),
        (
            ZipEntry {
                packed_size: honest.packed_size + 1,
                ..honest.clone()
            },
            "overlaps another",
        ),
        (
            ZipEntry {
                packed: [&*honest.packed, b"hidden"].concat(),
                packed_size: honest.packed_size + 6,
                ..honest.clone()
            },
            "shorter packed",
        ),
        (
            ZipEntry {
                flags: 8,
                local_size: Some(9),
                ..honest.clone()
            },
            "other sizes",
        ),
    ] {
        assert_invalid(between(&entry), text);
    }
    // What is told to be large is refused before it is read.
    let huge = ZipEntry {
        size: u32::MAX - 1,
        ..honest
    };
    let result = between(&huge);
    assert!(
        matches!(result, Err(ArchiveError::TooLarge(_))),
        "{result:?}"
    );
}

#[test]
fn z10_entries_that_overlap_are_refused() {
    // One content for many entries, as flat bombs have it.
    let kernel = file("kernel");
    let result = read(|zip| {
        zip.entry(&kernel);
        for copy in 0..10 {
            let mut entry = file(&format!("copy{copy}"));
            entry.offset = Some(0);
            entry.only_in_directory = true;
            entry.local_name = Some(b"kernel".to_vec());
            zip.entry(&entry);
        }
    });
    assert_invalid(result, "overlaps another");
    // A header within the content of another entry.
    let mut inner = ZipForger::new();
    inner.entry(&ZipEntry::stored("inner", "x"));
    let inner = inner.finish();
    let outer = ZipEntry::stored("outer", &inner);
    let mut quoted = ZipEntry::stored("inner", "x");
    quoted.only_in_directory = true;
    quoted.offset = Some(30 + 5);
    let result = read(|zip| {
        zip.entry(&outer).entry(&quoted);
    });
    assert_invalid(result, "overlaps another");
}

#[test]
fn z10_what_belongs_to_no_entry_is_refused() {
    let gap = ZipEntry {
        gap: b"gap".to_vec(),
        ..file("gap")
    };
    assert_invalid(between(&gap), "leaves a gap");
    let gap = ZipEntry {
        gap: b"gap".to_vec(),
        flags: 8,
        ..file("gap")
    };
    assert_invalid(between(&gap), "leaves a gap");
    let result = read(|zip| {
        zip.raw(b"PK\x03\x04 something before").entry(&file("a"));
    });
    assert_invalid(result, "leaves a gap");
    // An entry that only those see who read from the front.
    let mut hidden = ZipForger::new();
    hidden.entry(&file("hidden"));
    let hidden = hidden.finish();
    let hidden = &hidden[..hidden.len() - 22 - 46 - 6];
    let result = read(|zip| {
        zip.entry(&file("a")).raw(hidden);
    });
    assert_invalid(result, "leaves a gap");
    let result = read(|zip| {
        zip.raw(b"PK\x03\x04");
    });
    assert_invalid(result, "belong to no entry");
}

#[test]
fn both_tellings_agree() {
    let other_name = ZipEntry {
        local_name: Some(b"../evil".to_vec()),
        ..file("fine")
    };
    assert_invalid(between(&other_name), "another name in its header");
    let other_flags = ZipEntry {
        local_flags: Some(1 << 11),
        ..file("fine")
    };
    assert_invalid(between(&other_flags), "other flags");
    let nowhere = ZipEntry {
        only_in_directory: true,
        ..file("nowhere")
    };
    assert_invalid(between(&nowhere), "");
    let outside = ZipEntry {
        offset: Some(u32::MAX - 5),
        ..file("outside")
    };
    assert_invalid(between(&outside), "");
    // The name once more, for those who do not take the first for UTF-8.
    let second = b"up\x0c\0\x01\0\0\0\0../evil".to_vec();
    let in_directory = ZipEntry {
        extra: second.clone(),
        ..file("fine")
    };
    assert_invalid(between(&in_directory), "two names");
    let in_header = ZipEntry {
        local_extra: second,
        ..file("fine")
    };
    assert_invalid(between(&in_header), "two names");
    let cut = ZipEntry {
        extra: b"up\xff\0\x01".to_vec(),
        ..file("fine")
    };
    assert_invalid(between(&cut), "extra field is cut");
}

#[test]
fn the_end_record_is_read_strictly() {
    for (told, text) in [
        (0, "directory is damaged"),
        (1, ""),
        (3, ""),
        (u16::MAX, ""),
    ] {
        let result = read(|zip| {
            zip.entry(&file("a")).entry(&file("b"));
            zip.told_entries = Some(told);
        });
        assert!(result.is_err(), "{told}");
        if !text.is_empty() {
            assert_invalid(result, text);
        }
    }
    // Another end within the comment.
    let mut other = ZipForger::new();
    other.entry(&file("other"));
    let result = read(|zip| {
        zip.entry(&file("a"));
        zip.comment = other.finish();
    });
    assert_invalid(result, "");
    let mut whole = ZipForger::new();
    whole.entry(&file("a"));
    let whole = whole.finish();
    // Every field of the end record, and of the line in the directory, matters or is
    // left unread; none makes another archive of it.
    let (expected, _) = unpacked(&whole, ArchiveKind::Zip).unwrap();
    for at in whole.len() - 22 - 47..whole.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut changed = whole.clone();
            changed[at] = value;
            if let Ok((held, _)) = unpacked(&changed, ArchiveKind::Zip) {
                assert_eq!(
                    held.keys().collect::<Vec<_>>(),
                    expected.keys().collect::<Vec<_>>()
                );
            }
        }
    }
}

#[test]
fn what_needs_a_password_or_another_method_is_refused() {
    for flags in [1, 1 | 1 << 6, 1 << 5, 1 << 13] {
        let error = between(&ZipEntry {
            flags,
            ..file("secret")
        })
        .unwrap_err();
        assert_unsafe(&error, Unsafe::Encrypted);
        assert!(error.to_string().contains("\"secret\""), "{error}");
    }
    for method in [1, 6, 9, 12, 14, 93, 95, 99] {
        let result = between(&ZipEntry {
            method,
            ..file("packed")
        });
        assert_invalid(result, "method that is not known");
    }
}

#[test]
fn name_and_mode_agree_on_what_is_a_folder() {
    let by_mode = ZipEntry {
        mode: 0o040_755,
        ..file("folder")
    };
    assert_invalid(between(&by_mode), "a folder by its mode");
    let by_name = ZipEntry {
        mode: 0o100_644,
        ..ZipEntry::file("file/", "")
    };
    assert_invalid(between(&by_name), "a file by its name");
    let full = ZipEntry {
        mode: 0o040_755,
        ..file("folder/")
    };
    assert_invalid(between(&full), "folder with content");
    // Whatever system it claims to come from; by the name alone where no mode is told.
    let unknown = ZipEntry {
        mode: 0,
        ..ZipEntry::file("folder/", "")
    };
    assert!(between(&unknown).unwrap().0.contains_key("folder/"));
    let whiteout = ZipEntry {
        mode: 0o160_000,
        ..file("whiteout")
    };
    assert_unsafe(&between(&whiteout).unwrap_err(), Unsafe::UnknownType);
}
