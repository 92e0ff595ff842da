//! Listings become sources and names. The listing is the truth; hints only say when to look.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::time::Duration;

use super::opening::directory_of;
use super::{Directory, Engine, Found, Note, Op};
use crate::discover::{Entry, Listing, RawPath};
use crate::ledger::Mark;
use crate::plan::ReadFrom;
use crate::position::{Nanos, Position};
use crate::source::{GenerationId, ItemId, Origin, SourceId, family_of};
use crate::tail::{Ending, State, Tail};

/// A directory rests this long after a listing, and at least [`REST_SHARE`] times what that took.
const LISTING_REST: Duration = Duration::from_millis(20);
const REST_SHARE: u32 = 10;
/// A directory that changes while it is listed is listed again, this often in a row and after a rest that doubles
/// each time, half a second in all: whoever renames sixty files in a row is through by then.
const DISTURBED_MAX: u8 = 8;
const DISTURBED_REST: Duration = Duration::from_millis(2);

impl Engine {
    /// Something changed in a directory.
    pub fn handle_directory_hint(&mut self, directory: &[u8]) {
        self.mark_dirty(directory);
    }

    /// Events were lost: everything is looked at again, and a listing under way may have missed something.
    pub fn handle_overflow(&mut self) {
        self.reconcile_at = Nanos(0);
        self.mark_all_dirty();
        let armed: Vec<SourceId> =
            self.tails.iter().filter(|(_, tail)| tail.armed).map(|(id, _)| id).collect();
        for id in armed {
            self.handle_modified(id);
        }
    }

    pub(super) fn mark_dirty(&mut self, directory: &[u8]) {
        if let Some((path, entry)) = self
            .directories
            .get_key_value(directory)
            .map(|(path, _)| path.clone())
            .and_then(|path| self.directories.get_mut(directory).map(|entry| (path, entry)))
            && !core::mem::replace(&mut entry.dirty, true)
        {
            self.dirty.push(path);
        }
    }

    fn mark_all_dirty(&mut self) {
        let all: Vec<RawPath> = self.directories.keys().cloned().collect();
        for path in all {
            self.mark_dirty(&path);
        }
    }

    /// Starts the listings that are wanted and not resting; all of them when a reconcile is due.
    pub(super) fn start_listings(&mut self, now: Nanos) {
        if self.draining {
            return;
        }
        if now >= self.reconcile_at {
            self.reconcile_at = now + self.limits.reconcile;
            self.mark_all_dirty();
            self.look_at_nameless(now);
        }
        let mut waiting = core::mem::take(&mut self.dirty);
        let items = self.items.len();
        waiting.retain(|path| {
            let Some(entry) = self.directories.get_mut(path) else { return false };
            if entry.listing || now < entry.rest_until {
                return true;
            }
            entry.dirty = false;
            entry.listing = true;
            entry.looking = items;
            entry.started_at = now;
            // Armed anew each time: the directory may have been replaced by another of its name.
            self.ops.push_back(Op::Watch { directory: path.clone() });
            self.ops.push_back(Op::List { directory: path.clone() });
            false
        });
        waiting.append(&mut self.dirty);
        self.dirty = waiting;
    }

    /// When the next listing, or the judging of strays, is due.
    pub(super) fn next_listing(&self) -> Nanos {
        let entries = self.dirty.iter().filter_map(|path| self.directories.get(path));
        let dirty = entries.filter(|entry| !entry.listing).map(|entry| entry.rest_until);
        let strays = (self.settled_in && !self.strays.is_empty()).then_some(self.strays_until);
        dirty.chain(strays).min().unwrap_or(self.reconcile_at).min(self.reconcile_at)
    }

    /// Files without a name are in no listing: with each reconcile they are looked at, and those that
    /// have been held undrained for too long are given up.
    fn look_at_nameless(&mut self, now: Nanos) {
        while self.away.front().is_some_and(|(_, until)| now >= *until) {
            self.forget_oldest_away();
        }
        let nameless = self.tails.iter().filter(|(_, tail)| tail.names.is_empty());
        let ids: Vec<SourceId> = nameless.map(|(id, _)| id).collect();
        for id in ids {
            let Some(tail) = self.tails.get(id) else { continue };
            let busy = matches!(tail.state, State::Reading | State::Ended);
            let hold = self.policy(tail.origin.item).unlinked;
            let undrained = tail.size.since(tail.framed.position);
            let overdue = match (tail.unlinked_at, hold.undrained_max) {
                (Some(at), Some(max)) => now >= at + max,
                _ => false,
            };
            let oversize = hold.undrained_bytes_max.is_some_and(|max| undrained > max);
            if !busy && undrained > 0 && (overdue || oversize) {
                self.end(id, Ending::Gone, now);
                continue;
            }
            self.ops.extend(tail.open.then_some(Op::Measure { source: id }));
            if matches!(tail.state, State::Idle) && tail.open {
                self.make_ready(id);
            }
        }
    }

