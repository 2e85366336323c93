//! Where in a page the insertion goes.
//!
//! The tokenizer is that of `lol_html`. It is only asked where tags are; what it
//! would write is counted and thrown away. So a page's bytes never pass through
//! it, and a charset that it reads wrongly is no harm.
//!
//! The place depends on the page alone, not on how it is split into chunks.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use lol_html::html_content::{Comment, Doctype, EndTag};
use lol_html::send::{DocumentContentHandlers, Element, ElementContentHandlers, Settings};
use lol_html::{MemorySettings, OutputSink, Selector};
use parking_lot::Mutex;

/// How much of a page is held back to know whether it has a base of its own, in
/// bytes from the place of the insertion (contract section 5).
pub(super) const HEAD_MAX: u64 = 64 * 1024;
/// The longest tag, comment or doctype before that place, in bytes. A page with a
/// longer one is left alone.
pub(super) const TOKEN_MAX: u64 = 64 * 1024;
/// How much is tokenized at a time.
const PIECE: usize = 16 * 1024;
/// For the tokenizer: one token, one piece, and the elements that are open.
const MEMORY_MAX: usize = 512 * 1024;
/// What the tokenizer begins with.
const MEMORY_START: usize = 1024;

/// What is known of a page's place for the insertion. Offsets are in bytes from
/// the beginning of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not enough was seen. What lies before `settled` can be sent.
    Open {
        /// The place is not before it.
        settled: u64,
    },
    /// The place is known, and whether the page has a base of its own.
    At {
        /// Where the insertion goes.
        place: u64,
        /// Whether a base of the page's own was found.
        own_base: bool,
    },
    /// Nothing is inserted.
    Nowhere,
}

/// Looks for the place.
pub(super) struct Finder {
    tokenizer: lol_html::send::HtmlRewriter<'static, Settled>,
    seen: Arc<Mutex<Seen>>,
    /// The page's first two bytes.
    mark: [u8; 2],
    /// How much of the page was seen.
    fed: u64,
}

/// Counts what the tokenizer is done with.
struct Settled(Arc<Mutex<Seen>>);

impl OutputSink for Settled {
    fn handle_chunk(&mut self, chunk: &[u8]) {
        self.0.lock().settled += chunk.len() as u64;
    }
}

impl Finder {
    /// `None` only if the tokenizer does not know its own language.
    pub(super) fn new(look_for_base: bool) -> Option<Self> {
        let every_element: Selector = "*".parse().ok()?;
        let seen = Arc::new(Mutex::new(Seen {
            look_for_base,
            ..Seen::default()
        }));
        let (doctypes, comments, elements) =
            (Arc::clone(&seen), Arc::clone(&seen), Arc::clone(&seen));
        let settings = Settings::new_send()
            .with_strict(false)
            .with_memory_settings(
                MemorySettings::new()
                    .with_preallocated_parsing_buffer_size(MEMORY_START)
                    .with_max_allowed_memory_usage(MEMORY_MAX),
            )
            .append_document_content_handler(
                DocumentContentHandlers::default()
                    .doctype(move |doctype: &mut Doctype<'_>| {
                        doctypes.lock().doctype(&doctype.source_location().bytes());
                        Ok(())
                    })
                    .comments(move |comment: &mut Comment<'_>| {
                        comments.lock().token(&comment.source_location().bytes());
                        Ok(())
                    }),
            )
            .append_element_content_handler((
                Cow::Owned(every_element),
                ElementContentHandlers::default()
                    .element(move |element: &mut Element<'_, '_>| see_element(&elements, element)),
            ));
        Some(Self {
            tokenizer: lol_html::send::HtmlRewriter::new(settings, Settled(Arc::clone(&seen))),
            seen,
            mark: [0; 2],
            fed: 0,
        })
    }

    /// Looks at the next part of the page. Not to be called again once the verdict
    /// is another than [`Verdict::Open`].
    pub(super) fn feed(&mut self, mut chunk: &[u8]) -> Verdict {
        while !chunk.is_empty() {
            let (piece, rest) = chunk.split_at(self.piece().min(chunk.len()));
            chunk = rest;
            if self.is_utf16(piece) || self.tokenizer.write(piece).is_err() {
                return Verdict::Nowhere;
            }
            self.fed += piece.len() as u64;
            let verdict = self.seen.lock().verdict(self.fed);
            if !matches!(verdict, Verdict::Open { .. }) {
                return verdict;
            }
        }
        self.seen.lock().verdict(self.fed)
    }

    /// The page has ended.
    pub(super) fn end(&self) -> Verdict {
        match self.seen.lock().place {
            Some(place) => Verdict::At {
                place,
                own_base: false,
            },
            None => Verdict::Nowhere,
        }
    }

    /// How much to look at next: never beyond what may be held back.
    fn piece(&self) -> usize {
        let place = self.seen.lock().place;
        place.map_or(PIECE, |place| {
            let left = (place + HEAD_MAX).saturating_sub(self.fed);
            usize::try_from(left).unwrap_or(PIECE).clamp(1, PIECE)
        })
    }

    /// Whether the page begins with a byte order mark of UTF-16, which no tokenizer
    /// of bytes can read.
    fn is_utf16(&mut self, piece: &[u8]) -> bool {
        for (at, &byte) in (self.fed..2).zip(piece) {
            self.mark[usize::from(at == 1)] = byte;
        }
        matches!(self.mark, [0xFE, 0xFF] | [0xFF, 0xFE])
    }
}

