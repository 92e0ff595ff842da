//! The items in force, on disk: what an agent begins with while etcd cannot be asked.
//!
//! One file of the state folder, private like the others, replaced as a whole. What is in it is no truth but
//! a memory: it is judged like any other value from etcd.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::definition::Definition;
use super::mirror::{Mirror, Stamp};
use crate::state::{Disk, Storage};

const FILE: &str = "etcd-items.json";
const FILE_NEW: &str = "etcd-items.json.new";

/// The only format there is.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    #[serde(flatten)]
    stamp: Stamp,
    items: Vec<StoredItem>,
}

#[derive(Serialize, Deserialize)]
struct StoredItem {
    key: String,
    name: String,
    text: String,
}

/// Keeps what is in force.
///
/// # Errors
/// The disk does not take it; what was kept before is still there.
pub(super) fn keep(dir: &Path, mirror: &Mirror) -> io::Result<()> {
    let items = mirror.in_force().map(|(key, Definition { name, text })| StoredItem {
        key: key.to_owned(),
        name: name.clone(),
        text: text.clone(),
    });
    let stored = Stored { format: FORMAT, stamp: mirror.stamp(), items: items.collect() };
    let disk = Disk::at(dir)?;
    let file = disk.create(FILE_NEW)?;
    file.write_at(0, &serde_json::to_vec_pretty(&stored)?)?;
    file.sync()?;
    disk.rename(FILE_NEW, FILE)?;
    disk.sync_folder()
}

/// Takes up what was kept; `Ok(false)` if nothing ever was.
///
/// # Errors
/// It cannot be read, or not understood.
pub(super) fn restore(dir: &Path, mirror: &mut Mirror) -> io::Result<bool> {
    let Some(file) = Disk::at(dir)?.open(FILE)? else { return Ok(false) };
    let stored: Stored = serde_json::from_slice(&file.read_all()?)?;
    if stored.format != FORMAT {
        return Err(io::Error::other(format!("format {} is not known to this version", stored.format)));
    }
    let item = |StoredItem { key, name, text }| (key, Definition { name, text });
    mirror.restore(stored.stamp, stored.items.into_iter().map(item).collect());
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::ItemLimits;
    use crate::etcd::keyspace::tests::plan;
    use crate::etcd::mirror::{KeyValue, Terms};

    fn mirror() -> Mirror {
        Mirror::new(Terms {
            plan: plan(&["web"], None),
            limits: ItemLimits { message_bytes_max: 1_048_588, line_buffer_max: 1 << 21 },
            taken: BTreeSet::new(),
        })
    }

    #[test]
    fn g06_what_is_kept_is_taken_up_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let mut before = mirror();
        assert!(!restore(dir.path(), &mut before).unwrap());
        let value = b"include = ['/var/log/a']\ntopic = 't'\n".to_vec();
        let one = KeyValue { key: "/logdrive/items/web/a".to_owned(), value, mod_revision: 3 };
        before.list(Stamp { cluster: u64::MAX, revision: 9, term: 2 }, vec![one]);
        keep(dir.path(), &before).unwrap();
        keep(dir.path(), &before).unwrap();
        let mode = std::fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert!(!dir.path().join(FILE_NEW).exists());
        let mut after = mirror();
        assert!(restore(dir.path(), &mut after).unwrap());
        assert_eq!(after.stamp(), before.stamp());
        assert_eq!(after.outcome().items[0].plan, before.outcome().items[0].plan);
    }

    #[test]
    fn g06_what_cannot_be_understood_is_an_error_and_takes_nothing_up() {
        let dir = tempfile::tempdir().unwrap();
        for content in
            ["", "{}", "{\"format\":2,\"cluster\":1,\"revision\":1,\"term\":1,\"items\":[]}", "\0\0"]
        {
            std::fs::write(dir.path().join(FILE), content).unwrap();
            let mut mirror = mirror();
            assert!(restore(dir.path(), &mut mirror).is_err(), "{content:?}");
            assert!(mirror.outcome().items.is_empty());
        }
    }
}
