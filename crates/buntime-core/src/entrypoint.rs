//! The entrypoint of an app, as text (contract §5, Paths).

/// Longest entrypoint, in bytes.
const MAX_BYTES: usize = 1024;

/// Why a text is no entrypoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntrypointError {
    /// Absolute, or above the app's folder after resolving `..`.
    #[error("Security: Entrypoint escapes app directory")]
    Escapes,
    /// Empty, too long, or with a character that no path needs.
    #[error("an entrypoint is the path of a file below the app's folder, as in `src/index.ts`")]
    Malformed,
}

/// Resolves `.` and `..` in the text of an entrypoint and returns the path below
/// the app's folder, without either.
///
/// Lexical: it knows nothing of links. Whoever opens the file must refuse links
/// that lead out, again.
///
/// # Errors
/// [`EntrypointError::Escapes`] for absolute paths (Windows' too) and for those
/// that climb out, even on the way.
pub fn normalize_entrypoint(text: &str) -> Result<String, EntrypointError> {
    if text.is_empty() || text.len() > MAX_BYTES || text.contains(char::is_control) {
        return Err(EntrypointError::Malformed);
    }
    // Bun on Linux takes a backslash for a letter of a name, other systems for a
    // separator; no app needs the difference.
    if text.starts_with('/') || text.contains('\\') {
        return Err(EntrypointError::Escapes);
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in text.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop().ok_or(EntrypointError::Escapes)?;
            }
            name => segments.push(name),
        }
    }
    if segments.is_empty() || text.ends_with('/') {
        return Err(EntrypointError::Malformed);
    }
    let path = segments.join("/");
    // `C:` is absolute on Windows, also where `./` stood before it.
    if path.as_bytes().get(1) == Some(&b':') {
        return Err(EntrypointError::Escapes);
    }
    Ok(path)
}

#[cfg(test)]
mod tests;
