//! Archives that become workers.

use std::future::Future;
use std::sync::Arc;

use buntime_core::access::{Grant, Permission, Permit};
use buntime_fs::WriteError;
use buntime_fs::archive::{ArchiveError, ArchiveKind};
use buntime_http::{Method, RequestId};
use schemars::JsonSchema;
use serde::Serialize;

use super::Api;
use super::call::Call;
use super::errors::{STORAGE_FULL, archive_refused, sentence, store_failed};
use super::json::{Success, success};
use super::multipart::{Form, FormLimits};
use super::openapi::Param;
use super::progress;
use super::route::{Access, Route};
use super::view;
use crate::catalog::{PackageError, unit_id};
use crate::deploy::{DeployError, PACKED_MAX, Progress, Spool, Stage, Target, Unpacked};
use crate::failure::Failure;
use crate::message::Response;
use crate::service::Answer;
use crate::store::Release;

/// What the upload of an archive may be refused for, and what one kind of archive may be
/// besides.
macro_rules! archives_fail {
    ($($own:expr),* $(,)?) => {
        &[
            (400, "NO_FILE_PROVIDED"),
            (400, "INVALID_FILE_TYPE"),
            (400, "INVALID_MULTIPART_FORM"),
            (400, "INVALID_ARCHIVE"),
            (400, "ARCHIVE_UNSAFE_ENTRY"),
            (400, "ARCHIVE_DUPLICATE_ENTRY"),
            (413, "ARCHIVE_TOO_LARGE"),
            (400, "INVALID_MANIFEST"),
            (400, "INVALID_PACKAGE_NAME"),
            (400, "INVALID_PACKAGE_VERSION"),
            (400, "RESERVED_NAME"),
            (400, "NAME_MISMATCH"),
            (400, "ENTRYPOINT_ESCAPES"),
            (403, "NAMESPACE_DENIED"),
            (403, "PERMISSION_NOT_GRANTED"),
            (408, "REQUEST_TIMEOUT"),
            (500, "INTERNAL_ERROR"),
            (503, "STORAGE_UNAVAILABLE"),
            (503, "TOO_MANY_UPLOADS"),
            (507, "STORAGE_FULL"),
            $($own,)*
        ]
    };
}
pub(super) use archives_fail;

pub(super) const ROUTES: &[Route] = &[Route::change(
    Method::Post,
    "/workers/upload",
    Access::Granted(Permission::WorkersInstall, |api, call, grant| {
        Box::pin(upload::<Workers>(api, call, grant))
    }),
    "worker.upload",
    "Installs the worker in an archive, or a new release of it.",
)
.takes_form(&[
    Param::new(
        "file",
        "The archive: .tgz, .tar.gz or .zip, at most 100 MB.",
    )
    .required(),
    Param::new(
        "message",
        "What is new in this release, at most 1000 bytes.",
    ),
])
.gives::<Success<Deployed>>(200)
.gives_also(&[progress::TYPE])
.fails(archives_fail!(
    (400, "NO_WORKER_DIRS"),
    (409, "WORKER_COLLISION"),
    (500, "STORE_FAILED"),
    (503, "STORE_UNAVAILABLE"),
))];

/// What a form with an archive may bring: the archive, and room for the rest.
pub(super) static LIMITS: FormLimits = FormLimits {
    bytes: PACKED_MAX + 64 * 1024,
    parts: 16,
    too_large: ARCHIVE_TOO_LARGE,
};

/// Longest message of a release, in bytes.
pub(super) const MESSAGE_MAX: usize = 1000;

const ARCHIVE_TOO_LARGE: Failure = Failure::new(
    413,
    "ARCHIVE_TOO_LARGE",
    "The archive is larger than 100 MB.",
);
const NO_FILE_PROVIDED: Failure = Failure::new(
    400,
    "NO_FILE_PROVIDED",
    "The form has no file in a field `file`; with curl: -F file=@app.tgz.",
);
const INVALID_FILE_TYPE: Failure = Failure::new(
    400,
    "INVALID_FILE_TYPE",
    "The file's name must end with .tgz, .tar.gz or .zip.",
);

pub(super) const PLUGIN_HAS_PATH: Failure = Failure::new(
    409,
    "WORKER_COLLISION",
    "The path of this worker belongs to a plugin.",
);

/// What a deployment is answered with.
#[derive(Serialize, JsonSchema)]
pub(super) struct Deployed {
    worker: DeployedWorker,
}

