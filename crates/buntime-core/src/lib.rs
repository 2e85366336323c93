#![doc = include_str!("../README.md")]

pub mod access;
pub mod dotenv;

mod address;
mod api_key;
mod diagnostic;
mod duration;
mod entrypoint;
mod env;
mod glob;
mod hex;
mod install_plan;
mod manifest;
mod name;
mod origin;
mod package_json;
mod plugin_base;
mod size;
mod version;
mod yaml;

pub use address::AddressKind;
pub use api_key::{API_KEY_PATTERN, ApiKey};
pub use diagnostic::{Diagnostic, DiagnosticKind, ManifestErrors, Parsed};
pub use duration::{DurationError, HumanDuration, parse_duration};
pub use entrypoint::{EntrypointError, normalize_entrypoint};
pub use env::{WorkerEnv, is_blocked_variable, public_env, worker_env};
pub use glob::{GlobError, RouteGlob, RouteGlobs};
pub use hex::hex;
pub use install_plan::{InstallPlan, InstallPlanError};
pub use manifest::{
    Ask, BodyLimit, BundleMode, Caps, CoveredPath, CronJob, CsrfPolicy, DEFAULT_ENTRYPOINTS,
    DEFAULT_PLUGIN_ENTRIES, Granted, GrantedPath, Grants, HostPort, Instances, Limits,
    MANIFEST_MAX_BYTES, Manifest, Menu, NetPermission, NotGranted, Permissions, PluginManifest,
    PluginManifestErrors, Verdict, Visibility,
};
pub use name::{NameError, Namespace, PackageName};
pub use origin::{Origin, OriginError};
pub use package_json::{PackageJson, PackageJsonError};
pub use plugin_base::{PluginBase, PluginBaseError};
pub use size::{ByteSize, SizeError};
pub use version::{RangeError, SemVersion, Version, VersionError, VersionRange, pick};
