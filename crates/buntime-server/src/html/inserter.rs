//! A page's bytes in, the same bytes with the insertion out.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::place::{Finder, Verdict};
use super::snippet::Insertion;

/// Puts an [`Insertion`] into a page as the page streams by.
///
/// Holds back an unfinished tag, and, where the page may have a base of its own,
/// its head: `TOKEN_MAX` or `HEAD_MAX` bytes at most. Once the insertion is made,
/// chunks pass without being looked at.
pub(crate) struct Inserter {
    insertion: Insertion,
    /// `None` once there is nothing more to find.
    finder: Option<Finder>,
    /// What was seen and not passed on.
    held: BytesMut,
    /// How many bytes were passed on.
    passed: u64,
}

impl Inserter {
    /// For one page.
    pub(crate) fn new(insertion: Insertion) -> Self {
        Self {
            finder: Finder::new(insertion.has_base()),
            insertion,
            held: BytesMut::new(),
            passed: 0,
        }
    }

    /// Takes the next part of the page and appends to `out` what can be sent.
    pub(crate) fn push(&mut self, mut chunk: Bytes, out: &mut VecDeque<Bytes>) {
        let Some(finder) = &mut self.finder else {
            give(chunk, out);
            return;
        };
        let verdict = finder.feed(&chunk);
        if let Verdict::Open { settled } = verdict {
            let free = usize::try_from(settled.saturating_sub(self.passed)).unwrap_or(usize::MAX);
            let free_of_chunk = free.saturating_sub(self.held.len());
            self.passed += free as u64;
            if free > 0 {
                give(self.held.split_to(free.min(self.held.len())).freeze(), out);
                give(chunk.split_to(free_of_chunk.min(chunk.len())), out);
            }
            self.held.extend_from_slice(&chunk);
        } else {
            self.decide(verdict, chunk, out);
        }
    }

    /// The page has ended: appends to `out` what was held back.
    pub(crate) fn end(&mut self, out: &mut VecDeque<Bytes>) {
        if let Some(finder) = &self.finder {
            let verdict = finder.end();
            self.decide(verdict, Bytes::new(), out);
        }
    }

    /// Passes on all that is there, with the insertion if there is a place for it.
    fn decide(&mut self, verdict: Verdict, mut chunk: Bytes, out: &mut VecDeque<Bytes>) {
        self.finder = None;
        let mut held = std::mem::take(&mut self.held).freeze();
        if let Verdict::At { place, own_base } = verdict {
            let before = usize::try_from(place.saturating_sub(self.passed)).unwrap_or(usize::MAX);
            let before_of_chunk = before.saturating_sub(held.len());
            give(held.split_to(before.min(held.len())), out);
            give(chunk.split_to(before_of_chunk.min(chunk.len())), out);
            if own_base {
                give(self.insertion.script(), out);
            } else {
                self.insertion
                    .whole()
                    .into_iter()
                    .for_each(|part| give(part, out));
            }
        }
        give(held, out);
        give(chunk, out);
    }
}

fn give(bytes: Bytes, out: &mut VecDeque<Bytes>) {
    if !bytes.is_empty() {
        out.push_back(bytes);
    }
}
