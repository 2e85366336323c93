//! Conditional requests, in the order of RFC 9110, section 13.2.2.

use std::time::{Duration, SystemTime};

use super::StaticRequest;

/// What the conditions of a request say about a representation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Answer as if there were none.
    Proceed,
    /// The client has it already.
    NotModified,
    /// The client wanted another version.
    PreconditionFailed,
}

/// The validators of a representation.
#[derive(Clone, Debug)]
pub(super) struct Validators {
    /// Strong entity tag with its quotes.
    pub(super) etag: Box<str>,
    /// Last change in whole seconds, as `Last-Modified` says it.
    pub(super) modified: SystemTime,
}

/// Judges `If-Match`, `If-Unmodified-Since`, `If-None-Match` and
/// `If-Modified-Since`. A date that cannot be read is no condition.
pub(super) fn judge(request: &StaticRequest<'_>, validators: &Validators) -> Verdict {
    if let Some(tags) = request.if_match {
        if !any_tag(tags, |tag| tag == validators.etag.as_bytes()) {
            return Verdict::PreconditionFailed;
        }
    } else if date(request.if_unmodified_since).is_some_and(|limit| validators.modified > limit) {
        return Verdict::PreconditionFailed;
    }
    if let Some(tags) = request.if_none_match {
        let weak_match =
            |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag) == validators.etag.as_bytes();
        if any_tag(tags, weak_match) {
            return Verdict::NotModified;
        }
    } else if date(request.if_modified_since).is_some_and(|since| validators.modified <= since) {
        return Verdict::NotModified;
    }
    Verdict::Proceed
}

/// Whether a `Range` counts: `If-Range` is absent or names this version.
pub(super) fn range_applies(request: &StaticRequest<'_>, validators: &Validators) -> bool {
    let Some(condition) = request.if_range else {
        return true;
    };
    let condition = condition.trim_ascii();
    if condition.starts_with(b"\"") {
        return condition == validators.etag.as_bytes();
    }
    // A date is a strong validator only once the second it names is over.
    date(Some(condition)) == Some(validators.modified)
        && SystemTime::now()
            .duration_since(validators.modified)
            .is_ok_and(|age| age > Duration::from_secs(1))
}

fn date(header: Option<&[u8]>) -> Option<SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(header?).ok()?.trim()).ok()
}

/// Whether any tag of a list fits; `*` always does, since the file exists.
/// A comma inside the quotes belongs to the tag.
fn any_tag(list: &[u8], fits: impl Fn(&[u8]) -> bool) -> bool {
    if list.trim_ascii() == b"*" {
        return true;
    }
    let mut rest = list;
    loop {
        rest = rest.trim_ascii_start();
        rest = rest.strip_prefix(b",").unwrap_or(rest).trim_ascii_start();
        let opening = if rest.starts_with(b"W/\"") { 3 } else { 1 };
        if !(opening == 3 || rest.starts_with(b"\"")) {
            return false;
        }
        let Some(length) = rest[opening..].iter().position(|&byte| byte == b'"') else {
            return false;
        };
        let (tag, after) = rest.split_at(opening + length + 1);
        if fits(tag) {
            return true;
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OLD: &[u8] = b"Sun, 06 Nov 1994 08:49:36 GMT";
    const SAME: &[u8] = b"Sun, 06 Nov 1994 08:49:37 GMT";
    const NEW: &[u8] = b"Sun, 06 Nov 1994 08:49:38 GMT";

    fn validators() -> Validators {
        Validators {
            etag: "\"a,b\"".into(),
            modified: httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap(),
        }
    }

    fn verdict(request: StaticRequest<'_>) -> Verdict {
        judge(&request, &validators())
    }

    #[test]
    fn tags_decide_before_dates() {
        let none_match = |tags| StaticRequest {
            if_none_match: Some(tags),
            ..Default::default()
        };
        assert_eq!(verdict(none_match(b"\"a,b\"")), Verdict::NotModified);
        assert_eq!(verdict(none_match(b"W/\"a,b\"")), Verdict::NotModified);
        assert_eq!(verdict(none_match(b"\"x\", \"a,b\"")), Verdict::NotModified);
        assert_eq!(verdict(none_match(b"*")), Verdict::NotModified);
        assert_eq!(
            verdict(none_match(b"\"x\", garbage, \"a,b\"")),
            Verdict::Proceed
        );
        assert_eq!(verdict(none_match(b"\"a")), Verdict::Proceed);
        assert_eq!(verdict(none_match(b"")), Verdict::Proceed);
        let both = StaticRequest {
            if_modified_since: Some(NEW),
            ..none_match(b"\"x\"")
        };
        assert_eq!(verdict(both), Verdict::Proceed);

        let matching = |tags| StaticRequest {
            if_match: Some(tags),
            ..Default::default()
        };
        assert_eq!(verdict(matching(b"\"a,b\"")), Verdict::Proceed);
        assert_eq!(verdict(matching(b"*")), Verdict::Proceed);
        assert_eq!(verdict(matching(b"W/\"a,b\"")), Verdict::PreconditionFailed);
        assert_eq!(verdict(matching(b"\"x\"")), Verdict::PreconditionFailed);
        let both = StaticRequest {
            if_none_match: Some(b"*"),
            ..matching(b"\"a,b\"")
        };
        assert_eq!(verdict(both), Verdict::NotModified);
    }

    #[test]
    fn dates_decide_alone() {
        let since = |date| StaticRequest {
            if_modified_since: Some(date),
            ..Default::default()
        };
        assert_eq!(verdict(since(OLD)), Verdict::Proceed);
        assert_eq!(verdict(since(SAME)), Verdict::NotModified);
        assert_eq!(verdict(since(NEW)), Verdict::NotModified);
        assert_eq!(verdict(since(b"yesterday")), Verdict::Proceed);
        let unmodified = |date| StaticRequest {
            if_unmodified_since: Some(date),
            ..Default::default()
        };
        assert_eq!(verdict(unmodified(OLD)), Verdict::PreconditionFailed);
        assert_eq!(verdict(unmodified(SAME)), Verdict::Proceed);
    }

    #[test]
    fn if_range_needs_this_very_version() {
        let applies = |condition| {
            let request = StaticRequest {
                if_range: condition,
                ..Default::default()
            };
            range_applies(&request, &validators())
        };
        assert!(applies(None));
        assert!(applies(Some(b"\"a,b\"")));
        assert!(applies(Some(SAME)));
        assert!(!applies(Some(b"W/\"a,b\"")));
        assert!(!applies(Some(b"\"x\"")));
        assert!(!applies(Some(OLD)));
        assert!(!applies(Some(NEW)));
        assert!(!applies(Some(b"")));
    }

    proptest! {
        #[test]
        fn any_list_ends(list in proptest::collection::vec(any::<u8>(), 0..100), quoted in "[\",W/ a*]{0,60}") {
            any_tag(&list, |_| false);
            any_tag(quoted.as_bytes(), |_| false);
        }
    }
}
