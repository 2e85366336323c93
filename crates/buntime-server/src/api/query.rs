//! The query of a request, decoded strictly: what could be read in two ways is
//! refused.

use crate::failure::Failure;

/// Most pairs: a batch names its paths in the query.
const PAIRS_MAX: usize = 1024;

/// The pairs of a query, in the order in which they were sent.
#[derive(Debug)]
pub(crate) struct Query(Vec<(String, String)>);

const BAD_QUERY: Failure = Failure::new(
    400,
    "BAD_QUERY",
    "The query is malformed, or says a thing twice.",
);

impl Query {
    /// # Errors
    /// 400 for broken escapes and for what is no text.
    pub(super) fn parse(query: &[u8]) -> Result<Self, Failure> {
        let mut pairs = Vec::new();
        for pair in query
            .split(|&byte| byte == b'&')
            .filter(|pair| !pair.is_empty())
        {
            if pairs.len() == PAIRS_MAX {
                return Err(BAD_QUERY);
            }
            let equals = pair.iter().position(|&byte| byte == b'=');
            let (name, value) = pair.split_at(equals.unwrap_or(pair.len()));
            pairs.push((
                decode(name)?,
                decode(value.strip_prefix(b"=").unwrap_or_default())?,
            ));
        }
        Ok(Self(pairs))
    }

    /// The one value under `name`.
    ///
    /// # Errors
    /// 400 if there are several.
    pub(crate) fn get(&self, name: &str) -> Result<Option<&str>, Failure> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            (_, Some(_)) => Err(BAD_QUERY),
        }
    }

    /// Every value under `name`.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Decodes as HTML forms do: `+` is a space.
fn decode(text: &[u8]) -> Result<String, Failure> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    while let Some(&byte) = rest.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => match (digit(rest.next()), digit(rest.next())) {
                (Some(high), Some(low)) => u8::try_from(high << 4 | low).unwrap_or_default(),
                _ => return Err(BAD_QUERY),
            },
            byte => byte,
        });
    }
    String::from_utf8(decoded).map_err(|_| BAD_QUERY)
}
