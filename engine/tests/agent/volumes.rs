//! Faults R and F: a whole volume goes and comes back, on a loop device.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::lines::{Family, assert_complete};
use crate::process::{Launch, between_births, run};
use crate::site::{Site, is_root};
use crate::wait::until_true;

/// A disk image on a loop device.
struct Volume {
    image: PathBuf,
    at: PathBuf,
    device: String,
}

impl Volume {
    fn make(directory: &Path) -> Volume {
        let (image, at) = (directory.join("image"), directory.join("volume"));
        File::create(&image).unwrap().set_len(16 << 20).unwrap();
        fs::create_dir(&at).unwrap();
        run("mkfs.ext4", &["-q", "-F", image.to_str().unwrap()]);
        let device = Volume::attach(&image);
        let volume = Volume { image, at, device };
        volume.mount();
        volume
    }

    fn attach(image: &Path) -> String {
        run("losetup", &["-f", "--show", image.to_str().unwrap()]).trim().to_owned()
    }

    fn mount(&self) {
        let none = rustix::mount::MountFlags::empty();
        rustix::mount::mount(&*self.device, &self.at, "ext4", none, None).unwrap();
    }

    fn unmount(&self) {
        assert!(self.try_unmount(), "the volume is in use");
    }

    /// Whether nobody uses it any more.
    fn try_unmount(&self) -> bool {
        // Another test may just be starting a process, which holds what this one has open.
        let unmount = || rustix::mount::unmount(&self.at, rustix::mount::UnmountFlags::empty());
        between_births(unmount).is_ok()
    }

    /// Takes it away and brings it back under another device number.
    fn move_device(&mut self) {
        self.unmount();
        // The old device stays taken, so that the image gets another.
        let old = std::mem::replace(&mut self.device, Volume::attach(&self.image));
        run("losetup", &["-d", &old]);
        assert_ne!(self.device, old);
        self.mount();
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.at, rustix::mount::UnmountFlags::DETACH);
        run("losetup", &["-d", &self.device]);
    }
}

#[test]
fn r16_a_volume_comes_back_under_another_device_number() {
    if !is_root("loop devices") {
        return;
    }
    let site = Site::new();
    let mut volume = Volume::make(site.root());
    let agent = || {
        let launch = site.connected(Launch::run()).arg("--include").arg(volume_log(&site, "*.log"));
        launch.args("--read-from beginning --topic logs").start()
    };
    let mut family = Family::create(volume_log(&site, "app.log"));
    for _ in 0..3 {
        family.write(100);
        let running = agent();
        site.topic.await_value(family.last());
        running.stop();
        family.close();
        volume.move_device();
        family.reopen();
    }
    family.close();
    assert_complete(&site.whole(), &[&family]);
}

#[test]
fn f14_a_volume_is_unmounted_and_mounted_again() {
    if !is_root("loop devices") {
        return;
    }
    let site = Site::new();
    let volume = Volume::make(site.root());
    // What is open on a volume keeps it: this gives quiet files back.
    let agent = site
        .connected(Launch::run())
        .arg("--include")
        .arg(volume_log(&site, "*.log"))
        .args("--read-from beginning --topic logs")
        .set("item.close_after=1s")
        .set("watch.reconcile=100ms")
        .start();
    let mut family = Family::create(volume_log(&site, "app.log"));
    for _ in 0..3 {
        family.write(100);
        site.topic.await_value(family.last());
        family.close();
        until_true("the quiet file is closed", || {
            !agent.descriptors().iter().any(|target| target.contains("app.log"))
        });
        // A listing may be under way at any time.
        until_true("the volume can be unmounted", || volume.try_unmount());
        fs::write(volume_log(&site, "below.log"), "").unwrap();
        until_true("the directory below is seen", || {
            agent.status()["files"]
                .as_array()
                .unwrap()
                .iter()
                .any(|file| file["path"].as_str().unwrap().ends_with("below.log"))
        });
        volume.mount();
        family.reopen();
    }
    family.write(100);
    site.topic.await_value(family.last());
    family.close();
    agent.stop();
    assert_complete(&site.whole(), &[&family]);
}

fn volume_log(site: &Site, name: &str) -> PathBuf {
    site.root().join("volume").join(name)
}
