//! Bytes into lines of bounded length.

/// Cuts a stream into lines. A line over the limit is cut there, and what
/// follows up to its end is left out.
#[derive(Debug)]
pub(crate) struct Lines {
    limit: usize,
    line: Vec<u8>,
    /// Within the part of a line that is left out.
    skipping: bool,
}

impl Lines {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            skipping: false,
        }
    }

    /// Takes bytes and gives each whole line, without its line end, to `each`.
    pub(crate) fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8])) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            let (head, rest) = bytes.split_at(end);
            self.append(head);
            self.flush(&mut each);
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.append(bytes);
    }

    /// The last line may lack its end.
    pub(crate) fn finish(&mut self, mut each: impl FnMut(&[u8])) {
        if !self.line.is_empty() {
            self.flush(&mut each);
        }
    }

    /// Whether the line under way is over the limit.
    pub(crate) fn is_over(&self) -> bool {
        self.skipping
    }

    fn append(&mut self, bytes: &[u8]) {
        if self.skipping {
            return;
        }
        let room = self.limit - self.line.len();
        self.line
            .extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        self.skipping = bytes.len() > room;
    }

    fn flush(&mut self, each: &mut impl FnMut(&[u8])) {
        each(self.line.strip_suffix(b"\r").unwrap_or(&self.line));
        self.line.clear();
        self.line.shrink_to(4096);
        self.skipping = false;
    }
}

/// At most `limit` bytes of a text, cut between characters.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    text.get(..text.floor_char_boundary(limit)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_at_their_limit_however_they_arrive() {
        let stream = b"one\r\n\nexactly8\nlonger than eight\nlast";
        for size in 1..stream.len() {
            let mut lines = Lines::new(8);
            let mut found = Vec::new();
            let mut take = |line: &[u8]| found.push(String::from_utf8(line.to_vec()).unwrap());
            for piece in stream.chunks(size) {
                lines.push(piece, &mut take);
            }
            lines.finish(&mut take);
            assert_eq!(found, ["one", "", "exactly8", "longer t", "last"]);
        }
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("aé", 3), "aé");
        assert_eq!(cut("a", 9), "a");
    }
}
