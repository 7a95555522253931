use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[derive(Default)]
struct FakeEnv(HashMap<&'static str, &'static str>);

impl Env for FakeEnv {
    fn var(&self, name: &str) -> Option<String> {
        self.0.get(name).map(ToString::to_string)
    }

    fn user(&self) -> Option<String> {
        Some("tender".into())
    }

    fn home(&self) -> Option<PathBuf> {
        Some("/home/tender".into())
    }
}

fn parse(text: &str, vars: &[(&'static str, &'static str)]) -> Result<Conninfo, ConninfoError> {
    Conninfo::parse_with(text, None, &FakeEnv(vars.iter().copied().collect()))
}

fn target(text: &str, expect: &str) {
    assert_eq!(parse(text, &[]).unwrap().target(), expect, "{text}");
}

fn refused(text: &str, expect: &str) {
    let error = parse(text, &[]).expect_err(text).to_string();
    assert!(error.contains(expect), "{text}: {error}");
}

#[test]
fn what_is_not_said_is_as_libpq_has_it() {
    target("", "tender@/var/run/postgresql:5432,/tmp:5432,localhost:5432/tender");
    target("host=db", "tender@db:5432/tender");
    target("user=anna host=db", "anna@db:5432/anna");
    let info = parse("", &[]).unwrap();
    assert_eq!(info.tls.mode.to_string(), "prefer");
    assert_eq!(info.connect_timeout, Some(Duration::from_secs(10)));
    assert_eq!(info.attrs, SessionAttrs::Any);
    assert_eq!(format!("{:?}", info.password), "passfile Some(\"/home/tender/.pgpass\")");
}

#[test]
fn a_dead_peer_is_noticed_unless_asked_otherwise() {
    let config = parse("", &[]).unwrap().config;
    assert!(config.get_keepalives());
    assert_eq!(config.get_keepalives_idle(), Duration::from_secs(30));
    assert_eq!(config.get_tcp_user_timeout(), Some(&Duration::from_secs(30)));
    let config = parse("keepalives=0 keepalives_idle=7 keepalives_count=2 tcp_user_timeout=1500", &[]).unwrap().config;
    assert!(!config.get_keepalives());
    assert_eq!(config.get_keepalives_idle(), Duration::from_secs(7));
    assert_eq!(config.get_keepalives_retries(), Some(2));
    assert_eq!(config.get_tcp_user_timeout(), Some(&Duration::from_millis(1500)));
    assert_eq!(parse("tcp_user_timeout=0", &[]).unwrap().config.get_tcp_user_timeout(), None);
    assert_eq!(parse("connect_timeout=0", &[]).unwrap().connect_timeout, None);
}

#[test]
fn several_hosts_keep_their_order_and_ports() {
    target("postgresql://anna@h1:6000,h2/app", "anna@h1:6000,h2:5432/app");
    target("postgresql://anna@[::1]:6000,[fe80::1]/app", "anna@[::1]:6000,[fe80::1]:5432/app");
    target("host=a,b port=1,2 dbname=app", "tender@a:1,b:2/app");
    target("host=a,b port=7 dbname=app", "tender@a:7,b:7/app");
    target("host=/run/pg dbname=app", "tender@/run/pg:5432/app");
    target("hostaddr=10.0.0.1 dbname=app", "tender@10.0.0.1:5432/app");
    refused("host=a,b port=1,2,3", "3 ports for 2 hosts");
    refused("host=a,b hostaddr=10.0.0.1", "1 in hostaddr for 2 hosts");
    refused("hostaddr=db", "no IP address");
    refused("port=70000", "not within 1 to 65535");
}

#[test]
fn the_environment_fills_what_the_string_leaves_out() {
    let vars = [
        ("PGHOST", "envhost"),
        ("PGPORT", "6543"),
        ("PGUSER", "envuser"),
        ("PGDATABASE", "envdb"),
        ("PGSSLMODE", "disable"),
    ];
    let info = parse("", &vars).unwrap();
    assert_eq!(info.target(), "envuser@envhost:6543/envdb");
    assert_eq!(info.tls.mode.to_string(), "disable");
    assert_eq!(parse("postgresql://anna@db:1/app", &vars).unwrap().target(), "anna@db:1/app");
    assert_eq!(parse("postgresql://db", &vars).unwrap().target(), "envuser@db:6543/envdb");
    let error = parse("", &[("PGSERVICE", "app")]).unwrap_err().to_string();
    assert!(error.starts_with("PGSERVICE is set") && error.contains("service files are not read"), "{error}");
    assert!(parse("", &[("PGAPPNAME", "x")]).is_ok());
}

