//! The two ways to write a connection string, a URL and `key=value` pairs, both read into pairs. What the keys mean is
//! [`super::conninfo`]'s business.
//!
//! No message here quotes the text it complains about: a password that was not quoted or percent-encoded as it should be
//! ends up in the wrong place, and must not end up in a log.

use super::conninfo::ConninfoError;
use crate::hex;

/// The pairs in the order of the text; of two with one key the later counts, as in libpq.
pub(super) fn pairs(text: &str) -> Result<Vec<(String, String)>, ConninfoError> {
    match text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://")) {
        Some(rest) => url(rest),
        None => words(text),
    }
}

fn wrong<T>(message: &str) -> Result<T, ConninfoError> {
    Err(ConninfoError(message.into()))
}

/// `key=value key = 'a value' …`; a backslash takes the next character as it is, within quotes and without.
fn words(text: &str) -> Result<Vec<(String, String)>, ConninfoError> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
        let key = &rest[..end];
        let Some(value) = rest[end..].trim_start().strip_prefix('=') else {
            return wrong(
                "the connection string has a word without \"=\"; it is a URL (postgresql://user@host:port/dbname) or \
                 key=value pairs, where a value with spaces stands in single quotes",
            );
        };
        if key.is_empty() {
            return wrong("the connection string has a \"=\" without a key before it");
        }
        let (value, after) = value_at(value.trim_start())?;
        pairs.push((key.to_owned(), value));
        rest = after.trim_start();
    }
    Ok(pairs)
}

/// The value that `text` begins with, and what follows it.
fn value_at(text: &str) -> Result<(String, &str), ConninfoError> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut characters = text.char_indices().skip(usize::from(quoted));
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => value.extend(characters.next().map(|(_, next)| next)),
            '\'' if quoted => return Ok((value, &text[at + 1..])),
            c if !quoted && c.is_whitespace() => return Ok((value, &text[at..])),
            c => value.push(c),
        }
    }
    if quoted {
        wrong("a value of the connection string begins with a single quote and never ends")
    } else {
        Ok((value, ""))
    }
}

/// What follows the scheme: `[user[:password]@][host[:port],…][/dbname][?key=value&…]`.
fn url(text: &str) -> Result<Vec<(String, String)>, ConninfoError> {
    let mut pairs = Vec::new();
    let mut rest = text;
    if let Some(at) = rest.find(['@', '/']).filter(|at| rest[*at..].starts_with('@')) {
        let (user, password) =
            rest[..at].split_once(':').map_or((&rest[..at], None), |(user, word)| (user, Some(word)));
        pairs.push(("user".into(), decode(user)?));
        if let Some(password) = password {
            pairs.push(("password".into(), decode(password)?));
        }
        rest = &rest[at + 1..];
    }
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (places, dbname) = rest.split_once('/').unwrap_or((rest, ""));
    hosts(places, &mut pairs)?;
    if dbname.contains(['@', '/']) {
        return wrong(
            "the connection URL has a / or @ where the database name is: within a user name, password or database name \
             write %2F for / and %40 for @",
        );
    }
    pairs.push(("dbname".into(), decode(dbname)?));
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let Some((key, value)) = parameter.split_once('=') else {
            return wrong("the connection URL has a parameter without \"=\" after its ?");
        };
        if value.contains('=') {
            return wrong(
                "the connection URL has a second \"=\" in one parameter after its ?: write %3D for = within a value",
            );
        }
        match (decode(key)?.as_str(), decode(value)?) {
            // JDBC's way to say it, which libpq takes too.
            ("ssl", on) if on == "true" => pairs.push(("sslmode".into(), "require".into())),
            (key, value) => pairs.push((key.into(), value)),
        }
    }
    // An empty part of a URL is a part that is not there.
    pairs.retain(|(_, value)| !value.is_empty());
    Ok(pairs)
}