    /// Takes a listing, with the directories below that belong to it.
    ///
    /// A file that is renamed while its directory is read may be found under neither name, and the new
    /// file that took its name would be read before it. So a listing is believed only if no hint came
    /// since it began.
    pub fn handle_listing(&mut self, mut listing: Listing, below: Vec<RawPath>, now: Nanos, wall_ns: i64) {
        let Some(directory) = self.directories.get_mut(&listing.directory) else { return };
        directory.listing = false;
        if directory.dirty && directory.disturbed < DISTURBED_MAX {
            directory.rest_until = now + DISTURBED_REST * (1 << directory.disturbed);
            directory.disturbed += 1;
            return;
        }
        directory.disturbed = 0;
        self.unsure = directory.dirty;
        directory.found = if listing.complete { Found::Whole } else { Found::Part };
        // A process that was stopped meanwhile must not be blind for ten times as long.
        let rest =
            (now.since(directory.started_at) * REST_SHARE).min(self.limits.reconcile).max(LISTING_REST);
        directory.rest_until = now + rest;
        let looked = core::mem::replace(&mut directory.looked, directory.looking);
        for path in below {
            self.add_directory(path, false, looked);
        }
        // Oldest first; of equal age the one with the longer name, which has been rotated.
        listing.entries.sort_by_key(|entry| (entry.modified_ns, Reverse(entry.path.len())));
        // New names before lost ones, or a file whose successor comes first would seem to have none.
        for entry in &listing.entries {
            self.note_name(entry);
        }
        for entry in &listing.entries {
            self.see(entry, looked, now, wall_ns);
        }
        if let Some((path, files)) = self.left_out.take() {
            self.ops.push_back(Op::Note(Note::TooManyFiles { path, files }));
        }
        if listing.complete {
            self.miss(&listing, now);
        }
        self.unsure = false;
        self.settle_in(now);
    }

    /// The file system that a directory is on, or, if it is not there, that it would be on. Comes before its
    /// listing: where it has changed, the names that are missing then are not deleted but away.
    pub fn handle_device(&mut self, directory: &[u8], device: u64) {
        let Some(entry) = self.directories.get_mut(directory) else { return };
        let before = core::mem::replace(&mut entry.device, device);
        if before == device || before == 0 {
            return;
        }
        for id in entry.names.values() {
            if let Some(tail) = self.tails.get_mut(*id) {
                tail.away = tail.file.dev == before;
            }
        }
    }

    /// A directory is gone: so are all names in it.
    pub fn handle_directory_gone(&mut self, directory: &[u8], now: Nanos) {
        let Some(entry) = self.directories.get_mut(directory) else { return };
        (entry.listing, entry.disturbed, entry.looked) = (false, 0, entry.looking);
        entry.found = match entry.found {
            Found::Nothing | Found::Absent => Found::Absent,
            Found::Whole | Found::Part | Found::Gone => Found::Gone,
        };
        entry.rest_until = now + LISTING_REST;
        let names = core::mem::take(&mut entry.names);
        if !entry.root
            && let Some((path, _)) = self.directories.remove_entry(directory)
        {
            self.ops.push_back(Op::Unwatch { directory: path });
        }
        for (name, id) in names {
            if let Some(tail) = self.tails.get_mut(id) {
                tail.away |= tail.names.iter().all(|other| *other == name);
            }
            self.drop_name(id, &name, now);
        }
        self.settle_in(now);
    }

    pub(super) fn add_directory(&mut self, path: RawPath, root: bool, looked: usize) {
        let known = self.directories.contains_key(&path);
        let new = || Directory { looked, ..Directory::default() };
        let entry = self.directories.entry(path.clone()).or_insert_with(new);
        entry.root |= root;
        if !known {
            self.mark_dirty(&path);
        }
    }

