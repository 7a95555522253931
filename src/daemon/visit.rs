//! Who looks at the status page: somebody who has given the token may run jobs from it.
//!
//! A browser keeps no bearer token. What it is given instead is a cookie that only this process can have made from the
//! token: it ends with the process, and with the token. No other site can use it: browsers send it to nobody's form but ours
//! (`SameSite`), and say from where a request came.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest, Sha256};

use super::page::Visitor;
use crate::hex::hex;

const COOKIE: &str = "pgtend";
/// A working day.
const SECONDS: u32 = 12 * 3600;

/// What makes cookies, and knows its own. Without a key nobody signs in.
#[derive(Clone)]
pub struct Seal(Option<[u8; 32]>);

impl Seal {
    pub fn new() -> Self {
        let mut key = [0; 32];
        match getrandom::fill(&mut key) {
            Ok(()) => Self(Some(key)),
            Err(error) => {
                tracing::error!(
                    "nobody can sign in on the status page, since this host has no random numbers: {error}"
                );
                Self(None)
            }
        }
    }

    fn mark(&self, token: &SecretString) -> Option<String> {
        let digest = Sha256::new().chain_update(self.0?).chain_update(token.expose_secret()).finalize();
        Some(hex(&digest))
    }

    /// The header of whoever has given the right token.
    pub fn cookie(&self, token: &SecretString) -> Option<HeaderValue> {
        cookie(&self.mark(token)?, SECONDS)
    }

    pub fn visitor(&self, token: Option<&SecretString>, headers: &HeaderMap) -> Visitor {
        let Some(mark) = token.and_then(|token| self.mark(token)) else { return Visitor::Onlooker };
        let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let values = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        // Digests, so that the time of the comparison tells nothing.
        let is_ours = |value: &str| Sha256::digest(value) == Sha256::digest(&mark);
        let signed_in = values.filter(|(name, _)| *name == COOKIE).any(|(_, value)| is_ours(value));
        if signed_in { Visitor::Operator } else { Visitor::Stranger }
    }
}

/// The header that takes the cookie away.
pub fn no_cookie() -> Option<HeaderValue> {
    cookie("", 0)
}

fn cookie(value: &str, seconds: u32) -> Option<HeaderValue> {
    let cookie = format!("{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict");
    let mut value = HeaderValue::from_str(&cookie).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Whether a token is the token.
pub fn is_right(token: &SecretString, given: &str) -> bool {
    // Digests, so that the time of the comparison tells nothing of the token.
    Sha256::digest(token.expose_secret()) == Sha256::digest(given)
}

/// A form that was sent from somebody else's page is refused.
///
/// # Errors
/// It was; the status says so.
pub fn from_our_page(headers: &HeaderMap) -> Result<(), StatusCode> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let foreign = text(header::HeaderName::from_static("sec-fetch-site")).is_some_and(|site| site != "same-origin")
        || text(header::ORIGIN)
            .is_some_and(|origin| origin.split_once("://").map(|(_, host)| host) != text(header::HOST));
    if foreign { Err(StatusCode::FORBIDDEN) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_cookie_is_good_for_its_process_and_its_token_alone() {
        let (ours, others) = (Seal(Some([1; 32])), Seal(Some([2; 32])));
        let (token, newer) = (SecretString::from("one"), SecretString::from("two"));
        let set = ours.cookie(&token).unwrap();
        let pair = set.to_str().unwrap().split(';').next().unwrap().to_owned();
        let sent = headers(&[("cookie", &format!("a=b; {pair}"))]);
        assert_eq!(ours.visitor(Some(&token), &sent), Visitor::Operator);
        assert_eq!(others.visitor(Some(&token), &sent), Visitor::Stranger);
        assert_eq!(ours.visitor(Some(&newer), &sent), Visitor::Stranger);
        assert_eq!(ours.visitor(None, &sent), Visitor::Onlooker);
        assert_eq!(ours.visitor(Some(&token), &headers(&[("cookie", "pgtend=")])), Visitor::Stranger);
        assert!(!set.to_str().unwrap().contains("one"));
    }

    #[test]
    fn a_form_of_another_site_is_refused() {
        let ours = |pairs: &[(&'static str, &str)]| from_our_page(&headers(pairs)).is_ok();
        assert!(ours(&[]));
        assert!(ours(&[("sec-fetch-site", "same-origin"), ("origin", "http://db:9934"), ("host", "db:9934")]));
        assert!(!ours(&[("sec-fetch-site", "cross-site")]));
        assert!(!ours(&[("sec-fetch-site", "same-site")]));
        assert!(!ours(&[("origin", "http://evil.example"), ("host", "db:9934")]));
        assert!(!ours(&[("origin", "null"), ("host", "db:9934")]));
    }
}
