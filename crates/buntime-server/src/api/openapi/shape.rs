//! What a route takes and gives, as it stands beside the route.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::api::route::Route;

/// Makes the schema of one type.
pub(crate) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// What a route takes and gives.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(super) query: &'static [Param],
    pub(super) takes: Takes,
    pub(super) gives: Gives,
    /// Other types that it can give, if it is asked to.
    pub(super) also: &'static [&'static str],
    /// A status that bears the same JSON as its success does, and what it means.
    pub(super) same: Option<(u16, &'static str)>,
    /// Failures of this route alone: status and code.
    pub(super) fails: &'static [(u16, &'static str)],
}

/// A parameter of the query.
#[derive(Clone, Copy)]
pub(crate) struct Param {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) is_required: bool,
    pub(super) is_list: bool,
    /// What its text matches; empty: any.
    pub(super) pattern: &'static str,
}

#[derive(Clone, Copy)]
pub(super) enum Takes {
    Nothing,
    Json {
        schema: SchemaOf,
        is_required: bool,
    },
    /// `multipart/form-data` with these parts; the first is a file.
    Form(&'static [Param]),
}

#[derive(Clone, Copy)]
pub(super) enum Gives {
    Unknown,
    Nothing,
    Json(u16, SchemaOf),
    /// Bytes of these types.
    Files(&'static [&'static str]),
}

impl Param {
    /// One that may be left out.
    pub(crate) const fn new(name: &'static str, about: &'static str) -> Self {
        Self {
            name,
            about,
            is_required: false,
            is_list: false,
            pattern: "",
        }
    }

    /// The same, but it must be there.
    pub(crate) const fn required(mut self) -> Self {
        self.is_required = true;
        self
    }

    /// The same, but its text matches this.
    pub(crate) const fn matching(mut self, pattern: &'static str) -> Self {
        self.pattern = pattern;
        self
    }

    /// The same, but it may be there several times.
    pub(crate) const fn list(mut self) -> Self {
        self.is_list = true;
        self
    }
}

impl Shape {
    /// Of a route that does not say.
    pub(crate) const UNKNOWN: Self = Self {
        query: &[],
        takes: Takes::Nothing,
        gives: Gives::Unknown,
        also: &[],
        same: None,
        fails: &[],
    };

    /// Whether the route says what it gives.
    #[cfg(test)]
    pub(super) fn is_known(&self) -> bool {
        !matches!(self.gives, Gives::Unknown)
    }
}

impl Route {
    /// It reads these parameters of the query.
    pub(crate) const fn reads(mut self, query: &'static [Param]) -> Self {
        self.shape.query = query;
        self
    }

    /// It takes this as JSON.
    pub(crate) const fn takes<T: JsonSchema>(mut self) -> Self {
        self.shape.takes = Takes::Json {
            schema: SchemaGenerator::subschema_for::<T>,
            is_required: true,
        };
        self
    }

    /// It takes this as JSON, or no body.
    pub(crate) const fn may_take<T: JsonSchema>(mut self) -> Self {
        self.shape.takes = Takes::Json {
            schema: SchemaGenerator::subschema_for::<T>,
            is_required: false,
        };
        self
    }

    /// It takes a form; the first part is a file.
    pub(crate) const fn takes_form(mut self, parts: &'static [Param]) -> Self {
        self.shape.takes = Takes::Form(parts);
        self
    }

    /// It gives this as JSON.
    pub(crate) const fn gives<T: JsonSchema>(mut self, status: u16) -> Self {
        self.shape.gives = Gives::Json(status, SchemaGenerator::subschema_for::<T>);
        self
    }

    /// It gives 204.
    pub(crate) const fn gives_nothing(mut self) -> Self {
        self.shape.gives = Gives::Nothing;
        self
    }

    /// It gives bytes of this type.
    pub(crate) const fn gives_files(mut self, types: &'static [&'static str]) -> Self {
        self.shape.gives = Gives::Files(types);
        self
    }

    /// If it is asked to, it gives bytes of these types.
    pub(crate) const fn gives_also(mut self, types: &'static [&'static str]) -> Self {
        self.shape.also = types;
        self
    }

    /// It gives the same JSON with this status too, which means that.
    pub(crate) const fn gives_the_same(mut self, status: u16, means: &'static str) -> Self {
        self.shape.same = Some((status, means));
        self
    }

    /// It can fail in these ways, besides those that all routes like it have.
    pub(crate) const fn fails(mut self, fails: &'static [(u16, &'static str)]) -> Self {
        self.shape.fails = fails;
        self
    }

    /// The names in the pattern.
    pub(super) fn params(&self) -> impl Iterator<Item = &'static str> {
        let segments = self.pattern.split('/');
        segments.filter_map(|segment| segment.strip_prefix(':'))
    }

    /// A name for programs: `getKeys`, `deleteWorkersByScopeByName`.
    pub(super) fn operation_id(&self) -> String {
        let mut id = self.method.as_str().to_ascii_lowercase();
        for segment in self.pattern.split('/').skip(1) {
            let (by, name) = match segment.strip_prefix(':') {
                Some(name) => ("By", name),
                None => ("", segment),
            };
            id.push_str(by);
            for word in name.split(['-', '.']) {
                let mut letters = word.chars();
                id.extend(letters.next().map(|first| first.to_ascii_uppercase()));
                id.push_str(letters.as_str());
            }
        }
        id
    }
}
