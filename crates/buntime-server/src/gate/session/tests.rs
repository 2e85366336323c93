use proptest::prelude::*;

use super::*;

fn of(name: &str, lines: &[&str]) -> HeaderList {
    let mut headers = HeaderList::new();
    for line in lines {
        headers.push(name.as_bytes(), line.as_bytes()).unwrap();
    }
    headers
}

fn passed(lines: &[&str]) -> Vec<String> {
    let mut headers = of("Cookie", lines);
    remove_from(&mut headers);
    headers
        .get_all(HeaderId::Cookie)
        .map(|line| String::from_utf8(line.to_vec()).unwrap())
        .collect()
}

#[test]
fn the_servers_cookie_goes_and_others_stay_as_they_are() {
    for (sent, left) in [
        (&["a=1"][..], &["a=1"][..]),
        (&["a=1;b=\"2; c\" ;;  d"], &["a=1;b=\"2; c\" ;;  d"]),
        (&["buntime_session=x"], &[]),
        (&["buntime_session"], &[]),
        (&["buntime_session=x;"], &[]),
        (&["__Host-buntime_session=x"], &[]),
        (&["__host-BUNTIME_session = x"], &[]),
        (&["\tbuntime_session\t=x; a=1"], &["a=1"]),
        (&["=buntime_session=x; a=1"], &["a=1"]),
        (&["a=1; buntime_session=x; b=2"], &["a=1; b=2"]),
        (&["a=1;buntime_session=x;b=2"], &["a=1;b=2"]),
        (&["buntime_session=x; a=1"], &["a=1"]),
        (&["a=1; buntime_session=x"], &["a=1"]),
        (
            &["a=1; buntime_session=x; __Host-buntime_session=y; buntime_session=z"],
            &["a=1"],
        ),
        (&["a=1", "buntime_session=x", "b=2"], &["a=1", "b=2"]),
        (&["a=\"q; buntime_session=x; r\""], &["a=\"q; r\""]),
        // Other names.
        (&["buntime_session2=x"], &["buntime_session2=x"]),
        (&["my_buntime_session=x"], &["my_buntime_session=x"]),
        (&["x=buntime_session=y"], &["x=buntime_session=y"]),
        (
            &["__Secure-buntime_session=y"],
            &["__Secure-buntime_session=y"],
        ),
    ] {
        assert_eq!(passed(sent), left, "{sent:?}");
    }
}

#[test]
fn an_app_cannot_set_the_servers_cookie() {
    for value in [
        "buntime_session=x",
        " __Host-Buntime_Session =x; Path=/",
        "=buntime_session=x; Path=/",
        " =\t= buntime_session=x",
        "buntime_session",
        "buntime_session; Path=/",
    ] {
        assert!(is_set_by(value.as_bytes()), "{value}");
    }
    for value in [
        "theme=dark; Path=/",
        "=x=buntime_session",
        "a=1; buntime_session=x",
        "",
    ] {
        assert!(!is_set_by(value.as_bytes()), "{value}");
    }
}

#[test]
fn credentials_in_headers() {
    for (name, value, is) in [
        ("X-API-Key", "btk_x", true),
        ("x-api-key", "anything", true),
        ("X-API-Key", "", false),
        ("X_API_Key", "btk_x", false),
        ("Authorization", "Bearer x", true),
        ("Authorization", "bearer x", true),
        ("Authorization", "Bearer", false),
        ("Authorization", "Bearer  ", false),
        ("Authorization", "Bearerx y", false),
        ("Authorization", "Basic eDp5", false),
        ("Authorization", "Negotiate x", false),
        ("Cookie", "Bearer x", false),
    ] {
        assert_eq!(has_credential(&of(name, &[value])), is, "{name}: {value}");
    }
}

proptest! {
    /// Whatever a browser makes of the line, the worker finds no session in it, and
    /// every pair that is none is still there.
    #[test]
    fn nothing_of_a_session_is_left(
        pairs in prop::collection::vec(
            "(a=1|b=\"x|[ \t]?buntime_session[ =][xy]|__[Hh]ost-buntime_session=|=buntime_SESSION|c)[ \t]{0,2}",
            0..8,
        )
    ) {
        let line = pairs.join(";");
        let left = passed(&[&line]).join(";");
        prop_assert!(!is_in(&of("Cookie", &[&left])));
        let others = |text: &str| -> Vec<String> {
            text.split(';')
                .map(str::trim)
                .filter(|pair| !pair.is_empty() && !is_session(pair.as_bytes()))
                .map(str::to_owned)
                .collect()
        };
        prop_assert_eq!(others(&left), others(&line));
    }
}
