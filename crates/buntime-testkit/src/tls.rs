//! Certificates for one test, and clients that trust them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

/// A certificate for `localhost` that signs itself, with its key.
#[derive(Debug)]
pub struct Certificate {
    der: CertificateDer<'static>,
    /// As in the certificate's file.
    pub cert: String,
    /// As in the key's file.
    pub key: String,
}

impl Certificate {
    /// Makes one, different from all others.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["localhost".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        Self {
            der: certificate.der().clone(),
            cert: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// Writes `cert.pem` and `key.pem` into a folder; their paths.
    ///
    /// # Panics
    /// If they cannot be written.
    pub fn write(&self, dir: &Path) -> (PathBuf, PathBuf) {
        let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
        std::fs::write(&cert, &self.cert).unwrap();
        std::fs::write(&key, &self.key).unwrap();
        (cert, key)
    }

    /// A server that shows it.
    pub(crate) fn server(&self) -> ServerConfig {
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.der.clone()], key)
            .unwrap()
    }

    /// Whether this is the one that a server has shown.
    #[must_use]
    pub fn is(&self, shown: &CertificateDer<'_>) -> bool {
        self.der == *shown
    }
}

impl Default for Certificate {
    fn default() -> Self {
        Self::new()
    }
}

/// A client that trusts these certificates and offers these protocols.
///
/// # Panics
/// If a certificate is no good.
#[must_use]
pub fn client(trusted: &[&Certificate], protocols: &[&[u8]]) -> ClientConfig {
    client_of(trusted, protocols, rustls::DEFAULT_VERSIONS)
}

/// The same of certain versions of TLS.
///
/// # Panics
/// If a certificate is no good.
#[must_use]
pub fn client_of(
    trusted: &[&Certificate],
    protocols: &[&[u8]],
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots.add(certificate.der.clone()).unwrap();
    }
    let provider = Arc::new(ring::default_provider());
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    client
}
