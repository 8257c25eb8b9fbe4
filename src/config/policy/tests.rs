use super::super::tests::{config, labels};
use super::*;

#[test]
fn a_service_without_labels_has_the_settings_of_the_run() {
    let config =
        config(&[("GANTRY_UPDATE_TIMEOUT_SECONDS", "60"), ("GANTRY_MANIFEST_OPTIONS", "--insecure")]);
    insta::assert_debug_snapshot!(ServicePolicy::of(&config, &labels(&[])).unwrap(), @r#"
    ServicePolicy {
        excluded: false,
        auth_config: None,
        lookup: Registry,
        insecure: ByVariable,
        update_jobs: false,
        tags: same,
        stack_image: None,
        min_age: None,
        approval: false,
        accept: false,
        timeout: Some(
            60s,
        ),
        order: Auto,
        update_options: [],
        rollback_on_failure: true,
        rollback_options: [],
        times: always but none (UTC),
        after: [],
        group: None,
        stack: None,
        canary: false,
        cronjob: false,
        stack_pin: false,
        warnings: [],
    }
    "#);
}

#[test]
fn labels_override_the_settings_of_the_run_for_their_service() {
    let labels = labels(&[
        ("gantry.enable", "true"),
        ("com.example.owner", "anna"),
        ("gantry.services.excluded", "True"),
        ("gantry.auth.config", "private"),
        ("gantry.manifest.cmd", "none"),
        ("gantry.manifest.options", ""),
        ("gantry.rollback.on_failure", "FALSE"),
        ("gantry.rollback.options", "--rollback-monitor 5s"),
        ("gantry.rollout.canary", "true"),
        ("gantry.update.jobs", "true"),
        ("gantry.update.min_age", "7d"),
        ("gantry.update.approval", "TRUE"),
        ("gantry.update.options", "--env-add A=B"),
        ("gantry.update.order", "keep"),
        ("gantry.update.timeout_seconds", "0"),
        ("gantry.update.timeout", "5"),
    ]);
    let config = config(&[
        ("GANTRY_UPDATE_TIMEOUT_SECONDS", "60"),
        ("GANTRY_MANIFEST_OPTIONS", "--insecure"),
        ("GANTRY_UPDATE_OPTIONS", "--force"),
    ]);
    insta::assert_debug_snapshot!(ServicePolicy::of(&config, &labels).unwrap(), @r#"
    ServicePolicy {
        excluded: true,
        auth_config: Some(
            "private",
        ),
        lookup: None,
        insecure: ByVariable,
        update_jobs: true,
        tags: same,
        stack_image: None,
        min_age: Some(
            604800s,
        ),
        approval: true,
        accept: false,
        timeout: None,
        order: Keep,
        update_options: [
            "env-add",
        ],
        rollback_on_failure: false,
        rollback_options: [
            "rollback-monitor",
        ],
        times: always but none (UTC),
        after: [],
        group: None,
        stack: None,
        canary: true,
        cronjob: false,
        stack_pin: false,
        warnings: [
            "gantry.update.timeout is not a label of Gantry; did you mean gantry.update.timeout_seconds?",
        ],
    }
    "#);
}
