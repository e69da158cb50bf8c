//! Process 1 of the guest.

use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use hil_rig::namespaces::PEOPLE;
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, chown, sethostname};

use crate::initramfs::{HOMES, MODULES};

/// What the modules are told: overlays are off unless asked for.
const PARAMETERS: [(&str, &str); 1] = [("vkms", "enable_overlay=1")];

/// Prepares the machine, runs the program again as a plain process with `arguments`, and switches off.
pub fn run(arguments: &[String]) -> ! {
    if let Err(error) = prepare().and_then(|()| play(arguments)) {
        eprintln!("hil-planes: {error:#}");
    }
    // Nothing is left to lose: all of it is in memory.
    let _ = reboot(RebootMode::RB_POWER_OFF);
    std::process::exit(1)
}

fn play(arguments: &[String]) -> Result<()> {
    let program = Command::new("/proc/self/exe")
        .arg("play")
        .args(arguments)
        .env("PATH", "/usr/bin:/usr/sbin")
        .env("HOME", "/root")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .spawn()
        .context("start the scenarios")?;
    let program = Pid::from_raw(program.id() as i32);
    // Orphans of everybody end here as well.
    loop {
        match waitpid(None, None)? {
            WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _) if pid == program => {
                return Ok(());
            }
            _ => {}
        }
    }
}

fn prepare() -> Result<()> {
    let folders = [
        ("proc", "/proc", ""),
        ("sysfs", "/sys", ""),
        ("devtmpfs", "/dev", ""),
        ("devpts", "/dev/pts", ""),
        ("tmpfs", "/dev/shm", "mode=1777"),
        ("tmpfs", "/run", "mode=755"),
        ("tmpfs", "/tmp", "mode=1777"),
        ("cgroup2", "/sys/fs/cgroup", ""),
        ("debugfs", "/sys/kernel/debug", ""),
    ];
    for (kind, place, options) in folders {
        // Below sysfs nobody may make folders, and need not.
        let _ = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(place);
        let options = Some(options).filter(|o| !o.is_empty());
        mount(Some(kind), place, Some(kind), MsFlags::empty(), options)
            .with_context(|| format!("mount {kind} on {place}"))?;
    }
    // devtmpfs has devices only.
    let links = [
        ("fd", "/proc/self/fd"),
        ("stdin", "fd/0"),
        ("stdout", "fd/1"),
        ("stderr", "fd/2"),
    ];
    for (name, target) in links {
        symlink(target, Path::new("/dev").join(name))?;
    }
    sethostname("guest")?;
    // IFF_UP; the kernel adds address and route.
    fs::write("/sys/class/net/lo/flags", "0x1").context("raise the loopback interface")?;
    make_homes()?;
    load_modules()
}

fn make_homes() -> Result<()> {
    for person in PEOPLE {
        let home = Path::new(HOMES).join(person.name);
        fs::create_dir_all(&home)?;
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700))?;
        chown(&home, Some(person.uid.into()), Some(person.uid.into()))?;
    }
    Ok(())
}

fn load_modules() -> Result<()> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(Path::new("/").join(MODULES)).context("no modules")? {
        paths.push(entry?.path());
    }
    paths.sort();
    for path in paths {
        // 07-vkms.ko
        let stem = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let name = stem.split_once('-').map_or(stem.as_str(), |(_, name)| name);
        let told = PARAMETERS.iter().find(|(module, _)| *module == name);
        let parameters = std::ffi::CString::new(told.map_or("", |(_, words)| words))?;
        let file = File::open(&path)?;
        rustix::system::finit_module(file, &parameters, 0)
            .with_context(|| format!("load the module {name}"))?;
    }
    Ok(())
}
