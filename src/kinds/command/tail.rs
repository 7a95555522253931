//! The end of what a program says, however much it is.

use std::collections::VecDeque;

/// So much of it is kept, in bytes and lines.
const BYTES: usize = 4096;
const LINES: usize = 20;

/// What comes in at one end pushes out what came first. It holds more than is kept, so that what is to be hidden is whole.
pub struct Tail {
    bytes: VecDeque<u8>,
    most: usize,
    /// Whether something was pushed out, so that what is at the beginning may be the end of something.
    cut: bool,
}

impl Tail {
    /// One that holds what is kept, and before it a secret as long as `longest`.
    pub fn beside(longest: usize) -> Self {
        Self { bytes: VecDeque::new(), most: BYTES + longest.max(BYTES), cut: false }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        let last = &bytes[bytes.len().saturating_sub(self.most)..];
        self.bytes.extend(last);
        let more = self.bytes.len().saturating_sub(self.most);
        self.bytes.drain(..more);
        self.cut |= more > 0 || last.len() < bytes.len();
    }

    pub const fn is_cut(&self) -> bool {
        self.cut
    }

    /// As text that can be shown and stored: no NUL, which PostgreSQL takes in no text, and nothing that moves a cursor.
    pub fn text(self) -> String {
        let bytes = Vec::from(self.bytes);
        let text = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
        text.chars()
            .map(|c| match c {
                // Where a line is written over, as progress is shown.
                '\r' => '\n',
                '\n' | '\t' => c,
                c if c.is_control() => char::REPLACEMENT_CHARACTER,
                c => c,
            })
            .collect()
    }
}

/// The last lines of a text, a long one from its middle on.
pub fn cut(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
    if last.len() <= BYTES {
        return last;
    }
    let from = (last.len() - BYTES..=last.len()).find(|at| last.is_char_boundary(*at)).unwrap_or(last.len());
    let end = &last[from..];
    // Half a line says less than none, unless it is all there is.
    end.split_once('\n').map_or(end, |(_, whole)| whole).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(chunks: &[&[u8]]) -> String {
        let mut tail = Tail::beside(0);
        for chunk in chunks {
            tail.push(chunk);
        }
        cut(&tail.text())
    }

    #[test]
    fn the_last_lines_are_kept_whatever_comes_before() {
        assert_eq!(tail(&[b"one\ntw", b"o\n\n"]), "one\ntwo");
        assert_eq!(tail(&[]), "");
        let many: String = (0..1000).map(|n| format!("line {n}\n")).collect();
        let kept = tail(&[many.as_bytes()]);
        assert_eq!(kept.lines().count(), LINES);
        assert!(kept.starts_with("line 980\n") && kept.ends_with("line 999"), "{kept}");
    }

    #[test]
    fn a_line_without_end_takes_no_more_room_than_any() {
        let long = "ω".repeat(100_000);
        let kept = tail(&[long.as_bytes(), b"end"]);
        assert!(kept.len() <= BYTES && kept.ends_with("ωωend"), "{}", kept.len());
        assert!(!kept.contains(char::REPLACEMENT_CHARACTER), "cut where a letter begins");
        let kept = tail(&[long.as_bytes(), b"\nlast"]);
        assert_eq!(kept, "last", "half a line is left out");
    }

    #[test]
    fn what_is_no_text_is_made_one() {
        assert_eq!(
            tail(&[b"a\xff\0b\x1b[1mc\td\r\ne 10 %\re 20 %"]),
            "a\u{fffd}\u{fffd}b\u{fffd}[1mc\td\ne 10 %\ne 20 %"
        );
    }
}
