//! The whole build from the machine's own packages, twice. Skipped, with the reason, where apt cannot serve them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use heliostat_image::build::{Options, build};
use heliostat_image::profile::Profile;
use heliostat_image::segment::FAST_LEVEL;
use heliostat_manifest::{Manifest, Role};

/// What kernel and initramfs may take together in the profile for virtual machines.
const BUDGET_BYTES: u64 = 40 * 1024 * 1024;

fn options(out: &Path, locked: Option<&Manifest>) -> Options {
    // The cache is the one that `heliostat-image` uses when run from the workspace.
    let cache = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/image-cache");
    Options {
        profile: Profile::load("qemu").unwrap(),
        terminal: std::env::current_exe().unwrap(),
        out: out.to_owned(),
        cache,
        site_keys: vec![format!("sha256:{}", "ab".repeat(32))],
        brokers: vec!["10.77.0.1:4460".into()],
        cmdline: None,
        locked: locked.map(|m| m.packages.clone()),
        level: FAST_LEVEL,
        debug_shell: false,
        sign: None,
    }
}

/// Whether apt knows a kernel that the profile takes.
fn why_not() -> Option<String> {
    let profile = Profile::load("qemu").unwrap();
    let output = Command::new("apt-cache")
        .arg("policy")
        .args(&profile.kernel.packages)
        .env("LC_ALL", "C")
        .output();
    match output {
        Err(error) => Some(format!("cannot run apt-cache ({error})")),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let known = text
                .lines()
                .any(|l| l.trim().starts_with("Candidate: ") && !l.ends_with("(none)"));
            (!known).then(|| {
                "apt knows none of the kernel packages; apt-get update may help".to_owned()
            })
        }
    }
}

fn hashes(manifest: &Manifest) -> BTreeMap<String, String> {
    manifest
        .files
        .iter()
        .map(|f| (f.name.clone(), f.sha256.clone()))
        .collect()
}

#[test]
fn an_image_built_twice_is_the_same_boots_within_budget_and_holds_what_a_terminal_needs() {
    if let Some(reason) = why_not() {
        return println!("skipped: {reason}");
    }
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let first = build(&options(&one, None)).unwrap();
    let second = build(&options(&two, Some(&first))).unwrap();
    assert_eq!(hashes(&first), hashes(&second));
    assert_eq!(
        std::fs::read(one.join("manifest.json")).unwrap(),
        std::fs::read(two.join("manifest.json")).unwrap()
    );

    let netboot: u64 = first
        .files
        .iter()
        .filter(|f| f.role != Role::Uki)
        .map(|f| f.bytes)
        .sum();
    assert!(netboot <= BUDGET_BYTES, "{netboot} bytes");
    assert!(first.cmdline.contains("heliostat.broker=10.77.0.1:4460"));

    let listing = listing(&one.join("initramfs.zst"));
    for path in [
        "init",
        "etc/heliostat/site-key",
        "usr/bin/heliostat-terminal",
        "usr/bin/udevadm",
        "usr/lib/systemd/systemd-udevd",
        "usr/sbin/pcscd",
        "usr/lib/pcsc/drivers/ifd-ccid.bundle/Contents/Info.plist",
        "usr/lib/x86_64-linux-gnu/libc.so.6",
        "usr/lib64/ld-linux-x86-64.so.2",
        &format!("usr/lib/modules/{}/modules.dep", first.kernel_version),
    ] {
        assert!(listing.iter().any(|l| l == path), "no {path}");
    }
    let shells = listing
        .iter()
        .filter(|l| l.ends_with("/sh") || l.ends_with("/busybox"))
        .count();
    assert_eq!(shells, 0, "an image for work has no shell");
    let contents: Vec<&String> = first.segments[0].contents.iter().map(|e| &e.path).collect();
    assert_eq!(
        contents,
        listing.iter().collect::<Vec<_>>(),
        "the manifest lists what GNU cpio finds"
    );
}

/// What `zstd` and GNU cpio, who know nothing of us, find in an initramfs.
fn listing(initramfs: &Path) -> Vec<String> {
    let bytes = std::fs::read(initramfs).unwrap();
    let frame = zstd::zstd_safe::find_frame_compressed_size(&bytes).unwrap();
    let archive = zstd::stream::decode_all(&bytes[..frame]).unwrap();
    let mut cpio = Command::new("cpio")
        .args(["-it", "--quiet"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("cpio is installed where images are built");
    let mut stdin = cpio.stdin.take().unwrap();
    let writer =
        std::thread::spawn(move || std::io::Write::write_all(&mut stdin, &archive).unwrap());
    let output = cpio.wait_with_output().unwrap();
    writer.join().unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}
