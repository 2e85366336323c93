//! A deployment, beside what it costs to unpack the same archive by hand.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Plan, in_turns};
use crate::client::Connection;
use crate::figures::{Latencies, Sample, ratio};
use crate::report::{Goal, Report};
use crate::servers::{Ours, ROOT_KEY};
use crate::{BenchError, Context as _, Result};

/// Small files, and how large each is.
const SMALL: (usize, usize) = (3000, 4 << 10);
/// Large ones; all bytes are noise, so that packed they are as many.
const LARGE: (usize, usize) = (4, 10 << 20);
/// How long one upload may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy)]
enum Way {
    Upload,
    Tar,
}

/// An upload of 50 MB beside `tar xzf` and `sync -f`.
pub(super) fn beside_tar(plan: &Plan, report: &mut Report) -> Result<()> {
    let dir = TempDir::new().context(|| "no temporary folder".to_owned())?;
    let bench = Bench::new(dir.path())?;
    let ours = Ours::start("bench-upload", &[&bench.apps])?;
    let ways = [Way::Upload, Way::Tar];
    let all = in_turns(plan, "upload", &ways, |way, _| {
        let archive = bench.pack()?;
        let took = match way {
            Way::Upload => bench.upload(&ours, &archive)?,
            Way::Tar => bench.unpack(&archive)?,
        };
        let mut latencies = Latencies::default();
        latencies.add(Some(took));
        Ok(Sample::of_clients(&latencies, took))
    })?;
    report.section(
        "An upload",
        "A .tgz of 3,000 files of 4 KB and 4 of 10 MB, none of which can be packed smaller: uploaded until it is \
         on the disk and serves, and unpacked by `tar xzf` and `sync -f` on the same file system.",
    );
    report.table(&[("upload", &all[0]), ("tar and sync", &all[1])]);
    report.verdict(
        "upload of 50 MB: time over tar and sync",
        ratio(&all[0], &all[1], |sample| sample.p50),
        "",
        Goal::AtMost(2.0),
    );
    Ok(())
}

struct Bench<'a> {
    dir: &'a Path,
    apps: PathBuf,
    /// The version that was packed last: each is a new one, so that nothing is replaced.
    version: Cell<u32>,
}

impl<'a> Bench<'a> {
    fn new(dir: &'a Path) -> Result<Self> {
        let this = Self {
            dir,
            apps: dir.join("apps"),
            version: Cell::new(0),
        };
        let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
        for (kind, (count, size)) in [("small", SMALL), ("large", LARGE)] {
            for i in 0..count {
                let folder = dir.join(format!("source/{kind}/{}", i % 50));
                let file = folder.join(format!("{i}.bin"));
                fs::create_dir_all(&folder)
                    .and_then(|()| fs::write(&file, noise.bytes(size)))
                    .context(|| file.display().to_string())?;
            }
        }
        let index = dir.join("source/index.html");
        fs::create_dir_all(&this.apps)
            .and_then(|()| fs::write(index, "bench"))
            .context(|| "the package".to_owned())?;
        Ok(this)
    }

    /// The next version as an archive that is on the disk.
    fn pack(&self) -> Result<PathBuf> {
        self.version.set(self.version.get() + 1);
        let package = format!(
            "{{\"name\": \"bench\", \"version\": \"1.0.{}\"}}",
            self.version.get()
        );
        let source = self.dir.join("source");
        fs::write(source.join("package.json"), package).context(|| "package.json".to_owned())?;
        let archive = self.dir.join("bench.tgz");
        run(Command::new("tar")
            .arg("czf")
            .arg(&archive)
            .arg("-C")
            .arg(&source)
            .arg("."))?;
        sync(self.dir)?;
        Ok(archive)
    }

    fn upload(&self, ours: &Ours, archive: &Path) -> Result<Duration> {
        let mut body =
            b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.tgz\"\r\n\r\n"
                .to_vec();
        body.extend(fs::read(archive).context(|| archive.display().to_string())?);
        body.extend_from_slice(b"\r\n--b--\r\n");
        let headers =
            format!("x-api-key: {ROOT_KEY}\r\ncontent-type: multipart/form-data; boundary=b\r\n");
        let mut answer = Vec::new();
        let begun = Instant::now();
        let status = Connection::open(ours.port)
            .and_then(|mut connection| {
                connection.set_patience(PATIENCE)?;
                let path = "/api/workers/upload";
                connection.ask("POST", path, &headers, &body, &mut answer)
            })
            .context(|| "POST /api/workers/upload".to_owned())?;
        let took = begun.elapsed();
        if status != 200 {
            let text = String::from_utf8_lossy(&answer);
            return Err(BenchError::Failed(format!("upload: {status} {text}")));
        }
        let folder = format!("bench/1.0.{}", self.version.get());
        remove(&self.apps.join(folder))?;
        Ok(took)
    }

    fn unpack(&self, archive: &Path) -> Result<Duration> {
        let into = self.dir.join("unpacked");
        let begun = Instant::now();
        fs::create_dir(&into).context(|| into.display().to_string())?;
        run(Command::new("tar")
            .arg("xzf")
            .arg(archive)
            .arg("-C")
            .arg(&into))?;
        sync(&into)?;
        let took = begun.elapsed();
        remove(&into)?;
        Ok(took)
    }
}

/// Removes what was measured; the next one syncs before it begins.
fn remove(folder: &Path) -> Result<()> {
    fs::remove_dir_all(folder).context(|| folder.display().to_string())
}

fn sync(folder: &Path) -> Result<()> {
    run(Command::new("sync").arg("-f").arg(folder))
}

fn run(command: &mut Command) -> Result<()> {
    let done = command.status().context(|| format!("{command:?}"))?;
    if done.success() {
        Ok(())
    } else {
        Err(BenchError::Failed(format!("{command:?}: {done}")))
    }
}

/// Bytes that no compression finds anything in (xorshift64).
struct Noise(u64);

impl Noise {
    fn bytes(&mut self, size: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size + 8);
        while bytes.len() < size {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            bytes.extend_from_slice(&self.0.to_le_bytes());
        }
        bytes.truncate(size);
        bytes
    }
}
