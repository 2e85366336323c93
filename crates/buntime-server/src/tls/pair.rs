//! A certificate chain with its key, from two files to what rustls serves with.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Largest file that is read: chains and keys have a few kilobytes.
const FILE_MAX: u64 = 1024 * 1024;

/// What is spoken inside TLS, the better one first (RFC 7301, RFC 9113 section 3.2).
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// A certificate chain and its key, both PEM (contract section 2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    /// `RUNTIME_TLS_CERT`.
    pub(crate) cert: PathBuf,
    /// `RUNTIME_TLS_KEY`.
    pub(crate) key: PathBuf,
}

/// A pair that was read and belongs together.
#[derive(Debug, Clone)]
pub struct TlsPair {
    /// Where it came from.
    pub(super) files: TlsFiles,
    pub(super) config: Arc<ServerConfig>,
    /// What the files were when they were read.
    pub(super) stamp: Stamp,
}

/// Which of the two files a fault is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Cert,
    Key,
}

/// Why a file cannot be served with. Reads on from the name of the file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsFault {
    /// The file cannot be opened or read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// More bytes than any certificate has.
    #[error("is larger than 1 MB")]
    TooLarge,
    /// It has no section of the kind that is needed.
    #[error("holds no {0} in PEM form")]
    Missing(&'static str),
    /// Its PEM is broken.
    #[error("is not valid PEM: {0}")]
    Pem(pem::Error),
    /// A key of a kind that cannot be used, or a broken one.
    #[error("holds a key that cannot be used: {0}")]
    Key(#[source] rustls::Error),
    /// A certificate that cannot be used.
    #[error("holds a certificate that cannot be used: {0}")]
    Certificate(#[source] rustls::Error),
    /// Each is good, but they are not a pair.
    #[error("is not the key of the certificate")]
    Mismatch,
}

/// Reads both files and checks that they belong together. Blocking.
///
/// # Errors
/// Everything that is wrong, with the file that it is wrong in.
pub(crate) fn load(files: &TlsFiles) -> Result<TlsPair, Vec<(Part, TlsFault)>> {
    // Taken first: what changes while the files are read is seen as a change.
    let stamp = Stamp::of(files);
    let (chain, key) = match (read_chain(&files.cert), read_key(&files.key)) {
        (Ok(chain), Ok(key)) => (chain, key),
        (chain, key) => {
            let cert = chain.err().map(|fault| (Part::Cert, fault));
            let key = key.err().map(|fault| (Part::Key, fault));
            return Err(cert.into_iter().chain(key).collect());
        }
    };
    let config = server_config(chain, key).map_err(|fault| vec![fault])?;
    Ok(TlsPair {
        files: files.clone(),
        config: Arc::new(config),
        stamp,
    })
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, (Part, TlsFault)> {
    let provider = ring::default_provider();
    provider
        .key_provider
        .load_private_key(key.clone_key())
        .map_err(|error| (Part::Key, TlsFault::Key(error)))?;
    let certificate = |error| match error {
        rustls::Error::InconsistentKeys(_) => (Part::Key, TlsFault::Mismatch),
        error => (Part::Cert, TlsFault::Certificate(error)),
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .map_err(certificate)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(certificate)?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    // Tickets are sealed with keys of this one config: none outlives its certificate.
    config.ticketer = ring::Ticketer::new().map_err(|error| (Part::Key, TlsFault::Key(error)))?;
    Ok(config)
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let text = read(path)?;
    let chain = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(TlsFault::Pem)?;
    if chain.is_empty() {
        return Err(TlsFault::Missing("certificate"));
    }
    Ok(chain)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFault> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsFault::Missing("unencrypted private key"),
        error => TlsFault::Pem(error),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsFault> {
    let mut text = Vec::new();
    File::open(path)?
        .take(FILE_MAX + 1)
        .read_to_end(&mut text)?;
    if text.len() as u64 > FILE_MAX {
        return Err(TlsFault::TooLarge);
    }
    Ok(text)
}

/// By what a change of the files shows, also one by rename or by a link that
/// points elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp([Option<FileStamp>; 2]);

#[derive(Debug, Clone, PartialEq, Eq)]
struct FileStamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(files: &TlsFiles) -> Self {
        Self([&files.cert, &files.key].map(|path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some(FileStamp {
                device: metadata.dev(),
                inode: metadata.ino(),
                size: metadata.size(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                changed: (metadata.ctime(), metadata.ctime_nsec()),
            })
        }))
    }
}
