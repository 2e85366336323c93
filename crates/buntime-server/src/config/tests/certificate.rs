//! `RUNTIME_TLS_CERT` and `RUNTIME_TLS_KEY`.

use super::*;

#[test]
fn a_certificate_and_its_key_are_read_together() {
    let place = Place::new();
    let make = || {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    };
    let (cert, key) = make();
    let (_, other) = make();
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (name, text) in [
        ("cert", cert.as_str()),
        ("key", &key),
        ("other", &other),
        ("both", &format!("{key}{cert}")),
        ("garbage", garbage),
        ("cut", &cert[..cert.len() / 2]),
        ("empty", ""),
        ("large", &"x".repeat((1 << 20) + 1)),
    ] {
        std::fs::write(place.path().join(name), text).unwrap();
    }
    let said = |cert: &str, key: &str| {
        let vars = [
            ("RUNTIME_WORKER_DIRS", "apps"),
            ("RUNTIME_TLS_CERT", cert),
            ("RUNTIME_TLS_KEY", key),
        ];
        let problems = match place.load(&vars, &[]) {
            Ok(loaded) => {
                assert!(loaded.config.listen.tls.is_some());
                return Vec::new();
            }
            Err(errors) => errors.problems().to_vec(),
        };
        problems
            .iter()
            .map(|problem| (problem.setting.clone(), problem.message.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(said("cert", "key"), []);
    assert_eq!(said("both", "both"), [], "one file may hold both");
    for (cert, key, wrong) in [
        (
            "cert",
            "other",
            &[("RUNTIME_TLS_KEY", "is not the key of the certificate")][..],
        ),
        (
            "key",
            "cert",
            &[
                ("RUNTIME_TLS_CERT", "holds no certificate"),
                ("RUNTIME_TLS_KEY", "holds no unencrypted private key"),
            ],
        ),
        (
            "empty",
            "key",
            &[("RUNTIME_TLS_CERT", "holds no certificate")],
        ),
        ("garbage", "key", &[("RUNTIME_TLS_CERT", "cannot be used")]),
        ("cut", "key", &[("RUNTIME_TLS_CERT", "not valid PEM")]),
        (
            "large",
            "large",
            &[
                ("RUNTIME_TLS_CERT", "larger than 1 MB"),
                ("RUNTIME_TLS_KEY", "larger than 1 MB"),
            ],
        ),
        ("missing", "key", &[("RUNTIME_TLS_CERT", "cannot be read")]),
        ("cert", "", &[("RUNTIME_TLS_CERT", "without its key")]),
        ("", "key", &[("RUNTIME_TLS_KEY", "without its certificate")]),
    ] {
        let said = said(cert, key);
        assert_eq!(said.len(), wrong.len(), "{cert}, {key}: {said:?}");
        for ((setting, message), (in_setting, words)) in said.iter().zip(wrong) {
            assert_eq!(setting, in_setting, "{cert}, {key}");
            assert!(message.contains(words), "{cert}, {key}: {message}");
        }
    }
}