    /// One file in a listing: known under this name, known under another, or new. `looked`: how many items have seen
    /// its directory before.
    fn see(&mut self, entry: &Entry, looked: usize, now: Nanos, wall_ns: i64) {
        let directory = directory_of(&entry.path);
        let named = self.directories.get(directory).and_then(|dir| dir.names.get(&entry.path)).copied();
        let known = self.by_file.get(&entry.file).copied();
        match (named, known) {
            (Some(named), Some(known)) if named == known => self.grow(known, entry),
            (_, Some(known)) => {
                if let Some(named) = named {
                    self.drop_name(named, &entry.path, now);
                }
                self.add_name(known, entry);
                self.grow(known, entry);
            }
            (named, None) => {
                if let Some(named) = named {
                    self.drop_name(named, &entry.path, now);
                }
                self.appear(entry, looked, now, wall_ns);
            }
        }
    }

    /// A file that the engine does not follow yet.
    fn appear(&mut self, entry: &Entry, looked: usize, now: Nanos, wall_ns: i64) {
        if self.leaving.contains_key(&entry.file) {
            return;
        }
        let stray = self.take_stray(entry.file);
        let item = entry.item.or_else(|| stray.and_then(|stray| self.item_named(stray.item)));
        let Some(item) = item.filter(|item| !self.items[item.0 as usize].retired) else {
            self.strays.extend(stray);
            return;
        };
        if !self.has_room_for(item) {
            self.strays.extend(stray);
            self.left_out.get_or_insert_with(|| (entry.path.clone(), 0)).1 += 1;
            return;
        }
        let path = alloc::string::String::from_utf8_lossy(&entry.path);
        let family = stray.map_or_else(|| family_of(&path), |stray| stray.family);
        let generation = stray.map_or_else(|| self.next_generation(), |stray| stray.generation);
        let origin = Origin { item, generation, path: Arc::from(&*path), family };
        let policy = self.policy(item);
        let first_sight = stray.is_none() && !policy.seen_before && item.0 as usize >= looked;
        let read_from = if first_sight { policy.read_from } else { ReadFrom::Beginning };
        let old = policy.ignore_older.is_some_and(|limit| {
            wall_ns.saturating_sub(entry.modified_ns) > i64::try_from(limit.as_nanos()).unwrap_or(i64::MAX)
        });
        let start = match stray {
            Some(stray) => stray.mark(),
            None if read_from == ReadFrom::End => Mark { position: Position(entry.size), ..Mark::default() },
            None => Mark::default(),
        };
        let mut tail = Tail::new(Arc::new(origin), entry.file, entry.path.clone(), start, now);
        tail.unseen = read_from != ReadFrom::Beginning;
        if let ReadFrom::Since(time) = read_from {
            tail.since = Some(time);
        }
        tail.examined = stray.is_some() || read_from == ReadFrom::End;
        tail.resumed = stray.is_some();
        tail.by_checkpoint = entry.item.is_none();
        tail.size = tail.size.max(Position(entry.size));
        tail.modified_ns = entry.modified_ns;
        if let Some(stray) = stray {
            // What was written before may not be on the disk yet: `durable` follows with the first sync.
            tail.fingerprint = stray.fingerprint;
        }
        let elder = self.families.get(&family).and_then(|members| members.last()).copied();
        tail.predecessor = elder.filter(|&elder| self.can_precede(elder, &entry.path));
        let predecessor = tail.predecessor;
        let id = self.add_source(tail);
        if let Some(elder) = predecessor.and_then(|elder| self.tails.get_mut(elder)) {
            elder.successor = Some(id);
        }
        self.by_file.insert(entry.file, id);
        self.join_family(family, id);
        self.rename_in_directory(&entry.path, id);
        if !(old && stray.is_none()) {
            self.make_ready(id);
        }
    }

    /// Whether one more file of an item can be followed. Half of the limit is shared out evenly among the
    /// items, so that files without number in the directories of one leave room for those of the others;
    /// the rest is for whoever comes first.
    fn has_room_for(&self, item: ItemId) -> bool {
        let most = self.limits.sources;
        if self.tails.len() < most / 2 {
            return true;
        }
        let items = self.items_configured();
        let share = most / 2 / items;
        let beyond: usize = self.items.iter().map(|item| item.sources.saturating_sub(share)).sum();
        let own = self.items[item.0 as usize].sources < share;
        self.tails.len() < most && (own || beyond < most - share * items)
    }

    pub(super) fn add_source(&mut self, tail: Tail) -> SourceId {
        self.items[tail.origin.item.0 as usize].sources += 1;
        self.tails.insert(tail)
    }

