//! The names of variables and labels: those of the product, and slips.

use super::*;

#[test]
fn both_tables_of_the_product_are_complete() {
    let names: Vec<&str> = VARIABLES.iter().map(|v| v.name).chain(LABELS.iter().map(|l| l.name)).collect();
    let product = "GANTRY_LOG_FORMAT GANTRY_LOG_LEVEL GANTRY_NODE_NAME TZ GANTRY_SLEEP_SECONDS GANTRY_TRIGGER_PATH \
        GANTRY_PRE_RUN_CMD GANTRY_POST_RUN_CMD GANTRY_HOOK_TIMEOUT_SECONDS DOCKER_HOST DOCKER_TLS_VERIFY DOCKER_CERT_PATH DOCKER_CONFIG HTTPS_PROXY HTTP_PROXY NO_PROXY \
        GANTRY_REGISTRY_USER GANTRY_REGISTRY_PASSWORD GANTRY_REGISTRY_HOST GANTRY_REGISTRY_CONFIG \
        GANTRY_REGISTRY_USER_FILE GANTRY_REGISTRY_PASSWORD_FILE GANTRY_REGISTRY_HOST_FILE \
        GANTRY_REGISTRY_CONFIG_FILE GANTRY_REGISTRY_CONFIGS_FILE GANTRY_REGISTRY_SERVICES \
        GANTRY_REGISTRY_SERVICES_FILE GANTRY_REGISTRY_TRUSTED_HOSTS GANTRY_SERVICES_EXCLUDED \
        GANTRY_SERVICES_EXCLUDED_FILTERS GANTRY_SERVICES_FILTERS GANTRY_MANIFEST_CMD GANTRY_MANIFEST_NUM_WORKERS \
        GANTRY_MANIFEST_OPTIONS GANTRY_ROLLBACK_ON_FAILURE GANTRY_ROLLBACK_OPTIONS GANTRY_UPDATE_JOBS \
        GANTRY_UPDATE_NUM_WORKERS GANTRY_UPDATE_OPTIONS GANTRY_UPDATE_TIMEOUT_SECONDS GANTRY_CLEANUP_IMAGES \
        GANTRY_CLEANUP_IMAGES_OPTIONS GANTRY_CLEANUP_IMAGES_REMOVER GANTRY_IMAGES_TO_REMOVE GANTRY_SERVICES_SELF \
        GANTRY_NOTIFICATION_APPRISE_URL GANTRY_NOTIFICATION_URL GANTRY_NOTIFICATION_URL_FILE \
        GANTRY_NOTIFICATION_CONDITION GANTRY_NOTIFICATION_TITLE GANTRY_NOTIFICATION_PROGRESS \
        GANTRY_HTTP_ADDRESS GANTRY_HTTP_READ_TOKEN GANTRY_HTTP_READ_TOKEN_FILE \
        GANTRY_HTTP_STEER_TOKEN GANTRY_HTTP_STEER_TOKEN_FILE GANTRY_HTTP_HOOK_TOKEN GANTRY_HTTP_HOOK_TOKEN_FILE \
        GANTRY_HTTP_OPEN GANTRY_HTTP_HOSTS GANTRY_METRICS_SERVICES \
        GANTRY_HTTP_TLS_CERT_FILE GANTRY_HTTP_TLS_KEY_FILE \
        GANTRY_UPDATE_ORDER GANTRY_ROLLOUT_MAX_FAILURE_RATIO GANTRY_ROLLOUT_MIN_FAILURES \
        GANTRY_ROLLOUT_INITIAL_WORKERS GANTRY_QUARANTINE GANTRY_QUARANTINE_SECONDS \
        GANTRY_UPDATE_MAX_STARTING_PER_NODE GANTRY_UPDATE_TAGS gantry.update.tags gantry.update.tags.prereleases GANTRY_UPDATE_MIN_AGE GANTRY_UPDATE_APPROVAL GANTRY_ACCEPT_CMD gantry.update.accept \
        GANTRY_APPROVAL_EXPIRES GANTRY_LEDGER_NAME GANTRY_LABELS_ALLOWED \
        gantry.auth.config gantry.services.excluded gantry.manifest.cmd gantry.manifest.options \
        gantry.rollback.on_failure gantry.rollback.options gantry.update.jobs gantry.update.options \
        GANTRY_SCHEDULE GANTRY_JITTER GANTRY_UPDATE_WINDOWS GANTRY_UPDATE_FREEZES GANTRY_UPDATE_ZONE \
        GANTRY_UPDATE_GROUP_WORKERS GANTRY_UPDATE_MAX_PER_STACK gantry.update.windows gantry.update.freezes \
        gantry.update.zone gantry.update.after gantry.update.group gantry.update.timeout_seconds \
        gantry.update.min_age gantry.update.approval gantry.update.order gantry.rollout.canary HOME";
    let (mut names, mut product) = (names, product.split_whitespace().collect::<Vec<_>>());
    names.sort_unstable();
    product.sort_unstable();
    assert_eq!(names, product);
}

#[test]
fn slips_are_understood_and_strange_names_are_not_forced_to_be_slips() {
    let variable = |name| nearest(name, "GANTRY_", VARIABLES.iter().map(|v| v.name));
    for (written, meant) in [
        ("GANTRY_LOG_LEVL", Some("GANTRY_LOG_LEVEL")),
        ("GANTRY_SLEEP_SECOND", Some("GANTRY_SLEEP_SECONDS")),
        ("GANTRY_UPDATE_WORKERS", Some("GANTRY_UPDATE_NUM_WORKERS")),
        ("GANTRY_UPDATE_TIMEOUT", Some("GANTRY_UPDATE_TIMEOUT_SECONDS")),
        ("GANTRY_SERVICE_FILTERS", Some("GANTRY_SERVICES_FILTERS")),
        ("GANTRY_ROLLBACK_ON_FAILUER", Some("GANTRY_ROLLBACK_ON_FAILURE")),
        ("GANTRY_", None),
        ("GANTRY_HELLO", None),
    ] {
        assert_eq!(variable(written), meant, "{written}");
    }
    assert_eq!(variable(&format!("GANTRY_{}", "UPDATE_".repeat(100_000))), None);

    let label = |name| nearest(name, "gantry.", LABELS.iter().map(|l| l.name));
    assert_eq!(label("gantry.update.timeout"), Some("gantry.update.timeout_seconds"));
    assert_eq!(label("gantry.service.excluded"), Some("gantry.services.excluded"));
    assert_eq!(label("gantry.colour"), None);
}
