//! Boots the machine whose display has planes for video, and plays its scenarios.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use clap::Parser;
use hil_gpu_rig::initramfs;
use hil_gpu_rig::kernel::{self, Kernel, NotToBeHad};
use hil_gpu_rig::lines::{Line, from_hex};
use hil_gpu_rig::machine::{Boot, Machine};
use hil_local::programs;
use hil_rig::lack::parts_are_promised;

/// Boots a machine whose display has planes for video, and plays scenarios on it
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Build the kernel's module again, from what the archive has now
    #[arg(long)]
    rebuild: bool,
    /// Play only these scenarios, by their words
    #[arg(long, value_name = "WORD", value_delimiter = ',')]
    only: Vec<String>,
}

/// The kernel unpacks its memory, and the processor is emulated.
const BOOT: Duration = Duration::from_secs(120);
/// The longest that a scenario may say nothing.
const SILENCE: Duration = Duration::from_secs(240);

fn main() -> Result<()> {
    let args = Args::parse();
    let folder = programs::target()?.join("gpu-rig");
    let kernel = match kernel_in(&folder, args.rebuild) {
        Ok(kernel) => kernel,
        Err(error) if error.downcast_ref::<NotToBeHad>().is_some() => {
            println!("skipped: {error:#}");
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    println!("kernel {}", kernel.release);
    let initrd = initrd(&folder, &kernel)?;
    let run = folder.join("run");
    let _ = fs::remove_dir_all(&run);
    let started = Instant::now();
    let mut machine = Machine::start(&Boot {
        kernel: &kernel.image(),
        initrd: &initrd,
        arguments: &args.only,
        folder: &run,
    })?;
    let failed = follow(&mut machine, &run)?;
    machine.wait_off(SILENCE)?;
    println!(
        "{:.0} s from power on to off; console in {}",
        started.elapsed().as_secs_f32(),
        run.display()
    );
    match failed {
        0 => Ok(()),
        failed => bail!("{failed} failed; {}", machine.last_words()),
    }
}

fn kernel_in(folder: &Path, rebuild: bool) -> Result<Kernel> {
    let kept = folder.join("kernel");
    if let Some(kernel) = Kernel::kept(&kept).filter(|_| !rebuild) {
        return Ok(kernel);
    }
    println!("building a kernel module for a display in software (once, a minute or two):");
    kernel::build(&kept, &folder.join("work"))
}

/// Packs the guest's files, unless there is an archive that is newer than all of them.
fn initrd(folder: &Path, kernel: &Kernel) -> Result<PathBuf> {
    let profile = programs::folder()?;
    let profile = profile
        .file_name()
        .context("a profile")?
        .to_string_lossy()
        .into_owned();
    let path = folder.join(format!("guest-{profile}.cpio"));
    let changed = |path: &Path| -> Result<SystemTime> { Ok(path.metadata()?.modified()?) };
    if let Ok(packed) = changed(&path) {
        let mut newest = SystemTime::UNIX_EPOCH;
        for part in initramfs::parts(kernel)? {
            newest = newest.max(changed(&part)?);
        }
        if newest < packed {
            return Ok(path);
        }
    }
    let started = Instant::now();
    let archive = initramfs::pack(kernel)?;
    fs::write(&path, &archive)?;
    println!(
        "guest packed: {} MB in {:.1} s",
        archive.len() >> 20,
        started.elapsed().as_secs_f32()
    );
    Ok(path)
}

/// Prints what the guest says until the end; returns how many scenarios failed.
fn follow(machine: &mut Machine, folder: &Path) -> Result<usize> {
    let mut failed = 0;
    let mut limit = BOOT;
    loop {
        match machine.next_line(limit)? {
            Line::Up { uptime_s } => println!("guest up, {uptime_s:.1} s after its kernel began"),
            Line::Begin { name } => println!("{name} …"),
            Line::Note { text } => println!("    {text}"),
            Line::Picture { name, png } => {
                let path = folder.join(format!("{}.png", plain(&name)));
                fs::write(
                    &path,
                    from_hex(&png).context("a picture that is no hexadecimal")?,
                )?;
                println!("    picture: {}", path.display());
            }
            Line::Passed { seconds } => println!("  passed ({seconds:.1} s)"),
            Line::Skipped { why } if parts_are_promised() => {
                println!("  FAILED: it would be skipped, {why}");
                failed += 1;
            }
            Line::Skipped { why } => println!("  skipped: {why}"),
            Line::Failed { why } => {
                println!("  FAILED: {why}");
                failed += 1;
            }
            Line::End => return Ok(failed),
        }
        limit = SILENCE;
    }
}

/// A name without anything that could lead elsewhere.
fn plain(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect()
}
