//! Routes of the file browser (contract section 8), the same for workers and plugins.

mod attachment;
mod failures;
mod upload;

use std::sync::Arc;

use buntime_core::access::{Grant, Permission};
use buntime_http::Method;
use schemars::JsonSchema;
use serde::Serialize;

use self::failures::{Asked, failure};
use super::Api;
use super::call::Call;
use super::errors::blocking;
use super::json::{Body, Done, Fields, Success, done, success};
use super::note::Note;
use super::openapi::Param;
use super::route::{Access, Route};
use crate::failure::Failure;
use crate::files::{FileBrowser, FilesError, Listing, Named, Permitted, UnitKind, check_batch};
use crate::message::Response;
use crate::service::Answer;

/// The routes of one kind of unit.
macro_rules! routes {
    ($kind:expr, $base:literal, $audit:literal, $read:expr, $install:expr, $remove:expr) => {
        &[
            Route::get(
                concat!($base, "/list"),
                Access::Granted($read, |api, call, grant| {
                    Box::pin(list($kind, api, call, grant))
                }),
                "What a folder holds, as far as the key may see it.",
            )
            .reads(PATH)
            .gives::<Success<Listing>>(200)
            .fails(READING),
            Route::get(
                concat!($base, "/download"),
                Access::Granted($read, |api, call, grant| {
                    Box::pin(download($kind, api, call, grant))
                }),
                "A file, or a folder as a zip.",
            )
            .reads(ONE_PATH)
            .gives_files(&["application/octet-stream", "application/zip"])
            .fails(READING),
            Route::get(
                concat!($base, "/download-batch"),
                Access::Granted($read, |api, call, grant| {
                    Box::pin(download_batch($kind, api, call, grant))
                }),
                "Several files and folders in one zip.",
            )
            .reads(PATHS)
            .gives_files(&["application/zip"])
            .fails(READING),
            Route::get(
                concat!($base, "/refresh"),
                Access::Granted($read, |api, call, _| Box::pin(refresh($kind, api, call))),
                "Looks at the files again.",
            )
            .gives::<Done>(200),
            Route::change(
                Method::Post,
                concat!($base, "/refresh"),
                Access::Granted($install, |api, call, _| Box::pin(refresh($kind, api, call))),
                concat!($audit, ".files.refresh"),
                "Looks at the files again.",
            )
            .gives::<Done>(200),
            Route::change(
                Method::Post,
                concat!($base, "/mkdir"),
                Access::Granted($install, |api, call, grant| {
                    Box::pin(mkdir($kind, api, call, grant))
                }),
                concat!($audit, ".files.mkdir"),
                "Makes a folder inside a unit.",
            )
            .takes::<FilePath>()
            .gives::<Done>(200)
            .fails(CHANGING),
            Route::change(
                Method::Post,
                concat!($base, "/upload"),
                Access::Granted($install, |api, call, grant| {
                    Box::pin(upload::upload($kind, api, call, grant))
                }),
                concat!($audit, ".files.upload"),
                "Puts files into a unit; a zip is unpacked.",
            )
            .takes_form(FORM)
            .gives::<Success<FilesUploaded>>(200)
            .fails(UPLOADING),
            Route::change(
                Method::Post,
                concat!($base, "/rename"),
                Access::Granted($install, |api, call, grant| {
                    Box::pin(rename($kind, api, call, grant))
                }),
                concat!($audit, ".files.rename"),
                "Gives a file or folder another name.",
            )
            .takes::<FileRename>()
            .gives::<Done>(200)
            .fails(CHANGING),
            Route::change(
                Method::Post,
                concat!($base, "/move"),
                Access::Granted($install, |api, call, grant| {
                    Box::pin(move_one($kind, api, call, grant))
                }),
                concat!($audit, ".files.move"),
                "Moves a file or folder into another folder.",
            )
            .takes::<FileMove>()
            .gives::<Done>(200)
            .fails(CHANGING),
            Route::change(
                Method::Post,
                concat!($base, "/move-batch"),
                Access::Granted($install, |api, call, grant| {
                    Box::pin(move_batch($kind, api, call, grant))
                }),
                concat!($audit, ".files.move"),
                "Moves several files and folders into another folder.",
            )
            .takes::<FilesMove>()
            .gives::<Success<FilesMoved>>(200)
            .fails(CHANGING),
            Route::change(
                Method::Delete,
                concat!($base, "/delete"),
                Access::Granted($remove, |api, call, grant| {
                    Box::pin(delete($kind, api, call, grant))
                }),
                concat!($audit, ".files.delete"),
                "Removes a file, or a folder with all that is in it.",
            )
            .takes::<FilePath>()
            .gives::<Done>(200)
            .fails(CHANGING),
            Route::change(
                Method::Post,
                concat!($base, "/delete-batch"),
                Access::Granted($remove, |api, call, grant| {
                    Box::pin(delete_batch($kind, api, call, grant))
                }),
                concat!($audit, ".files.delete"),
                "Removes several files and folders.",
            )
            .takes::<FilePaths>()
            .gives::<Success<FilesDeleted>>(200)
            .fails(CHANGING),
        ]
    };
}