/// What a deployment has put in place.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct DeployedWorker {
    name: String,
    version: String,
    installed_at: String,
    /// The number of the release.
    release: u64,
}

/// What archives become.
pub(super) trait Become: 'static {
    /// What may be installed. Dropped, it leaves nothing.
    type Ready: Send;
    /// What is told of what was installed.
    type Done: Serialize + Send;

    /// All that comes before the deployment itself.
    fn prepare(
        api: &Api,
        call: Call,
        grant: &Grant,
        progress: &Progress,
    ) -> impl Future<Output = Result<Self::Ready, Answer>> + Send;

    /// The deployment. It goes on if nobody waits for it.
    fn install(
        api: &Api,
        request_id: &RequestId,
        ready: Self::Ready,
        progress: &Progress,
    ) -> impl Future<Output = Result<Self::Done, Answer>> + Send;
}

/// Takes an archive, and tells how far it is if the client asks for that.
pub(super) async fn upload<B: Become>(
    api: Arc<Api>,
    call: Call,
    grant: Grant,
) -> Result<Response, Answer> {
    if progress::is_wanted(&call.request.headers) {
        return progress::upload::<B>(api, call, grant).await;
    }
    let progress = Progress::untold();
    let id = call.request.id.clone();
    let ready = B::prepare(&api, call, &grant, &progress).await?;
    let done = B::install(&api, &id, ready, &progress).await?;
    Ok(success(200, done))
}

/// Archives that become workers.
struct Workers;

/// A worker that may be installed.
struct Ready {
    unpacked: Unpacked,
    permit: Permit,
    message: Option<Box<str>>,
}

impl Become for Workers {
    type Ready = Ready;
    type Done = Deployed;

    async fn prepare(
        api: &Api,
        mut call: Call,
        grant: &Grant,
        progress: &Progress,
    ) -> Result<Ready, Answer> {
        let (spool, message) = receive(api, &mut call, Target::Worker, grant, progress).await?;
        let Call { request, note, .. } = call;
        let id = request.id.clone();
        // From here on the connection looks whether its client is still there.
        drop(request);
        let unpacked = api.deployments.unpack(spool, progress).await;
        let unpacked = unpacked.map_err(|error| failure_of(&error, api, &id))?;
        let package = unpacked.package().cloned().ok_or(Failure::INTERNAL)?;
        note.target(unit_id(&package.name, &package.version));
        note.unit(&package.name);
        // Whether there is such a worker is not looked at before.
        let permit = grant.over(package.name.scope());
        // Else the plugin would not come back with the next start.
        if permit.is_ok() && api.plugins.current().have_path(&package.name) {
            unpacked.discard().await;
            return Err(PLUGIN_HAS_PATH.into());
        }
        match permit {
            Ok(permit) => Ok(Ready {
                unpacked,
                permit,
                message,
            }),
            Err(denied) => {
                unpacked.discard().await;
                Err(denied.into())
            }
        }
    }

    async fn install(
        api: &Api,
        request_id: &RequestId,
        ready: Ready,
        progress: &Progress,
    ) -> Result<Deployed, Answer> {
        let installed =
            api.deployments
                .install(&ready.permit, ready.unpacked, ready.message, progress);
        let failed = |error| failure_of(&error, api, request_id);
        Ok(Deployed::of(&installed.await.map_err(failed)?))
    }
}

impl Deployed {
    pub(super) fn of(release: &Release) -> Self {
        let worker = DeployedWorker {
            name: release.what.name.to_string(),
            version: release.what.version.to_string(),
            installed_at: view::time(release.what.created_at),
            release: release.number,
        };
        Self { worker }
    }
}

/// Reads the form to its end. Whatever it was refused for, nothing of it is left.
pub(super) async fn receive(
    api: &Api,
    call: &mut Call,
    target: Target,
    grant: &Grant,
    progress: &Progress,
) -> Result<(Spool, Option<Box<str>>), Answer> {
    let (mut spool, mut message) = (None, None);
    let read = read_form(api, call, target, grant, &mut spool, &mut message, progress).await;
    match (read, spool) {
        (Ok(()), Some(spool)) => Ok((spool, message)),
        (Ok(()), None) => Err(NO_FILE_PROVIDED.into()),
        (Err(answer), spool) => {
            if let Some(spool) = spool {
                spool.discard().await;
            }
            Err(answer)
        }
    }
}

