//! The image, compose.yaml and the manifests of Kubernetes. No container can be run here: each file is read by a program that
//! knows what may stand in it, and what one says of another is compared.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{checkers, python, read, shipped, told, yaml};
use crate::support::{Cluster, Pgtend, newest_major};

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

#[test]
fn hadolint_has_nothing_to_say_of_the_dockerfile() {
    let hadolint = |file: &Path| told(Command::new(checkers().join("bin/hadolint")).arg("--no-color").arg(file));
    assert_eq!(hadolint(&shipped("deploy/Dockerfile")), (true, String::new()));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("Dockerfile");
    fs::write(&file, read("deploy/Dockerfile").replace("--no-install-recommends ", "")).unwrap();
    assert!(!hadolint(&file).0, "a fault in it is not seen");
}

#[test]
fn the_image_is_a_users_and_has_the_programs_of_every_major() {
    let text = read("deploy/Dockerfile");
    let last = text.rsplit("\nFROM ").next().unwrap();
    assert!(
        last.contains("\nUSER 10001:10001\n"),
        "its user is given by number, so that Kubernetes can tell it is not root"
    );
    let supported: Vec<_> = (13..=18).map(|major| major.to_string()).collect();
    assert!(text.contains(&format!("ARG PG_MAJORS=\"{}\"", supported.join(" "))));
    // What programs of one's own find is there whichever majors are left out.
    assert!(text.contains("\"/out/usr/local/bin/${program}\"") && !last.contains("PATH="));
}

fn compose() -> Value {
    yaml("deploy/compose.yaml").remove(0)
}

#[test]
fn compose_yaml_is_one() {
    const READ: &str =
        "import compose_spec, sys; compose_spec.PyCompose.from_yaml(open(sys.argv[1]).read()).validate()";
    let check = |file: &Path| told(python().args(["-c", READ]).arg(file));
    assert_eq!(check(&shipped("deploy/compose.yaml")), (true, String::new()));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("compose.yaml");
    fs::write(&file, read("deploy/compose.yaml").replace("read_only:", "readonly:")).unwrap();
    assert!(!check(&file).0, "a fault in it is not seen");
}

/// All that it mounts and builds from is there, or is made by the script that it names.
#[test]
fn compose_yaml_names_files_that_are_there() {
    let compose = compose();
    let secrets = tempfile::tempdir().unwrap();
    let mut script = Command::new(shipped("deploy/compose/secrets.sh"));
    assert_eq!(told(script.arg(secrets.path())), (true, String::new()));
    let made = fs::read(secrets.path().join("s3_credentials")).unwrap();
    assert_eq!(told(&mut script), (true, String::new()));
    assert_eq!(fs::read(secrets.path().join("s3_credentials")).unwrap(), made, "what is there stays");
    let there = |path: &str| match path.strip_prefix("./compose/secrets/") {
        Some(name) => secrets.path().join(name).is_file(),
        None => shipped("deploy").join(path).exists(),
    };

    for (name, secret) in entries(&compose["secrets"]) {
        assert!(there(secret["file"].as_str().unwrap()), "secret {name}");
    }
    for (name, service) in entries(&compose["services"]) {
        for volume in list(&service["volumes"]).iter().map(|volume| volume.as_str().expect("a text")) {
            let source = volume.split(':').next().unwrap();
            if source.starts_with('.') {
                assert!(there(source), "{name}: {source}");
                assert!(volume.ends_with(":ro"), "{name} may write to {source}");
            } else {
                assert!(compose["volumes"].get(source).is_some(), "{name}: there is no volume {source}");
            }
        }
        for file in list(&service["env_file"]) {
            assert!(there(file.as_str().unwrap()), "{name}: {file}");
        }
        if let Some(build) = service.get("build") {
            let context = shipped("deploy").join(build["context"].as_str().unwrap());
            assert!(context.join(build["dockerfile"].as_str().unwrap()).is_file(), "{name}: {build}");
        }
        let image = service["image"].as_str().expect("an image");
        assert!(image.rsplit_once(':').is_some_and(|(_, tag)| tag != "latest"), "{name}: {image} is of no version");
        for port in list(&service["ports"]) {
            assert!(port.as_str().unwrap().starts_with("127.0.0.1:"), "{name} is open to other hosts");
        }
    }
    let pgtend = &compose["services"]["pgtend"];
    assert_eq!((&pgtend["read_only"], &pgtend["cap_drop"][0]), (&true.into(), &"ALL".into()));
}

