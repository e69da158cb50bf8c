//! Process 1 of the guest.

use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use hil_rig::namespaces::PEOPLE;
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, chown, sethostname};

use super::card;
use crate::initramfs::{HOMES, MODULES, VA_DRIVERS};
use crate::kernel::RGB_ONLY;

/// Where the VA driver of each process counts.
pub const VA_COUNTERS: &str = "/run/hil-va";

/// Where all of them write what they do.
pub const VA_LOG: &str = "/run/hil-va.log";

/// The display's module.
const DISPLAY: &str = "vkms";
/// What it is told: overlays are off unless asked for.
const OVERLAYS: &str = "enable_overlay=1";
/// Where the kernel says what shows its own messages, and takes that off a display.
const CONSOLES: &str = "/sys/class/vtconsole";

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
        .envs(va())
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
    load_modules()?;
    let_people_encode()
}

/// What tells libva which driver there is, and the driver where to write.
fn va() -> [(&'static str, String); 4] {
    [
        ("LIBVA_DRIVERS_PATH", format!("/{VA_DRIVERS}")),
        ("LIBVA_DRIVER_NAME", "heliostat".to_owned()),
        ("HELIOSTAT_VA_COUNTERS", format!("{VA_COUNTERS}/%p")),
        ("HELIOSTAT_VA_LOG", VA_LOG.to_owned()),
    ]
}

/// Sessions that start from now on have that of PAM, and the driver's faults, if there are any.
pub fn tell_people(faults: &str) -> Result<()> {
    let line = |(name, value): &(&str, String)| format!("{name}={value}\n");
    let mut text: String = va().iter().map(line).collect();
    if !faults.is_empty() {
        text += &format!("HELIOSTAT_VA_FAULTS={faults}\n");
    }
    fs::write("/etc/environment", text).context("write /etc/environment")
}

/// Devices and files are open to people as udev's rules and folders of their own would have it.
fn let_people_encode() -> Result<()> {
    fs::create_dir(VA_COUNTERS)?;
    fs::set_permissions(VA_COUNTERS, fs::Permissions::from_mode(0o1777))?;
    fs::write(VA_LOG, "")?;
    let mut shared = vec![VA_LOG.into(), "/dev/udmabuf".into()];
    for driver in ["vgem", "virtio_gpu"] {
        shared.extend(card::nodes(driver, "renderD")?);
    }
    // Mesa's software makes its buffers on a card.
    shared.extend(card::nodes("vgem", "card")?);
    for path in shared {
        fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    }
    tell_people("")
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

/// Plays something with a display none of whose planes takes YUV, and brings the other one back.
pub fn without_yuv<T>(play: impl FnOnce() -> Result<T>) -> Result<T> {
    replace_display(&format!("{OVERLAYS} {RGB_ONLY}=1"))?;
    let played = play();
    replace_display(OVERLAYS)?;
    played
}

/// Loads the display's module anew. Nobody may have it open.
fn replace_display(parameters: &str) -> Result<()> {
    // The kernel's own console holds the module; it needs no display.
    for entry in fs::read_dir(CONSOLES).into_iter().flatten() {
        // The one that shows nothing takes over, and cannot be taken off.
        let _ = fs::write(entry?.path().join("bind"), "0");
    }
    let name = std::ffi::CString::new(DISPLAY)?;
    rustix::system::delete_module(&name, nix::libc::O_NONBLOCK)
        .context("unload the display's module")?;
    for path in modules()? {
        if module_of(&path) == DISPLAY {
            load(&path, parameters)?;
        }
    }
    Ok(())
}

fn load_modules() -> Result<()> {
    for path in modules()? {
        let parameters = match module_of(&path) {
            DISPLAY => OVERLAYS,
            _ => "",
        };
        load(&path, parameters)?;
    }
    Ok(())
}

/// The modules' files, in their order.
fn modules() -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(Path::new("/").join(MODULES)).context("no modules")? {
        paths.push(entry?.path());
    }
    paths.sort();
    Ok(paths)
}

/// The name of a file such as `07-vkms.ko`.
fn module_of(path: &Path) -> &str {
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    let stem = stem.unwrap_or_default();
    stem.split_once('-').map_or(stem, |(_, name)| name)
}

fn load(path: &Path, parameters: &str) -> Result<()> {
    let parameters = std::ffi::CString::new(parameters)?;
    rustix::system::finit_module(File::open(path)?, &parameters, 0)
        .with_context(|| format!("load the module {}", module_of(path)))
}
