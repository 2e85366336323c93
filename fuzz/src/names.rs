//! Short texts that decide something.

use buntime_core::{Origin, Version, VersionRange};
use buntime_http::RequestId;

/// What passes is exactly the documented set, and stays as it was.
pub(crate) fn request_id(data: &[u8]) {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._:-".contains(byte);
    let documented = (1..=128).contains(&data.len()) && data.iter().all(allowed);
    let id = RequestId::parse(data);
    assert_eq!(id.is_some(), documented);
    if let Some(id) = id {
        assert_eq!(id.as_str().as_bytes(), data);
    }
}

/// What passes is a scheme and a host with an optional port, in one spelling.
pub(crate) fn origin(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(origin) = text.parse::<Origin>() else {
        return;
    };
    let normal = origin.as_str();
    assert_eq!(normal.parse::<Origin>().as_ref(), Ok(&origin), "not stable");
    assert_eq!(normal, normal.to_ascii_lowercase());
    assert!(matches!(origin.scheme(), "http" | "https"));
    assert_eq!(
        normal,
        format!("{}://{}", origin.scheme(), origin.authority())
    );
    let authority = origin.authority();
    assert!(!authority.is_empty());
    assert!(!authority.contains(['@', '/', '\\', '?', '#', '%', ' ', ',']));
    let default = if origin.scheme() == "http" {
        ":80"
    } else {
        ":443"
    };
    assert!(!authority.ends_with(default), "a default port is left");
    // Case changes nothing.
    assert_eq!(text.to_ascii_uppercase().parse::<Origin>(), Ok(origin));
}

/// What passes prints as it was read, is bounded, and matches without a panic.
pub(crate) fn version_range(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(version) = Version::try_from(text) {
        assert_eq!(Version::try_from(version.as_str()).as_ref(), Ok(&version));
    }
    let Ok(range) = VersionRange::try_from(text) else {
        return;
    };
    assert!(text.len() <= 64, "a range of {} bytes passes", text.len());
    let again = VersionRange::try_from(range.as_str()).expect("what passed passes again");
    assert_eq!(again, range);
    for version in [
        "0.0.0",
        "1.2.3",
        "1.2.3-beta.1",
        "2.0.0",
        "99.99.99",
        "latest",
    ] {
        let version = Version::try_from(version).expect("a version");
        assert_eq!(range.matches(&version), again.matches(&version));
    }
}
