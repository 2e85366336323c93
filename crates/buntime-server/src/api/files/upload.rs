//! Files that a form brings.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Arc;

use buntime_core::access::Grant;
use bytes::Bytes;

use super::failures::Asked;
use super::{Browsing, FilesUploaded};
use crate::api::Api;
use crate::api::call::Call;
use crate::api::errors::blocking;
use crate::api::json::success;
use crate::api::multipart::{Form, FormLimits};
use crate::api::upload::deploy_failed;
use crate::failure::Failure;
use crate::files::{FILES_MAX, FileBrowser, FilesError, Permitted, UnitKind, Upload};
use crate::message::Response;
use crate::service::Answer;

/// Longest path, in bytes.
const PATH_MAX: usize = 4096;
/// Bytes that are written at a time.
const PIECE: usize = 256 * 1024;
/// As much as archives may unpack to, and the form around it.
static LIMITS: FormLimits = FormLimits {
    bytes: (512 + 16) * 1024 * 1024,
    parts: 2 * FILES_MAX + 1,
    too_large: Failure::new(
        413,
        "UPLOAD_TOO_LARGE",
        "An upload brings at most 512 MB in 20,000 files.",
    ),
};

/// What has come in so far.
struct Incoming {
    browsing: Browsing,
    target: Option<(String, Permitted)>,
    paths: Vec<String>,
    upload: Option<Upload>,
}

/// `path`, `files` and, for files in folders, as many `paths`, in any order.
pub(super) async fn upload(
    kind: UnitKind,
    api: Arc<Api>,
    mut call: Call,
    grant: Grant,
) -> Result<Response, Answer> {
    // Each may hold as much disk as an archive: they share their places.
    let place = api.deployments.upload_place(&grant);
    let _place = place.map_err(|error| deploy_failed(&error, &api, &call).closing())?;
    let mut incoming = Incoming {
        browsing: Browsing::new(kind, api, &call, Asked::Upload),
        target: None,
        paths: Vec::new(),
        upload: None,
    };
    let received = incoming.receive(&mut call, &grant).await;
    let Incoming {
        browsing,
        target,
        paths,
        upload,
    } = incoming;
    if let Err(answer) = received {
        discard(upload).await;
        return Err(answer);
    }
    let (target, upload) = match (target, upload) {
        (Some((_, target)), Some(upload)) => (target, upload),
        (None, upload) => {
            discard(upload).await;
            let error = FilesError::BadPath("the form has no `path` that says where to");
            return Err(browsing.failure(error).into());
        }
        (_, None) => return Err(NO_FILE.into()),
    };
    let files = browsing.change(move |files| files.finish_upload(&target, upload, &paths));
    let files = files.await?;
    Ok(success(200, FilesUploaded { files }))
}

const NO_FILE: Failure = Failure::new(400, "NO_FILE_PROVIDED", "The form has no part `files`.");

impl Incoming {
    async fn receive(&mut self, call: &mut Call, grant: &Grant) -> Result<(), Answer> {
        let mut form = Form::of(&mut call.request, &LIMITS)?;
        while let Some(part) = form.part().await? {
            match part.name.as_str() {
                "path" => {
                    let path = form.text(PATH_MAX).await?;
                    if self.target.is_some() {
                        return Err(self.fail(FilesError::BadPath("`path` stands twice")));
                    }
                    let target = self.browsing.permit(grant, &path)?;
                    self.target = Some((path, self.checked(target).await?));
                }
                "paths" => self.paths.push(form.text(PATH_MAX).await?),
                "files" | "file" => {
                    let name = part.file_name.unwrap_or_default();
                    let file = self.begin(name).await?;
                    write(&mut form, file, self).await?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Refuses a target before the files for it come in.
    async fn checked(&self, target: Permitted) -> Result<Permitted, Answer> {
        let checked = self.browsing.look(move |files| {
            files.check_upload(&target)?;
            Ok(target)
        });
        Ok(checked.await?)
    }

    async fn begin(&mut self, name: String) -> Result<File, Answer> {
        let mut upload = self.upload.take();
        let at = self.target.as_ref().map(|(path, _)| path.clone());
        let work = move |files: &FileBrowser| {
            let mut upload = match upload.take() {
                Some(upload) => upload,
                None => files.begin_upload(at.as_deref())?,
            };
            let file = upload.file(name)?;
            Ok((upload, file))
        };
        let (upload, file) = self.browsing.look(work).await?;
        self.upload = Some(upload);
        Ok(file)
    }

    fn fail(&self, error: FilesError) -> Answer {
        self.browsing.failure(error).into()
    }
}

/// Writes what is left of a part.
async fn write(form: &mut Form<'_>, mut file: File, to: &Incoming) -> Result<(), Answer> {
    let mut is_end = false;
    while !is_end {
        let mut pieces: Vec<Bytes> = Vec::new();
        let mut length = 0;
        while length < PIECE {
            match form.data().await? {
                Some(data) => {
                    length += data.len();
                    pieces.push(data);
                }
                None => {
                    is_end = true;
                    break;
                }
            }
        }
        let written = blocking(move || -> io::Result<File> {
            for piece in pieces {
                file.write_all(&piece)?;
            }
            Ok(file)
        });
        let written = written.await?;
        file = written
            .map_err(|error| to.fail(FilesError::from(buntime_fs::WriteError::from(error))))?;
    }
    Ok(())
}

/// Removes what came in, where blocking is allowed.
async fn discard(upload: Option<Upload>) {
    // A panic in there is told by the runtime.
    let _ = blocking(move || drop(upload)).await;
}
