//! What tells one pace from another, for `every_interleaving`. Pure.

use super::Pace;
use crate::rollout::every_interleaving::Key;

impl Pace {
    /// Adds all that decides what begins next, but for the names of the images, which the updates tell. `numbers` are the numbers of all updates, in order. The numbers that only
    /// reports tell, `begun` and `total`, are left out.
    pub(in crate::rollout) fn summary(&self, numbers: &[usize], key: &mut Key) {
        let rank = |number: &usize| numbers.binary_search(number).ok();
        let mut latest: Vec<u64> = self.images.values().map(|image| image.last_begin).collect();
        latest.sort_unstable();
        key.put(self.in_flight);
        for (index, image) in &self.images {
            let of_image = self.places.iter().filter(|(_, (of, _))| of == index);
            key.put_all(of_image.filter_map(|(number, _)| rank(number)));
            key.put_all(image.pending.iter().filter_map(|(number, _)| rank(number)));
            key.put_all(image.found.iter().filter_map(rank));
            key.put_all(image.taken_back.iter().filter_map(rank));
            key.put_all([image.watchable, image.width, image.in_flight, image.exposed]);
            key.put_all([image.succeeded, image.failed, image.blamed, usize::from(image.is_stopped)]);
            key.put_all(latest.binary_search(&image.last_begin).ok());
        }
        key.end();
    }
}
