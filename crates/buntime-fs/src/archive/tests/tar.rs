//! What only tape archives can say.

use buntime_testkit::archive::{TarEntry, TarForger, gzip};

use super::*;

fn read(build: impl FnOnce(&mut TarForger)) -> Result<(Held, Unpacked), ArchiveError> {
    let mut tar = TarForger::new();
    build(&mut tar);
    unpacked(&tar.finish(), ArchiveKind::TarGz)
}

fn file(name: &str) -> TarEntry {
    TarEntry::file(name, "x")
}

fn names(result: Result<(Held, Unpacked), ArchiveError>) -> Vec<String> {
    result.unwrap().0.into_keys().collect()
}

#[test]
fn long_names_are_obeyed() {
    let long = format!("{}/{}", "a".repeat(150), "b".repeat(200));
    let second = file("second");
    let result = read(|tar| {
        tar.pax(&[("path", long.as_bytes()), ("mtime", b"1.5")]);
        tar.entry(&file("cut")).entry(&second);
    });
    assert_eq!(
        names(result),
        [&format!("{}/", "a".repeat(150)), &long, "second"]
    );
    let result = read(|tar| {
        tar.gnu_long_name(long.as_bytes());
        tar.entry(&file("cut")).entry(&second);
    });
    assert_eq!(
        names(result),
        [&format!("{}/", "a".repeat(150)), &long, "second"]
    );
    let mut prefixed = file("name");
    prefixed.prefix = b"some/where".to_vec();
    let result = read(|tar| {
        tar.entry(&prefixed).entry(&second);
    });
    assert_eq!(
        names(result),
        ["second", "some/", "some/where/", "some/where/name"]
    );
}

#[test]
fn z1_no_way_of_telling_a_name_climbs() {
    let mut prefixed = file("x");
    prefixed.prefix = b"a/../..".to_vec();
    let climbing: [&dyn Fn(&mut TarForger); 3] = [
        &|tar| {
            tar.pax(&[("path", b"../../x")]).entry(&file("fine"));
        },
        &|tar| {
            tar.gnu_long_name(b"../../x").entry(&file("fine"));
        },
        &|tar| {
            tar.entry(&prefixed);
        },
    ];
    for build in climbing {
        assert_unsafe(&read(build).unwrap_err(), Unsafe::DotSegment);
    }
}

#[test]
fn z15_nothing_hides_behind_a_nul() {
    for build in [
        (|tar| {
            tar.entry(&file("a\0b"));
        }) as fn(&mut TarForger),
        |tar| {
            tar.gnu_long_name(b"a\0b").entry(&file("fine"));
        },
        |tar| {
            tar.pax(&[("path", b"a\0")]).entry(&file("fine"));
        },
    ] {
        assert_unsafe(&read(build).unwrap_err(), Unsafe::Control);
    }
}

#[test]
fn z6_types_that_nobody_needs_are_refused() {
    for (kind, problem) in [
        (b'1', Unsafe::HardLink),
        (b'2', Unsafe::Symlink),
        (b'3', Unsafe::Device),
        (b'4', Unsafe::Device),
        (b'6', Unsafe::Fifo),
        (b'7', Unsafe::UnknownType),
        (b'S', Unsafe::Sparse),
        (b'D', Unsafe::UnknownType),
        (b'M', Unsafe::UnknownType),
        (b'V', Unsafe::UnknownType),
        (b'X', Unsafe::UnknownType),
        (b'A', Unsafe::UnknownType),
        (0xff, Unsafe::UnknownType),
    ] {
        let result = read(|tar| {
            tar.entry(&file("a"))
                .entry(&TarEntry::file("special", "").kind(kind));
        });
        assert_unsafe(&result.unwrap_err(), problem);
    }
    for key in ["GNU.sparse.major", "GNU.sparse.realsize", "SCHILY.realsize"] {
        let result = read(|tar| {
            tar.pax(&[(key, b"1")]).entry(&file("holes"));
        });
        assert_unsafe(&result.unwrap_err(), Unsafe::Sparse);
    }
}

#[test]
fn older_ways_of_telling_files_and_folders_are_understood() {
    let mut old = file("old").kind(0);
    old.magic = [0; 8];
    let mut folder = TarEntry::file("folder/", "").kind(0);
    folder.magic = [0; 8];
    let result = read(|tar| {
        tar.entry(&old).entry(&folder);
    });
    assert_eq!(names(result), ["folder/", "old"]);
}

