//! Items that come, change and go while the agent runs.

use core::ops::Bound;

use super::{Engine, Item, ItemCounts, Op};
use crate::discover::RawPath;
use crate::pace::{BytePace, Pace, Waited};
use crate::plan::ItemPolicy;
use crate::position::Nanos;
use crate::source::{ItemId, SourceId};
use crate::tail::{Ending, State, Tail};

/// Full buckets, where there are limits.
fn paces(policy: &ItemPolicy) -> (Option<Pace>, Option<BytePace>) {
    let lines = policy.rate_limit.map(|lines| Pace::new(lines.into()));
    (lines, policy.rate_limit_bytes.map(BytePace::new))
}

impl Engine {
    /// Adds a collection item; items are numbered in the order of their addition.
    pub fn add_item(&mut self, policy: ItemPolicy) -> ItemId {
        let id = ItemId(u32::try_from(self.items.len()).expect("items are configured by hand"));
        let (pace, byte_pace) = paces(&policy);
        self.items.push(Item {
            policy,
            pace,
            byte_pace,
            waited: Waited::default(),
            counts: ItemCounts::default(),
            sources: 0,
            open: 0,
            away_until: Nanos(0),
            retired: false,
        });
        id
    }

    /// Gives an item another policy, which holds from the next read on, or takes it up again.
    pub fn change_item(&mut self, id: ItemId, policy: ItemPolicy) {
        let item = &mut self.items[id.0 as usize];
        (item.pace, item.byte_pace) = paces(&policy);
        item.policy = policy;
        self.strays_claimed |= core::mem::take(&mut item.retired);
    }

    /// Lets go of all files of an item. What is in flight is awaited, and positions are kept, so that
    /// the item can come back.
    pub fn retire_item(&mut self, id: ItemId, now: Nanos) {
        self.items[id.0 as usize].retired = true;
        let tails = self.tails.iter().filter(|(_, tail)| tail.origin.item == id);
        let sources: alloc::vec::Vec<SourceId> = tails.map(|(source, _)| source).collect();
        for source in sources {
            self.let_go(source, now);
        }
    }

    fn let_go(&mut self, id: SourceId, now: Nanos) {
        let Some(tail) = self.tails.get_mut(id) else { return };
        let state = core::mem::replace(&mut tail.state, State::Ended);
        if matches!(state, State::Ended) {
            return;
        }
        tail.ending = Some(Ending::Retired);
        let (names, file) = (core::mem::take(&mut tail.names), tail.file);
        let successor = tail.successor.take();
        if let State::Held { batch, .. } = state {
            self.give_up(batch);
        }
        self.release(id);
        self.by_file.remove(&file);
        self.leaving.insert(file, id);
        for name in names {
            let directory = super::opening::directory_of(&name);
            if let Some(directory) = self.directories.get_mut(directory) {
                directory.names.remove(&name);
            }
        }
        if let Some(next) = successor {
            self.unblock(next);
        }
        self.finish_if_settled(id, now);
    }

    pub(super) fn items_configured(&self) -> usize {
        self.items.iter().filter(|item| !item.retired).count().max(1)
    }

    /// Whether an item must let go of one of its descriptors when one is lacking for `wanting`: it has more
    /// than its share, or all of it and the file is its own. A file without a descriptor is not watched, so
    /// whoever has no more than their share keeps it.
    pub(super) fn spares_descriptor(&self, item: ItemId, wanting: ItemId) -> bool {
        let share = self.limits.open_files / self.items_configured();
        self.items[item.0 as usize].open + usize::from(item == wanting) > share
    }

    /// Whether [`ReadFrom::Since`](crate::plan::ReadFrom::Since) is still to be applied for an item that was not seen
    /// before: a directory was not listed for it, or where one of its files begins is not found. A file that is left
    /// alone as too old is not waited for.
    #[must_use]
    pub fn is_first_sight(&self, id: ItemId) -> bool {
        let undecided = |tail: &Tail| tail.origin.item == id && tail.since.is_some() && !tail.is_dormant();
        self.directories.values().any(|directory| directory.looked <= id.0 as usize)
            || self.tails.iter().any(|(_, tail)| undecided(tail))
    }

    /// Directories where files of the items may be found; those that are new are listed at once.
    pub fn add_root(&mut self, directory: RawPath) {
        self.add_directory(directory, true, 0);
    }

    /// Patterns have changed: every directory is looked at again.
    pub fn list_all(&mut self) {
        self.reconcile_at = Nanos(0);
    }

    /// Patterns of this root have changed: the directories at it and below that they concern are looked at
    /// again, and at once, however lately that was done. All others are left alone.
    pub fn list_below(&mut self, root: &[u8], concerns: impl Fn(&[u8]) -> bool) {
        let stem = root.strip_suffix(b"/").unwrap_or(root);
        let from = self.directories.range::<[u8], _>((Bound::Included(root), Bound::Unbounded));
        let alike = from.map(|(path, _)| path).take_while(|path| path.starts_with(root));
        let below = alike.filter(|path| matches!(path.get(stem.len()), None | Some(b'/')) && concerns(path));
        for path in below.cloned().collect::<alloc::vec::Vec<RawPath>>() {
            // What changes while it is listed rests for a reason of its own.
            if let Some(entry) = self.directories.get_mut(&path).filter(|entry| entry.disturbed == 0) {
                entry.rest_until = Nanos(0);
            }
            self.mark_dirty(&path);
        }
    }

    /// The descriptor of a source could not be handed over: the file is opened again.
    pub fn handle_descriptor_lost(&mut self, id: SourceId, now: Nanos) {
        let Some(tail) = self.tails.get_mut(id) else { return };
        if tail.open {
            tail.open = false;
            self.items[tail.origin.item.0 as usize].open -= 1;
            self.open_count -= 1;
            let pause = tail.back_off();
            if !matches!(tail.state, State::Ended) {
                self.rest(id, now + pause);
            }
        }
    }

    pub(super) fn park(&mut self, source: SourceId) {
        let Some(checkpoint) = self.checkpoint(source) else { return };
        self.leaving.remove(&checkpoint.file);
        if self.item_named(checkpoint.item).is_some() {
            // The item is back already, and its file was passed over.
            self.list_all();
            self.strays_claimed = true;
        }
        self.strays.push(checkpoint);
        self.ops.push_back(Op::Park { source, checkpoint });
    }
}
