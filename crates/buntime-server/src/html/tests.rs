use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;

use buntime_core::Manifest;
use bytes::Bytes;
use proptest::prelude::*;

use super::place::{HEAD_MAX, TOKEN_MAX};
use super::{Inserter, Insertion, PageSettings};

const BASE: &str = "<base href=\"/shop/\">";
const SCRIPT: &str = "<script>window.__env__={\"PUBLIC_X\":\"1\"}</script>";

fn insertion(base: bool, script: bool) -> Insertion {
    let mut manifest = Manifest::default();
    manifest.inject_base = base;
    let name = if script { "PUBLIC_X" } else { "X" };
    let env = BTreeMap::from([(name.to_owned(), "1".to_owned())]);
    PageSettings::of(&manifest, &env)
        .unwrap()
        .insertion("", "/shop")
}

/// What becomes of a page that comes in these chunks.
fn page_of<'a>(insertion: &Insertion, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut inserter = Inserter::new(insertion.clone());
    let mut out = VecDeque::new();
    for chunk in chunks {
        inserter.push(Bytes::copy_from_slice(chunk), &mut out);
    }
    inserter.end(&mut out);
    out.iter().flat_map(|part| part.iter().copied()).collect()
}

/// A page in which `|` marks the place: what becomes of it.
#[track_caller]
fn assert_place(marked: &str) {
    let page = marked.replace('|', "");
    for (with_base, with_script) in [(true, true), (true, false), (false, true)] {
        let mut text = String::new();
        if with_base {
            text.push_str(BASE);
        }
        if with_script {
            text.push_str(SCRIPT);
        }
        let expected = marked.replace('|', &text);
        let insertion = insertion(with_base, with_script);
        let whole = page_of(&insertion, [page.as_bytes()]);
        assert_eq!(String::from_utf8_lossy(&whole), expected);
        let bytewise = page_of(&insertion, page.as_bytes().chunks(1));
        assert_eq!(String::from_utf8_lossy(&bytewise), expected);
    }
}

/// A page with a base of its own, in which `|` marks the place of the script.
#[track_caller]
fn assert_own_base(marked: &str) {
    let page = marked.replace('|', "");
    let expected = marked.replace('|', SCRIPT);
    let both = page_of(&insertion(true, true), page.as_bytes().chunks(3));
    assert_eq!(String::from_utf8_lossy(&both), expected);
    let base = page_of(&insertion(true, false), page.as_bytes().chunks(3));
    assert_eq!(String::from_utf8_lossy(&base), page);
}

#[test]
fn it_goes_right_after_the_head_tag() {
    for page in [
        "<head>|</head>",
        "<!doctype html><html><head>|<title>x</title></head><body></body></html>",
        "<!DOCTYPE html>\n<HTML lang=en>\n<HEAD lang=x data-y='>' z=\"<head>\">|\n<title>x</title></HEAD>",
        "<head\n>|",
        "<head/>|<title>x</title>",
        "\u{feff}<!doctype html><head>|<meta charset=utf-8></head>",
        "<!-- <head> --><head>|</head>",
        "<!--><head>|</head>",
        "<!doctype html><!-- a > b --!><html><!-- <base href=x> --><head>|",
        "<?xml version='1.0'?><html><head>|</head>",
        "<html><head>|<head><title>twice</title></head>",
    ] {
        assert_place(page);
    }
}

#[test]
fn what_looks_like_a_base_is_none() {
    for page in [
        "<head>|<!-- <base href=/x/> --></head>",
        "<head>|<title><base href=/x/></title></head>",
        "<head>|<script>'<base href=/x/>'</script></head>",
        "<head>|<script><!--<script></script><base href=/x/></script>--></script></head>",
        "<head>|<style><base href=/x/></style></head>",
        "<head>|<noscript><base href=/x/></noscript></head>",
        "<head>|<template><p><base href=/x/></template></head>",
        "<head>|<template><template></template><base href=/x/></template></head>",
        "<head>|<basefont href=/x/><meta name=base content='<base href=/x/>'></head>",
        // It opens its links elsewhere, and says nothing of their addresses.
        "<head>|<base target=_blank></head>",
        // The first one counts for a browser, and these come after ours.
        "<head>|</head><base href=/x/>",
        "<head>|<body><base href=/x/>",
        "<head>|<p><base href=/x/>",
    ] {
        assert_place(page);
    }
}

#[test]
fn a_page_with_a_base_of_its_own_keeps_it() {
    for page in [
        "<head>|<base href=/x/></head>",
        "<HEAD>|<BASE HREF='/x/' target=y></HEAD>",
        "<head>|<title>x</title><link rel=icon href=x><script></script><base href></head>",
        "<head>|<template></template><base href=/x/></head>",
        "<!doctype html>|<base href=/x/><title>x</title>",
        "<!doctype html>|<title>x</title><base href=/x/>",
    ] {
        assert_own_base(page);
    }
}

