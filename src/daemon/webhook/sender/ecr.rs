//! Amazon ECR by `EventBridge`: the bare event, without a transformer. Pure.

use super::super::hint::{Delivery, Hint, NO_IMAGE, Reading};
use super::super::json::{json, text};

/// Reads an event of Amazon ECR.
pub(super) fn read(delivery: &Delivery<'_>) -> Reading {
    let event = match json(delivery) {
        Ok(event) => event,
        Err(malformed) => return malformed,
    };
    if text(&event, "/source") != "aws.ecr" || text(&event, "/detail-type") != "ECR Image Action" {
        return Reading::Ignored("it is no image action of ECR");
    }
    if text(&event, "/detail/action-type") != "PUSH" || text(&event, "/detail/result") != "SUCCESS" {
        return Reading::Ignored("it is not a push that succeeded");
    }
    if text(&event, "/detail/image-tag").is_empty() {
        return Reading::Ignored("it is the push of a digest, and the tag has an event of its own");
    }
    let (account, region) = (text(&event, "/account"), text(&event, "/region"));
    if account.is_empty() || region.is_empty() {
        return Reading::of(Hint::new("", text(&event, "/detail/repository-name")), NO_IMAGE);
    }
    let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
    let host = format!("{account}.dkr.ecr.{region}.amazonaws.com{suffix}");
    Reading::of(Hint::new(&host, text(&event, "/detail/repository-name")), NO_IMAGE)
}