    /// Order is kept within one directory: `elder` is read to its end before a new file of its family.
    fn can_precede(&self, elder: SourceId, path: &[u8]) -> bool {
        let Some(tail) = self.tails.get(elder) else { return false };
        let beside = tail.names.iter().any(|name| directory_of(name) == directory_of(path));
        (beside || tail.names.is_empty())
            && tail.successor.is_none()
            && tail.failures == 0
            && !tail.is_dormant()
    }

    /// A known file as listed: wake it when its size is not what was read.
    fn grow(&mut self, id: SourceId, entry: &Entry) {
        let Some(tail) = self.tails.get_mut(id) else { return };
        tail.by_checkpoint &= entry.item.is_none();
        tail.away = false;
        let expected = if tail.is_dormant() { tail.size } else { tail.read() };
        // Without a descriptor nothing tells of a file that was truncated and is as long again as it was. As long as
        // there is one, the watch tells; what it had to tell when it was given up may have been lost.
        let silent = !tail.open
            && core::mem::replace(&mut tail.modified_ns, entry.modified_ns) != entry.modified_ns
            && !tail.is_dormant();
        // What is behind the last line end may be written over in place, which changes no size.
        let changed = entry.size != expected.0 || tail.unsettled > 0 || silent;
        if entry.size > tail.size.0 {
            tail.size = Position(entry.size);
        }
        if changed && matches!(tail.state, State::Idle) {
            self.make_ready(id);
        }
    }

    /// A known file has this name, among others.
    fn note_name(&mut self, entry: &Entry) {
        let tail = self.by_file.get(&entry.file).and_then(|&id| self.tails.get_mut(id));
        if let Some(tail) = tail.filter(|tail| !tail.names.contains(&entry.path)) {
            tail.names.push(entry.path.clone());
        }
    }

    fn add_name(&mut self, id: SourceId, entry: &Entry) {
        let Some(tail) = self.tails.get_mut(id) else { return };
        (tail.unlinked_at, tail.away) = (None, false);
        if !tail.names.contains(&entry.path) {
            tail.names.push(entry.path.clone());
        }
        self.rename_in_directory(&entry.path, id);
    }

    /// Names that were known in the directory and are not listed any more.
    fn miss(&mut self, listing: &Listing, now: Nanos) {
        let Some(directory) = self.directories.get(&listing.directory) else { return };
        let seen: BTreeMap<&RawPath, ()> = listing.entries.iter().map(|entry| (&entry.path, ())).collect();
        let missing: Vec<(RawPath, SourceId)> = directory
            .names
            .iter()
            .filter(|(name, _)| !seen.contains_key(name))
            .map(|(name, id)| (name.clone(), *id))
            .collect();
        for (name, id) in missing {
            if let Some(directory) = self.directories.get_mut(&listing.directory) {
                directory.names.remove(&name);
            }
            self.drop_name(id, &name, now);
        }
    }

    /// A source loses a name. With the last one it is unlinked: what is left is read, then it is closed.
    fn drop_name(&mut self, id: SourceId, name: &RawPath, now: Nanos) {
        let Some(tail) = self.tails.get_mut(id) else { return };
        tail.names.retain(|other| other != name);
        if let Some(to) = tail.names.first().cloned() {
            self.counts.rotations += 1;
            self.ops.push_back(Op::Note(Note::Renamed { from: name.clone(), to }));
            return;
        }
        tail.unlinked_at = Some(now);
        tail.away |= self.unsure;
        let drained = tail.read() >= tail.size;
        match tail.state {
            State::Ended => {}
            // An open file is read to its end through its descriptor.
            _ if tail.open || matches!(tail.state, State::Opening) => {
                // From now on no listing tells how much there is.
                self.ops.extend(tail.open.then_some(Op::Measure { source: id }));
                if matches!(tail.state, State::Idle) {
                    self.make_ready(id);
                }
            }
            _ => self.end(id, if drained { Ending::Unlinked } else { Ending::Gone }, now),
        }
    }

    pub(super) fn rename_in_directory(&mut self, name: &RawPath, id: SourceId) {
        if let Some(directory) = self.directories.get_mut(directory_of(name)) {
            directory.names.insert(name.clone(), id);
        }
    }

    pub(super) fn item_named(&self, name: u64) -> Option<ItemId> {
        let at = self.items.iter().position(|item| item.policy.name == name && !item.retired)?;
        Some(ItemId(at as u32))
    }

    pub(super) fn next_generation(&mut self) -> GenerationId {
        self.generations += 1;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.seed.to_le_bytes());
        bytes[8..].copy_from_slice(&self.generations.to_le_bytes());
        GenerationId(xxhash_rust::xxh3::xxh3_64(&bytes))
    }
}