#[test]
fn a_document_without_a_head_tag_gets_it_before_its_first_element() {
    for page in [
        "<!doctype html>\n<!-- x -->|<title>x</title><p>y",
        "<!doctype html><html>|<body><head>",
        "<html lang=en>\n|<body>",
        "|<body><p>x",
        "<!doctype html>text |<b>x</b>",
    ] {
        assert_place(page);
    }
}

#[test]
fn a_part_of_a_page_and_what_is_no_page_is_left_alone() {
    for page in [
        "",
        "text",
        "<p>a part of a page</p><head>",
        "<tr><td>x</td></tr>",
        "<!doctype html>",
        "<!-- <head> -->",
        "<title><head></title>",
        "<hea",
        "<head lang='x",
        "<![CDATA[<head>]]>",
        "<!doctype html><html",
        "a < b <3 </head></html>",
    ] {
        for (base, script) in [(true, true), (false, true)] {
            let out = page_of(&insertion(base, script), page.as_bytes().chunks(2));
            assert_eq!(String::from_utf8_lossy(&out), page);
        }
    }
}

#[test]
fn x5_utf_16_is_left_alone_and_latin_1_keeps_its_bytes() {
    let text = "<!doctype html><head></head>";
    let little: Vec<u8> = std::iter::once(0xFEFF)
        .chain(text.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    let big: Vec<u8> = std::iter::once(0xFEFF)
        .chain(text.encode_utf16())
        .flat_map(u16::to_be_bytes)
        .collect();
    // The mark stands for UTF-16 even if what follows reads as ASCII.
    let odd = [b"\xff\xfe", text.as_bytes()].concat();
    for page in [little, big, odd] {
        for size in [1, 2, 1000] {
            assert_eq!(page_of(&insertion(true, true), page.chunks(size)), page);
        }
    }
    let latin = b"<!-- \xe9 --><head \xe9=\xff>\xe9<title>\xe9\xff</title>";
    let out = page_of(&insertion(true, false), latin.chunks(1));
    let expected = [&latin[..20], BASE.as_bytes(), &latin[20..]].concat();
    assert_eq!(out, expected);
}

/// A page whose base ends so many bytes after the head tag.
fn page_with_late_base(end: usize) -> Vec<u8> {
    let base = b"<base href=/x/>";
    let mut page = b"<head>".to_vec();
    page.extend(std::iter::repeat_n(b' ', end - base.len()));
    page.extend_from_slice(base);
    page.extend_from_slice(b"</head>");
    page
}

#[test]
fn a_base_counts_within_64_kb_of_the_head_whatever_the_chunks() {
    let limit = usize::try_from(HEAD_MAX).unwrap();
    for size in [1, 1000, 16 * 1024, 10 * limit] {
        let just_seen = page_with_late_base(limit);
        assert_eq!(
            page_of(&insertion(true, false), just_seen.chunks(size)),
            just_seen
        );
        let too_late = page_with_late_base(limit + 1);
        let out = page_of(&insertion(true, false), too_late.chunks(size));
        assert_eq!(&out[..6 + BASE.len()], format!("<head>{BASE}").as_bytes());
        assert_eq!(out.len(), too_late.len() + BASE.len());
    }
}

#[test]
fn a_page_with_an_overlong_tag_or_comment_before_the_place_is_left_alone() {
    let limit = usize::try_from(TOKEN_MAX).unwrap();
    for (open, close) in [
        ("<head a=\"", "\">"),
        ("<!--", "--><head>"),
        ("<!doctype ", "><head>"),
    ] {
        for (excess, inserted) in [(0, true), (1, false)] {
            let token_end = close.find('>').unwrap() + 1;
            let filling = limit + excess - open.len() - token_end;
            let page = format!("{open}{}{close}</head>", "x".repeat(filling));
            for size in [1, 1000, 16 * 1024, 10 * limit] {
                let out = page_of(&insertion(true, false), page.as_bytes().chunks(size));
                let grown = out.len() > page.len();
                assert_eq!(grown, inserted, "{open} + {excess} in chunks of {size}");
            }
        }
    }
}

#[test]
fn nothing_is_held_back_longer_than_needed() {
    let sent_after = |insertion: &Insertion, chunks: &[&str]| {
        let mut inserter = Inserter::new(insertion.clone());
        let mut out = VecDeque::new();
        for chunk in chunks {
            inserter.push(Bytes::copy_from_slice(chunk.as_bytes()), &mut out);
        }
        let sent: Vec<u8> = out.iter().flat_map(|part| part.to_vec()).collect();
        String::from_utf8(sent).unwrap()
    };
    let (base, script) = (insertion(true, false), insertion(false, true));
    assert_eq!(
        sent_after(&base, &["<!doctype html><ht"]),
        "<!doctype html>"
    );
    assert_eq!(sent_after(&base, &["<head><title>x</title>"]), "<head>");
    assert_eq!(
        sent_after(&script, &["<head><title>x"]),
        format!("<head>{SCRIPT}<title>x")
    );
    for over in ["</head>", "<body>", "<p>", "<base href=x>"] {
        let page = format!("<head><title>x</title>{over}");
        let sent = sent_after(&base, &[&page]);
        assert!(sent.ends_with(over), "{sent}");
    }
    assert_eq!(sent_after(&base, &["<p>", "x"]), "<p>x");
}

#[test]
fn little_memory_is_held_whatever_comes() {
    for start in [
        "<head>",
        "<head a='",
        "<!--",
        "<!doctype html><head><template>",
    ] {
        let mut inserter = Inserter::new(insertion(true, true));
        let mut out = VecDeque::new();
        let (mut fed, mut sent) = (0, 0);
        inserter.push(Bytes::copy_from_slice(start.as_bytes()), &mut out);
        fed += start.len();
        for _ in 0..10_000 {
            inserter.push(
                Bytes::from_static(b"<a><template><meta <!--<b x='"),
                &mut out,
            );
            fed += 29;
            sent += out.drain(..).map(|part| part.len()).sum::<usize>();
            assert!(
                fed.saturating_sub(sent) < 100 * 1024,
                "{start}: {fed} - {sent}"
            );
        }
    }
}

/// A piece of a head with what it does: nothing, or a base of the page's own.
fn head_piece() -> impl Strategy<Value = (String, bool)> {
    prop_oneof![
        Just((" \n".to_owned(), false)),
        "[ -;=?-~é]{0,12}".prop_map(|text| (format!("<!-- {text} <base href=x> -->"), false)),
        "[ -;=?-~é]{0,12}".prop_map(|text| (format!("<title>{text}<base href=x></title>"), false)),
        "[ -;=?-~é]{0,12}".prop_map(|text| (format!("<script>{text}'<head>'</script>"), false)),
        "[ -!#-~é]{0,12}".prop_map(|text| (format!("<meta content=\"{text}\">"), false)),
        Just(("<template><base href=x><p></template>".to_owned(), false)),
        Just(("<BASE target=x>".to_owned(), false)),
        Just(("<Base\nHREF=/x/>".to_owned(), true)),
    ]
}

proptest! {
    /// Well-formed pages, of which a simple model knows what is to come out.
    #[test]
    fn pages_come_out_as_a_simple_model_says(
        before in prop::collection::vec(
            prop_oneof![Just(" "), Just("<!-- <head> -->"), Just("<!doctype html>"), Just("<html lang='>'>")],
            0..4,
        ),
        head in prop_oneof![Just("<head>"), Just("<HEAD lang=x>"), Just("<hEAD a='>' b=\"<base href>\">")],
        pieces in prop::collection::vec(head_piece(), 0..6),
        body in "[ -~é]{0,30}",
        size in 1_usize..40,
    ) {
        let mut page = before.concat();
        page.push_str(head);
        let place = page.len();
        for (piece, _) in &pieces {
            page.push_str(piece);
        }
        write!(page, "</head><body>{body}</body>").unwrap();
        let own = pieces.iter().any(|(_, is_base)| *is_base);
        let text = if own { SCRIPT.to_owned() } else { format!("{BASE}{SCRIPT}") };
        let expected = format!("{}{text}{}", &page[..place], &page[place..]);
        let out = page_of(&insertion(true, true), page.as_bytes().chunks(size));
        prop_assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    /// Anything at all: the same whatever the chunks, and the page's own bytes with
    /// at most one insertion.
    #[test]
    fn any_split_gives_the_same_and_keeps_every_byte(
        page in prop::collection::vec(
            prop_oneof![
                prop::sample::select(vec![
                    "<head>", "<head ", "<HEAD/", ">", "<", "</", "</head>", "<html>", "<!doctype html>", "<body>",
                    "<!--", "-->", "--!>", "<base href=x>", "<base", " href='", "'", "\"", "=", "<title>", "</title>",
                    "<script>", "</script>", "<!--<script>", "<style>", "</style", "<template>", "</template>", "<svg>",
                    "<![CDATA[", "]]>", "<?x", "<p>", "</p>", "<select>", "<noscript>", "<plaintext>", "<meta ", "\u{feff}",
                ]).prop_map(|text| text.as_bytes().to_vec()),
                prop::collection::vec(any::<u8>(), 1..4),
                "[ -~é😀]{1,4}".prop_map(String::into_bytes),
            ],
            0..30,
        ),
        size in 1_usize..20,
        (base, script) in prop::sample::select(vec![(true, true), (true, false), (false, true)]),
    ) {
        let page = page.concat();
        let insertion = insertion(base, script);
        let whole = page_of(&insertion, [&page[..]]);
        let split = page_of(&insertion, page.chunks(size));
        prop_assert_eq!(String::from_utf8_lossy(&split), String::from_utf8_lossy(&whole));
        let grown = whole.len() - page.len();
        let common = whole.iter().zip(&page).take_while(|(a, b)| a == b).count();
        let undone = (0..=common).any(|at| {
            whole[..at] == page[..at] && whole[at + grown..] == page[at..]
                && [format!("{BASE}{SCRIPT}"), BASE.to_owned(), SCRIPT.to_owned(), String::new()]
                    .iter().any(|text| whole[at..at + grown] == *text.as_bytes())
        });
        prop_assert!(undone, "{}", String::from_utf8_lossy(&whole));
    }
}
