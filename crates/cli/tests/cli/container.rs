//! What can be known of the container's files without a container tool: that they are well formed and fit each other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn compose() -> BTreeMap<String, Value> {
    serde_saphyr::from_str(&std::fs::read_to_string(root().join("compose.yaml")).unwrap()).unwrap()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap()).collect()
}

#[test]
fn every_port_is_on_the_loopback_address_and_can_be_remapped() {
    let compose = compose();
    let mut variables = BTreeSet::new();
    let mut defaults = BTreeSet::new();
    for (name, service) in compose["services"].as_object().unwrap() {
        for port in texts(&service["ports"]) {
            let (variable, rest) = port.strip_prefix("127.0.0.1:${").unwrap().split_once(":-").unwrap();
            let (default, inside) = rest.split_once("}:").unwrap();
            inside.parse::<u16>().unwrap();
            assert!(defaults.insert(default.parse::<u16>().unwrap()), "{name}: {port} is taken");
            variables.insert(variable.to_owned());
        }
    }
    let expected =
        ["AGENT_COORDINATOR_DB_PORT", "AGENT_COORDINATOR_REALTIME_PORT", "AGENT_COORDINATOR_REST_PORT", "API_PORT"];
    assert!(variables.iter().eq(expected), "{variables:?}");
}

#[test]
fn what_a_service_refers_to_is_there() {
    let compose = compose();
    assert!(compose.keys().eq(["services", "volumes"]), "{:?}", compose.keys());
    let services = compose["services"].as_object().unwrap();
    let volumes = compose["volumes"].as_object().unwrap();
    for (name, service) in services {
        assert_ne!(service["image"].is_string(), service["build"].is_string(), "{name}: an image, or how to build it");
        for needed in service["depends_on"].as_object().into_iter().flat_map(|needed| needed.keys()) {
            assert!(services.contains_key(needed), "{name}: {needed}");
        }
        for mount in texts(&service["volumes"]) {
            let source = mount.split(':').next().unwrap();
            assert!(volumes.contains_key(source) || root().join(source).is_file(), "{name}: {mount}");
        }
    }
    let database = services["coordinator"]["environment"]["POSTGRES_DSN"].as_str().unwrap();
    assert!(database.starts_with("host=db ") && services.contains_key("db"), "{database}");
}

#[test]
fn the_image_holds_nothing_but_the_binary_and_is_not_run_by_root() {
    let dockerfile = std::fs::read_to_string(root().join("Dockerfile")).unwrap();
    let (_, last_stage) = dockerfile.rsplit_once("\nFROM ").unwrap();
    assert!(last_stage.starts_with("scratch\n"), "{last_stage}");
    let user = last_stage.lines().find_map(|line| line.strip_prefix("USER ")).unwrap();
    assert!(user.split(':').all(|id| id.parse::<u32>().unwrap() > 0), "{user}");
    // The compiler in the image is the one that the repository asks for.
    let toolchain = std::fs::read_to_string(root().join("rust-toolchain.toml")).unwrap();
    let version = dockerfile.split("FROM rust:").nth(1).unwrap().split('-').next().unwrap();
    assert!(toolchain.contains(&format!("\"{version}.")), "{version}");
}
