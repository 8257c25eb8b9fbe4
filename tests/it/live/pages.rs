//! The commands of README and of the pages, run as they are written.
//!
//! The reader's registry, `registry.example.com`, is the lab's. Nothing else of a block is changed. `docs::page` says which blocks run.

use std::process::Command;

use crate::docs::blocks_for_the_lab;

use super::deployed::own_image;
use super::support::{Image, Lab, Registry, Stage, wait};

/// The registry in the pages.
const REGISTRY: &str = "registry.example.com";

/// How long Gantry may take to update a service here, where it looks every few seconds.
const UPDATE_SECONDS: u64 = 120;

/// Runs all blocks of a page that a reader would type, one after the other in a shell.
#[track_caller]
fn run_blocks(stage: &Stage, page: &str) -> String {
    let blocks = blocks_for_the_lab(page);
    assert!(!blocks.is_empty(), "{page} has no block for the lab");
    let commands = blocks.concat().replace(REGISTRY, &stage.lab.registry);
    let docker = stage.lab.docker_command(1).get_program().to_owned();
    let script = format!("docker() {{ \"$THE_DOCKER\" \"$@\"; }}\n{commands}");
    let output = Command::new("/bin/bash")
        .args(["-euo", "pipefail", "-c", &script])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("DOCKER_HOST", stage.lab.docker_host(1))
        .env("THE_DOCKER", docker)
        // Read by stack.yml.
        .env("GANTRY_SLEEP_SECONDS", "5")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{page}: {}\n{commands}\n{said}", output.status);
    said
}

/// Makes an image in the registry of the stage's own lab, under the name that the pages use.
fn image(stage: &Stage, name: &str, version: &str) -> Image {
    let made = stage.lab.run(&["image", name, "--env", &format!("VERSION={version}")]);
    let (name, digest) = made.split_once('@').unwrap();
    Image { name: name.to_owned(), digest: digest.to_owned() }
}

fn image_of(stage: &Stage, service: &str) -> String {
    let format = "{{.Spec.TaskTemplate.ContainerSpec.Image}}";
    stage.lab.docker(&["service", "inspect", "--format", format, service])
}

#[test]
fn the_commands_of_the_pages_work_as_written() {
    // The pages name services, a stack and a config that all stages of the shared lab would share.
    let (shared, stage) = (Stage::new(), Stage::apart());
    own_image(&shared);
    let registries = [Lab::get(), stage.lab].map(|lab| Registry::at(&lab.registry));
    registries[0].copy("gantry", "latest", &registries[1], "gantry", |_| ());
    let (web, shop) = (image(&stage, "web:1", "1"), image(&stage, "shop:1", "1"));
    stage.lab.docker(&["service", "create", "--quiet", "--detach", "--name", "shop", &shop.name]);

    run_blocks(&stage, "README.md");
    assert_eq!(image_of(&stage, "web"), web.pinned());
    let (web, shop) = (image(&stage, "web:1", "2"), image(&stage, "shop:1", "2"));
    for (service, image) in [("web", &web), ("shop", &shop)] {
        let is_updated = || (image_of(&stage, service) == image.pinned()).then_some(());
        wait(&format!("update of {service}"), UPDATE_SECONDS, is_updated);
    }

    let said = run_blocks(&stage, "docs/how-it-works.md");
    assert!(said.contains('{'), "the ledger's labels: {said}");
}