#[test]
fn what_is_told_twice_or_in_vain_is_refused() {
    type Case = (fn(&mut TarForger), &'static str);
    let cases: [Case; 12] = [
        (
            |tar| {
                tar.pax(&[("path", b"a")])
                    .pax(&[("path", b"b")])
                    .entry(&file("c"));
            },
            "described twice",
        ),
        (
            |tar| {
                tar.gnu_long_name(b"a")
                    .gnu_long_name(b"b")
                    .entry(&file("c"));
            },
            "described twice",
        ),
        (
            |tar| {
                tar.pax(&[("path", b"a")])
                    .gnu_long_name(b"b")
                    .entry(&file("c"));
            },
            "two long names",
        ),
        (
            |tar| {
                tar.pax(&[("path", b"a"), ("path", b"b")]).entry(&file("c"));
            },
            "says a thing twice",
        ),
        (
            |tar| {
                tar.pax(&[("size", b"2")]).entry(&file("c"));
            },
            "has two sizes",
        ),
        (
            |tar| {
                tar.global_pax(&[("path", b"a")]).entry(&file("c"));
            },
            "global header",
        ),
        (
            |tar| {
                tar.global_pax(&[("size", b"0")]).entry(&file("c"));
            },
            "global header",
        ),
        (
            |tar| {
                tar.entry(&file("c")).pax(&[("path", b"a")]);
            },
            "ends in the middle",
        ),
        (
            |tar| {
                tar.entry(&file("folder").kind(b'5'));
            },
            "folder with content",
        ),
        (
            |tar| {
                tar.entry(&file("folder/"));
            },
            "folder with content",
        ),
        (
            |tar| {
                tar.entry(&TarEntry {
                    intact: false,
                    ..file("c")
                });
            },
            "checksum",
        ),
        (
            |tar| {
                tar.entry(&file("c")).raw(&[0; 512]).entry(&file("d"));
            },
            "follows its end",
        ),
    ];
    for (build, text) in cases {
        assert_invalid(read(build), text);
    }
}

#[test]
fn extended_headers_are_read_strictly() {
    for records in [
        &b"x"[..],
        b"12 path=a\n",
        b"8 path=a\n",
        b"11 path=a\nx",
        b"10 path=ax",
        b"3 \n",
        b"0 a=b\n",
        b"-6 a=b\n",
        b"+6 a=b\n",
        b" 6 a=b\n",
        b"99999999999999999999999 a=b\n",
        b"6 ab\n\n",
        b"10 size=x\n",
        b"11 size=-1\n",
        b"10 size=\n\0",
        b"10 path=a\n\0\0\0",
    ] {
        let result = read(|tar| {
            tar.pax_raw(b'x', records).entry(&file("a"));
        });
        assert_invalid(result, "an extended header is malformed");
    }
    let huge = vec![b'x'; 300 * 1024];
    let result = read(|tar| {
        tar.pax(&[("comment", &huge)]).entry(&file("a"));
    });
    assert_invalid(result, "too long");
    let result = read(|tar| {
        tar.pax(&[
            ("comment", b"x"),
            ("size", b"1"),
            ("LIBARCHIVE.xattr.a", b"=\n="),
        ]);
        tar.entry(&file("a"));
    });
    assert_eq!(names(result), ["a"]);
    let result = read(|tar| {
        tar.global_pax(&[("comment", b"a commit")])
            .global_pax(&[("mtime", b"1")]);
        tar.entry(&file("a"));
    });
    assert_eq!(names(result), ["a"]);
}

#[test]
fn z10_sizes_that_lie_are_refused() {
    let sized = |size| TarEntry {
        size: Some(size),
        ..file("a")
    };
    assert_invalid(
        read(|tar| {
            tar.entry(&sized(1 << 20));
        }),
        "",
    );
    let huge = read(|tar| {
        tar.entry(&sized(8 * 1024 * 1024 * 1024 - 1));
    });
    assert!(matches!(huge, Err(ArchiveError::TooLarge(_))), "{huge:?}");
    for field in [
        *b"0000000000x\0",
        *b"-0000000001\0",
        *b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        *b"1\x001000000000",
        *b"9999999999\0\0",
    ] {
        let result = read(|tar| {
            tar.entry(&TarEntry {
                raw_size: Some(field),
                ..file("a")
            });
        });
        assert_invalid(result, "malformed size");
    }
    let binary = *b"\x80\0\0\0\0\0\0\0\0\0\0\x01";
    let result = read(|tar| {
        tar.entry(&TarEntry {
            raw_size: Some(binary),
            ..file("a")
        });
    });
    assert_eq!(names(result), ["a"]);
    let vast = *b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff";
    let result = read(|tar| {
        tar.entry(&TarEntry {
            raw_size: Some(vast),
            ..file("a")
        });
    });
    assert!(
        matches!(result, Err(ArchiveError::TooLarge(_))),
        "{result:?}"
    );
}

#[test]
fn the_end_may_be_missing_or_long_but_not_endless() {
    let mut tar = TarForger::new();
    tar.entry(&file("a"));
    let bare = tar.finish_without_end();
    assert!(unpacked(&bare, ArchiveKind::TarGz).is_ok());
    let long = read(|tar| {
        tar.entry(&file("a")).raw(&[0; 100 * 1024]);
    });
    assert!(long.is_ok());
    let endless = read(|tar| {
        tar.entry(&file("a")).raw(&vec![0; 2 << 20]);
    });
    assert_invalid(endless, "too many zeros");
    let result = read(|tar| {
        tar.entry(&file("a")).raw(&[0; 1024]).raw(b"x");
    });
    assert_invalid(result, "something follows its end");
}

#[test]
fn a_gzip_file_may_have_members_and_must_have_checksums() {
    let mut tar = TarForger::new();
    tar.entry(&file("a")).entry(&file("b"));
    let whole = tar.finish();
    let mut plain = Vec::new();
    io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&*whole), &mut plain).unwrap();
    let members: Vec<u8> = plain.chunks(700).flat_map(gzip).collect();
    assert!(unpacked(&members, ArchiveKind::TarGz).is_ok());
    for back in 1..=8 {
        let mut changed = whole.clone();
        let at = changed.len() - back;
        changed[at] ^= 1;
        assert_invalid(
            unpacked(&changed, ArchiveKind::TarGz),
            "gzip stream is damaged",
        );
    }
    let empty = gzip(b"").repeat(20_000);
    assert_invalid(
        unpacked(&[whole, empty].concat(), ArchiveKind::TarGz),
        "gzip",
    );
}
