//! The netboot image, and how fast it shows its first screen.

use anyhow::Context;
use hil_rig::{Firmware, Rig, RigOptions, image, programs};

use crate::Figure;

/// Kernel and initramfs of the qemu profile.
pub fn measure_image() -> anyhow::Result<Vec<Figure>> {
    let folder = image::build(false)?;
    let size = |name: &str| -> anyhow::Result<u64> {
        Ok(folder
            .join(name)
            .metadata()
            .with_context(|| format!("look at {name}"))?
            .len())
    };
    let bytes = size("vmlinuz")? + size("initramfs.zst")?;
    Ok(vec![Figure {
        name: "image_mib",
        value: bytes as f64 / f64::from(1 << 20),
        unit: "MiB",
        target: Some(40.0),
        how: "vmlinuz and initramfs.zst of the qemu profile".to_owned(),
    }])
}

/// PID 1 says on the console when the first screen was scanned out.
pub fn measure_boot() -> anyhow::Result<Vec<Figure>> {
    let mut rig = Rig::start(&RigOptions {
        terminals: 1,
        firmware: Firmware::Bios,
        windows: false,
        shell: false,
        two_readers: false,
        bare: false,
        image: image::build(false)?,
        folder: programs::target()?.join("figures"),
    })?;
    rig.wait_idle("A")?;
    let console = rig.machine("A")?.console();
    let line = console.lines().find(|line| line.contains("screen shown"));
    let ms: f64 = line
        .and_then(|line| {
            line.split("screen shown")
                .nth(1)?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .context("PID 1 did not say when the first screen was shown")?;
    Ok(vec![Figure {
        name: "pid1_to_idle_s",
        value: ms / 1000.0,
        unit: "s",
        target: Some(2.5),
        how: "netboot under QEMU's TCG, one processor: PID 1's start to the first page flip"
            .to_owned(),
    }])
}
