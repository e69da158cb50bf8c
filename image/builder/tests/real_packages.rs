//! The whole build from the machine's own packages, twice. Skipped, with the reason, where apt cannot serve them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use heliostat_image::build::{Options, build};
use heliostat_image::profile::Profile;
use heliostat_image::segment::FAST_LEVEL;
use heliostat_image::sign::sign;
use heliostat_image::site::{self, Site};
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
    check_modules(
        dir.path(),
        &one.join("initramfs.zst"),
        &first.kernel_version,
    );
    check_signing(dir.path(), &one.join("heliostat.efi"));
    check_site(dir.path(), &one, &first);
    let contents: Vec<&String> = first.segments[0].contents.iter().map(|e| &e.path).collect();
    assert_eq!(
        contents,
        listing.iter().collect::<Vec<_>>(),
        "the manifest lists what GNU cpio finds"
    );
}

/// Compares our table of dependencies with the one that `depmod` makes of the unpacked modules.
fn check_modules(dir: &Path, initramfs: &Path, version: &str) {
    let root = dir.join("root");
    std::fs::create_dir_all(&root).unwrap();
    cpio(
        initramfs,
        &[
            "-id",
            "--quiet",
            "--no-preserve-owner",
            "usr/lib/modules/*",
            "lib",
        ],
        &root,
    );
    let table =
        std::fs::read_to_string(root.join(format!("usr/lib/modules/{version}/modules.dep")))
            .unwrap();
    match depmod(&root, version) {
        Some(theirs) => {
            assert!(theirs.len() > 20, "{theirs:?}");
            assert_eq!(dependencies(table.lines()), theirs);
        }
        None => println!("skipped: depmod is not installed (package kmod)"),
    }
}

/// What `depmod`, which looks at the symbols that modules export and want, says that each module needs.
fn depmod(root: &Path, version: &str) -> Option<BTreeMap<String, BTreeSet<String>>> {
    let output = Command::new("depmod")
        .arg("-n")
        .arg("-b")
        .arg(root)
        .arg(version)
        .output()
        .ok()?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    // The tables follow one another; only lines of modules.dep begin with a module's path.
    Some(dependencies(
        text.lines()
            .filter(|l| l.starts_with("kernel/") && l.contains(".ko:")),
    ))
}

fn dependencies<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeMap<String, BTreeSet<String>> {
    let line = |line: &str| {
        let (path, needed) = line.split_once(':').unwrap();
        (
            path.to_owned(),
            needed.split_whitespace().map(str::to_owned).collect(),
        )
    };
    lines.map(line).collect()
}

/// What GNU cpio, which knows nothing of us, finds in an initramfs.
fn listing(initramfs: &Path) -> Vec<String> {
    let text = cpio(initramfs, &["-it", "--quiet"], Path::new("."));
    text.lines().map(str::to_owned).collect()
}

fn cpio(initramfs: &Path, arguments: &[&str], directory: &Path) -> String {
    let bytes = std::fs::read(initramfs).unwrap();
    let frame = zstd::zstd_safe::find_frame_compressed_size(&bytes).unwrap();
    let archive = zstd::stream::decode_all(&bytes[..frame]).unwrap();
    let mut cpio = Command::new("cpio")
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("cpio is installed where images are built");
    let mut stdin = cpio.stdin.take().unwrap();
    let writer =
        std::thread::spawn(move || std::io::Write::write_all(&mut stdin, &archive).unwrap());
    let output = cpio.wait_with_output().unwrap();
    writer.join().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Makes the image another site's own, and that one a third's.
fn check_site(dir: &Path, image: &Path, built: &Manifest) {
    let (second, third) = (dir.join("second"), dir.join("third"));
    let pin = |byte: &str| format!("sha256:{}", byte.repeat(32));
    let site = |image: &Path, out: &Path, byte: &str| Site {
        image: image.to_owned(),
        out: out.to_owned(),
        site_keys: vec![pin(byte)],
        brokers: vec!["b.example:4460".into()],
        cmdline: Some("heliostat.debug".into()),
        sign: None,
    };
    site::make(&site(image, &second, "cd")).unwrap();
    let manifest = site::make(&site(&second, &third, "ef")).unwrap();
    assert_eq!(
        Manifest::parse(&std::fs::read(third.join("manifest.json")).unwrap()).unwrap(),
        manifest
    );
    assert_eq!(manifest.site_keys, [pin("ef")]);
    assert!(
        manifest.cmdline.contains("heliostat.debug") && !manifest.cmdline.contains("10.77.0.1")
    );
    let names: Vec<&str> = manifest.segments.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(
        names,
        ["base", "site"],
        "the key of the second site is gone"
    );
    assert_eq!(
        hashes(&manifest)["initramfs.zst"],
        hashes(built)["initramfs.zst"]
    );
    let unpacked = dir.join("site-root");
    std::fs::create_dir_all(&unpacked).unwrap();
    cpio(
        &third.join("initramfs-site.zst"),
        &["-id", "--quiet", "--no-preserve-owner"],
        &unpacked,
    );
    let key = std::fs::read_to_string(unpacked.join("etc/heliostat/site-key")).unwrap();
    assert_eq!(key, format!("{}\n", pin("ef")));

    std::fs::write(image.join("initramfs.zst"), "changed").unwrap();
    let error = site::make(&site(image, &second, "cd"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("not the file that the manifest describes"),
        "{error}"
    );
}

/// Signs with a key of its own and lets `sbverify` judge.
fn check_signing(dir: &Path, image: &Path) {
    let (key, certificate) = (dir.join("key.pem"), dir.join("cert.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=test/",
            "-keyout",
        ])
        .args([&key, Path::new("-out"), &certificate])
        .stderr(Stdio::null())
        .status();
    if !made.is_ok_and(|s| s.success())
        || Command::new("sbverify").arg("--version").output().is_err()
    {
        return println!("skipped: signing needs openssl and sbsigntool");
    }
    let unsigned = std::fs::read(image).unwrap();
    let signed = dir.join("signed.efi");
    std::fs::write(&signed, sign(&unsigned, &key, &certificate).unwrap()).unwrap();
    let verifies = |file: &Path| {
        let status = Command::new("sbverify")
            .arg("--cert")
            .args([&certificate, file])
            .output()
            .unwrap();
        status.status.success()
    };
    assert!(verifies(&signed));
    assert!(
        !verifies(image),
        "the unsigned one has no signature to verify"
    );
    let mut changed = std::fs::read(&signed).unwrap();
    let middle = unsigned.len() / 2;
    changed[middle] ^= 1;
    std::fs::write(&signed, changed).unwrap();
    assert!(
        !verifies(&signed),
        "the initramfs is covered by the signature"
    );
}