pub(super) const WORKER_ROUTES: &[Route] = routes!(
    UnitKind::Worker,
    "/workers/files",
    "worker",
    Permission::WorkersRead,
    Permission::WorkersInstall,
    Permission::WorkersRemove
);

pub(super) const PLUGIN_ROUTES: &[Route] = routes!(
    UnitKind::Plugin,
    "/plugins/files",
    "plugin",
    Permission::PluginsRead,
    Permission::PluginsInstall,
    Permission::PluginsRemove
);

const PATH: &[Param] = &[Param::new(
    "path",
    "The folder or file; none is the list of roots.",
)];
const ONE_PATH: &[Param] = &[Param::new("path", "The folder or file.").required()];
const PATHS: &[Param] = &[Param::new(
    "paths",
    "Files and folders, one by one, or all in one with commas between.",
)
.required()
.list()];
const FORM: &[Param] = &[
    Param::new("files", "The files; a `.zip` is unpacked.")
        .required()
        .list(),
    Param::new("path", "The folder that they go into.").required(),
    Param::new(
        "paths",
        "Where each file goes in that folder; without, by its name.",
    )
    .list(),
];
const READING: &[(u16, &str)] = &[
    (400, "BAD_PATH"),
    (404, "DIR_NOT_FOUND"),
    (404, "FILE_NOT_FOUND"),
    (413, "TOO_MANY_ENTRIES"),
    (503, "STORAGE_UNAVAILABLE"),
];
const CHANGING: &[(u16, &str)] = &[
    (400, "BAD_NAME"),
    (400, "BAD_PATH"),
    (400, "CANNOT_DELETE_ROOT"),
    (400, "CANNOT_MOVE_INTO_ITSELF"),
    (400, "CANNOT_MOVE_ROOT"),
    (400, "CANNOT_RENAME_ROOT"),
    (400, "INVALID_MANIFEST"),
    (400, "OTHER_FILE_SYSTEM"),
    (400, "UPLOAD_TARGET_INVALID"),
    (403, "UNIT_PROTECTED"),
    (404, "DIR_NOT_FOUND"),
    (404, "FILE_NOT_FOUND"),
    (409, "ALREADY_EXISTS"),
    (413, "TOO_MANY_ENTRIES"),
    (503, "STORAGE_UNAVAILABLE"),
    (507, "STORAGE_FULL"),
];
const UPLOADING: &[(u16, &str)] = &[
    (400, "ARCHIVE_DUPLICATE_ENTRY"),
    (400, "ARCHIVE_UNSAFE_ENTRY"),
    (400, "BAD_PATH"),
    (400, "INVALID_ARCHIVE"),
    (400, "INVALID_MANIFEST"),
    (400, "INVALID_MULTIPART_FORM"),
    (400, "NO_FILE_PROVIDED"),
    (400, "RESERVED_NAME"),
    (400, "UPLOAD_TARGET_INVALID"),
    (403, "UNIT_PROTECTED"),
    (404, "DIR_NOT_FOUND"),
    (409, "ALREADY_EXISTS"),
    (413, "ARCHIVE_TOO_LARGE"),
    (413, "TOO_MANY_ENTRIES"),
    (413, "UPLOAD_TOO_LARGE"),
    (503, "STORAGE_UNAVAILABLE"),
    (503, "TOO_MANY_UPLOADS"),
    (507, "STORAGE_FULL"),
];

