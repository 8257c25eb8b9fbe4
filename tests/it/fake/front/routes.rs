//! The engine's routes, each one request to the [`FakeSwarm`] with its script.

use bytes::Bytes;
use futures_util::stream;
use gantry::swarm::{Spec, SwarmError};
use http::{Method, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::json;

use super::configs;
use super::query::Target;
use super::render;
use super::{Body, Seen, response};
use crate::fake::handle::FakeSwarm;
use crate::fake::ops::Goal;
use crate::fake::script::Call;
use crate::fake::world::{FakeTask, World};

/// An answer, or a connection that is cut.
pub(super) async fn answer(swarm: &FakeSwarm, seen: &Seen) -> Result<Response<Body>, std::io::Error> {
    match route(swarm, seen).await {
        Ok(answer) => Ok(answer),
        Err(SwarmError::Unavailable(text)) if text.starts_with("connection") => {
            Err(std::io::Error::other(text))
        }
        Err(error) => {
            let (status, text) = as_http(error);
            Ok(response(status, json!({"message": text}).to_string()))
        }
    }
}

/// The engine's statuses and words.
fn as_http(error: SwarmError) -> (u16, String) {
    match error {
        SwarmError::Conflict => (500, "rpc error: code = Unknown desc = update out of sequence".to_owned()),
        SwarmError::NotFound(text) => (404, text),
        SwarmError::NameTaken(text) => (409, text),
        SwarmError::Forbidden(text) => (403, text),
        SwarmError::Refused(text) if text.contains("Unimplemented") => (501, text),
        SwarmError::Refused(text)
            if ["conflict:", "cannot remove container"].iter().any(|w| text.contains(w)) =>
        {
            (409, text)
        }
        SwarmError::Refused(text) => (400, text),
        SwarmError::NotManager(text) => (503, text),
        SwarmError::Unavailable(text) | SwarmError::Unreadable(text) | SwarmError::NoDescriptor(text) => {
            (500, text)
        }
    }
}

async fn route(swarm: &FakeSwarm, seen: &Seen) -> Result<Response<Body>, SwarmError> {
    let target = Target::parse(&seen.path);
    let path: Vec<&str> = target.path.iter().map(String::as_str).collect();
    let body = match (&seen.method, path.as_slice()) {
        (_, ["_ping"]) => "OK".to_owned(),
        (&Method::GET, ["version"]) => json!({"Version": "28.5.2", "ApiVersion": "1.51"}).to_string(),
        (&Method::GET, ["info"]) => info(swarm).await?,
        (&Method::GET, ["nodes"]) => nodes(swarm).await?,
        (&Method::GET, ["services"]) => services(swarm, &target).await?,
        (&Method::POST, ["services", "create"]) => {
            let created = json!({"ID": create(swarm, seen).await?}).to_string();
            return Ok(response(201, created));
        }
        (&Method::GET, ["services", id]) => service(swarm, id).await?,
        (&Method::DELETE, ["services", id]) => {
            swarm.request(Call::Remove, Some(id), |world| world.remove(id)).await?;
            String::new()
        }
        (&Method::POST, ["services", id, "update"]) => update(swarm, seen, &target, id).await?,
        (method, ["configs", rest @ ..]) => configs::answer(swarm, method, rest, &target, &seen.body).await?,
        (&Method::GET, ["tasks"]) => tasks(swarm, &target).await?,
        (&Method::GET, ["tasks", id, "logs"]) => return log(swarm, &target, id).await,
        (&Method::GET, ["events"]) => return events(swarm, &target).await,
        (method, ["containers", rest @ ..]) => containers(swarm, method, rest, &target).await?,
        (method, ["images", name @ ..]) => images(swarm, method, name).await?,
        _ => return Err(SwarmError::NotFound("page not found".to_owned())),
    };
    Ok(response(200, body))
}

async fn info(swarm: &FakeSwarm) -> Result<String, SwarmError> {
    swarm
        .request(Call::Engine, None, |world| Ok(render::info(world, world.node(swarm.node_id())).to_string()))
        .await
}

async fn nodes(swarm: &FakeSwarm) -> Result<String, SwarmError> {
    let all =
        |world: &mut World| Ok(render::list(world.nodes.iter().map(|node| render::node(node).to_string())));
    swarm.request(Call::Nodes, None, all).await
}

async fn services(swarm: &FakeSwarm, target: &Target) -> Result<String, SwarmError> {
    let filters = target.filters()?;
    let filters: Vec<(&str, &str)> = filters.iter().map(|(key, value)| (&**key, &**value)).collect();
    let with_status = target.is_set("status");
    let deed = |world: &mut World| {
        let found = world.filtered(&filters)?;
        Ok(render::list(found.into_iter().map(|service| render::service(world, service, with_status))))
    };
    swarm.request(Call::Services, None, deed).await
}

async fn service(swarm: &FakeSwarm, id: &str) -> Result<String, SwarmError> {
    let deed = |world: &mut World| {
        let found = world.find(id).ok_or_else(|| crate::fake::ops::not_found(id))?;
        Ok(render::service(world, found, false))
    };
    swarm.request(Call::Service, Some(id), deed).await
}

fn spec_of(seen: &Seen) -> Result<Spec, SwarmError> {
    let text = std::str::from_utf8(&seen.body).map_err(|error| SwarmError::Refused(error.to_string()))?;
    Spec::from_json(text).map_err(|error| SwarmError::Refused(error.to_string()))
}

async fn create(swarm: &FakeSwarm, seen: &Seen) -> Result<String, SwarmError> {
    let spec = spec_of(seen)?;
    let name = spec.facts().name.clone();
    swarm.request(Call::Create, Some(&name), |world| world.create(&spec, seen.auth.clone())).await
}

async fn update(swarm: &FakeSwarm, seen: &Seen, target: &Target, id: &str) -> Result<String, SwarmError> {
    let version = target.get("version");
    let version: u64 = version.parse().map_err(|_| {
        SwarmError::Refused(format!("invalid service version '{version}': strconv.ParseUint: invalid syntax"))
    })?;
    let spec = spec_of(seen)?;
    let goal = if target.get("rollback") == "previous" { Goal::Back(spec) } else { Goal::To(spec) };
    let deed = |world: &mut World| world.update(id, version, &goal, seen.auth.clone());
    let warnings = swarm.request(Call::Update, Some(id), deed).await?;
    Ok(json!({ "Warnings": (!warnings.is_empty()).then_some(warnings) }).to_string())
}

async fn tasks(swarm: &FakeSwarm, target: &Target) -> Result<String, SwarmError> {
    let filters = target.filters()?;
    let of = |key: &'static str| -> Vec<String> {
        filters.iter().filter(|(name, _)| name == key).map(|(_, value)| value.clone()).collect()
    };
    let (ids, wanted, nodes) = (of("id"), of("desired-state"), of("node"));
    let only_current = of("_up-to-date").iter().any(|value| value == "true");
    let deed = |world: &mut World| {
        let found = world.list_tasks(&of("service"))?.into_iter().filter(|task| {
            let is_current =
                || world.services.get(&task.service).is_some_and(|owner| !owner.plan.is_dirty(task));
            (ids.is_empty() || ids.contains(&task.id))
                && (nodes.is_empty() || nodes.contains(&task.node))
                && (wanted.is_empty() || wanted.iter().any(|state| state == task.desired.name()))
                && (!only_current || is_current())
        });
        Ok(render::list(found.map(|task: &FakeTask| render::task(world, task))))
    };
    swarm.request(Call::Tasks, None, deed).await
}