#[test]
fn what_is_mounted_into_prometheus_and_grafana_is_wired() {
    let prometheus = shipped("deploy/compose/prometheus.yml");
    let (well, said) = told(Command::new("promtool").args(["check", "config"]).arg(&prometheus));
    assert!(well, "{said}");
    let config = yaml("deploy/compose/prometheus.yml").remove(0);
    let scrape = &config["scrape_configs"][0];
    assert_eq!(scrape["honor_labels"], true);
    let target = scrape["static_configs"][0]["targets"][0].as_str().unwrap();
    let compose = compose();
    let services = &compose["services"];
    let mounted = |service: &str, place: &str| {
        list(&services[service]["volumes"])
            .iter()
            .any(|volume| volume.as_str().unwrap().contains(&format!(":{place}:")))
    };
    assert_eq!(target, "pgtend:9934");
    assert!(read("deploy/compose/pgtend.toml").contains("listen = \"0.0.0.0:9934\""));
    assert_eq!(config["rule_files"][0], "/etc/prometheus/rules/*.rules.yml");
    assert!(mounted("prometheus", "/etc/prometheus/rules"));

    let source = yaml("deploy/compose/grafana/datasources.yaml").remove(0);
    assert_eq!(source["datasources"][0]["url"], "http://prometheus:9090");
    assert!(services.get("prometheus").is_some());
    let folder = yaml("deploy/compose/grafana/dashboards.yaml").remove(0);
    assert!(mounted("grafana", folder["providers"][0]["options"]["path"].as_str().unwrap()));
}

/// The config that compose.yaml mounts fits the database that it makes.
#[tokio::test]
async fn the_database_that_compose_makes_is_tended_by_its_config() {
    let cluster = Cluster::own(newest_major());
    let db = cluster.database().await;
    let folder = tempfile::tempdir().unwrap();
    // psql runs as the server's user.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let password = folder.path().join("password");
    fs::write(&password, "known to both\n").unwrap();
    // As psql reads it: the password by its backquotes, which is what psql alone understands.
    let script = folder.path().join("init.sql");
    let text =
        read("deploy/compose/init.sql").replace("/run/secrets/pgtend_db_password", &password.display().to_string());
    fs::write(&script, text).unwrap();
    let (well, said) = told(cluster.program("psql").args(["-X", "-q", "-d", &db.url(), "-f"]).arg(&script));
    assert!(well && said.is_empty(), "{said}");

    let config = read("deploy/compose/pgtend.toml");
    let url = db.url_as("pgtend");
    let config = config.replace("postgresql://pgtend@db/app", &url);
    let config = config.replace("/run/secrets/pgtend_db_password", &password.display().to_string());
    let config = config.replace("/var/lib/pgtend/backups", "backups").replace("0.0.0.0:9934", "{listen}");
    let (start, rest) = config.split_once("[stores.offsite.s3]").unwrap();
    let (_, end) = rest.split_once("\n\n").unwrap();
    let program = Pgtend::new(&format!("{start}[stores.offsite.directory]\npath = \"offsite\"\n\n{end}"));
    program.run(["run", "sessions", "partitions", "nightly"]).await.exits(0);
    program.run(["check"]).await.exits(0);
    db.execute("insert into events (at) values (now() + interval '2 months')").await;
}

#[tokio::test]
async fn the_config_of_compose_is_accepted() {
    Pgtend::new(&read("deploy/compose/pgtend.toml")).run(["check", "--offline"]).await.exits(0);
}

const MANIFESTS: [&str; 3] = ["deployment.yaml", "cronjob.yaml", "sidecar.yaml"];

/// Each container of each pod, with the pod's spec.
fn containers() -> Vec<(String, Value, Value)> {
    let mut containers = Vec::new();
    for manifest in MANIFESTS {
        for document in yaml(&format!("deploy/kubernetes/{manifest}")) {
            let spec = &document["spec"];
            let spec = if document["kind"] == "CronJob" { &spec["jobTemplate"]["spec"] } else { spec };
            let pod = &spec["template"]["spec"];
            for container in list(&pod["containers"]).iter().chain(list(&pod["initContainers"])) {
                containers.push((format!("{manifest}: {}", container["name"]), pod.clone(), container.clone()));
            }
        }
    }
    assert_eq!(containers.len(), 4);
    containers
}

