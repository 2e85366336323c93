//! Whether an app could tell that it runs from a bundle.
//!
//! Read from the text of what was built, after unused code has been left out, and
//! from the words of the sources. It errs on the side of the source: a string or a
//! comment counts like code.

use std::collections::HashSet;

use super::meta::{Metafile, is_built_in};

/// What opens a bundle with the directive that makes it strict like its sources.
const OPENING: &str =
    "// @bun @bytecode @bun-cjs\n(function(exports, require, module, __filename, __dirname) {";

/// Words that tell where a module is, where code was written, or what is loaded
/// while it runs.
const WORDS: [&str; 16] = [
    "FileSystemRouter",
    "SharedWorker",
    "__dirname",
    "__filename",
    "callee",
    "caller",
    "captureStackTrace",
    "createRequire",
    "dlopen",
    "embeddedFiles",
    "eval",
    "getCallSites",
    "prepareStackTrace",
    "sourceURL",
    "stack",
    "stackTraceLimit",
];

/// The same, where they are called.
const CALLS: [&str; 3] = ["Function", "Worker", "import"];

/// The same, of more than one word. A `NODE_ENV` that is left is one that the app
/// sets: all others have been replaced by its value.
const PHRASES: [&str; 9] = [
    "Bun.main",
    "Bun.plugin",
    "Bun.resolve",
    "Function.prototype.toString",
    "import.meta",
    "process.binding",
    "process.env.NODE_ENV",
    "typeof exports",
    "typeof module",
];

/// The same, in the sources: Bun writes their values into the bundle.
const PLACES: [&str; 3] = ["import.meta", "__dirname", "__filename"];

/// The first reason to run the source, if there is one.
///
/// `sources` are the texts of all modules that are code.
pub(super) fn observable(bundle: &str, metafile: &Metafile, sources: &[String]) -> Option<String> {
    if !metafile.is_strict() {
        return Some("it contains a CommonJS module".to_owned());
    }
    if let Some(import) = metafile.unsettled_import() {
        return Some(import);
    }
    for source in sources {
        if let Some(place) = PLACES.iter().find(|place| source.contains(**place)) {
            return Some(format!("it uses {place}"));
        }
    }
    let Some(code) = bundle.strip_prefix(OPENING) else {
        return Some("the bundle is not of the expected form".to_owned());
    };
    // What comes before the first module's name is Bun's own.
    let own = code.find("\n// ").unwrap_or(0);
    let code = code.get(own..).unwrap_or_default();
    if let Some(found) = telltale(code) {
        return Some(format!("it uses {found}"));
    }
    // One call describes what the entry exports; each further one is a module that
    // is used as a value, which the bundle replaces by a plain object.
    if code.matches("\n__export(").count() > 1 {
        return Some("it uses a module as a value".to_owned());
    }
    dynamic_require(code).or_else(|| renamed(code, sources))
}

fn telltale(code: &str) -> Option<&str> {
    let is_telltale = |word: &Word<'_>| {
        WORDS.contains(&word.text) || CALLS.contains(&word.text) && word.after.starts_with('(')
    };
    let word = words(code).find(is_telltale).map(|word| word.text);
    word.or_else(|| PHRASES.into_iter().find(|phrase| code.contains(phrase)))
}

/// `require` of anything but a module of Bun's.
fn dynamic_require(code: &str) -> Option<String> {
    words(code)
        .filter(|word| word.text == "require")
        .find(|word| {
            let name = word
                .after
                .strip_prefix("(\"")
                .and_then(|rest| rest.split_once("\")"));
            !name.is_some_and(|(name, _)| is_built_in(name))
        })
        .map(|_| "it uses require".to_owned())
}

/// A function or class whose name does not come from the sources, and might be read.
/// Where two modules use one name, Bun gives another to one of them.
fn renamed(code: &str, sources: &[String]) -> Option<String> {
    let mut declared = HashSet::new();
    let mut known = HashSet::new();
    for source in sources {
        let mut before = "";
        for word in words(source) {
            known.insert(word.text);
            if matches!(before, "function" | "class" | "var" | "let" | "const") {
                declared.insert(word.text);
            }
            before = word.text;
        }
    }
    let mut renamed = HashSet::new();
    let mut before = "";
    for word in words(code) {
        let is_known = if word.is_name_after(before) {
            declared.contains(word.text)
        } else {
            !word.names_a_function() || known.contains(word.text)
        };
        if !is_known {
            renamed.insert(word.text);
        }
        before = word.text;
    }
    if renamed.is_empty() {
        return None;
    }
    let mut before = "";
    for word in words(code) {
        if renamed.contains(word.text) && !word.keeps_its_name_to_itself(before) {
            return Some(format!("{} would get another name", word.text));
        }
        let reads_names = match word.text {
            // Else it begins the constructor of a class.
            "constructor" => word.is_member || !word.after.starts_with('('),
            "__proto__" => word.is_member,
            other => matches!(other, "static" | "getPrototypeOf"),
        };
        if reads_names || word.text == "target" && before == "new" {
            return Some("it could see that a class got another name".to_owned());
        }
        before = word.text;
    }
    None
}

/// An identifier, a keyword or a number.
struct Word<'a> {
    text: &'a str,
    /// Blanks before it, if there is nothing else between it and the word before.
    gap: &'a str,
    after: &'a str,
    is_member: bool,
}