async fn log(swarm: &FakeSwarm, target: &Target, id: &str) -> Result<Response<Body>, SwarmError> {
    let lines = target.get("tail").parse().unwrap_or(usize::MAX);
    let deed = |world: &mut World| {
        let task = world.tasks.get(id);
        let task = task.ok_or_else(|| SwarmError::NotFound(format!("task {id} not found")))?;
        Ok(render::log(&task.log[task.log.len().saturating_sub(lines)..]))
    };
    Ok(response(200, swarm.request(Call::Log, None, deed).await?))
}

/// Events from now on, as they happen. The stream breaks when the engine goes away.
async fn events(swarm: &FakeSwarm, target: &Target) -> Result<Response<Body>, SwarmError> {
    let kinds: Vec<String> =
        target.filters()?.into_iter().filter(|(key, _)| key == "type").map(|(_, value)| value).collect();
    let seen = swarm.request(Call::Changes, None, |world| Ok(world.event_count())).await?;
    let chunks = stream::unfold((swarm.clone(), seen, kinds), |(swarm, mut seen, kinds)| async move {
        loop {
            let until = match swarm.next_event(seen).await {
                Ok(until) => until,
                Err(error) => {
                    let broken = Err(std::io::Error::other(error.to_string()));
                    return Some((broken, (swarm, usize::MAX, kinds)));
                }
            };
            let text: String = swarm.ask(|world| {
                let new = world.events_between(seen, until).iter();
                let wanted = new.filter(|event| kinds.is_empty() || kinds.iter().any(|k| k == event.kind));
                wanted.map(|event| render::event(world, event)).collect()
            });
            seen = until;
            if !text.is_empty() {
                return Some((Ok(Frame::data(Bytes::from(text))), (swarm, seen, kinds)));
            }
        }
    });
    let mut answer = response(200, "");
    *answer.body_mut() = BodyExt::boxed(StreamBody::new(chunks));
    Ok(answer)
}

