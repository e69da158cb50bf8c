//! A world of one's own: mount, network and process namespaces, with users that exist nowhere else.
//!
//! ```text
//!   program ──▶ reaper (process 1 in there) ──▶ program again, inside
//! ```
//!
//! When the program inside ends, for whatever reason, or the one outside is ended, so does process 1,
//! and the kernel ends everything else in there. No process, device or mount has to be cleaned up, so
//! none can be forgotten.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, Uid, chown};

/// How far the way in has been gone.
const STAGE: &str = "HELIOSTAT_RIG_STAGE";
/// The number of whoever waits outside.
const OUTSIDE: &str = "HELIOSTAT_RIG_OUTSIDE";

/// A user that exists inside only.
pub struct Person {
    /// Login name.
    pub name: &'static str,
    /// User and group number.
    pub uid: u32,
    /// What shadow has of their password, which is their name.
    hash: &'static str,
}

/// The people of the demo and the scenarios.
pub const PEOPLE: [Person; 2] = [
    Person {
        name: "alice",
        uid: 62001,
        hash: "$6$heliostat$mQkONuNEf4v.SkS.88CK4SzIJDkBIEUepOG/abHfFMdFp1.4plm//17f0Z64lVAB.\
               0Wbf968m.DIxAV.Vtl6i/",
    },
    Person {
        name: "bob",
        uid: 62002,
        hash: "$6$heliostat$zagOe7DAZ33dbKcUKhiasubsjov4mMrgc.FRgy55WWotKGfCZY3LhzXdPShHzJ.X6ep\
               QoxtA8Dx9zAtSUvXor1",
    },
];

/// Whom greeters and kiosks run as, with their numbers.
const SYSTEM: [(&str, u32); 2] = [("heliostat-greeter", 62011), ("heliostat-kiosk", 62012)];

/// Returns inside; outside it never returns but becomes the way in.
pub fn enter() -> anyhow::Result<()> {
    match std::env::var(STAGE).as_deref() {
        Ok("inside") => Ok(()),
        Ok("reaper") => std::process::exit(reap()?),
        _ if Uid::effective().is_root() => std::process::exit(leave_for_inside()?),
        _ => Err(ask_sudo()),
    }
}

/// Whether the way in has not been begun yet.
pub fn is_outside() -> bool {
    std::env::var_os(STAGE).is_none()
}

fn ask_sudo() -> anyhow::Error {
    let here = match std::env::current_exe() {
        Ok(here) => here,
        Err(error) => return error.into(),
    };
    eprintln!("this needs root for network namespaces, taps and users of its own: asking sudo");
    let mut command = Command::new("sudo");
    // sudo may drop what it does not know.
    command.args(["--preserve-env", "env"]);
    command.arg(format!("{STAGE}=root")).arg(here);
    command.args(std::env::args_os().skip(1));
    anyhow::Error::from(command.exec()).context("ask sudo")
}

/// Starts process 1 and waits for it. A signal ends this program as any other: that is the end of
/// process 1, too, and of everything in there.
fn leave_for_inside() -> anyhow::Result<i32> {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWPID)
        .context("make namespaces")?;
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )
    .context("keep mounts to ourselves")?;
    // The first that is started is in the new namespace of processes; we are not.
    let status = Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(STAGE, "reaper")
        .env(OUTSIDE, std::process::id().to_string())
        .status()
        .context("start the way in")?;
    let killed = status.signal().map(|signal| 128 + signal);
    Ok(status.code().or(killed).unwrap_or(1))
}

/// Process 1 in there: waits for the program and for everybody's orphans.
fn reap() -> anyhow::Result<i32> {
    prctl::set_pdeathsig(Signal::SIGKILL).context("end with whoever is waiting outside")?;
    if std::env::var(OUTSIDE).ok() != parent_outside()? {
        bail!("whoever waited outside has ended");
    }
    prepare()?;
    let program = Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(STAGE, "inside")
        .spawn()
        .context("start the program inside")?;
    let program = Pid::from_raw(program.id() as i32);
    loop {
        match waitpid(None, None)? {
            WaitStatus::Exited(pid, status) if pid == program => return Ok(status),
            WaitStatus::Signaled(pid, signal, _) if pid == program => {
                return Ok(128 + signal as i32);
            }
            _ => {}
        }
    }
}

/// The parent of process 1, which has none in its own world; /proc is the one outside still.
fn parent_outside() -> anyhow::Result<Option<String>> {
    let status = fs::read_to_string("/proc/self/status").context("read /proc")?;
    let mut fields = status.lines().filter_map(|line| line.split_once(':'));
    let parent = fields.find(|(name, _)| *name == "PPid");
    Ok(parent.map(|(_, number)| number.trim().to_owned()))
}

fn prepare() -> anyhow::Result<()> {
    mount(
        Some("proc"),
        "/proc",
        Some("proc"),
        MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_NODEV,
        None::<&str>,
    )
    .context("show the processes in here")?;
    tmpfs(Path::new("/run"), 0o755)?;
    add_people()?;
    let status = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status();
    if !status.context("run ip (package iproute2)")?.success() {
        bail!("the loopback interface does not come up");
    }
    Ok(())
}

fn tmpfs(folder: &Path, mode: u32) -> anyhow::Result<()> {
    let options = format!("mode={mode:o}");
    mount(
        Some("tmpfs"),
        folder,
        Some("tmpfs"),
        MsFlags::empty(),
        Some(options.as_str()),
    )
    .with_context(|| format!("mount a tmpfs on {}", folder.display()))
}

/// Private copies of the user databases, with our people added.
fn add_people() -> anyhow::Result<()> {
    let homes = Path::new("/run/home");
    fs::create_dir(homes)?;
    for file in ["passwd", "group", "shadow"] {
        let name = Path::new("/etc").join(file);
        let copy = Path::new("/run").join(file);
        fs::copy(&name, &copy)?;
        let mut database = fs::OpenOptions::new().append(true).open(&copy)?;
        for line in lines_of(file, homes) {
            writeln!(database, "{line}")?;
        }
        mount(
            Some(&copy),
            &name,
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )
        .with_context(|| format!("put a copy over {}", name.display()))?;
    }
    for Person { name, uid, .. } in PEOPLE {
        let home = homes.join(name);
        fs::create_dir(&home)?;
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700))?;
        // A prompt that says who and nothing about the machine.
        fs::write(home.join(".bashrc"), "PS1='\\u$ '\n")?;
        chown(&home, Some(uid.into()), Some(uid.into()))?;
        chown(&home.join(".bashrc"), Some(uid.into()), Some(uid.into()))?;
    }
    Ok(())
}

/// What our people and systems add to a user database.
pub fn lines_of(file: &str, homes: &Path) -> Vec<String> {
    let person = |Person { name, uid, hash }: &Person| match file {
        "passwd" => {
            let home = homes.join(name);
            format!(
                "{name}:x:{uid}:{uid}:{name} of the rig:{}:/bin/bash",
                home.display()
            )
        }
        "shadow" => format!("{name}:{hash}:20000:0:99999:7:::"),
        _ => format!("{name}:x:{uid}:"),
    };
    let system = |(name, uid): &(&str, u32)| match file {
        "passwd" => format!("{name}:x:{uid}:{uid}::/nonexistent:/usr/sbin/nologin"),
        "shadow" => format!("{name}:!:20000::::::"),
        _ => format!("{name}:x:{uid}:"),
    };
    let people = PEOPLE.iter().map(person);
    people.chain(SYSTEM.iter().map(system)).collect()
}
