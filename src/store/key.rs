//! Names of objects.

use std::fmt;

use crate::hex;

/// Segments with `/` between them; within a segment everything but letters, digits, `.`, `_` and `-` is percent-encoded, so
/// that a job's or database's name is one segment whatever is in it, and no key leads out of a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// The key of one segment.
    pub fn new(segment: &str) -> Self {
        Self(encode(segment))
    }

    /// A key beside all others that is never listed: no other begins with a dot.
    pub(super) fn hidden(name: &str) -> Self {
        Self(format!(".{}", encode(name)))
    }

    /// This and one more segment.
    #[must_use]
    pub fn join(&self, segment: &str) -> Self {
        Self(format!("{}/{}", self.0, encode(segment)))
    }

    /// A key as a store lists it; nothing where it is not of that form.
    pub fn parse(text: &str) -> Option<Self> {
        let whole = !text.is_empty()
            && text.split('/').all(|segment| decode(segment).is_some_and(|plain| encode(&plain) == segment));
        whole.then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments as they were before they were encoded.
    pub fn segments(&self) -> Vec<String> {
        self.0.split('/').filter_map(decode).collect()
    }

    /// Whether it is `above`, or lies under it.
    pub fn is_under(&self, above: &Key) -> bool {
        self.0.strip_prefix(&above.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn encode(segment: &str) -> String {
    let mut text = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'@' => text.push(char::from(byte)),
            // `.` and `..` mean something to a directory, and a leading dot hides a file.
            b'.' if !text.is_empty() => text.push('.'),
            byte => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

fn decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => hex::byte(rest.next()?, rest.next()?)?,
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok().filter(|plain| !plain.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_is_one_that_every_store_takes() {
        let key = Key::new("nightly").join("app \"Ω\"/../x").join("..").join("app.dump.zst");
        assert_eq!(key.as_str(), "nightly/app%20%22%CE%A9%22%2F..%2Fx/%2E./app.dump.zst");
        assert!(key.is_under(&Key::new("nightly")));
        assert!(!key.is_under(&Key::new("night")), "one name may begin with another");
        assert_eq!(Key::parse("nightly/../x"), None);
        assert_eq!(Key::parse("a//b"), None);
    }

    proptest! {
        #[test]
        fn what_is_joined_is_read_back(segments in prop::collection::vec(".{1,20}", 1..4)) {
            let mut key = Key::new(&segments[0]);
            for segment in &segments[1..] {
                key = key.join(segment);
            }
            prop_assert_eq!(key.segments(), segments);
            prop_assert_eq!(Key::parse(key.as_str()), Some(key));
        }
    }
}