async fn containers(
    swarm: &FakeSwarm,
    method: &Method,
    path: &[&str],
    target: &Target,
) -> Result<String, SwarmError> {
    let missing = |id: &str| SwarmError::NotFound(format!("No such container: {id}"));
    match (method, path) {
        (&Method::GET, ["json"]) => {
            let filters = target.filters()?;
            let of = |key: &str| -> Vec<String> {
                filters.iter().filter(|(name, _)| name == key).map(|(_, value)| value.clone()).collect()
            };
            let (images, labels, all) = (of("ancestor"), of("label"), target.is_set("all"));
            let deed = |world: &mut World| {
                let containers = world.node(swarm.node_id()).containers.values();
                let found = containers.filter(|(found, image)| {
                    (all || found.state == "running")
                        && (images.is_empty() || images.contains(image))
                        && labels.iter().all(|label| match label.split_once('=') {
                            Some((key, value)) => found.labels.get(key).is_some_and(|is| is == value),
                            None => found.labels.contains_key(label),
                        })
                });
                Ok(render::list(
                    found.map(|(found, image)| render::listed_container(found, image).to_string()),
                ))
            };
            swarm.request(Call::Containers, None, deed).await
        }
        (&Method::GET, [id, "json"]) => {
            let deed = |world: &mut World| {
                let found = world.node(swarm.node_id()).containers.get(*id).ok_or_else(|| missing(id))?;
                Ok(render::container(&found.0, &found.1).to_string())
            };
            swarm.request(Call::Container, None, deed).await
        }
        (&Method::DELETE, [id]) => {
            let deed = |world: &mut World| world.node_mut(swarm.node_id()).remove_container(id);
            swarm.request(Call::RemoveContainer, None, deed).await?;
            Ok(String::new())
        }
        _ => Err(SwarmError::NotFound("page not found".to_owned())),
    }
}

async fn images(swarm: &FakeSwarm, method: &Method, path: &[&str]) -> Result<String, SwarmError> {
    match (method, path) {
        (&Method::GET, [name @ .., "json"]) => {
            let name = name.join("/");
            let deed = |world: &mut World| {
                let found = world.node(swarm.node_id()).image(&name);
                let found = found.ok_or_else(|| SwarmError::NotFound(format!("No such image: {name}")))?;
                Ok(render::image(found).to_string())
            };
            swarm.request(Call::Image, None, deed).await
        }
        (&Method::DELETE, name) => {
            let name = name.join("/");
            let deed = |world: &mut World| world.node_mut(swarm.node_id()).remove_image(&name);
            swarm.request(Call::RemoveImage, None, deed).await?;
            Ok(json!([{"Untagged": name}]).to_string())
        }
        _ => Err(SwarmError::NotFound("page not found".to_owned())),
    }
}