/// How many entries were removed.
#[derive(Serialize, JsonSchema)]
struct FilesDeleted {
    deleted: usize,
}

/// How many entries were moved.
#[derive(Serialize, JsonSchema)]
struct FilesMoved {
    moved: usize,
}

/// How many files were put into place.
#[derive(Serialize, JsonSchema)]
struct FilesUploaded {
    files: usize,
}

/// Shapes of bodies, and how each is read.
macro_rules! bodies {
    ($($name:ident { $($field:ident: $type:ty = $read:ident $written:literal),* })*) => {$(
        #[derive(JsonSchema)]
        #[schemars(deny_unknown_fields, rename_all = "camelCase")]
        struct $name {
            $($field: $type,)*
        }

        impl Body for $name {
            fn read(fields: &mut Fields) -> Result<Self, Failure> {
                Ok(Self {
                    $($field: fields.$read($written)?,)*
                })
            }
        }
    )*};
}

bodies! {
    FilePath { path: String = text "path" }
    FilePaths { paths: Vec<String> = texts "paths" }
    FileRename { path: String = text "path", new_name: String = text "newName" }
    FileMove { path: String = text "path", dest_path: String = text "destPath" }
    FilesMove { paths: Vec<String> = texts "paths", dest_path: String = text "destPath" }
}

/// One call: of which kind of unit, and what it asks for.
#[derive(Clone)]
struct Browsing {
    kind: UnitKind,
    api: Arc<Api>,
    note: Note,
    asked: Asked,
}

async fn list(kind: UnitKind, api: Arc<Api>, call: Call, grant: Grant) -> Result<Response, Answer> {
    let path = call.query()?.get("path")?.unwrap_or_default().to_owned();
    let browsing = Browsing::new(kind, api, &call, Asked::Folder);
    let listing = browsing
        .look(move |files| files.list(&grant, &path))
        .await?;
    Ok(success(200, listing))
}

async fn download(
    kind: UnitKind,
    api: Arc<Api>,
    call: Call,
    grant: Grant,
) -> Result<Response, Answer> {
    let path = call.query()?.get("path")?.unwrap_or_default().to_owned();
    let browsing = Browsing::new(kind, api, &call, Asked::File);
    let found = browsing.look(move |files| files.download(&grant, &path));
    Ok(attachment::respond(found.await?))
}

/// `paths` stands several times, once for each; or once, with commas between.
async fn download_batch(
    kind: UnitKind,
    api: Arc<Api>,
    call: Call,
    grant: Grant,
) -> Result<Response, Answer> {
    let query = call.query()?;
    let mut paths: Vec<String> = query.all("paths").map(str::to_owned).collect();
    if let [one] = &*paths {
        paths = one.split(',').map(str::to_owned).collect();
    }
    let browsing = Browsing::new(kind, api, &call, Asked::File);
    let found = browsing.look(move |files| {
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        files.download_all(&grant, &paths)
    });
    Ok(attachment::respond(found.await?))
}

async fn refresh(kind: UnitKind, api: Arc<Api>, call: Call) -> Result<Response, Answer> {
    let browsing = Browsing::new(kind, api, &call, Asked::Folder);
    browsing.change(|_| Ok(())).await?;
    Ok(done())
}

async fn mkdir(
    kind: UnitKind,
    api: Arc<Api>,
    mut call: Call,
    grant: Grant,
) -> Result<Response, Answer> {
    let body: FilePath = call.json().await?;
    let browsing = Browsing::new(kind, api, &call, Asked::Mkdir);
    let place = browsing.permit(&grant, &body.path)?;
    browsing
        .change(move |files| files.make_folder(&place))
        .await?;
    Ok(done())
}

async fn delete(
    kind: UnitKind,
    api: Arc<Api>,
    mut call: Call,
    grant: Grant,
) -> Result<Response, Answer> {
    let body: FilePath = call.json().await?;
    let browsing = Browsing::new(kind, api, &call, Asked::Delete);
    let place = browsing.permit(&grant, &body.path)?;
    browsing.change(move |files| files.remove(&[place])).await?;
    Ok(done())
}

