//! What a plugin says of itself (contract §9).

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::reader::{self, START, name, normal_path, set};
use super::values::{Field, spelled_otherwise, warn_empty};
use super::{Limits, Permissions, Visibility, sections};
use crate::diagnostic::{DiagnosticKind, ManifestErrors, Parsed, Report};
use crate::{NameError, PackageName, PluginBase, PluginBaseError, RouteGlobs};

/// Files whose exports are a plugin's hooks when its manifest names none: the
/// first that there is.
pub const DEFAULT_PLUGIN_ENTRIES: [&str; 2] = ["plugin.ts", "plugin.js"];

const KEYS: [&str; 16] = [
    "name",
    "base",
    "enabled",
    "entrypoint",
    "pluginEntry",
    "dependencies",
    "optionalDependencies",
    "publicRoutes",
    "menus",
    "injectBase",
    "visibility",
    "env",
    "config",
    "required",
    "permissions",
    "limits",
];

/// A plugin's manifest, all defaults filled in.
///
/// Nothing is interpolated here: `${VAR}` in `env`, `config` and the settings
/// stands as written.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PluginManifest {
    /// Its name; not a reserved one.
    pub name: PackageName,
    /// Where its routes are mounted; none for a plugin of hooks alone.
    pub base: Option<PluginBase>,
    /// False: it is not started.
    pub enabled: bool,
    /// The file of its app, which the pool serves: below the plugin's folder,
    /// without `.` and `..`.
    pub entrypoint: Option<String>,
    /// The file with its hooks, written like `entrypoint`. None: the first of
    /// [`DEFAULT_PLUGIN_ENTRIES`], if there is one.
    pub plugin_entry: Option<String>,
    /// Plugins that start before this one and without which it does not start.
    pub dependencies: Vec<PackageName>,
    /// Plugins that start before this one if they are there.
    pub optional_dependencies: Vec<PackageName>,
    /// Requests to its app that skip onRequest hooks.
    pub public_routes: RouteGlobs,
    /// What it adds to the panel's menu.
    pub menus: Vec<Menu>,
    /// Whether HTML of its app gets a `<base href>`.
    pub inject_base: bool,
    /// What the file browser shows.
    pub visibility: Visibility,
    /// Variables of its app, not yet filtered.
    pub env: BTreeMap<String, String>,
    /// A schema of its settings: a JSON object.
    pub config: Option<Json>,
    /// Whether requests that it would have seen are refused when it could not be
    /// started.
    pub required: bool,
    /// What it asks the sandbox to open.
    pub permissions: Permissions,
    /// What it asks for beyond the server's defaults.
    pub limits: Limits,
    /// All other keys. A number that JSON has not (`.inf`, `.nan`) is a text.
    pub settings: serde_json::Map<String, Json>,
}

/// An entry of the panel's menu.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Menu {
    /// The name of an icon.
    pub icon: Option<String>,
    /// A path of this server: it begins with exactly one `/`.
    pub path: String,
    /// What people read.
    pub title: String,
    /// Entries below it.
    pub items: Vec<Menu>,
}

/// Why a plugin's manifest is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{all}")]
#[non_exhaustive]
pub struct PluginManifestErrors {
    /// The name, if that much could be read.
    pub name: Option<PackageName>,
    /// What is wrong with the base, if that is: it stops the server's start.
    pub base: Option<PluginBaseError>,
    /// All that is wrong, the base included.
    pub all: ManifestErrors,
}

impl PluginManifest {
    /// Reads a plugin's manifest. `file` is how it is called in messages.
    ///
    /// # Errors
    /// All that is wrong with it, together.
    pub fn parse(yaml: &str, file: &str) -> Result<Parsed<Self>, PluginManifestErrors> {
        let mut report = Report::new(file);
        let mut draft = Draft::default();
        let mut has_name = false;
        for (key, node) in reader::entries(yaml, &mut report) {
            let known = KEYS.contains(&key.text.as_str());
            if known && node.is_null() {
                warn_empty(&mut report, key.at, &key.text);
                continue;
            }
            if !known && let Some(meant) = spelled_otherwise(&key.text, &KEYS) {
                let message = format!("`{}` is taken for a setting", key.text);
                report.warn(key.at, "", message, format!("did you mean `{meant}`?"));
            }
            has_name |= key.text == "name";
            let mut field = Field {
                key: key.text.clone(),
                node: &node,
                report: &mut report,
                secret: false,
            };
            draft.read(&mut field);
        }
        if !has_name {
            let hint = "write the plugin's name, as in `name: my-plugin`";
            let kind = DiagnosticKind::PackageName;
            report.error(kind, START, "name", "is missing", hint);
        }
        draft.finish(report)
    }
}

/// What was read so far.
#[derive(Default)]
struct Draft {
    name: Option<PackageName>,
    base_error: Option<PluginBaseError>,
    base: Option<PluginBase>,
    disabled: bool,
    entrypoint: Option<String>,
    plugin_entry: Option<String>,
    dependencies: Vec<PackageName>,
    optional_dependencies: Vec<PackageName>,
    public_routes: RouteGlobs,
    menus: Vec<Menu>,
    inject_base: bool,
    visibility: Visibility,
    env: BTreeMap<String, String>,
    config: Option<Json>,
    optional: bool,
    permissions: Permissions,
    limits: Limits,
    settings: serde_json::Map<String, Json>,
}

