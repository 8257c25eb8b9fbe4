//! Nodes, and what lies on them.

use std::collections::BTreeMap;

use gantry::swarm::claims::Resources;
use gantry::swarm::{Container, LocalImage, ManagerStatus, Node, SwarmError, Traits};
use sha2::{Digest as _, Sha256};

use super::world::World;

/// A node of the fake swarm.
#[derive(Clone, Debug)]
pub struct FakeNode {
    pub node: Node,
    pub has_power: bool,
    /// How often its power has failed.
    pub outages: u64,
    /// It takes no new tasks and keeps those that it has; a drained node hands them over.
    pub is_paused: bool,
    /// Tasks that were put here and have not ended.
    pub load: usize,
    pub images: Vec<LocalImage>,
    /// By id, with the id of its image.
    pub containers: BTreeMap<String, (Container, String)>,
}

impl FakeNode {
    pub fn new(number: usize) -> Self {
        Self {
            node: Node {
                id: format!("n{number:024}"),
                name: format!("node{number}"),
                version: 1,
                is_ready: true,
                is_down: false,
                is_active: true,
                manager: (number == 1).then_some(ManagerStatus { is_leader: true, is_reachable: true }),
                traits: Traits {
                    role: if number == 1 { "manager" } else { "worker" }.to_owned(),
                    os: "linux".to_owned(),
                    architecture: "x86_64".to_owned(),
                    capacity: Some(Resources {
                        nano_cpus: 4_000_000_000,
                        memory: 8 << 30,
                        ..Resources::default()
                    }),
                    ..Traits::default()
                },
            },
            has_power: true,
            outages: 0,
            is_paused: false,
            load: 0,
            images: Vec::new(),
            containers: BTreeMap::new(),
        }
    }

    pub fn is_manager(&self) -> bool {
        self.node.manager.is_some()
    }

    /// An image by its id or one of its names.
    pub fn image(&self, name: &str) -> Option<&LocalImage> {
        let (bare, digest) = name.split_once('@').map_or((name, None), |(bare, d)| (bare, Some(d)));
        let repository = repository(bare);
        self.images.iter().find(|image| match digest {
            // With a digest, the tag does not count.
            Some(digest) => image.repo_digests.contains(&format!("{repository}@{digest}")),
            None => image.id == name || image.repo_tags.iter().any(|tag| tag == &with_tag(name)),
        })
    }

    /// Pulls an image, or finds it here. Returns its id.
    pub fn pull(&mut self, name: &str) -> String {
        if let Some(image) = self.image(name) {
            return image.id.clone();
        }
        let (bare, digest) = name.split_once('@').map_or((name, None), |(bare, d)| (bare, Some(d)));
        let image = LocalImage {
            id: image_id(name),
            // What is pulled by digest gets no tag.
            repo_tags: if digest.is_some() { Vec::new() } else { vec![with_tag(bare)] },
            repo_digests: digest.map(|d| format!("{}@{d}", repository(bare))).into_iter().collect(),
        };
        let id = image.id.clone();
        if let Some(same) = self.images.iter_mut().find(|present| present.id == id) {
            same.repo_tags.extend(image.repo_tags);
            same.repo_digests.extend(image.repo_digests);
        } else {
            self.images.push(image);
        }
        id
    }
}

/// The id of the image behind a reference: the same for the same digest.
pub fn image_id(name: &str) -> String {
    let content = name.split_once('@').map_or(name, |(_, digest)| digest);
    format!("sha256:{}", hex(&format!("image {content}")))
}

/// 64 hexadecimal digits that belong to a text.
pub fn hex(text: &str) -> String {
    use std::fmt::Write as _;
    Sha256::digest(text.as_bytes()).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn repository(bare: &str) -> &str {
    let last = bare.rfind('/').map_or(0, |slash| slash + 1);
    bare[last..].find(':').map_or(bare, |colon| &bare[..last + colon])
}

fn with_tag(bare: &str) -> String {
    if repository(bare) == bare { format!("{bare}:latest") } else { bare.to_owned() }
}

impl World {
    /// A person pulls or builds a tag on a node: it stands at this image then, and the one before has no tag.
    pub fn move_tag(&mut self, node: &str, tag: &str, image: &str) {
        let node = self.node_mut(node);
        let tag = with_tag(tag);
        let id = node.pull(image);
        for image in &mut node.images {
            image.repo_tags.retain(|known| *known != tag);
            if image.id == id {
                image.repo_tags.push(tag.clone());
            }
        }
    }

    /// A node has pulled what is called so by its digest, and found that it has it.
    pub fn name_image(&mut self, node: &str, known: &str, pinned: &str) {
        let node = self.node_mut(node);
        let (bare, digest) = pinned.split_once('@').expect("a digest");
        let id = node.image(known).expect("an image of the node").id.clone();
        let image = node.images.iter_mut().find(|image| image.id == id).expect("it was found");
        image.repo_digests.push(format!("{}@{digest}", repository(bare)));
    }
}

impl FakeNode {
    pub fn remove_container(&mut self, id: &str) -> Result<(), SwarmError> {
        let missing = || SwarmError::NotFound(format!("No such container: {id}"));
        let (container, _) = self.containers.get(id).ok_or_else(missing)?;
        if container.state == "running" {
            return Err(SwarmError::Refused(format!(
                "cannot remove container \"/{id}\": container is running: stop the container before removing or force remove"
            )));
        }
        self.containers.remove(id);
        Ok(())
    }

    /// Removes a name, and with the last one the image, unless a container needs it.
    pub fn remove_image(&mut self, name: &str) -> Result<(), SwarmError> {
        let image = self.image(name).ok_or_else(|| SwarmError::NotFound(format!("No such image: {name}")))?;
        let mut left = image.clone();
        let wanted = match name.split_once('@') {
            Some((bare, digest)) => format!("{}@{digest}", repository(bare)),
            None => with_tag(name),
        };
        left.repo_tags.retain(|tag| *tag != wanted);
        left.repo_digests.retain(|digest| *digest != wanted);
        let is_last = name == left.id || left.repo_tags.is_empty();
        let user = self.containers.values().find(|(_, image)| *image == left.id);
        if let (true, Some((container, _))) = (is_last, user) {
            return Err(SwarmError::Refused(format!(
                "conflict: unable to remove repository reference \"{name}\" (must force) - container {} is using its referenced image {}",
                &container.id[..12],
                &left.id[7..19]
            )));
        }
        self.images.retain(|image| image.id != left.id);
        if !is_last {
            self.images.push(left);
        }
        Ok(())
    }
}
