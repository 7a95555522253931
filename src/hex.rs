//! Bytes and their hexadecimal digits.

/// Two digits a byte, in small letters.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The byte of two digits, in letters of either size, as they stand after a `%` in a URL.
pub fn byte(high: u8, low: u8) -> Option<u8> {
    let digit = |c: u8| char::from(c).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_digit_makes_no_byte() {
        for [high, low] in [*b"+1", *b"1-", *b" 1", *b"1g", *b"%4"] {
            assert_eq!(byte(high, low), None);
        }
        assert_eq!(byte(b'c', b'E'), Some(0xce));
    }

    proptest! {
        #[test]
        fn each_byte_is_read_back(bytes: Vec<u8>) {
            let text = hex(&bytes);
            let read: Option<Vec<u8>> = text.as_bytes().chunks(2).map(|pair| byte(pair[0], pair[1])).collect();
            prop_assert_eq!(read, Some(bytes));
        }
    }
}