async fn delete_batch(
    kind: UnitKind,
    api: Arc<Api>,
    mut call: Call,
    grant: Grant,
) -> Result<Response, Answer> {
    let body: FilePaths = call.json().await?;
    let browsing = Browsing::new(kind, api, &call, Asked::Delete);
    let places = browsing.permit_all(&grant, &body.paths)?;
    let deleted = places.len();
    browsing.change(move |files| files.remove(&places)).await?;
    Ok(success(200, FilesDeleted { deleted }))
}

async fn rename(
    kind: UnitKind,
    api: Arc<Api>,
    mut call: Call,
    grant: Grant,
) -> Result<Response, Answer> {
    let body: FileRename = call.json().await?;
    let browsing = Browsing::new(kind, api, &call, Asked::Rename);
    let place = browsing.permit(&grant, &body.path)?;
    let renamed = browsing.change(move |files| files.rename(&grant, &place, &body.new_name));
    renamed.await?;
    Ok(done())
}

async fn move_one(
    kind: UnitKind,
    api: Arc<Api>,
    mut call: Call,
    grant: Grant,
) -> Result<Response, Answer> {
    let body: FileMove = call.json().await?;
    let browsing = Browsing::new(kind, api, &call, Asked::Move);
    let place = browsing.permit(&grant, &body.path)?;
    let moved = browsing.change(move |files| files.move_into(&grant, &[place], &body.dest_path));
    moved.await?;
    Ok(done())
}

async fn move_batch(
    kind: UnitKind,
    api: Arc<Api>,
    mut call: Call,
    grant: Grant,
) -> Result<Response, Answer> {
    let body: FilesMove = call.json().await?;
    let browsing = Browsing::new(kind, api, &call, Asked::Move);
    let places = browsing.permit_all(&grant, &body.paths)?;
    let moved = places.len();
    let work = browsing.change(move |files| files.move_into(&grant, &places, &body.dest_path));
    work.await?;
    Ok(success(200, FilesMoved { moved }))
}

impl Browsing {
    fn new(kind: UnitKind, api: Arc<Api>, call: &Call, asked: Asked) -> Self {
        Self {
            kind,
            api,
            note: call.note.clone(),
            asked,
        }
    }

    /// A place to be changed, noted for the audit log before it is asked whether the
    /// caller may.
    fn permit(&self, grant: &Grant, path: &str) -> Result<Permitted, Failure> {
        self.note.target(path);
        self.note_scope(path);
        let permitted = self.files().permit(grant, path);
        permitted.map_err(|error| self.failure(error))
    }

    fn permit_all(&self, grant: &Grant, paths: &[String]) -> Result<Vec<Permitted>, Failure> {
        self.note.targets(paths);
        let failed = |error| self.failure(error);
        // A body holds more paths than a batch, and each costs.
        check_batch(paths.len()).map_err(failed)?;
        for path in paths {
            self.note_scope(path);
        }
        let permitted = self.files().permit_all(grant, paths);
        permitted.map_err(failed)
    }

    fn note_scope(&self, path: &str) {
        if let Ok(Named::Place(place)) = self.files().name(path) {
            self.note.scope(place.scope());
        }
    }

    fn files(&self) -> &FileBrowser {
        match self.kind {
            UnitKind::Worker => &self.api.files.workers,
            UnitKind::Plugin => &self.api.files.plugins,
        }
    }

    /// What a client is told.
    fn failure(&self, error: FilesError) -> Failure {
        failure(error, self.asked, self.kind, &self.api)
    }

    /// Does what reads the disk, where blocking is allowed.
    async fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce(&FileBrowser) -> Result<T, FilesError> + Send + 'static,
    ) -> Result<T, Failure> {
        let at_work = self.clone();
        let done = blocking(move || work(at_work.files())).await?;
        done.map_err(|error| self.failure(error))
    }

    /// Does what changes files. Whatever it comes to, the next request sees it.
    async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&FileBrowser) -> Result<T, FilesError> + Send + 'static,
    ) -> Result<T, Failure> {
        let (kind, api) = (self.kind, Arc::clone(&self.api));
        self.look(move |files| {
            let done = work(files);
            if kind == UnitKind::Worker {
                api.catalog.rescan();
            }
            done
        })
        .await
    }
}