#[test]
fn passwords_are_looked_for_in_libpqs_order() {
    let found = |text: &str, file: Option<&str>, vars: &[(&'static str, &'static str)]| {
        let info = Conninfo::parse_with(text, file.map(Path::new), &FakeEnv(vars.iter().copied().collect()));
        info.map_or_else(|error| error.to_string(), |info| format!("{:?}", info.password))
    };
    let all = [("PGPASSWORD", "x"), ("PGPASSFILE", "/p")];
    assert_eq!(found("password=y", None, &all), "in the connection string");
    assert_eq!(found("", Some("/f"), &all), "password_file /f");
    assert_eq!(found("", None, &all), "PGPASSWORD");
    assert_eq!(found("password=''", None, &all), "PGPASSWORD");
    assert_eq!(found("", None, &all[1..]), "passfile Some(\"/p\")");
    assert_eq!(found("passfile=/q", None, &all[1..]), "passfile Some(\"/q\")");
    assert!(found("postgresql://a:y@h", Some("/f"), &[]).contains("password_file is given too"));
}

#[test]
fn a_credential_of_systemd_is_not_called_exposed() {
    let env = FakeEnv([("CREDENTIALS_DIRECTORY", "/run/credentials/pgtend.service")].into());
    let parse = |path: &str| Conninfo::parse_with("", Some(Path::new(path)), &env).unwrap().password;
    assert!(matches!(parse("/run/credentials/pgtend.service/db"), Password::File { exposed: None, .. }));
    assert!(matches!(parse("/etc/pgtend/db"), Password::File { exposed: Some(_), .. }));
}

#[test]
fn an_unknown_key_names_the_nearest_known_one() {
    refused("hots=db", "\"hots\", which is no key that is known: is host meant?");
    refused("postgresql://db?ssl_mode=require", "is sslmode meant?");
    refused("postgresql://db?wholly_else=1", "\"wholly_else\", which is no key that is known");
    assert_eq!(unknown("hunter2", true).to_string().matches("hunter2").count(), 0);
}

#[test]
fn what_cannot_be_kept_is_refused_instead_of_ignored() {
    refused("service=app", "service files are not read");
    refused("sslcrl=/x", "revocation lists are not supported");
    refused("gssencmode=require", "GSSAPI is not supported");
    refused("sslmode=verify", "none of prefer, disable, allow, require, verify-ca, verify-full");
    refused("target_session_attrs=master", "none of any, read-write");
    refused("sslrootcert=system sslmode=require", "too weak for sslrootcert=system");
    refused("sslnegotiation=direct", "too weak for sslnegotiation=direct");
    refused("ssl_max_protocol_version=TLSv1.1", "no version of TLS");
    assert!(parse("sslcrl='' gssencmode=prefer client_encoding=UTF8 application_name=x sslcompression=0", &[]).is_ok());
    assert_eq!(parse("sslrootcert=system", &[]).unwrap().tls.mode.to_string(), "verify-full");
}

#[test]
fn the_process_has_a_user_to_connect_as() {
    assert!(ProcessEnv.user().is_some_and(|user| !user.is_empty()));
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

proptest! {
    #[test]
    fn a_password_written_well_is_kept_and_never_shown(password in "[ -~é€]{6,20}") {
        // Not one that is in the words around it by chance.
        let password = format!("{password}~Zq");
        let quoted = password.replace('\\', r"\\").replace('\'', r"\'");
        for text in [format!("postgresql://anna:{}@db/app", percent(&password)), format!("host=db password='{quoted}' user=anna")] {
            let info = parse(&text, &[]).unwrap();
            let Password::Given(secret) = &info.password else { panic!("no password") };
            prop_assert_eq!(secrecy::ExposeSecret::expose_secret(secret), password.as_str());
            let shown = format!("{info:?} {:#?} {} {:?}", info, info.target(), info.config);
            prop_assert!(!shown.contains(&password), "{}", shown);
        }
    }

    #[test]
    fn a_password_written_badly_is_never_shown(password in "[a-z@:/?#&=%, ']{4,20}") {
        let password = format!("Zq~{password}~Zq");
        for text in [
            format!("postgresql://anna:{password}@db/app?sslmode=require"),
            format!("host=db password={password} user=anna"),
            format!("password='{password} host=db"),
        ] {
            let shown = match parse(&text, &[]) {
                Ok(info) => format!("{info:?} {}", info.target()),
                Err(error) => format!("{error} {error:?}"),
            };
            prop_assert!(!shown.contains("Zq"), "{}: {}", text, shown);
        }
    }
}
