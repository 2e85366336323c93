//! The certificate's files: wrong at the start, and replaced while the server runs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use buntime_testkit::TestServer;
use buntime_testkit::tls::{Certificate, client};
use rustls::ClientConfig;

use crate::support::{BUNTIME, echo};
use crate::tls::encrypted;

/// Asserts that this certificate is what new connections get, soon.
#[track_caller]
fn shows(server: &TestServer, client: &Arc<ClientConfig>, certificate: &Certificate) {
    server.wait_until("the certificate is shown", || {
        let connection = server.connect_tls(client);
        certificate.is(&connection.tls().peer_certificates().unwrap()[0])
    });
}

/// Puts a file where another one is, in one step.
fn replace(dir: &Path, name: &str, text: &str) {
    fs::write(dir.join("new"), text).unwrap();
    fs::rename(dir.join("new"), dir.join(name)).unwrap();
}

#[test]
fn a_new_certificate_is_taken_and_old_connections_live_on() {
    let (old, new, last) = (Certificate::new(), Certificate::new(), Certificate::new());
    let client = Arc::new(client(&[&old, &new, &last], &[]));
    let server = encrypted(&old).start();
    let mut connection = server.connect_tls(&client);
    assert_eq!(connection.get("/echo/").status, 200);
    shows(&server, &client, &old);
    // By rename, then written over.
    replace(server.dir(), "cert.pem", &new.cert);
    replace(server.dir(), "key.pem", &new.key);
    shows(&server, &client, &new);
    last.write(server.dir());
    shows(&server, &client, &last);
    assert_eq!(connection.get("/echo/").status, 200);
    assert!(old.is(&connection.tls().peer_certificates().unwrap()[0]));
    server.wait_for_log(|line| line.message() == "The new certificate is in use");
}

#[test]
fn a_bad_new_certificate_is_not_taken() {
    let (old, new) = (Certificate::new(), Certificate::new());
    let client = Arc::new(client(&[&old, &new], &[]));
    let server = encrypted(&old).start();
    let refused = |file: &str, reason: &str| {
        server.wait_for_log(|line| {
            line.text("level") == "error"
                && line.text("context") == "tls"
                && line.text("file").ends_with(file)
                && line.text("reason").contains(reason)
        });
        let connection = server.connect_tls(&client);
        assert!(old.is(&connection.tls().peer_certificates().unwrap()[0]));
    };
    replace(server.dir(), "cert.pem", &new.cert);
    refused("key.pem", "not the key of the certificate");
    replace(server.dir(), "cert.pem", "no certificate");
    refused("cert.pem", "holds no certificate");
    fs::remove_file(server.dir().join("key.pem")).unwrap();
    refused("key.pem", "cannot be read");
    // One error for each state of the files, not one for each look at them.
    new.write(server.dir());
    shows(&server, &client, &new);
    let errors = server.log().into_iter();
    let errors = errors.filter(|line| line.text("level") == "error").count();
    assert!((3..=5).contains(&errors), "{errors} errors");
}

#[test]
fn links_may_be_swapped_as_kubernetes_does() {
    let (old, new) = (Certificate::new(), Certificate::new());
    let client = Arc::new(client(&[&old, &new], &[]));
    let builder = echo();
    let secret = builder.dir().join("secret");
    for (name, certificate) in [("..1", &old), ("..2", &new)] {
        fs::create_dir_all(secret.join(name)).unwrap();
        certificate.write(&secret.join(name));
    }
    symlink("..1", secret.join("..data")).unwrap();
    for name in ["cert.pem", "key.pem"] {
        symlink(format!("..data/{name}"), secret.join(name)).unwrap();
    }
    let server = builder
        .env(
            "RUNTIME_TLS_CERT",
            secret.join("cert.pem").to_str().unwrap(),
        )
        .env("RUNTIME_TLS_KEY", secret.join("key.pem").to_str().unwrap())
        .start();
    shows(&server, &client, &old);
    symlink("..2", secret.join("..tmp")).unwrap();
    fs::rename(secret.join("..tmp"), secret.join("..data")).unwrap();
    shows(&server, &client, &new);
    let errors = server.log().into_iter();
    assert_eq!(
        errors.filter(|line| line.text("level") == "error").count(),
        0
    );
}

#[test]
fn a_bad_certificate_stops_the_start_with_all_other_problems() {
    let dir = tempfile::tempdir().unwrap();
    let (pair, other) = (Certificate::new(), Certificate::new());
    pair.write(dir.path());
    fs::write(dir.path().join("other.pem"), &other.key).unwrap();
    let run = |vars: &[(&str, &str)]| {
        let output = Command::new(BUNTIME)
            .arg("serve")
            .current_dir(dir.path())
            .env_clear()
            .env("RUNTIME_WORKER_DIRS", ".")
            .env("RUNTIME_STATE_DIR", ".state")
            .envs(vars.iter().copied())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    };
    let cert = ("RUNTIME_TLS_CERT", "cert.pem");
    let said = run(&[cert, ("PORT", "http")]);
    assert!(said.contains("PORT=") && said.contains("RUNTIME_TLS_CERT: a certificate without"));
    let said = run(&[cert, ("RUNTIME_TLS_KEY", "other.pem"), ("PORT", "http")]);
    assert!(said.contains("PORT=") && said.contains("is not the key of the certificate"));
    let said = run(&[cert, ("RUNTIME_TLS_KEY", "nowhere.pem")]);
    assert!(said.contains("RUNTIME_TLS_KEY=\"nowhere.pem\": cannot be read"));
}