fn hosts(places: &str, pairs: &mut Vec<(String, String)>) -> Result<(), ConninfoError> {
    if places.is_empty() {
        return Ok(());
    }
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for place in places.split(',') {
        let (host, port) = match place.strip_prefix('[') {
            Some(place) => match place.split_once(']') {
                Some((host, "")) => (host, ""),
                Some((host, port)) if port.starts_with(':') => (host, &port[1..]),
                _ => {
                    return wrong(
                        "the connection URL has a [ that no ] ends before the port: an IPv6 address is written [::1]",
                    );
                }
            },
            None => place.split_once(':').unwrap_or((place, "")),
        };
        if host.contains('@') || port.contains(|c: char| !c.is_ascii_digit()) {
            return wrong(
                "the connection URL has a host or port that cannot be one (user:password@host:port/dbname): within a user \
                 name or password write %40 for @, %3A for :, %2F for /, %2C for a comma, %3F for ?; an IPv6 address stands \
                 in brackets",
            );
        }
        hosts.push(decode(host)?);
        ports.push(port);
    }
    pairs.push(("host".into(), hosts.join(",")));
    if ports.iter().any(|port| !port.is_empty()) {
        pairs.push(("port".into(), ports.join(",")));
    }
    Ok(())
}

/// The URL of these pairs, which [`pairs`] reads back: `user` and the rest in their places, what has none as parameters.
pub(super) fn written(pairs: &[(&str, &str)]) -> String {
    let value = |key: &str| pairs.iter().find(|(known, _)| *known == key).map(|(_, value)| *value);
    let mut url = String::from("postgresql://");
    if let Some(user) = value("user") {
        url.push_str(&format!("{}@", encode(user, "")));
    }
    // A socket's directory, an address beside its name, and a list with gaps have no place there.
    let places = value("host").filter(|_| value("hostaddr").is_none()).and_then(|hosts| places(hosts, value("port")));
    url.push_str(places.as_deref().unwrap_or_default());
    if let Some(dbname) = value("dbname") {
        url.push_str(&format!("/{}", encode(dbname, "")));
    }
    let placed = |key: &str| matches!(key, "user" | "dbname") || places.is_some() && matches!(key, "host" | "port");
    let others = pairs.iter().filter(|(key, _)| !placed(key));
    let others: Vec<String> = others.map(|(key, value)| format!("{key}={}", encode(value, "/,:"))).collect();
    if !others.is_empty() {
        url.push_str(&format!("?{}", others.join("&")));
    }
    url
}

/// `host:port,host:port`
fn places(hosts: &str, ports: Option<&str>) -> Option<String> {
    let hosts: Vec<&str> = hosts.split(',').collect();
    let ports: Vec<&str> = ports.map(|ports| ports.split(',').collect()).unwrap_or_default();
    let place = |(at, host): (usize, &&str)| {
        let port = if ports.len() == 1 { ports.first() } else { ports.get(at) };
        let port = port.filter(|port| !port.is_empty()).map_or_else(String::new, |port| format!(":{port}"));
        let host = if host.contains(':') { format!("[{host}]") } else { encode(host, "") };
        format!("{host}{port}")
    };
    let address = |host: &str| host.chars().all(|c| c.is_ascii_hexdigit() || ":.".contains(c));
    let plain = |host: &&str| !host.is_empty() && !host.starts_with('/') && (!host.contains(':') || address(host));
    let port = |port: &&str| port.bytes().all(|b| b.is_ascii_digit());
    (hosts.iter().all(plain) && ports.iter().all(port))
        .then(|| hosts.iter().enumerate().map(place).collect::<Vec<_>>().join(","))
}