fn see_element(seen: &Arc<Mutex<Seen>>, element: &mut Element<'_, '_>) -> lol_html::HandlerResult {
    let name = element.tag_name();
    let has_href = name == "base" && element.has_attribute("href");
    seen.lock()
        .start_tag(&name, has_href, &element.source_location().bytes());
    if matches!(name.as_str(), "head" | "template")
        && let Some(handlers) = element.end_tag_handlers()
    {
        let seen = Arc::clone(seen);
        handlers.push(Box::new(move |_: &mut EndTag<'_>| {
            seen.lock().end_tag(&name);
            Ok(())
        }));
    }
    Ok(())
}

/// What was seen of the page so far.
#[derive(Default)]
struct Seen {
    /// Whether a base of the page's own matters.
    look_for_base: bool,
    /// How many bytes the tokenizer is done with.
    settled: u64,
    /// Whether it is a document and not a part of one, such as scripts fetch.
    is_document: bool,
    place: Option<u64>,
    /// How many templates are open: what is in them is not in the page.
    templates: u32,
    /// Whether the page has a base of its own, once that is known.
    own_base: Option<bool>,
    /// Whether the page is to be left alone.
    given_up: bool,
}

impl Seen {
    fn verdict(&self, fed: u64) -> Verdict {
        match (self.place, self.own_base) {
            _ if self.given_up => Verdict::Nowhere,
            (Some(place), Some(own_base)) => Verdict::At { place, own_base },
            (Some(place), None) if fed >= place + HEAD_MAX => Verdict::At {
                place,
                own_base: false,
            },
            (Some(place), None) => Verdict::Open { settled: place },
            (None, _) if fed.saturating_sub(self.settled) > TOKEN_MAX => Verdict::Nowhere,
            (None, _) => Verdict::Open {
                settled: self.settled.min(fed),
            },
        }
    }

    /// The same limit for a token that came in one piece as for one that did not.
    fn token(&mut self, range: &Range<usize>) {
        if self.place.is_none() && range.len() as u64 > TOKEN_MAX {
            self.given_up = true;
        }
    }

    fn doctype(&mut self, range: &Range<usize>) {
        self.token(range);
        self.is_document = true;
    }

    fn start_tag(&mut self, name: &str, is_base: bool, range: &Range<usize>) {
        self.token(range);
        if self.given_up {
            return;
        }
        let (start, end) = (range.start as u64, range.end as u64);
        match (self.place, name) {
            (None, "html") => self.is_document = true,
            (None, "head") => self.place = Some(end),
            (None, _) if self.is_document || name == "body" => {
                self.place = Some(start);
                self.look_at(name, is_base);
            }
            (None, _) => self.given_up = true,
            // No more than what may be held back is ever fed.
            (Some(_), _) => self.look_at(name, is_base),
        }
        if self.place.is_some() && !self.look_for_base {
            self.own_base = Some(false);
        }
    }

    /// Looks for a base in what follows the place.
    fn look_at(&mut self, name: &str, is_base: bool) {
        if self.own_base.is_some() {
            return;
        }
        match name {
            "template" => self.templates += 1,
            _ if self.templates > 0 => {}
            "base" if is_base => self.own_base = Some(true),
            "base" | "basefont" | "bgsound" | "head" | "html" | "link" | "meta" | "noframes"
            | "noscript" | "script" | "style" | "title" => {}
            // Nothing else stands in a head: it is over, even if nothing says so.
            _ => self.own_base = Some(false),
        }
    }

    fn end_tag(&mut self, name: &str) {
        match name {
            "template" => self.templates = self.templates.saturating_sub(1),
            _ if self.place.is_some() && self.own_base.is_none() => self.own_base = Some(false),
            _ => {}
        }
    }
}