#[test]
fn the_manifests_fit_the_schemas_of_kubernetes() {
    let check = |version: &str, file: &Path| {
        let mut command = python();
        command.args(["-m", "kubernetes_validate", "--quiet", "--strict", "-k", version]).arg(file);
        told(&mut command)
    };
    // The oldest that has all that stands in them, and the newest there is a schema of.
    for version in ["1.31", "1.37"] {
        for manifest in MANIFESTS {
            let (well, said) = check(version, &shipped("deploy/kubernetes").join(manifest));
            assert!(well && said.is_empty(), "{manifest} and Kubernetes {version}: {said}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("deployment.yaml");
    fs::write(
        &file,
        read("deploy/kubernetes/deployment.yaml").replace("readOnlyRootFilesystem", "readonlyRootFilesystem"),
    )
    .unwrap();
    assert!(!check("1.37", &file).0, "a fault in it is not seen");
}

#[test]
fn no_container_may_more_than_it_needs() {
    for (name, pod, container) in containers() {
        let (all, own) = (&pod["securityContext"], &container["securityContext"]);
        assert_eq!(all["runAsNonRoot"], true, "{name}");
        assert!(all["runAsUser"].is_i64() || own["runAsUser"].is_i64(), "{name}: as whom?");
        assert_eq!(all["seccompProfile"]["type"], "RuntimeDefault", "{name}");
        assert_eq!(own["allowPrivilegeEscalation"], false, "{name}");
        assert_eq!(own["readOnlyRootFilesystem"], true, "{name}");
        assert_eq!(own["capabilities"]["drop"][0], "ALL", "{name}");
        assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
        assert!(pod["terminationGracePeriodSeconds"].as_i64() >= Some(45), "{name}");
        assert!(container["resources"]["limits"]["memory"].is_string(), "{name}");
        // Secrets are files: an environment is handed on to every child, and shown by `kubectl describe`.
        for variable in list(&container["env"]) {
            let path = variable["value"].as_str().unwrap_or_else(|| panic!("{name}: {variable}"));
            assert!(
                path.starts_with("/run/secrets/") || !variable["name"].as_str().unwrap().contains("PASSWORD"),
                "{name}"
            );
        }
        assert!(container.get("envFrom").is_none(), "{name}");
        for mount in list(&container["volumeMounts"]) {
            let claimed = mount["name"] == "data";
            let volume = list(&pod["volumes"]).iter().any(|volume| volume["name"] == mount["name"]);
            assert!(volume || claimed, "{name}: no volume {}", mount["name"]);
        }
    }
}

#[test]
fn probes_ask_for_what_the_daemon_serves() {
    let port = |container: &Value, name: &Value| {
        list(&container["ports"]).iter().find(|port| port["name"] == *name).map(|port| port["containerPort"].clone())
    };
    let mut asked = Vec::new();
    for (name, _, container) in containers() {
        for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
            if let Some(http) = container[probe].get("httpGet") {
                assert_eq!(port(&container, &http["port"]), Some(9934.into()), "{name}");
                asked.push(format!("{probe} {}", http["path"].as_str().unwrap()));
            }
        }
    }
    let alive = "livenessProbe /healthz";
    // A database that is away is no reason to start a daemon anew, nor to let no node be drained.
    assert_eq!(asked, [alive, "readinessProbe /healthz", alive]);
    assert!(read("src/daemon/http.rs").contains("\"/healthz\""));
}

/// What a ConfigMap says is read by the pgtend of its pod, and the secrets that it names are mounted there.
#[tokio::test]
async fn the_configs_in_the_manifests_are_accepted() {
    for manifest in MANIFESTS {
        let documents = yaml(&format!("deploy/kubernetes/{manifest}"));
        let config = documents.iter().find_map(|document| document["data"]["pgtend.toml"].as_str()).expect("a config");
        Pgtend::new(config).run(["check", "--offline"]).await.exits(0);
        let serves = config.contains("listen = \"0.0.0.0:9934\"");
        assert_eq!(serves, manifest != "cronjob.yaml", "{manifest}");
        for line in config.lines().filter(|line| line.contains("_file = ")) {
            assert!(line.contains("\"/run/secrets/pgtend/"), "{manifest}: {line}");
        }
        let name = |text: &str| documents.iter().any(|document| document.to_string().contains(text));
        assert!(name("\"mountPath\":\"/run/secrets/pgtend\"") && name("\"mountPath\":\"/etc/pgtend\""), "{manifest}");
    }
}