fn encode(text: &str, also: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        let c = char::from(byte);
        if byte.is_ascii_alphanumeric() || "-._~".contains(c) || also.contains(c) {
            encoded.push(c);
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn decode(text: &str) -> Result<String, ConninfoError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        match after.first_chunk::<2>().and_then(|[high, low]| hex::byte(*high, *low)) {
            Some(0) => return wrong("the connection URL has a %00, which PostgreSQL cannot take"),
            Some(byte) => bytes.push(byte),
            None => {
                return wrong(
                    "the connection URL has a % without two hexadecimal digits after it: write %25 for a percent sign",
                );
            }
        }
        rest = &after[2..];
    }
    String::from_utf8(bytes).or_else(|_| wrong("the connection URL is not UTF-8 once its %-codes are read"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expect: &[(&str, &str)]) {
        let found = pairs(text).unwrap();
        let found: Vec<_> = found.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(found, expect, "{text}");
    }

    #[test]
    fn urls_are_read_as_libpq_reads_them() {
        check("postgresql://", &[]);
        check("postgres://h", &[("host", "h")]);
        check("postgresql:///app?host=/run/pg", &[("dbname", "app"), ("host", "/run/pg")]);
        check("postgresql://%2Frun%2Fpg/app", &[("host", "/run/pg"), ("dbname", "app")]);
        check(
            "postgresql://a@[::1]:6000,h2/app",
            &[("user", "a"), ("host", "::1,h2"), ("port", "6000,"), ("dbname", "app")],
        );
        check(
            "postgresql://a%40b:p%2F%3A:x?@h/d%20b?sslmode=require&ssl=true",
            &[
                ("user", "a@b"),
                ("password", "p/::x?"),
                ("host", "h"),
                ("dbname", "d b"),
                ("sslmode", "require"),
                ("sslmode", "require"),
            ],
        );
    }

    #[test]
    fn pairs_are_quoted_as_libpq_quotes_them() {
        check("", &[]);
        check("host = h  port=1", &[("host", "h"), ("port", "1")]);
        check(r"password='it\'s \\ mine' user=''", &[("password", r"it's \ mine"), ("user", "")]);
        check(r"password=a\ b options='-c x=y'", &[("password", "a b"), ("options", "-c x=y")]);
    }

    #[test]
    fn a_url_is_written_as_people_write_it() {
        let check = |pairs: &[(&str, &str)], expect: &str| assert_eq!(written(pairs), expect);
        check(&[("user", "a")], "postgresql://a@");
        check(&[("dbname", "app"), ("user", "a")], "postgresql://a@/app");
        check(
            &[("dbname", "my app"), ("host", "db.internal"), ("port", "6000"), ("sslmode", "require"), ("user", "a@b")],
            "postgresql://a%40b@db.internal:6000/my%20app?sslmode=require",
        );
        check(
            &[("dbname", "app"), ("host", "/run/pg"), ("port", "6000"), ("user", "a")],
            "postgresql://a@/app?host=/run/pg&port=6000",
        );
        check(
            &[("dbname", "app"), ("host", "::1,h2"), ("port", "6000,"), ("user", "a")],
            "postgresql://a@[::1]:6000,h2/app",
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            user in "[^\0]{1,10}",
            dbname in "[^\0]{1,10}",
            host in "[a-z/.:%]{1,8}",
            options in proptest::option::of("[^\0]{1,10}"),
        ) {
            let mut meant = vec![("dbname", dbname.as_str()), ("host", host.as_str()), ("port", "6000"), ("user", user.as_str())];
            meant.extend(options.as_deref().map(|options| ("options", options)));
            let mut read = pairs(&written(&meant)).unwrap();
            read.sort();
            let mut meant: Vec<(String, String)> = meant.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
            meant.sort();
            prop_assert_eq!(read, meant);
        }
    }

    #[test]
    fn a_complaint_never_quotes_what_may_be_a_password() {
        for text in [
            "password=my hunter2",
            "password='hunter2",
            "postgresql://a:pass/hunter2@h/db",
            "postgresql://a:pass@hunter2@h/db",
            "postgresql://a:pass@x/hunter2@h/db",
            "postgresql://a:pass@x:hunter2@h/db",
            "postgresql://a:hunter2%zz@h/db",
            "postgresql://a:p@x?hunter2@h/db",
            "postgresql://a:12/hunter2@h/db",
        ] {
            let complaint = pairs(text).expect_err(text).to_string();
            assert!(!complaint.contains("hunter2"), "{text}: {complaint}");
        }
    }
}