impl Word<'_> {
    /// Whether it is the name of a function or class, given the word before it.
    fn is_name_after(&self, before: &str) -> bool {
        let is_next = self.gap.trim_start_matches('*').trim().is_empty();
        let goes_on = match before {
            "function" => self.after.starts_with('('),
            "class" => self.after.starts_with(" {") || self.after.starts_with(" extends "),
            _ => false,
        };
        is_next && goes_on && self.text != "extends"
    }

    /// Whether this use of a function or class tells nobody what it is called.
    fn keeps_its_name_to_itself(&self, before: &str) -> bool {
        let is_next = self.gap == " ";
        match before {
            "class" | "function" if self.is_name_after(before) => true,
            "new" | "extends" | "instanceof" if is_next => true,
            // How the entry's own default export is handed over.
            "default" if self.gap == ": () => " => true,
            _ => self.is_member || self.after.starts_with(['(']) || self.after.starts_with(" = "),
        }
    }

    /// Whether a function or a class without a name of its own is assigned to it.
    fn names_a_function(&self) -> bool {
        let Some(value) = self.after.strip_prefix(" = ") else {
            return false;
        };
        if self.is_member {
            return false;
        }
        let value = value.strip_prefix("async ").unwrap_or(value);
        if value.starts_with(['(', '@']) || value.starts_with("async(") {
            return true;
        }
        let mut following = words(value);
        let Some(first) = following.next().filter(|first| first.gap.is_empty()) else {
            return false;
        };
        match first.text {
            "function" | "class" => !following
                .next()
                .is_some_and(|second| second.is_name_after(first.text)),
            _ => first.after.starts_with(" =>"),
        }
    }
}

fn words(text: &str) -> impl Iterator<Item = Word<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let start = rest.find(is_part)?;
        let (gap, tail) = rest.split_at(start);
        let end = tail.find(|part| !is_part(part)).unwrap_or(tail.len());
        let (text, after) = tail.split_at(end);
        rest = after;
        Some(Word {
            text,
            gap,
            after,
            is_member: gap.ends_with('.') && !gap.ends_with("..."),
        })
    })
}

fn is_part(part: char) -> bool {
    part.is_alphanumeric() || matches!(part, '_' | '$' | '#' | '\u{200c}' | '\u{200d}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ESM: &str = r#"{"inputs":{"i.ts":{"imports":[],"format":"esm"}}}"#;

    fn look(code: &str, source: &str) -> Option<String> {
        let metafile = Metafile::parse(ESM.as_bytes()).unwrap();
        let bundle = format!(
            "{OPENING}\"use strict\";\nvar __helper = (x) => x;\n\n// i.ts\nvar exports_i = {{}};\n__export(exports_i, {{\n}});\n{code}\n}})\n"
        );
        observable(&bundle, &metafile, &[source.to_owned()])
    }

    #[test]
    fn plain_code_is_not_observable() {
        let source = "class Store {} const handler = () => 1, a = x => x; function* each() {}";
        for code in [
            "",
            "class Store {\n}",
            "var Store = class extends Other {\n};",
            "var Store2 = class Store {\n};",
            "var handler = () => 1, a = (x) => x;",
            "var other = [1], third = 3;",
            "app.other = () => 1;",
            "function* each() {\n}",
            "var import_fs = require(\"fs\"); var import_path = require(\"node:path\");",
            "call(function() {\n}, class {\n}, async () => 1);",
            "class Store2 extends Store {\n}\nuse(new Store2, x instanceof Store2);",
            "function handler2() {\n}\nuse(handler2(1));",
            "var i_default = async () => 1; __export(a, {\n  default: () => i_default\n});",
        ] {
            assert_eq!(look(code, source), None, "{code}");
        }
    }

    #[test]
    fn what_tells_of_the_bundle_is_found() {
        for code in [
            "use(import.meta.url)",
            "use(__dirname)",
            "load(import(name))",
            "use(error.stack)",
            "Error.captureStackTrace(this)",
            "Error.prepareStackTrace = f",
            "new Worker(\"x.ts\")",
            "new Function(\"return 1\")",
            "eval(\"1\")",
            "Function.prototype.toString.call(f)",
            "use(Bun.main)",
            "require(name)",
            "require(\"./x\")",
            "require.resolve(\"fs\")",
            "use(require)",
            "process.env.NODE_ENV = \"x\"",
            "__export(exports_b, {\n});",
            "class Store2 {\n}\nuse(Store2);",
            "class Store2 {\n}\nuse(new Store2().constructor.name);",
            "function handler2() {\n}\nuse(handler2);",
            "var handler2 = async () => 1; use(handler2);",
            "var first = 1, handler2 = (x) => x; use({ handler2 });",
            "i_default = class {\n}; use(i_default.name)",
            "i_default = x => x; use(i_default);",
        ] {
            let reason = look(code, "class Store {} function handler(x) {}");
            assert!(reason.is_some(), "{code}");
        }
        assert!(look("", "use(import.meta.dir)").is_some());
    }

    #[test]
    fn an_unknown_form_is_not_trusted() {
        let metafile = Metafile::parse(ESM.as_bytes()).unwrap();
        assert!(observable("var a = 1;", &metafile, &[]).is_some());
    }
}