async fn read_form(
    api: &Api,
    call: &mut Call,
    target: Target,
    grant: &Grant,
    spool: &mut Option<Spool>,
    message: &mut Option<Box<str>>,
    progress: &Progress,
) -> Result<(), Answer> {
    let id = call.request.id.clone();
    let failed = |error: DeployError| -> Answer { failure_of(&error, api, &id).closing().into() };
    let mut form = Form::of(&mut call.request, &LIMITS)?;
    while let Some(part) = form.part().await? {
        match (part.name.as_str(), part.file_name) {
            ("file", Some(name)) => {
                if spool.is_some() {
                    let twice = "The form has two files in the field `file`.";
                    return Err(Failure::new(400, "INVALID_MULTIPART_FORM", twice)
                        .closing()
                        .into());
                }
                let kind = ArchiveKind::of_file_name(&name);
                let kind = kind.ok_or_else(|| INVALID_FILE_TYPE.closing())?;
                let begun = api.deployments.receive(target, grant, kind).await;
                let begun = begun.map_err(&failed)?;
                let spool = spool.insert(begun);
                while let Some(piece) = form.data().await? {
                    spool.push(&piece).await.map_err(&failed)?;
                    progress.tell(Stage::Receiving(spool.size()));
                }
            }
            ("message", _) => {
                let text = form.text(MESSAGE_MAX).await?;
                *message = (!text.is_empty()).then(|| text.into());
            }
            _ => {}
        }
    }
    Ok(())
}

/// What a client is told of a deployment that did not come about.
pub(super) fn deploy_failed(error: &DeployError, api: &Api, call: &Call) -> Failure {
    failure_of(error, api, &call.request.id)
}

pub(super) fn failure_of(error: &DeployError, api: &Api, request_id: &RequestId) -> Failure {
    let refused = |status, code| Failure::new(status, code, "").saying(sentence(error));
    match error {
        DeployError::NoRoot => refused(400, "NO_WORKER_DIRS"),
        DeployError::NoPluginRoot => refused(400, "NO_PLUGIN_DIRS"),
        DeployError::PluginCollision(_) => refused(409, "PLUGIN_COLLISION"),
        DeployError::NotLoaded => refused(409, "PLUGIN_RELOAD_FAILED"),
        DeployError::Packed => ARCHIVE_TOO_LARGE,
        DeployError::Archive(ArchiveError::StorageFull(_)) => STORAGE_FULL,
        DeployError::Archive(archive) => {
            archive_refused(archive).unwrap_or_else(|| unavailable(error, api, request_id))
        }
        DeployError::Package(package) => match package {
            PackageError::Manifest(_) => refused(400, "INVALID_MANIFEST"),
            PackageError::Name(_) => refused(400, "INVALID_PACKAGE_NAME"),
            PackageError::Version(_) => refused(400, "INVALID_PACKAGE_VERSION"),
            PackageError::Reserved(_) => refused(400, "RESERVED_NAME"),
            // As it stands in the contract, without a full stop.
            PackageError::Base(text) => {
                Failure::new(400, "INVALID_PLUGIN_BASE", "").saying(text.clone())
            }
            PackageError::Mismatch { .. } => refused(400, "NAME_MISMATCH"),
            PackageError::EntrypointEscapes => refused(400, "ENTRYPOINT_ESCAPES"),
            PackageError::NotGranted(_) => refused(403, "PERMISSION_NOT_GRANTED"),
            PackageError::Unreadable(_) => unavailable(error, api, request_id),
        },
        DeployError::Denied(denied) => (*denied).into(),
        DeployError::Collision(_) | DeployError::Changed => refused(409, "WORKER_COLLISION"),
        DeployError::NoRelease => refused(404, "RELEASE_NOT_FOUND"),
        DeployError::NotKept => refused(409, "RELEASE_NOT_KEPT"),
        DeployError::Busy => {
            refused(503, "TOO_MANY_UPLOADS").retry_after(std::time::Duration::from_secs(5))
        }
        DeployError::Store(store) => store_failed(store, &api.log, request_id),
        DeployError::Disk(WriteError::Full) => STORAGE_FULL,
        DeployError::Disk(_) => unavailable(error, api, request_id),
        DeployError::Internal => Failure::INTERNAL,
    }
}

/// A disk that fails: the log says how.
fn unavailable(error: &DeployError, api: &Api, request_id: &RequestId) -> Failure {
    api.log.error("deploy", "A deployment failed", |fields| {
        fields.request_id(request_id);
        fields.error(error);
    });
    Failure::new(
        503,
        "STORAGE_UNAVAILABLE",
        "The server cannot write its folders now. Nothing was changed.",
    )
}