impl Draft {
    fn read(&mut self, field: &mut Field<'_, '_>) {
        // Cloned because the arms borrow the field.
        match field.key.clone().as_str() {
            "name" => self.name = plugin_name(field),
            "base" => self.base = self.base(field),
            "enabled" => self.disabled = field.boolean() == Some(false),
            "entrypoint" => self.entrypoint = normal_path(field),
            "pluginEntry" => self.plugin_entry = normal_path(field),
            "dependencies" => set(&mut self.dependencies, names(field)),
            "optionalDependencies" => set(&mut self.optional_dependencies, names(field)),
            "publicRoutes" => set(&mut self.public_routes, sections::public_routes(field)),
            "menus" => set(&mut self.menus, menus(field)),
            "injectBase" => set(&mut self.inject_base, field.boolean()),
            "visibility" => set(&mut self.visibility, reader::visibility(field)),
            "env" => set(&mut self.env, sections::env(field)),
            "config" => self.config = schema(field),
            "required" => self.optional = field.boolean() == Some(false),
            "permissions" => set(&mut self.permissions, sections::permissions(field)),
            "limits" => set(&mut self.limits, sections::limits(field)),
            setting => {
                let value = field.node.to_json();
                self.settings.insert(setting.to_owned(), value);
            }
        }
    }

    fn base(&mut self, field: &mut Field<'_, '_>) -> Option<PluginBase> {
        // Any scalar: a number is a wrong base, not a wrong type.
        let Some(text) = field.scalar().map(str::to_owned) else {
            return field.refuse("a path of one segment, as in `/my-plugin`");
        };
        match text.parse::<PluginBase>() {
            Ok(base) => Some(base),
            Err(error) => {
                let message = error.to_string();
                self.base_error = Some(error);
                field.error(DiagnosticKind::PluginBase, message, "")
            }
        }
    }

    fn finish(self, report: Report<'_>) -> Result<Parsed<PluginManifest>, PluginManifestErrors> {
        let (name, base) = (self.name.clone(), self.base_error.clone());
        let refuse = |all| PluginManifestErrors { name, base, all };
        // No name is an error of the report already.
        let manifest = self.name.map(|name| PluginManifest {
            name,
            base: self.base,
            enabled: !self.disabled,
            entrypoint: self.entrypoint,
            plugin_entry: self.plugin_entry,
            dependencies: self.dependencies,
            optional_dependencies: self.optional_dependencies,
            public_routes: self.public_routes,
            menus: self.menus,
            inject_base: self.inject_base,
            visibility: self.visibility,
            env: self.env,
            config: self.config,
            required: !self.optional,
            permissions: self.permissions,
            limits: self.limits,
            settings: self.settings,
        });
        report.finish_with(manifest).map_err(refuse)
    }
}

fn plugin_name(field: &mut Field<'_, '_>) -> Option<PackageName> {
    let name = name(field)?;
    if name.is_reserved() {
        return field.refuse_as(DiagnosticKind::ReservedName, NameError::Reserved);
    }
    Some(name)
}

fn names(field: &mut Field<'_, '_>) -> Option<Vec<PackageName>> {
    let accepted = "a list of plugins' names, as in `[\"@acme/auth\"]`";
    sections::texts(field, accepted, |item, text| {
        match text.parse::<PackageName>() {
            Ok(name) => Some(name),
            Err(error) => item.refuse_as(DiagnosticKind::PackageName, error),
        }
    })
}

/// Its meaning is checked by whoever applies it.
fn schema(field: &mut Field<'_, '_>) -> Option<Json> {
    match field.node.to_json() {
        schema @ Json::Object(_) => Some(schema),
        _ => field.refuse("a mapping: the schema of the plugin's settings"),
    }
}

/// How deep the reader of YAML goes bounds how deep these nest.
fn menus(field: &mut Field<'_, '_>) -> Option<Vec<Menu>> {
    let items = sections::list(field, "a list of `{icon, path, title, items}`")?;
    let mut menus = Vec::new();
    for (index, node) in items.iter().enumerate() {
        menus.extend(menu(&mut field.item(index, node)));
    }
    Some(menus)
}

fn menu(field: &mut Field<'_, '_>) -> Option<Menu> {
    let (mut icon, mut path, mut title, mut items) = (None, None, None, Vec::new());
    let accepted = "a mapping with `icon`, `path`, `title` and `items`";
    let mut written = Vec::new();
    sections::each_key(
        field,
        accepted,
        &["icon", "path", "title", "items"],
        |name, value| {
            written.push(name.to_owned());
            match name {
                "icon" => icon = words(value),
                "path" => path = menu_path(value),
                "title" => title = words(value),
                _ => set(&mut items, menus(value)),
            }
            Some(())
        },
    )?;
    for (name, example) in [
        ("path", "as in `path: /my-plugin/`"),
        ("title", "as in `title: My plugin`"),
    ] {
        if !written.iter().any(|written| written == name) {
            field.error::<()>(DiagnosticKind::Value, format!("no `{name}`"), example);
        }
    }
    Some(Menu {
        icon,
        path: path?,
        title: title?,
        items,
    })
}

fn words(field: &mut Field<'_, '_>) -> Option<String> {
    let accepted = "a text without control characters, up to 1024 bytes";
    let text = field.text(accepted)?;
    if text.is_empty() || text.len() > sections::TEXT_MAX_BYTES || text.contains(char::is_control) {
        return field.refuse(accepted);
    }
    Some(text)
}

/// A path of this server and nothing else: the panel makes a link of it, and
/// neither `javascript:` nor `//elsewhere` may become one.
fn menu_path(field: &mut Field<'_, '_>) -> Option<String> {
    let accepted = "a path of this server that begins with one `/`, as in `/my-plugin/`";
    let text = field.text(accepted)?;
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if text.starts_with('/')
        && !text.starts_with("//")
        && plain
        && text.len() <= sections::TEXT_MAX_BYTES
    {
        Some(text)
    } else {
        field.refuse(accepted)
    }
}

#[cfg(test)]
mod tests;
